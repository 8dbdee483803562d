"""What a source does when the server, the line or the answer is bad: one rule over both protocols.

Real sockets. What only one protocol knows is in `test_rest_faults.py` and `test_grpc_faults.py`.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import grpc
import pytest

from migrate.errors import (
    AccessError,
    ArtefactDamagedError,
    BudgetExhaustedError,
    PreconditionError,
    RemoteUnavailableError,
)
from migrate.model.records import PointId
from migrate.ports import PointSource
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.grpc.source import GrpcSource
from migrate.qdrant.rest.source import RestSource
from migrate.qdrant.retry import RETRY_AFTER_S_MAX
from migrate.qdrant.source import ServerOptions
from tests.harness.fakes.clock import VirtualClock
from tests.servers.qdrant_grpc import Abort, GrpcServer, Raw, grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import Answer, Bend, Cut, RestServer, rest_server

KEY = "s3cret-key-0123456789"
ATTEMPTS_MAX = 4
QUICK = ServerOptions(attempts_max=ATTEMPTS_MAX)
ASSETS = Path(__file__).parents[2] / "assets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """One protocol: its server, its source, and its words for the same things."""

    serve: Callable[..., AbstractContextManager[Any]]
    source: type[RestSource | GrpcSource]
    passing: Mapping[str, Any]  # faults after which the same request may succeed, by name
    busy: Callable[[Mapping[str, str]], Any]  # an answer that asks to wait, with these headers
    page_request: str  # as the server notes it
    count_request: str
    wrong_key: str  # what the message calls it
    unreachable: str
    sent: Callable[[Any], list[Mapping[str, str]]]  # headers of every request, in lower case


def _rest_sent(server: RestServer) -> list[Mapping[str, str]]:
    return server.headers


def _grpc_sent(server: GrpcServer) -> list[Mapping[str, str]]:
    return server.metadata


def _too_many_calls(headers: Mapping[str, str]) -> Abort:
    lower = {name.lower(): value for name, value in headers.items()}
    return Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Rate limiting", lower, method="Count")


REST = Transport(
    serve=rest_server,
    source=RestSource,
    passing={
        **{f"status {code}": Answer(code) for code in (408, 500, 502, 503, 504, 520, 524, 526)},
        "status 429": Answer(429),
        "cut before the body": Cut(0),
        "cut within the body": Cut(20),
        "truncated json": Bend(lambda body: body[: len(body) // 2]),
        "empty body": Bend(lambda _: b""),
        "html": Bend(lambda _: b"<html><body>maintenance</body></html>"),
        "byte order mark": Bend(lambda body: b"\xef\xbb\xbf" + body),
        "wrong type": Bend(lambda _: b'{"result":[],"status":"ok","time":0}'),
        "no points": Bend(lambda _: b'{"result":{"points":null},"status":"ok","time":0}'),
        "point without id": Bend(
            lambda _: b'{"result":{"points":[{"payload":{}}]},"status":"ok","time":0}'
        ),
        "id of no kind": Bend(lambda body: body.replace(b'"id":0', b'"id":"zero"')),
        "payload of no kind": Bend(lambda body: body.replace(b'{"n": 0}', b"[0]")),
        "invalid utf-8": Bend(lambda body: body.replace(b'"n"', b'"\xff"')),
        "broken gzip": Bend(lambda body: body, headers={"Content-Encoding": "gzip"}),
        "empty page before the end": Bend(
            lambda _: b'{"result":{"points":[],"next_page_offset":7},"status":"ok","time":0}'
        ),
        "no content": Answer(204, body=b""),
    },
    busy=lambda headers: Answer(429, headers=dict(headers)),
    page_request="scroll",
    count_request="count",
    wrong_key="401",
    unreachable="cannot be reached",
    sent=_rest_sent,
)
GRPC = Transport(
    serve=grpc_server,
    source=GrpcSource,
    passing={
        **{
            code.name: Abort(code)
            for code in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.INTERNAL,
                grpc.StatusCode.UNKNOWN,
                grpc.StatusCode.ABORTED,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            )
        },
        "garbage": Raw(b"\xff\xff\xff\xff<html>"),
        "empty page before the end": Raw(b"\x0a\x02\x08\x07"),  # next_page_offset: 7, no points
        "point without id": Raw(b"\x12\x00"),
    },
    busy=_too_many_calls,
    page_request="/qdrant.Points/Scroll",
    count_request="/qdrant.Points/Count",
    wrong_key="UNAUTHENTICATED",
    unreachable="UNAVAILABLE",
    sent=_grpc_sent,
)
TRANSPORTS = {"rest": REST, "grpc": GRPC}
OF_ONE_POINT = {"payload of no kind", "invalid utf-8"}  # an answer with ids alone has no payload
FAULTS = [
    pytest.param(transport, fault, id=f"{protocol}-{name}")
    for protocol, transport in TRANSPORTS.items()
    for name, fault in transport.passing.items()
]
LASTING_FAULTS = [
    pytest.param(transport, fault, id=f"{protocol}-{name}")
    for protocol, transport in TRANSPORTS.items()
    for name, fault in transport.passing.items()
    if name not in OF_ONE_POINT
]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Transport:
    return TRANSPORTS[request.param]


def stored(count: int = 3) -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"},
        points=[StoredPoint(n, {"": [0.1, n + 0.5]}, {"n": n}) for n in range(count)],
    )


@contextmanager
def reading(
    transport: Transport,
    url: str,
    *,
    clock: VirtualClock | None = None,
    options: ServerOptions = QUICK,
    api_key: str | None = None,
    collection: str = "chunks",
) -> Iterator[PointSource]:
    """A source of that protocol; its waits take no time."""
    with closing(
        transport.source(
            ServerAddress.parse(url),
            collection=collection,
            api_key=api_key,
            clock=clock or VirtualClock(),
            options=options,
        )
    ) as source:
        yield source


@pytest.mark.parametrize(("transport", "fault"), FAULTS)
@pytest.mark.fault("N04", "N05", "N08", "S04")
def test_a_passing_fault_is_read_again(transport: Transport, fault: Any) -> None:
    with transport.serve(stored()) as server, reading(transport, server.url) as source:
        source.read_collection()
        server.faults.append(fault)
        page = source.read_points(None, limit=10)

    assert [point.key for point in stored().points] == list(page.ids)
    assert not server.faults


@pytest.mark.parametrize(("transport", "fault"), LASTING_FAULTS)
@pytest.mark.fault("N04", "N05", "N08")
def test_a_lasting_fault_ends_within_the_attempts(transport: Transport, fault: Any) -> None:
    clock = VirtualClock()
    with (
        transport.serve(stored()) as server,
        reading(transport, server.url, clock=clock) as source,
    ):
        source.read_collection()
        server.faults.extend([fault] * 20)
        with pytest.raises(RemoteUnavailableError, match="given up after 4 attempts"):
            source.read_points(None, limit=10)

    assert len(clock.waits) == ATTEMPTS_MAX - 1
    requests = [one for one in server.collection.requests if transport.page_request in one]
    assert len(requests) == ATTEMPTS_MAX


@pytest.mark.fault("S03")
def test_a_limit_of_strict_mode_is_found_and_remembered(transport: Transport) -> None:
    collection = stored(40)
    collection.max_query_limit = 6
    heard: list[str] = []
    options = ServerOptions(attempts_max=1, say=heard.append)
    with (
        transport.serve(collection) as server,
        reading(transport, server.url, options=options) as source,
    ):
        ids = source.read_ids(None, limit=40)
        first = source.read_points(None, limit=40)
        again = source.read_points(first.ids[-1].successor(), limit=40)

    assert (len(ids), len(first), len(again)) == (5, 5, 5)
    assert collection.limits == [40, 20, 10, 5] * 2 + [5]
    assert "Limit exceeded 40 > 6" in heard[0]


RETRY_AFTER: dict[str, tuple[dict[str, str], float]] = {
    "seconds": ({"Retry-After": "17"}, 17.0),
    "the most": ({"Retry-After": "600"}, 600.0),
    "date": (
        {
            "Date": formatdate(1_000_000, usegmt=True),
            "Retry-After": formatdate(1_000_042, usegmt=True),
        },
        42.0,
    ),
}


@pytest.mark.parametrize("case", RETRY_AFTER)
@pytest.mark.fault("N01")
def test_a_stated_wait_is_honoured_in_full(transport: Transport, case: str) -> None:
    headers, wait_s = RETRY_AFTER[case]
    clock = VirtualClock()
    with (
        transport.serve(stored()) as server,
        reading(transport, server.url, clock=clock) as source,
    ):
        server.faults.append(transport.busy(headers))
        assert source.count_points() == 3

    assert [wait_s] == clock.waits


@pytest.mark.parametrize("text", ["0", "-5", "soon", "", "1.5", formatdate(1, usegmt=True)])
@pytest.mark.fault("N01", "N02")
def test_a_useless_wait_becomes_our_own_back_off(transport: Transport, text: str) -> None:
    clock = VirtualClock()
    with (
        transport.serve(stored()) as server,
        reading(transport, server.url, clock=clock) as source,
    ):
        server.faults.extend([transport.busy({"Retry-After": text}), transport.busy({})])
        source.count_points()

    first, second = clock.waits
    assert 2.5 <= first <= 5
    assert 5 <= second <= 10


@pytest.mark.parametrize(
    "text", ["601", "9" * 30, formatdate(1_700_000_000 + 700, usegmt=True)], ids=str
)
@pytest.mark.fault("N01")
def test_a_wait_beyond_the_bound_stops_the_run(transport: Transport, text: str) -> None:
    clock = VirtualClock()
    date = {"Date": formatdate(1_700_000_000, usegmt=True)}
    with (
        transport.serve(stored()) as server,
        reading(transport, server.url, clock=clock) as source,
    ):
        server.faults.append(transport.busy({"Retry-After": text, **date}))
        bound = f"at most {RETRY_AFTER_S_MAX:.0f} s"
        with pytest.raises(BudgetExhaustedError, match=bound) as caught:
            source.count_points()

    assert "601" not in text or "asks to wait 601 s" in str(caught.value)
    assert clock.waits == []


@pytest.mark.fault("N11", "X01")
def test_a_wrong_key_stops_at_once_and_is_not_shown(transport: Transport) -> None:
    clock = VirtualClock()
    with transport.serve(stored(), api_key="the right one") as server:
        for method in ("read_collection", "count_points"):
            with reading(transport, server.url, api_key=KEY, clock=clock) as source:
                with pytest.raises(AccessError, match=transport.wrong_key) as caught:
                    getattr(source, method)()
                assert KEY not in repr(caught.value) + caught.value.remedy + repr(source)

    assert clock.waits == []
    requests = [one for one in server.collection.requests if transport.count_request in one]
    assert len(requests) == 1


@pytest.mark.fault("X01", "X12")
def test_the_key_travels_in_its_header_only(transport: Transport) -> None:
    with (
        transport.serve(stored(), api_key=KEY) as server,
        reading(transport, server.url, api_key=KEY) as source,
    ):
        source.read_collection()
        source.read_points(None, limit=5)

    sent = transport.sent(server)
    assert {KEY} == {headers["api-key"] for headers in sent}
    assert all(KEY not in request for request in server.collection.requests)
    assert KEY not in str(source.identity())
    assert len({headers["x-qdrant-route-affinity"] for headers in sent}) == 1
    assert server.collection.writes == []


@pytest.mark.parametrize("certificate", ["loopback.pem", "elsewhere.pem"])
@pytest.mark.fault("N15", "X07")
def test_an_untrusted_certificate_stops_at_once(transport: Transport, certificate: str) -> None:
    trusted = ASSETS / "tls" / "elsewhere.pem" if certificate == "elsewhere.pem" else None
    clock = VirtualClock()
    options = ServerOptions(ca_file=trusted)
    with (
        transport.serve(stored(), certificate=ASSETS / "tls" / certificate) as server,
        reading(transport, server.url, clock=clock, options=options) as source,
        pytest.raises(AccessError, match="certificate is not trusted"),
    ):
        source.count_points()

    assert clock.waits == []


@pytest.mark.fault("X07")
def test_a_private_authority_can_be_named(transport: Transport) -> None:
    certificate = ASSETS / "tls" / "loopback.pem"
    options = ServerOptions(ca_file=certificate)
    with (
        transport.serve(stored(), certificate=certificate, api_key=KEY) as server,
        reading(transport, server.url, options=options, api_key=KEY) as source,
    ):
        assert source.count_points() == 3
        assert source.identity()["url"].startswith("https://127.0.0.1:")


@pytest.mark.fault("N14")
def test_without_a_listener_it_ends_within_the_attempts(transport: Transport) -> None:
    clock = VirtualClock()
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with (
        reading(transport, f"http://127.0.0.1:{port}", clock=clock) as source,
        pytest.raises(RemoteUnavailableError, match=transport.unreachable),
    ):
        source.count_points()

    assert len(clock.waits) == ATTEMPTS_MAX - 1


def test_a_wrong_name_lists_the_collections_there_are(transport: Transport) -> None:
    collection = stored()
    collection.other_names = ["archive"]
    with (
        transport.serve(collection) as server,
        reading(transport, server.url, collection="chunk") as source,
    ):
        for read in (source.read_collection, source.count_points):
            with pytest.raises(PreconditionError, match="it has 'archive', 'chunks'"):
                read()


DISORDER: dict[str, tuple[Callable[[list[StoredPoint]], list[StoredPoint]], str]] = {
    "repeat": (lambda points: [points[0], *points], "point 10 after point 10"),
    "swap": (lambda points: [points[1], points[0], *points[2:]], "point 10 after point 11"),
    "from the start again": (
        lambda points: stored(30).points[: len(points)],
        r"point \d+.*start at 10",
    ),
}


@pytest.mark.parametrize("case", DISORDER)
@pytest.mark.parametrize("method", ["read_ids", "read_points"])
@pytest.mark.fault("S02")
def test_an_answer_out_of_order_names_both_ids(
    transport: Transport, case: str, method: str
) -> None:
    bend_page, told = DISORDER[case]
    collection = stored(30)
    with transport.serve(collection) as server, reading(transport, server.url) as source:
        source.read_collection()
        collection.bend_page = bend_page
        with pytest.raises(ArtefactDamagedError, match=told):
            getattr(source, method)(PointId(0, 10), limit=10)
