"""Open a Parquet file only if it needs no more memory than a file that q2v wrote.

A digest does not protect against a change of both the file and its manifest. The shape is therefore
checked as well, before a value is decoded: columns, types, rows, row groups, encodings, and
the sizes that the footer and every page header declare.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from migrate.model.sealed_json import damaged
from migrate.storage.parquet.pages import read_pages
from migrate.words import counted

# The values of one row group, decoded. 1,000 rows of 65,536 float32 values are a quarter of it.
GROUP_BYTES_MAX = 1024 * 1024 * 1024
FOOTER_BYTES_MAX = 16 * 1024 * 1024  # about 200 B per column and row group
_MAGIC = b"PAR1"
_TAIL_BYTES = 8  # length of the footer, and the magic
_ARROW_SCHEMA = b"ARROW:schema"
_STRING_FIELD = 0x18  # Thrift: the next field, a string
_EXTENSION = b"ARROW:extension"
_ENCODINGS = {"PLAIN", "RLE", "BYTE_STREAM_SPLIT"}  # none can expand a small file into a large one
_PAGE_ENCODINGS = {0, 3, 9}  # the same as numbers in page headers
_SHOWN_MAX = 1000  # characters of unexpected columns in a message
_VALUE_BYTES_MIN = 4  # of a value inside a list: float32 or uint32


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetShape:
    """The shape of a Parquet file that q2v writes."""

    schema: pa.Schema
    or_schema: pa.Schema | None = None  # another one that it may have
    rows: int | None  # None: not known beforehand
    group_rows_max: int
    groups_full: bool  # every row group but the last holds group_rows_max


@contextmanager
def arrow_damage(where: str) -> Iterator[None]:
    """Translate Arrow's errors about the content; errors of the disk are raised unchanged."""
    try:
        yield
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise damaged(where, f"its content cannot be decoded ({error})") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise damaged(where, f"its content cannot be decoded ({error})") from error


def open_parquet(file: BinaryIO, where: str, shape: ParquetShape) -> pq.ParquetFile:
    """The reader of an open file that has this shape. `where` is for messages.

    Raises ArtefactDamagedError for any other file. Needs no more memory than its footer.
    """
    try:
        size = _check_footer(file)
        with arrow_damage(where):
            parquet = pq.ParquetFile(file, pre_buffer=False)
        _check_schema(parquet, shape)
        _check_rows(parquet.metadata, shape)
        for ordinal in range(parquet.num_row_groups):
            _check_group(file, parquet.metadata.row_group(ordinal), ordinal, size)
    except ValueError as error:
        raise damaged(where, f"no file that q2v wrote: {error}") from error
    return parquet


def _check_footer(file: BinaryIO) -> int:
    """Size of the file. Raises ValueError for a large footer or one with extension types."""
    size = file.seek(0, 2)
    if size < len(_MAGIC) + _TAIL_BYTES:
        raise ValueError("too short for Parquet")
    file.seek(size - _TAIL_BYTES)
    tail = file.read(_TAIL_BYTES)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > min(FOOTER_BYTES_MAX, size - len(_MAGIC) - _TAIL_BYTES):
        raise ValueError(f"a footer of {length:,} B")
    file.seek(size - _TAIL_BYTES - length)
    _check_no_extension_type(file.read(length))
    file.seek(0)
    return size


def _check_no_extension_type(footer: bytes) -> None:
    """Raises ValueError for extension types, which Arrow would load while it opens the file."""
    start = footer.find(_ARROW_SCHEMA)
    while start >= 0:
        position = start + len(_ARROW_SCHEMA)
        if footer[position : position + 1] != bytes([_STRING_FIELD]):
            raise ValueError("a schema that is no text")
        length, position = _varint(footer, position + 1)
        if _EXTENSION in base64.b64decode(footer[position : position + length]):
            raise ValueError("a column of an extension type")
        start = footer.find(_ARROW_SCHEMA, position + length)


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(content[position : position + 5]):
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return value, position + place + 1
    raise ValueError("a number that does not end")


def _check_schema(parquet: pq.ParquetFile, shape: ParquetShape) -> None:
    found, schema, other = parquet.schema_arrow, shape.schema, shape.or_schema
    if other is not None and found.equals(other) and found.metadata == other.metadata:
        return
    if not found.equals(schema) or found.metadata != schema.metadata:
        raise ValueError(f"columns {_columns(found)}, expected {_columns(schema)}")


def _columns(schema: pa.Schema) -> str:
    text = ", ".join(f"{field.name[:80]!r} {field.type}"[:160] for field in schema)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def _check_rows(metadata: pq.FileMetaData, shape: ParquetShape) -> None:
    if shape.rows is not None and metadata.num_rows != shape.rows:
        raise ValueError(f"{counted(metadata.num_rows, 'row')}, {shape.rows:,} expected")
    groups = [metadata.row_group(ordinal).num_rows for ordinal in range(metadata.num_row_groups)]
    if sum(groups) != metadata.num_rows:
        found = counted(sum(groups), "row")
        raise ValueError(f"{found} in row groups, {metadata.num_rows:,} in the footer")
    if any(not 0 < rows <= shape.group_rows_max for rows in groups):
        most = counted(max(groups), "row")
        raise ValueError(f"a row group of {most}, at most {shape.group_rows_max:,}")
    if shape.groups_full and any(rows != shape.group_rows_max for rows in groups[:-1]):
        raise ValueError("a row group that is not full")


def _check_group(file: BinaryIO, group: pq.RowGroupMetaData, ordinal: int, file_bytes: int) -> None:
    chunks = [group.column(column) for column in range(group.num_columns)]
    total = sum(chunk.total_uncompressed_size for chunk in chunks)
    if not 0 <= total <= GROUP_BYTES_MAX:
        raise ValueError(f"row group {ordinal} of {total:,} B, at most {GROUP_BYTES_MAX:,}")
    for chunk in chunks:
        try:
            _check_chunk(file, chunk, group.num_rows, file_bytes)
        except ValueError as error:
            column = f"column {chunk.path_in_schema[:80]!r} of row group {ordinal}"
            raise ValueError(f"{column}: {error}") from error


def _check_chunk(file: BinaryIO, chunk: pq.ColumnChunkMetaData, rows: int, file_bytes: int) -> None:
    """Check that the pages of a column have the sizes and encodings that the footer names."""
    if chunk.has_dictionary_page or not set(chunk.encodings) <= _ENCODINGS:
        raise ValueError(f"encodings {sorted(set(chunk.encodings))}")
    # An entry is a value of four bytes or more, or stands for a row that has none.
    if (
        not 0
        <= chunk.num_values
        <= rows + max(0, chunk.total_uncompressed_size) // _VALUE_BYTES_MIN
    ):
        found = counted(chunk.num_values, "value")
        raise ValueError(f"{found} in {chunk.total_uncompressed_size:,} B")
    start, length = chunk.data_page_offset, chunk.total_compressed_size
    if start < len(_MAGIC) or length < 0 or start + length > file_bytes:
        raise ValueError("pages outside the file")
    values = uncompressed = 0
    for page in read_pages(file, start, start + length):
        values += page.values
        uncompressed += page.header_bytes + page.uncompressed_bytes
        if page.encoding not in _PAGE_ENCODINGS:
            raise ValueError(f"a page of encoding {page.encoding}")
    if (values, uncompressed) != (chunk.num_values, chunk.total_uncompressed_size):
        raise ValueError(
            f"pages of {counted(values, 'value')} in {uncompressed:,} B, the footer says "
            f"{chunk.num_values:,} in {chunk.total_uncompressed_size:,}"
        )
