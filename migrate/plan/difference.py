"""What a catch-up changes in the target: difference.parquet of its run.

A run with a base writes the vectors that are new or have changed, removes those that the base wrote
and that are no longer wanted, and writes again the KV entries of their files. The file is made with
the plan and names all of it, so that no later step has to compare again.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from migrate.errors import PreconditionError
from migrate.model.digest import DIGEST_BYTES
from migrate.model.records import VectorId
from migrate.model.sealed_json import damaged
from migrate.plan.record import BaseRun
from migrate.plan.rules import DELETES_ALWAYS
from migrate.storage.folder import StoredFile
from migrate.storage.parquet.row_files import RowFile, read_rows, write_rows
from migrate.tables.plan_ids import IdTable
from migrate.words import counted

_REMEDY = (
    "restore the file from a copy; without it, the run can neither be continued nor rolled back"
)
_WRITE, _REMOVE, _FILE, _GONE = "write", "remove", "file", "gone"
_SCHEMA = pa.schema(
    [
        pa.field("what", pa.string(), nullable=False),  # write | remove | file | gone
        pa.field("row", pa.int64()),  # of a vector to write
        pa.field("vector_id", pa.string()),  # of a vector
        pa.field("file", pa.string()),  # whose entry is written again, or removed (gone)
        pa.field("digest", pa.binary(DIGEST_BYTES)),  # of a vector to remove, as the base wrote it
    ]
)
_Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Removal:
    """A vector that the base wrote and that is no longer wanted."""

    vector_id: VectorId
    digest: bytes  # as the base wrote it


@dataclass(frozen=True, slots=True)
class Difference:
    """What a run with a base changes in the target."""

    rows: frozenset[int]  # of the vectors to write
    vectors: frozenset[VectorId]  # their ids
    removals: tuple[Removal, ...]  # by id
    files: frozenset[str]  # whose KV entry is written again
    gone: tuple[str, ...]  # files without a vector; their KV entry is removed


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows of a new run beside those that its base has written."""

    table: IdTable  # of the new run
    former: Iterable[pa.RecordBatch]  # of the base, with the columns `FORMER_COLUMNS`
    former_vectors: int
    max_delete: float  # share of the former vectors that may be deleted


def write_difference(stored: StoredFile, comparison: Comparison, base: BaseRun) -> BaseRun:
    """Compare, and write the file durably; returns `base` with the record of the file.

    Raises PreconditionError when more vectors would be deleted than are allowed.
    """
    table = comparison.table
    table.compare_with(comparison.former)
    counts = dict.fromkeys((_WRITE, _REMOVE, _FILE, _GONE), 0)

    def to_table(rows: Sequence[_Row]) -> pa.Table:
        for row in rows:
            counts[str(row["what"])] += 1
        return pa.Table.from_pylist(rows, schema=_SCHEMA)

    size, sha256 = write_rows(stored, _SCHEMA, _rows(table), to_table)
    found = replace(
        base,
        written=counts[_WRITE],
        removed=counts[_REMOVE],
        bytes=size,
        sha256=sha256,
    )
    _check_removals(found, comparison)
    return found


def _rows(table: IdTable) -> Iterator[_Row]:
    touched: set[str] = set()
    for row, vector_id, files in table.differing():
        touched.update(files)
        yield {"what": _WRITE, "row": row, "vector_id": vector_id}
    for removed_id, file, digest in table.removed():
        touched.update([] if file is None else [file])
        yield {"what": _REMOVE, "vector_id": removed_id, "file": file, "digest": digest}
    for name in sorted(touched):
        yield {"what": _FILE if table.has_file(name) else _GONE, "file": name}


def _check_removals(base: BaseRun, comparison: Comparison) -> None:
    vectors = comparison.former_vectors
    allowed = max(DELETES_ALWAYS, int(vectors * comparison.max_delete))
    if base.removed > allowed:
        raise PreconditionError(
            f"the catch-up would delete {base.removed:,} of {counted(vectors, 'vector')}, at most "
            f"{allowed:,} are allowed",
            remedy="check source.url and source.collection; if that many points were deleted, pass "
            f"--max-delete {min(1.0, math.ceil(base.removed / max(vectors, 1) * 100) / 100)}; "
            "nothing has been written",
        )


def read_difference(stored: StoredFile, base: BaseRun) -> Difference:
    """The content of the file. Raises ArtefactDamagedError when it is not that of the plan."""
    sealed = RowFile(
        rows=None, bytes=base.bytes, sha256=base.sha256, named_by="the plan", remedy=_REMEDY
    )
    rows: dict[int, VectorId] = {}
    removals: list[Removal] = []
    files: list[str] = []
    gone: list[str] = []
    for what, row, vector_id, file, digest in read_rows(stored, _SCHEMA, sealed, _in_columns):
        match what:
            case "write":
                rows[row] = VectorId(vector_id)
            case "remove":
                removals.append(Removal(VectorId(vector_id), digest))
            case "file":
                files.append(file)
            case "gone":
                gone.append(file)
            case _:
                raise damaged(str(stored), f"a row {what!r}", remedy=_REMEDY)
    return Difference(
        frozenset(rows), frozenset(rows.values()), tuple(removals), frozenset(files), tuple(gone)
    )


def _in_columns(table: pa.Table) -> Iterator[tuple[str, int, str, str, bytes]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)
