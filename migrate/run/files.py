"""Open the table of a run's files and their vectors, for the KV index."""

from collections.abc import Set as AbstractSet

from migrate.run.folder import RunFolder
from migrate.tables.files import FILE_COLUMNS, FileTable


def open_files(run: RunFolder, *, until_round: int | None = None) -> FileTable:
    """The files without refused vectors; `until_round`: those refused at the end of this round."""
    return open_files_without(run, run.refused_rows(until_round=until_round))


def open_files_without(run: RunFolder, refused: AbstractSet[int]) -> FileTable:
    """The files without these rows."""
    return FileTable(run.spill, run.targets(FILE_COLUMNS, excluded=refused))
