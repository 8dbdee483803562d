"""The files of a run with their vectors, ready for what the KV index asks."""

from migrate.adapters.file_table import FILE_COLUMNS, FileTable
from migrate.adapters.run_folder import RunFolder


def open_files(run: RunFolder, *, until_round: int | None = None) -> FileTable:
    """Without what was refused; `until_round` leaves out what was refused in later rounds."""
    refused = run.refused_rows(until_round=until_round)
    return FileTable(run.spill, run.targets(FILE_COLUMNS, excluded=refused))
