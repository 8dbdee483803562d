"""A small HTTP server over real sockets that answers as the test says, and remembers the requests.

It knows nothing of any API. One step is played per request, in order; the last step stays.
"""

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate

TRICKLE_PAUSE_S = 0.02  # between two pieces of an answer that has no end, or not for long
POLL_S = 0.05  # how soon a waiting thread sees that the test is over
HANG_S_MAX = 10.0  # a client that never gives up fails its test, not the whole run


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request as it arrived."""

    method: str
    target: str  # path and query, not decoded
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    body_bytes: int
    body_sha256: str

    def json(self) -> object:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer. `body` may be shorter or longer than `content_length` says."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_length: int | None = None
    cut_after_bytes: int | None = None  # of head and body; then the connection is reset
    trickle: bool = False  # one byte at a time, slowly
    endless: bool = False  # repeats the body for ever, without a length


@dataclass(frozen=True)
class CutBeforeBody:
    """Reads the head of the request, then resets the connection."""


@dataclass(frozen=True)
class CutAfterRequest:
    """Takes the whole request, then resets the connection without an answer."""


@dataclass(frozen=True)
class Hang:
    """Takes the whole request and never answers."""


@dataclass(frozen=True)
class NeverRead:
    """Reads the head and no byte of the body."""


Step = Reply | CutBeforeBody | CutAfterRequest | Hang | NeverRead
Script = Sequence[Step] | Callable[[Seen], Step]


def envelope(result: object, **more: object) -> Reply:
    """A success as the API wraps it."""
    body = {"success": True, "errors": [], "messages": [], "result": result, **more}
    return Reply(body=json.dumps(body).encode())


def failure(status: int, *errors: tuple[int, str], **headers: str) -> Reply:
    """A failure as the API wraps it; header names with `_` for `-`."""
    listed = [{"code": code, "message": message} for code, message in errors]
    body = {"success": False, "errors": listed, "messages": [], "result": None}
    return Reply(
        status=status,
        body=json.dumps(body).encode(),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


class ScriptedServer:
    """The running server."""

    def __init__(self, script: Script, context: ssl.SSLContext | None, keep_bodies: bool) -> None:
        self._script = script
        self._context = context
        self._keep_bodies = keep_bodies
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self.requests: list[Seen] = []
        self.connections = 0
        scheme = "http" if context is None else "https"
        self.port: int = self._listener.getsockname()[1]
        self.base_url = f"{scheme}://127.0.0.1:{self.port}/client/v4"
        self._start(self._accept)

    def close(self) -> None:
        self._stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=HANG_S_MAX)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ConnectionError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            connection.settimeout(POLL_S)
            while self._serve_one(connection):
                pass
        self._open.discard(connection)
        with suppress(OSError):
            connection.close()

    def _serve_one(self, connection: socket.socket) -> bool:
        """Whether the connection goes on."""
        head, rest = self._read_until(connection, b"\r\n\r\n")
        if not head:
            return False
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines[1:])
        }
        size = int(headers.get("content-length", "0"))
        step = None if callable(self._script) else self._next_step()
        seen = Seen(
            method=method, target=target, headers=headers, body=b"", body_bytes=0, body_sha256=""
        )
        if isinstance(step, CutBeforeBody | NeverRead):
            self._note(seen)
            if isinstance(step, NeverRead):
                self._stop.wait(HANG_S_MAX)
            return _reset(connection)
        seen = self._read_body(connection, seen, rest, size)
        self._note(seen)
        if step is None:
            assert callable(self._script)
            step = self._script(seen)
        return self._play(connection, step)

    def _next_step(self) -> Step:
        assert not callable(self._script)
        with self._lock:
            return self._script[min(len(self.requests), len(self._script) - 1)]

    def _note(self, seen: Seen) -> None:
        with self._lock:
            self.requests.append(seen)

    def _read_until(self, connection: socket.socket, end: bytes) -> tuple[bytes, bytes]:
        held = b""
        while end not in held:
            piece = self._receive(connection)
            if not piece:
                return b"", b""
            held += piece
        head, _, rest = held.partition(end)
        return head, rest

    def _receive(self, connection: socket.socket) -> bytes:
        """The next bytes; empty at the end, also at the end of the test."""
        while not self._stop.is_set():
            try:
                return connection.recv(1 << 20)
            except TimeoutError:
                continue
        return b""

    def _read_body(self, connection: socket.socket, seen: Seen, rest: bytes, size: int) -> Seen:
        digest, count, kept = hashlib.sha256(rest), len(rest), [rest]
        while count < size:
            piece = self._receive(connection)
            if not piece:
                raise ConnectionError("the client left")
            digest.update(piece)
            count += len(piece)
            if self._keep_bodies:
                kept.append(piece)
        return Seen(
            method=seen.method,
            target=seen.target,
            headers=seen.headers,
            body=b"".join(kept),
            body_bytes=count,
            body_sha256=digest.hexdigest(),
        )

    def _play(self, connection: socket.socket, step: Step) -> bool:
        if isinstance(step, Hang):
            self._stop.wait(HANG_S_MAX)
            return False
        if not isinstance(step, Reply):
            return _reset(connection)
        length = len(step.body) if step.content_length is None else step.content_length
        headers = {
            "Date": formatdate(usegmt=True),
            "Content-Type": "application/json",
            **({"Connection": "close"} if step.endless else {"Content-Length": str(length)}),
            **step.headers,
        }
        lines = [f"HTTP/1.1 {step.status} Scripted", *(f"{k}: {v}" for k, v in headers.items())]
        data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + step.body
        connection.settimeout(HANG_S_MAX)
        if step.trickle:
            for byte in data:
                connection.sendall(bytes([byte]))
                if self._stop.wait(TRICKLE_PAUSE_S):
                    return False
        elif step.cut_after_bytes is not None:
            connection.sendall(data[: step.cut_after_bytes])
            return False
        else:
            connection.sendall(data)
        while step.endless and not self._stop.wait(TRICKLE_PAUSE_S):
            connection.sendall(step.body)
        connection.settimeout(POLL_S)
        return length == len(step.body)


def _reset(connection: socket.socket) -> bool:
    """Close with a reset instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return False


@contextmanager
def running_script(
    script: Script, *, context: ssl.SSLContext | None = None, keep_bodies: bool = True
) -> Iterator[ScriptedServer]:
    """Serve the script on an ephemeral loopback port until the block ends."""
    server = ScriptedServer(script, context, keep_bodies)
    try:
        yield server
    finally:
        server.close()
