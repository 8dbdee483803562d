"""The files of a run with their vectors, ready for what the KV index asks."""

from collections.abc import Set as AbstractSet

from migrate.run.folder import RunFolder
from migrate.tables.files import FILE_COLUMNS, FileTable


def open_files(run: RunFolder, *, until_round: int | None = None) -> FileTable:
    """Without what is refused; `until_round`: without what was refused when this round ended."""
    return open_files_without(run, run.refused_rows(until_round=until_round))


def open_files_without(run: RunFolder, refused: AbstractSet[int]) -> FileTable:
    """Without these rows."""
    return FileTable(run.spill, run.targets(FILE_COLUMNS, excluded=refused))
