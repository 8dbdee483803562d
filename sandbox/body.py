"""The body of a request as it comes in: its pieces, its size and its digest."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Body:
    """Size and digest of a body; its bytes are kept elsewhere, or not at all."""

    def __init__(self, *, bytes_max: int, hashed: bool) -> None:
        self.size = 0
        self._bytes_max = bytes_max
        self._digest = hashlib.sha256() if hashed else None

    def add(self, piece: bytes) -> None:
        """Count a piece."""
        self.size += len(piece)
        if self._digest is not None:
            self._digest.update(piece)

    @property
    def too_large(self) -> bool:
        """Whether the edge refuses it."""
        return self.size > self._bytes_max

    @property
    def sha256(self) -> str:
        """Hexadecimal; empty if it was not asked for."""
        return "" if self._digest is None else self._digest.hexdigest()


async def pieces(receive: Receive) -> AsyncIterator[bytes]:
    """The body, piece by piece. Raises ConnectionResetError when the client goes away."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client went away before the end of its request")
        yield message.get("body", b"")
        more = message.get("more_body", False)
