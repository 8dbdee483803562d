"""Ports that speak something else: a banner, or nothing at all. Raw sockets on loopback."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TLS_HANDSHAKE = b"\x16"  # the first byte of it


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


class PageOrTls:
    """A port with TLS that answers plain HTTP with a page, as common proxies do."""

    def __init__(self, page: bytes, context: ssl.SSLContext) -> None:
        self._page, self._context = page, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=60)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(60)
                if connection.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE:
                    self._context.wrap_socket(connection, server_side=True).close()
                    continue
                connection.recv(65536)
                head = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
                connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(self._page))
                connection.sendall(self._page)


@contextmanager
def page_or_tls(page: bytes, certificate: Path) -> Iterator[PageOrTls]:
    """Such a port until the block ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = PageOrTls(page, context)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def speaking(banner: bytes) -> Iterator[Speaker]:
    """A port that sends the banner to everyone and answers nothing."""
    speaker = Speaker(banner)
    try:
        yield speaker
    finally:
        speaker.close()
