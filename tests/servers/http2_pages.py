"""A server of HTTP/2 that answers every call with a page, as a proxy in front of gRPC does."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived
from h2.exceptions import ProtocolError

Headers = Sequence[tuple[str, str]]


class Http2Pages:
    """The running server."""

    def __init__(self, headers: Headers, body: bytes, trailers: Headers) -> None:
        self._answer = headers, body, trailers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self.calls = 0
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def close(self) -> None:
        for connection in [self._listener, *self._open]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
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
            self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        http2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        http2.initiate_connection()
        with connection, suppress(OSError, ProtocolError):
            connection.sendall(http2.data_to_send())
            while data := connection.recv(65536):
                for event in http2.receive_data(data):
                    if isinstance(event, RequestReceived):
                        self.calls += 1
                        self._send_page(http2, event.stream_id)
                connection.sendall(http2.data_to_send())

    def _send_page(self, http2: H2Connection, stream: int) -> None:
        headers, body, trailers = self._answer
        http2.send_headers(stream, list(headers), end_stream=not body and not trailers)
        if body:
            http2.send_data(stream, body, end_stream=not trailers)
        if trailers:
            http2.send_headers(stream, list(trailers), end_stream=True)


@contextmanager
def http2_pages(
    status: int, *, headers: Headers = (), body: bytes = b"", trailers: Headers = ()
) -> Iterator[Http2Pages]:
    """Serve that answer on an ephemeral loopback port until the block ends."""
    server = Http2Pages([(":status", str(status)), *headers], body, trailers)
    try:
        yield server
    finally:
        server.close()
