"""Parquet files of rows that another file seals by SHA-256: written in order, read back as such."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from migrate.model.sealed_json import damaged
from migrate.storage.folder import StoredFile
from migrate.storage.hashed_file import hash_open_file
from migrate.storage.parquet.guard import ParquetShape, arrow_damage, open_parquet

Row = TypeVar("Row")

ROW_GROUP_ROWS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFile:
    """What seals a file: its record in a manifest or a plan."""

    rows: int | None  # None: the record does not say it
    bytes: int
    sha256: str
    named_by: str  # the file with the record, for messages: "the plan"
    remedy: str  # when the file is missing or is another one


def write_rows(
    stored: StoredFile,
    schema: pa.Schema,
    rows: Iterable[Row],
    to_table: Callable[[Sequence[Row]], pa.Table],
) -> tuple[int, str]:
    """Write the rows durably, in their order; returns the bytes of the file and its SHA-256.

    The same rows give the same bytes. Holds one row group of rows in memory.
    """
    left = iter(rows)
    with stored.open_to_write() as file:
        writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,  # the guard refuses what can expand a small file
        )
        try:
            while group := list(islice(left, ROW_GROUP_ROWS)):
                writer.write_table(to_table(group), row_group_size=ROW_GROUP_ROWS)
            writer.close()
        except BaseException:
            abandon_writer(writer)
            raise
    return file.bytes, file.sha256


def read_rows(
    stored: StoredFile,
    schema: pa.Schema,
    sealed: RowFile,
    from_table: Callable[[pa.Table], Iterable[Row]],
) -> Iterator[Row]:
    """The rows, in their order. Raises ArtefactDamagedError before the first for another file.

    The file is hashed and parsed through one open handle, so that it is the same file.
    """
    if not stored.is_there():
        raise damaged(str(stored), "the file is missing", remedy=sealed.remedy)
    shape = ParquetShape(
        schema=schema, rows=sealed.rows, group_rows_max=ROW_GROUP_ROWS, groups_full=True
    )
    with stored.open_to_read() as file:
        if hash_open_file(file) != (sealed.bytes, sealed.sha256):
            raise damaged(str(stored), f"not the bytes of {sealed.named_by}", remedy=sealed.remedy)
        parquet = open_parquet(file, str(stored), shape)
        for group in range(parquet.num_row_groups):
            with arrow_damage(str(stored)):
                rows = list(from_table(parquet.read_row_group(group, use_threads=False)))
            yield from rows


def abandon_writer(writer: pq.ParquetWriter) -> None:
    """Abandon a Parquet file that will not be finished, while the file is open.

    Otherwise the library tries to finish it during garbage collection and writes to stderr.
    """
    with suppress(OSError, pa.ArrowException):
        writer.close()
    writer.is_open = False
