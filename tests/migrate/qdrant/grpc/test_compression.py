"""What a server packs is what the client offers: nothing, unless the setting says gzip.

The servers pack like a real one. The bytes are counted on the wire, between client and server.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from migrate.clock import SystemClock
from migrate.model.choices import Compression, TransportChoice
from migrate.model.records import Page
from migrate.ports import PointSource
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerOptions
from tests.servers.counting_relay import counting_relay
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server

TEXT = "the same words again and again " * 400
POINTS = 30


def stored() -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"},
        points=[StoredPoint(n, {"": [0.1, n + 0.5]}, {"text": TEXT}) for n in range(POINTS)],
    )


@contextmanager
def served(transport: TransportChoice) -> Iterator[int]:
    """The port of a server of that protocol."""
    if transport == "grpc":
        with grpc_server(stored()) as calls:
            yield calls.port
    else:
        with rest_server(stored()) as requests:
            yield requests.port


def open_source(url: str, transport: TransportChoice, compression: Compression) -> PointSource:
    return open_server_source(
        url,
        collection="chunks",
        api_key=None,
        transport=transport,
        clock=SystemClock(),
        options=ServerOptions(compression=compression),
    )


def read(transport: TransportChoice, compression: Compression) -> tuple[Page, int]:
    """All points, and the bytes that came over the wire for them."""
    with served(transport) as port, counting_relay(port) as relay:
        source = open_source(f"http://127.0.0.1:{relay.port}", transport, compression)
        with closing(source):
            return source.read_points(None, limit=POINTS), relay.answer_bytes


@pytest.mark.fault("F26")
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_nothing_is_packed_unless_it_is_asked_for(transport: TransportChoice) -> None:
    plain, plain_bytes = read(transport, "identity")
    packed, packed_bytes = read(transport, "gzip")

    assert len(plain) == len(packed) == POINTS
    assert plain.payloads == packed.payloads
    assert plain_bytes > POINTS * len(TEXT)
    assert packed_bytes < plain_bytes / 10


@pytest.mark.fault("F26")
def test_the_header_of_rest_says_what_the_setting_says() -> None:
    choices: tuple[Compression, ...] = ("identity", "gzip")
    for compression in choices:
        with rest_server(stored()) as server:
            source = open_source(server.url, "rest", compression)
            with closing(source):
                source.count_points()

        assert {compression} == {headers["accept-encoding"] for headers in server.headers}
