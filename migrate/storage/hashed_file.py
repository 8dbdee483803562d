"""Files that are hashed while they are written, and the hash of an open file."""

import hashlib
import io
from typing import BinaryIO

from typing_extensions import Buffer, override

from migrate.errors import PreconditionError

_READ_BYTES = 1 << 20
_GATHERED_BYTES = 1 << 16  # of small writes; what is longer goes to the file without a copy


class HashedFile(io.BufferedWriter):
    """A file that is written from its start to its end, and hashed on the way."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__(raw, _GATHERED_BYTES)
        self._digest = hashlib.sha256()
        self.bytes = 0

    @override
    def write(self, content: Buffer, /) -> int:
        """Write and hash all of the content; returns its number of bytes."""
        self._digest.update(content)
        written = super().write(content)
        self.bytes += written
        return written

    @property
    def sha256(self) -> str:
        """SHA-256 of everything written so far, in hex."""
        return self._digest.hexdigest()


def hash_open_file(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and SHA-256 (hex) of the rest of an open file."""
    digest, size = hashlib.sha256(), 0
    while block := file.read(_READ_BYTES):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def check_same_bytes(where: str, written: HashedFile, found: tuple[int, str]) -> None:
    """Raises PreconditionError unless size and SHA-256 of the file found are those written."""
    if found != (written.bytes, written.sha256):
        raise PreconditionError(
            f"{where} exists with other content: its sha256 is {found[1]}, "
            f"{written.sha256} was to be written",
            remedy="find out what wrote it: another q2v, or another version, works on the same "
            "snapshot; nothing was replaced",
        )
