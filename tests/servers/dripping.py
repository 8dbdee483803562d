"""A peer over a raw socket that answers one byte at a time, or never, and notes who ends it.

It speaks no protocol: the bytes come from the test. A client with a deadline hangs up while it
drips; for one without, it ends the connection itself after `DRIPS_MAX` bytes.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle

DRIP_EVERY_S = 0.05
DRIPS_MAX = 800  # 40 s: far beyond every deadline in the tests, within pytest's own time-out


@dataclass(frozen=True, kw_only=True)
class Drip:
    """What the peer does once the client has sent something."""

    at_once: bytes = b""
    then: bytes = b"x"  # again and again, byte by byte; empty: nothing
    tls: ssl.SSLContext | None = None  # the handshake is done first, as it should be


class DrippingPeer:
    """The running peer."""

    def __init__(self, drip: Drip) -> None:
        self._drip = drip
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.left_by_client = threading.Event()
        self.ran_dry = threading.Event()  # it had to end a connection itself
        self._start(self._accept)

    def close(self) -> None:
        self._stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=60)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with ExitStack() as closing:
            closing.callback(connection.close)
            with suppress(OSError):
                if self._drip.tls is not None:
                    connection = self._drip.tls.wrap_socket(connection, server_side=True)
                    closing.callback(connection.close)
                connection.recv(65536)
                connection.sendall(self._drip.at_once)
                connection.settimeout(DRIP_EVERY_S)
            if self._drips(connection):
                self.ran_dry.set()
            else:
                self.left_by_client.set()

    def _drips(self, connection: socket.socket) -> bool:
        """Whether all drips fell; False when the client has left before."""
        bytes_ = cycle(self._drip.then) if self._drip.then else None
        for _ in range(DRIPS_MAX):
            if self._stop.is_set():
                return False
            try:
                if bytes_ is not None:
                    connection.sendall(bytes([next(bytes_)]))
                if not connection.recv(65536):
                    return False
            except TimeoutError:
                continue
            except OSError:
                return False
        return True


@contextmanager
def dripping(drip: Drip) -> Iterator[DrippingPeer]:
    """A peer on an ephemeral loopback port until the block ends."""
    peer = DrippingPeer(drip)
    try:
        yield peer
    finally:
        peer.close()


@contextmanager
def hung_port() -> Iterator[int]:
    """A port whose connections are never completed: its queue is full and stays full."""
    with ExitStack() as held, socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port: int = listener.getsockname()[1]
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", port))
        yield port
