"""What ASGI asks of the app: bodies that come in pieces, lifespan, connections torn down."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CUT_EXTENSION = "sandbox.cut"  # the server's way to tear a connection down


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


async def cut(scope: Scope, receive: Receive) -> None:
    """Tear the connection down without an answer."""
    extension = scope.get("extensions", {}).get(CUT_EXTENSION)
    if extension is None:
        raise ConnectionResetError("the stand-in cut the connection")
    extension["tear_down"]()
    while (await receive())["type"] != "http.disconnect":
        pass


async def answer_lifespan(receive: Receive, send: Send) -> None:
    """Agree to begin and to end."""
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})
