"""Write and read targets.parquet of a run: the mapped rows, written with the plan.

The file holds ids, files, positions and digests. Values and metadata are not in it: they are mapped
again when they are sent. It is written and read by row groups, without an object per row.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from migrate.mapping.rules import MappingRules
from migrate.model.digest import DIGEST_BYTES
from migrate.model.sealed_json import damaged
from migrate.plan.record import TargetsFile
from migrate.storage.folder import StoredFile
from migrate.storage.hashed_file import hash_open_file
from migrate.storage.parquet.guard import ParquetShape, arrow_damage, open_parquet
from migrate.storage.parquet.row_files import ROW_GROUP_ROWS, abandon_writer

TARGETS_FORMAT = 1
NAMESPACES_FORMAT = 2  # with the namespace of each vector
# About 6 MB decoded: it fits in memory, and is a good size for one statement of a database.
TARGETS_SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("vector_id", pa.string(), nullable=False),
        pa.field("file", pa.string()),  # null: the point belongs to no file
        pa.field("position", pa.int64(), nullable=False),  # of the chunk within its file
        pa.field("digest", pa.binary(DIGEST_BYTES), nullable=False),  # as `digest_vectors` gives it
    ],
    metadata={b"q2v.format": str(TARGETS_FORMAT).encode()},
)
NAMESPACES_SCHEMA = pa.schema(
    [*TARGETS_SCHEMA, pa.field("namespace", pa.string(), nullable=False)],
    metadata={b"q2v.format": str(NAMESPACES_FORMAT).encode()},
)
_REMEDY = (
    "restore the file from a copy; without one, `q2v migrate` cannot continue this run, and it "
    "can be neither compared nor rolled back"
)


def targets_schema(mapping: MappingRules) -> pa.Schema:
    """The columns of the file for these rules."""
    return NAMESPACES_SCHEMA if mapping.namespace else TARGETS_SCHEMA


def write_targets(
    stored: StoredFile, tables: Iterable[pa.Table], schema: pa.Schema = TARGETS_SCHEMA
) -> TargetsFile:
    """Write the rows that move, in row order, durably. `tables` have the schema's columns."""
    with stored.open_to_write() as file:
        rows = _write(file, tables, schema)
    return TargetsFile(rows=rows, bytes=file.bytes, sha256=file.sha256)


def _write(file: BinaryIO, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    writer = pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,  # a small file could expand to a large table: our readers refuse them
        write_statistics=["row"],
    )
    rows = 0
    try:
        for group in _groups(tables, schema):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            rows += len(group)
        writer.close()
    except BaseException:
        abandon_writer(writer)
        raise
    return rows


def _groups(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows in full row groups; the last one may be smaller."""
    held: list[pa.Table] = []
    held_rows = 0
    for table in tables:
        rest = table.select(schema.names).cast(schema)
        while held_rows + len(rest) >= ROW_GROUP_ROWS:
            piece = rest.slice(0, ROW_GROUP_ROWS - held_rows)
            yield pa.concat_tables([*held, piece]).combine_chunks()
            rest = rest.slice(len(piece))
            held, held_rows = [], 0
        held.append(rest)
        held_rows += len(rest)
    if held_rows:
        yield pa.concat_tables(held).combine_chunks()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows are wanted; by default all."""

    first_row: int = 0
    end_row: int | None = None
    only: AbstractSet[int] | None = None
    excluded: AbstractSet[int] = frozenset()

    def may_touch(self, group: pq.RowGroupMetaData) -> bool:
        """Whether a row group can hold a wanted row, by its statistics."""
        lowest, highest = _bounds(group)
        if highest < self.first_row or (self.end_row is not None and lowest >= self.end_row):
            return False
        return self.only is None or any(lowest <= row <= highest for row in self.only)

    def take(self, table: pa.Table) -> pa.Table:
        """The wanted rows of a table that has the column `row`."""
        import pyarrow.compute as pc  # noqa: PLC0415 - 0.05 s, and few commands select rows

        row = table.column("row")
        if self.first_row > 0:
            table = table.filter(pc.greater_equal(row, self.first_row))
        if self.end_row is not None:
            table = table.filter(pc.less(table.column("row"), self.end_row))
        if self.only is not None:
            table = table.filter(pc.is_in(table.column("row"), _values(self.only)))
        if self.excluded:
            table = table.filter(pc.invert(pc.is_in(table.column("row"), _values(self.excluded))))
        return table


def _values(rows: AbstractSet[int]) -> pa.Array:
    return pa.array(sorted(rows), pa.int64())


def _bounds(group: pq.RowGroupMetaData) -> tuple[int, int]:
    statistics = group.column(0).statistics
    if statistics is None or not statistics.has_min_max:
        raise ValueError("a row group without its lowest and highest row")
    return statistics.min, statistics.max


def check_targets(stored: StoredFile, expected: TargetsFile) -> None:
    """Raises ArtefactDamagedError when it is not the file of the plan."""
    if not stored.is_there():
        raise damaged(str(stored), "the file is missing", remedy=_REMEDY)
    if stored.hash() != (expected.bytes, expected.sha256):
        raise damaged(str(stored), "not the bytes that the plan names", remedy=_REMEDY)


def read_targets(
    stored: StoredFile,
    expected: TargetsFile,
    columns: Sequence[str],
    selection: Selection,
    schema: pa.Schema = TARGETS_SCHEMA,
) -> Iterator[pa.RecordBatch]:
    """These columns of the wanted rows, in row order; empty batches are left out.

    The file is hashed and parsed through one open handle, so that it is the same file.
    Raises ArtefactDamagedError before the first row when it is not the file of the plan.
    """
    if not stored.is_there():
        raise damaged(str(stored), "the file is missing", remedy=_REMEDY)
    shape = ParquetShape(
        schema=schema,
        rows=expected.rows,
        group_rows_max=ROW_GROUP_ROWS,
        groups_full=True,
    )
    with stored.open_to_read() as file:
        size = file.seek(0, 2)
        file.seek(0)
        if size != expected.bytes or hash_open_file(file) != (expected.bytes, expected.sha256):
            raise damaged(str(stored), "not the bytes that the plan names", remedy=_REMEDY)
        parquet = open_parquet(file, str(stored), shape)
        names = list(dict.fromkeys(["row", *columns]))  # the selection is by row
        for group in range(parquet.num_row_groups):
            with arrow_damage(str(stored)):
                if not selection.may_touch(parquet.metadata.row_group(group)):
                    continue
                table = parquet.read_row_group(group, columns=names, use_threads=False)
                taken = selection.take(table).select(list(columns))
                batches = taken.combine_chunks().to_batches()
            yield from (batch.replace_schema_metadata(None) for batch in batches if len(batch))
