"""One port for both protocols, as behind a proxy: a connection's first bytes tell them apart."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

GRPC_BEGINS = b"PRI"  # every HTTP/2 connection does


@contextmanager
def both_protocols(rest_port: int, grpc_port: int) -> Iterator[int]:
    """A port of 127.0.0.1 that passes each connection on to the one or the other."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(
            target=_accept, args=(listening, rest_port, grpc_port), daemon=True
        ).start()
        yield int(listening.getsockname()[1])
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # or the thread would wait for ever


def _accept(listening: socket.socket, rest_port: int, grpc_port: int) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        threading.Thread(
            target=_serve, args=(connection, rest_port, grpc_port), daemon=True
        ).start()


def _serve(connection: socket.socket, rest_port: int, grpc_port: int) -> None:
    begin = connection.recv(len(GRPC_BEGINS), socket.MSG_PEEK)
    port = grpc_port if begin == GRPC_BEGINS else rest_port
    with connection, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as served:
        back = threading.Thread(target=_pass_on, args=(served, connection), daemon=True)
        back.start()
        _pass_on(connection, served)
        back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
