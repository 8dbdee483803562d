"""Read the headers of the pages of a Parquet column, before a value is decoded.

A reader allocates memory by the headers of the pages, not by the footer: a footer may say 1 kB and
a page 2 GB. Arrow neither compares the two nor shows the pages in its metadata, so the
headers are read here: a few numbers each, in Thrift's compact protocol, everything else skipped.

The digest of a file does not replace this check: without a key for seals, another writer can put a
matching digest into the manifest (fault matrix X10).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

HEADER_BYTES_MAX = 4 * 1024  # those of q2v have 20 to 200: they hold at most two ids
_DATA_PAGE, _DATA_PAGE_V2 = 0, 3
_DATA_HEADER = {_DATA_PAGE: 5, _DATA_PAGE_V2: 8}  # type of page -> field that holds its header
_ENCODING_FIELD = {_DATA_PAGE: 2, _DATA_PAGE_V2: 4}
_DEPTH_MAX = 8
_VARINT_BYTES_MAX = 10
_CUT_OFF = "a page header that does not end"


class _Kind(IntEnum):
    """Types of the compact protocol; page headers hold no lists, sets and maps."""

    STOP = 0
    TRUE = 1  # a boolean field is its type
    FALSE = 2
    BYTE = 3
    I16 = 4
    I32 = 5
    I64 = 6
    DOUBLE = 7
    BINARY = 8
    STRUCT = 12


_DOUBLE_BYTES = 8

_Fields = dict[int, object]  # number of a field -> integer or fields; other types are left out


@dataclass(frozen=True, slots=True)
class DataPage:
    """One page of a column chunk, as its header declares it."""

    header_bytes: int
    uncompressed_bytes: int
    compressed_bytes: int
    values: int  # nulls and empty lists included
    encoding: int  # number of the encoding in Parquet's list


def read_pages(file: BinaryIO, start: int, end: int) -> Iterator[DataPage]:
    """The pages between two offsets of a file, in order; seeks, and reads the headers only.

    Raises ValueError for anything but data pages that fill the space exactly; a dictionary page
    is none.
    """
    while start < end:
        file.seek(start)
        reader = _CompactReader(file.read(min(HEADER_BYTES_MAX, end - start)))
        page = _data_page(reader.read_struct(), reader.position)
        yield page
        start += page.header_bytes + page.compressed_bytes
    if start != end:
        raise ValueError("its last page reaches beyond its column")


def _data_page(fields: _Fields, header_bytes: int) -> DataPage:
    kind = _number(fields.get(1))
    if kind not in _DATA_HEADER:
        raise ValueError(f"a page of type {kind}, only data pages are written")
    header = fields.get(_DATA_HEADER[kind])
    if not isinstance(header, dict):
        raise ValueError("a data page without its header")  # noqa: TRY004 - bad data, not a bug
    return DataPage(
        header_bytes=header_bytes,
        uncompressed_bytes=_number(fields.get(2)),
        compressed_bytes=_number(fields.get(3)),
        values=_number(header.get(1)),
        encoding=_number(header.get(_ENCODING_FIELD[kind])),
    )


def _number(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a page header without one of its numbers")
    return value


class _CompactReader:
    """Reads one struct in Thrift's compact protocol from bytes that may be hostile."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0  # bytes read so far

    def read_struct(self, depth: int = 0) -> _Fields:
        """The struct's integers and inner structs by field number. Raises ValueError."""
        if depth > _DEPTH_MAX:
            raise ValueError("a page header nested too deeply")
        fields: _Fields = {}
        number = 0
        while (head := self._byte()) & 0x0F != _Kind.STOP:
            delta = head >> 4
            number = number + delta if delta else self._zigzag()
            value = self._read_value(head & 0x0F, depth)
            if value is not None:
                fields[number] = value
        return fields

    def _read_value(self, kind: int, depth: int) -> object:
        match kind:
            case _Kind.I16 | _Kind.I32 | _Kind.I64:
                return self._zigzag()
            case _Kind.STRUCT:
                return self.read_struct(depth + 1)
            case _Kind.TRUE | _Kind.FALSE:
                return None
            case _:
                self._skip(kind)
                return None

    def _skip(self, kind: int) -> None:
        match kind:
            case _Kind.BYTE:
                self._take(1)
            case _Kind.DOUBLE:
                self._take(_DOUBLE_BYTES)
            case _Kind.BINARY:
                self._take(self._varint())
            case _:
                raise ValueError(f"a page header with a field of type {kind}")

    def _byte(self) -> int:
        try:
            byte = self._content[self.position]
        except IndexError:
            raise ValueError(_CUT_OFF) from None
        self.position += 1
        return byte

    def _take(self, count: int) -> bytes:
        taken = self._content[self.position : self.position + count]
        if len(taken) != count:
            raise ValueError(_CUT_OFF)
        self.position += count
        return taken

    def _varint(self) -> int:
        value = 0
        for place in range(_VARINT_BYTES_MAX):
            byte = self._byte()
            value |= (byte & 0x7F) << (7 * place)
            if not byte & 0x80:
                return value
        raise ValueError("a number that does not end")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
