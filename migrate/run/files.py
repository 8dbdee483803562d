"""Open the table of a run's files and their vectors, for the KV index."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from migrate.mapping.payload import encode_kv_key
from migrate.run.folder import RunFolder
from migrate.tables.files import FILE_COLUMNS, NAMESPACE_COLUMN, FileTable


def open_files(run: RunFolder, *, until_round: int | None = None) -> FileTable:
    """The files without refused vectors; `until_round`: those refused at the end of this round."""
    return open_files_without(run, run.refused_rows(until_round=until_round))


def open_files_without(run: RunFolder, refused: AbstractSet[int]) -> FileTable:
    """The files without these rows."""
    columns = (*FILE_COLUMNS, NAMESPACE_COLUMN) if run.plan.mapping.namespace else FILE_COLUMNS
    return FileTable(run.spill, run.targets(columns, excluded=refused))


@dataclass(frozen=True, slots=True)
class TouchedKeys:
    """The KV keys of the files that a catch-up changes."""

    written: frozenset[str]
    removed: tuple[str, ...]  # of files without a vector, by key


def touched_keys(run: RunFolder) -> TouchedKeys | None:
    """What a run with a base changes in the KV index; None: the run writes all keys."""
    difference = run.difference
    if difference is None:
        return None
    mapping = run.plan.mapping
    return TouchedKeys(
        frozenset(encode_kv_key(file, mapping) for file in difference.files),
        tuple(sorted(encode_kv_key(file, mapping) for file in difference.gone)),
    )
