"""Write and read one Parquet part of a snapshot; the same points give the same bytes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from migrate.errors import PreconditionError
from migrate.model.irregular import is_unreadable
from migrate.model.pages import take_rows
from migrate.model.records import Page, ShardKey, VectorKind, VectorSpec
from migrate.model.sealed_json import damaged
from migrate.snapshot.columns import (
    ROW_GROUP_ROWS,
    SHARD_KEY,
    RowGroup,
    decode_rows,
    part_schema,
    vector_column,
)
from migrate.snapshot.manifest import PartRecord
from migrate.storage.folder import StoredFile
from migrate.storage.hashed_file import HashedFile, hash_open_file
from migrate.storage.parquet.guard import (
    GROUP_BYTES_MAX,
    ParquetShape,
    arrow_damage,
    open_parquet,
)
from migrate.storage.parquet.row_files import abandon_writer
from migrate.words import counted

# Below the limit of a reader, because Parquet adds lengths and levels to the values.
_WRITTEN_GROUP_BYTES_MAX = GROUP_BYTES_MAX // 8 * 7
# 1 MiB of float32, which is one data page. Written at once, not in pieces of 1,024 values as by
# default, a group takes a tenth less CPU.
_VALUES_AT_ONCE = 1 << 18

RESTORE_REMEDY = "restore the file from a copy"


@dataclass(frozen=True, slots=True)
class SnapshotRows:
    """Some consecutive rows of a snapshot."""

    first_row: int  # 0-based number in the whole snapshot
    page: Page
    digests: tuple[bytes, ...]


def cut_rows(rows: SnapshotRows, first_row: int, end_row: int) -> SnapshotRows:
    """Those of the rows that lie within `first_row` .. `end_row` - 1."""
    start = max(0, first_row - rows.first_row)
    end = min(len(rows.page), end_row - rows.first_row)
    if (start, end) == (0, len(rows.page)):
        return rows
    return SnapshotRows(
        rows.first_row + start, take_rows(rows.page, start, end), rows.digests[start:end]
    )


class PartWriter:
    """Writes one part in row groups of fixed size, whatever the size of the pages."""

    def __init__(
        self, file: BinaryIO, vectors: Sequence[VectorSpec], *, keyed: bool = False
    ) -> None:
        """`keyed`: the points have shard keys."""
        dense = [spec for spec in vectors if spec.kind is VectorKind.DENSE]
        self._writer = pq.ParquetWriter(
            file,
            part_schema(vectors, keyed=keyed),
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=["point_id"],
            use_byte_stream_split=[f"{vector_column(spec.name)}.list.element" for spec in dense],
            write_batch_size=_VALUES_AT_ONCE,
        )
        self._group = RowGroup(vectors, keyed=keyed)
        self.rows = 0

    def add(self, page: Page, digests: Sequence[bytes]) -> None:
        """Add the next points, in id order."""
        next_ = 0
        while next_ < len(page):
            next_ = self._group.add(page, digests, next_)
            if self._group.full:
                self._write_group()

    def close(self) -> None:
        """Write the remaining rows and the footer."""
        if len(self._group):
            self._write_group()
        self._writer.close()

    def abandon(self) -> None:
        """Abandon a file that will not be finished, while it is open."""
        abandon_writer(self._writer)

    def _write_group(self) -> None:
        batch = self._group.take()
        if batch.nbytes > _WRITTEN_GROUP_BYTES_MAX:
            first = batch.column("point_id")[0].as_py()
            raise PreconditionError(
                f"{counted(len(batch), 'point')} from {first} on take {batch.nbytes:,} B, at most "
                f"{_WRITTEN_GROUP_BYTES_MAX:,} are read back at once",
                remedy="shorten their payloads in the source",
            )
        self._writer.write_batch(batch, row_group_size=ROW_GROUP_ROWS)
        self.rows += len(batch)


def write_part(
    file: HashedFile, pages: Iterator[tuple[Page, list[bytes]]], vectors: Sequence[VectorSpec]
) -> tuple[int, int, str]:
    """Write the points into an open file; returns rows, bytes and SHA-256 of the part.

    The part has a column of shard keys if the points have some.
    """
    first = next(pages, None)
    keyed = first is not None and first[0].shard_keys is not None
    writer = PartWriter(file, vectors, keyed=keyed)
    try:
        for page, digests in chain([] if first is None else [first], pages):
            writer.add(page, digests)
        writer.close()
    except BaseException:
        writer.abandon()
        raise
    return writer.rows, file.bytes, file.sha256


def repair_remedy(part: PartRecord, snapshot_id: str) -> str:
    """The remedy for a part of a whole snapshot whose file is missing or changed."""
    return (
        f"`q2v snapshot --repair-part {part.ordinal} --of {snapshot_id}` reads its points from the "
        "source again; or restore the file from a copy"
    )


def read_part(
    file: StoredFile,
    part: PartRecord,
    vectors: Sequence[VectorSpec],
    *,
    with_vectors: Sequence[str],
    first_row: int,
    remedy: str = RESTORE_REMEDY,
    wanted: range | None = None,
) -> Iterator[SnapshotRows]:
    """The rows of a part, one row group at a time; pages hold the named vectors only.

    `first_row` is the number of the part's first row. Row groups without a row in `wanted` are
    skipped; None reads all. `remedy` is for a part that is damaged.

    The file is hashed and parsed through one open handle, so that both see the same file. Raises
    ArtefactDamagedError before the first row when the file does not match the manifest, or has
    a schema that q2v does not write.
    """
    specs = [spec for spec in vectors if spec.name in with_vectors]
    columns = ["point_id", "point_id_type", "payload", "irregular", "digest"]
    columns += [vector_column(spec.name) for spec in specs]
    columns.append(SHARD_KEY)  # a column that a part does not have is left out
    with _open_part(file, part, vectors, check_bytes=True, remedy=remedy) as parquet:
        for group in range(parquet.num_row_groups):
            row, end = first_row + group * ROW_GROUP_ROWS, first_row + (group + 1) * ROW_GROUP_ROWS
            if wanted is not None and (end <= wanted.start or row >= wanted.stop):
                continue
            with arrow_damage(str(file)):
                table = parquet.read_row_group(group, columns=columns, use_threads=False)
                page, digests = decode_rows(table, specs)
            yield SnapshotRows(row, page, digests)


@dataclass(frozen=True, slots=True)
class DigestedRows:
    """Some consecutive rows of a part, without their contents."""

    ids: list[str]
    digests: list[bytes]
    unreadable: list[str]  # those of the ids of which the source gave nothing else
    shard_keys: list[ShardKey]  # of every row; empty where points have none


def read_digests(
    file: StoredFile, part: PartRecord, vectors: Sequence[VectorSpec]
) -> Iterator[DigestedRows]:
    """Id, digest and shard key of every row of a part, one row group at a time.

    Checks the file's size and schema, but not its SHA-256: for parts whose bytes the same process
    has hashed, when it wrote or found them.
    """
    columns = ["point_id", "digest", "irregular", SHARD_KEY]
    remedy = "run the same command again: it reads the part from the source again"
    with _open_part(file, part, vectors, check_bytes=False, remedy=remedy) as parquet:
        for group in range(parquet.num_row_groups):
            with arrow_damage(str(file)):
                table = parquet.read_row_group(group, columns=columns, use_threads=False)
                texts, digests, irregular = (
                    table.column("point_id").to_pylist(),
                    table.column("digest").to_pylist(),
                    table.column("irregular").cast(pa.binary()).to_pylist(),
                )
                keyed = SHARD_KEY in table.column_names
                keys = table.column(SHARD_KEY).to_pylist() if keyed else []
            unreadable = [
                text for text, one in zip(texts, irregular, strict=True) if is_unreadable(one)
            ]
            yield DigestedRows(texts, digests, unreadable, keys)


@contextmanager
def _open_part(
    stored: StoredFile,
    part: PartRecord,
    vectors: Sequence[VectorSpec],
    *,
    check_bytes: bool,
    remedy: str,
) -> Iterator[pq.ParquetFile]:
    shape = ParquetShape(
        schema=part_schema(vectors),
        or_schema=part_schema(vectors, keyed=True),
        rows=part.rows,
        group_rows_max=ROW_GROUP_ROWS,
        groups_full=True,
    )
    with stored.open_to_read() as file:
        size = file.seek(0, 2)
        file.seek(0)
        if size != part.bytes or (check_bytes and hash_open_file(file)[1] != part.sha256):
            raise damaged(
                str(stored),
                f"points {part.first_id} to {part.last_id}: not the bytes of the manifest",
                remedy=remedy,
            )
        yield open_parquet(file, str(stored), shape)
