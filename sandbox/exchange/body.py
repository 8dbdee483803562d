"""The body of a request as it comes in."""

import hashlib

from sandbox.vectorize.ndjson import UploadParser


class Body:
    """Size and digest of a body, and its bytes if no parser reads them as they come in."""

    def __init__(self, *, bytes_max: int, hashed: bool, upload: UploadParser | None) -> None:
        self.size = 0
        self.kept = bytearray()
        self.upload = upload
        self._bytes_max = bytes_max
        self._digest = hashlib.sha256() if hashed else None

    def add(self, piece: bytes) -> None:
        """Count a piece, and keep it unless a parser reads it or the body is too large."""
        self.size += len(piece)
        if self._digest is not None:
            self._digest.update(piece)
        if self.too_large:
            self.kept.clear()  # read to its end, so that the client hears the answer
        elif self.upload is None:
            self.kept += piece

    @property
    def too_large(self) -> bool:
        """Whether the edge refuses it."""
        return self.size > self._bytes_max

    @property
    def sha256(self) -> str:
        """Hexadecimal; empty if it was not asked for."""
        return "" if self._digest is None else self._digest.hexdigest()
