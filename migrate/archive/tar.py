"""The tar stream of an archive, in one form only: the same members give the same bytes.

The headers are those of POSIX ustar, with a size of GNU's form from 8 GiB on. Every field but name
and size is fixed. A reader therefore does not interpret a header of unknown origin: it compares it
with the header that the name and the size call for. A link, a device, a second member of one name
or a path that leads elsewhere has no such header.
"""

import re

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
MTIME_S = 315_532_800  # 1980-01-01: tar warns of files from 1970
_MODE = 0o600
_NAME_BYTES, _PREFIX_BYTES = 100, 155
_OCTAL_SIZE_END = 8**11  # the first size that 11 octal digits do not hold
_CHECKSUM_AT = 148
_SIZE_AT, _SIZE_BYTES = 124, 12
_PREFIX_AT = 345
# Names come from counters, times and digests; a name that an option or a shell could take for
# something else is never written.
_COMPONENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def is_fit_path(path: str) -> bool:
    """Whether the path of a member is relative, plain ASCII, without `.` or `..`, and fits."""
    return all(map(_COMPONENT.fullmatch, path.split("/"))) and _split(path) is not None


def encode_header(path: str, size: int) -> bytes:
    """The block before the content of a regular file of `size` bytes.

    Raises ValueError for a path that is not fit.
    """
    split = _split(path) if is_fit_path(path) else None
    if split is None:
        raise ValueError(f"{path!r} is no path of a member")
    prefix, name = split
    fields = (
        name.encode().ljust(_NAME_BYTES, b"\0"),
        b"%07o\0" % _MODE,
        b"0000000\0" * 2,  # user and group
        _encode_size(size),
        b"%011o\0" % MTIME_S,
        b" " * 8,  # the sum counts as blanks while it is taken
        b"0",  # a regular file
        bytes(100),  # no link
        b"ustar\x0000",
        bytes(64),  # no names of user and group
        b"0000000\0" * 2,  # no device
        prefix.encode().ljust(_PREFIX_BYTES, b"\0"),
        bytes(12),
    )
    block = b"".join(fields)
    assert len(block) == BLOCK_BYTES
    checksum = b"%06o\0 " % sum(block)
    return block[:_CHECKSUM_AT] + checksum + block[_CHECKSUM_AT + len(checksum) :]


def decode_header(block: bytes) -> tuple[str, int]:
    """Path and size of a header that `encode_header` made; raises ValueError for another one."""
    try:
        name = block[:_NAME_BYTES].rstrip(b"\0").decode("ascii")
        prefix = block[_PREFIX_AT : _PREFIX_AT + _PREFIX_BYTES].rstrip(b"\0").decode("ascii")
        size = _decode_size(block[_SIZE_AT : _SIZE_AT + _SIZE_BYTES])
    except ValueError as error:
        raise ValueError("no header of tar") from error
    path = f"{prefix}/{name}" if prefix else name
    if encode_header(path, size) != block:
        raise ValueError("no header that q2v writes")
    return path, size


def padding(size: int) -> bytes:
    """The zeros after the content of a member."""
    return bytes(-size % BLOCK_BYTES)


def span(size: int) -> int:
    """Bytes of a member in the stream: header, content, padding."""
    return BLOCK_BYTES + size + -size % BLOCK_BYTES


def _encode_size(size: int) -> bytes:
    if size < _OCTAL_SIZE_END:
        return b"%011o\0" % size
    return b"\x80" + size.to_bytes(_SIZE_BYTES - 1, "big")


def _decode_size(field: bytes) -> int:
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    return int(field.rstrip(b"\0").decode("ascii"), 8)


def _split(path: str) -> tuple[str, str] | None:
    """Prefix and name of a path, the name as long as it may be; None when it does not fit."""
    if len(path) <= _NAME_BYTES:
        return "", path
    at = path.find("/", len(path) - _NAME_BYTES - 1)
    if at < 0 or at > _PREFIX_BYTES or at == len(path) - 1:
        return None
    return path[:at], path[at + 1 :]
