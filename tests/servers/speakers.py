"""Ports that speak something else: a banner, or nothing at all. Raw sockets on loopback."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Speaker:
    """The running port; every connection gets the banner and stays open until the end."""

    def __init__(self, banner: bytes) -> None:
        self._banner = banner
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=60)
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            with suppress(OSError):
                connection.sendall(self._banner)


@contextmanager
def speaking(banner: bytes) -> Iterator[Speaker]:
    """A port that sends the banner to everyone and answers nothing."""
    speaker = Speaker(banner)
    try:
        yield speaker
    finally:
        speaker.close()
