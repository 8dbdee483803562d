"""What the REST source does when the server, the line or the answer is bad. Real sockets."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from migrate.errors import (
    AccessError,
    ArtefactDamagedError,
    BudgetExhaustedError,
    MigrationError,
    PreconditionError,
    RemoteUnavailableError,
    UnreadablePointError,
    UsageError,
)
from migrate.model.records import DenseColumn, PointId
from migrate.ports import Clock
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.rest.source import RestSource
from migrate.qdrant.retry import RETRY_AFTER_S_MAX
from migrate.qdrant.source import ServerOptions
from tests.clock import ImpatientClock, VirtualClock
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import (
    Answer,
    Bend,
    Cut,
    Endless,
    Fault,
    Hang,
    RestServer,
    Trickle,
    rest_server,
)

KEY = "s3cret-key-0123456789"
ATTEMPTS_MAX = 4
QUICK = ServerOptions(attempts_max=ATTEMPTS_MAX)
ASSETS = Path(__file__).parents[2] / "assets"


def stored(count: int = 3) -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"},
        points=[StoredPoint(n, {"": [0.1, n + 0.5]}, {"n": n}) for n in range(count)],
    )


@contextmanager
def reading(
    server: RestServer,
    *,
    clock: Clock | None = None,
    options: ServerOptions = QUICK,
    api_key: str | None = None,
    collection: str = "chunks",
) -> Iterator[RestSource]:
    with closing(
        RestSource(
            ServerAddress.parse(server.url),
            collection=collection,
            api_key=api_key,
            clock=clock or VirtualClock(),
            options=options,
        )
    ) as source:
        yield source


PASSING: dict[str, Fault] = {
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
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
@pytest.mark.fault("N04", "N05", "N08", "S04")
def test_a_passing_fault_is_read_again(fault: Fault) -> None:
    with rest_server(stored()) as server, reading(server) as source:
        source.read_collection()
        server.faults.append(fault)
        page = source.read_points(None, limit=10)

    assert [point.key for point in stored().points] == list(page.ids)
    assert not server.faults


OF_ONE_POINT = {"payload of no kind", "invalid utf-8"}  # an answer with ids alone has no payload


@pytest.mark.parametrize("name", sorted(PASSING.keys() - OF_ONE_POINT))
@pytest.mark.fault("N04", "N05", "N08")
def test_a_lasting_fault_ends_within_the_attempts(name: str) -> None:
    fault = PASSING[name]
    clock = VirtualClock()
    with rest_server(stored()) as server, reading(server, clock=clock) as source:
        source.read_collection()
        server.faults.extend([fault] * 20)
        with pytest.raises(RemoteUnavailableError, match="given up after 4 attempts"):
            source.read_points(None, limit=10)

    assert len(clock.waits) == ATTEMPTS_MAX - 1
    assert sum("scroll" in request for request in server.collection.requests) == ATTEMPTS_MAX


@pytest.mark.parametrize("name", sorted(OF_ONE_POINT))
@pytest.mark.fault("N08", "F06")
def test_a_lasting_fault_of_one_point_names_the_point(name: str) -> None:
    with rest_server(stored()) as server, reading(server) as source:
        source.read_collection()
        server.faults.extend([PASSING[name]] * 40)
        with pytest.raises(UnreadablePointError, match="point 0 cannot be read") as caught:
            source.read_points(None, limit=10)

    assert "--leave-unreadable" in caught.value.remedy


@pytest.mark.parametrize("fault", [Hang(), Trickle(every_s=0.05)], ids=["hang", "trickle"])
@pytest.mark.fault("N10")
def test_a_slow_answer_is_cut_off_and_read_again(fault: Fault) -> None:
    """A read time-out for silence, a total deadline for an answer that drips."""
    options = ServerOptions(attempts_max=2, read_s=0.3, total_s=0.3)
    with (
        rest_server(stored(50)) as server,
        reading(server, clock=ImpatientClock(), options=options) as source,
    ):
        source.read_collection()
        server.faults.append(fault)
        page = source.read_points(None, limit=1000)

    # What was not answered in time is asked for in half the size, once one id was answered.
    assert server.collection.limits == [1000, 1, 500]
    assert len(page) == 50


@pytest.mark.fault("N10")
def test_an_answer_without_end_is_cut_off() -> None:
    options = ServerOptions(attempts_max=2, body_bytes_max=500_000)
    with rest_server(stored()) as server, reading(server, options=options) as source:
        source.read_collection()
        server.faults.extend([Endless()] * 20)
        with pytest.raises(PreconditionError, match="not even one id can be read"):
            source.read_points(None, limit=8)

    assert server.collection.limits == [8, 4, 2, 1, 1]


def test_the_reason_for_every_wait_is_told() -> None:
    heard: list[str] = []
    options = ServerOptions(attempts_max=3, say=heard.append)
    with rest_server(stored()) as server, reading(server, options=options) as source:
        server.faults.append(Answer(429, headers={"Retry-After": "9"}))
        source.count_points()

    assert re.search(r"answered 429 .*; waiting 9\.0 s, then attempt 2 of 3", heard[0])


@pytest.mark.fault("N08")
def test_a_description_that_is_none_is_asked_for_again() -> None:
    with rest_server(stored()) as server, reading(server) as source:
        server.faults.append(
            Bend(lambda _: b'{"result":{},"status":"ok","time":0}', path="chunks$")
        )
        assert len(source.read_collection().vectors) == 1
        server.faults.append(Bend(lambda _: b"<html>", path="^/$"))
        assert source.read_collection().server == "qdrant (version unknown)"


@pytest.mark.fault("S03")
def test_an_answer_beyond_the_cap_is_asked_for_in_halves() -> None:
    options = ServerOptions(attempts_max=1, body_bytes_max=20_000)
    with rest_server(stored(1000)) as server, reading(server, options=options) as source:
        page = source.read_points(None, limit=1000)

    assert 100 < len(page) < 1000
    assert server.collection.limits[0] == 1000


@pytest.mark.fault("S03")
def test_a_limit_of_strict_mode_is_found_and_remembered() -> None:
    collection = stored(40)
    collection.max_query_limit = 6
    heard: list[str] = []
    options = ServerOptions(attempts_max=1, say=heard.append)
    with rest_server(collection) as server, reading(server, options=options) as source:
        ids = source.read_ids(None, limit=40)
        first = source.read_points(None, limit=40)
        again = source.read_points(first.ids[-1].successor(), limit=40)

    assert (len(ids), len(first), len(again)) == (5, 5, 5)
    assert collection.limits == [40, 20, 10, 5] * 2 + [5]
    assert "Limit exceeded 40 > 6" in heard[0]


@pytest.mark.fault("S03")
def test_another_refusal_carries_the_servers_words_and_is_not_repeated() -> None:
    body = b'{"status":{"error":"Bad request: Index required but not found"},"time":0}'
    with rest_server(stored()) as server, reading(server) as source:
        source.read_collection()
        server.faults.append(Answer(400, body=body))
        with pytest.raises(PreconditionError, match="Index required but not found"):
            source.read_points(None, limit=5)

    assert sum("scroll" in request for request in server.collection.requests) == 1


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
def test_a_stated_wait_is_honoured_in_full(case: str) -> None:
    headers, wait_s = RETRY_AFTER[case]
    clock = VirtualClock()
    with rest_server(stored()) as server, reading(server, clock=clock) as source:
        server.faults.append(Answer(429, headers=headers))
        assert source.count_points() == 3

    assert [wait_s] == clock.waits


@pytest.mark.parametrize("text", ["0", "-5", "soon", "", "1.5", formatdate(1, usegmt=True)])
@pytest.mark.fault("N01", "N02")
def test_a_useless_wait_becomes_our_own_back_off(text: str) -> None:
    clock = VirtualClock()
    with rest_server(stored()) as server, reading(server, clock=clock) as source:
        server.faults.extend([Answer(429, headers={"Retry-After": text}), Answer(429)])
        source.count_points()

    first, second = clock.waits
    assert 2.5 <= first <= 5
    assert 5 <= second <= 10


@pytest.mark.parametrize(
    "text", ["601", "9" * 30, formatdate(1_700_000_000 + 700, usegmt=True)], ids=str
)
@pytest.mark.fault("N01")
def test_a_wait_beyond_the_bound_stops_the_run(text: str) -> None:
    clock = VirtualClock()
    date = {"Date": formatdate(1_700_000_000, usegmt=True)}
    with rest_server(stored()) as server, reading(server, clock=clock) as source:
        server.faults.append(Answer(429, headers={"Retry-After": text, **date}))
        with pytest.raises(BudgetExhaustedError, match=f"at most {RETRY_AFTER_S_MAX:.0f} s"):
            source.count_points()

    assert clock.waits == []


@pytest.mark.fault("N11", "X01")
def test_a_wrong_key_stops_at_once_and_is_not_told() -> None:
    with rest_server(stored(), api_key="the right one") as server:
        for method in ("read_collection", "count_points"):
            with reading(server, api_key=KEY) as source:
                with pytest.raises(AccessError, match="401") as caught:
                    getattr(source, method)()
                assert KEY not in repr(caught.value) + caught.value.remedy + repr(source)

    assert sum("count" in request for request in server.collection.requests) == 1


@pytest.mark.fault("X01")
def test_a_key_that_the_server_repeats_is_masked() -> None:
    body = b'{"status":{"error":"Invalid key ' + KEY.encode() + b'"}}'
    with rest_server(stored(), api_key=KEY) as server, reading(server, api_key=KEY) as source:
        server.faults.append(Answer(403, body=body))
        with pytest.raises(AccessError, match=r"Invalid key \*\*\*"):
            source.count_points()


@pytest.mark.fault("X01", "X12")
def test_the_key_travels_in_its_header_only() -> None:
    with rest_server(stored(), api_key=KEY) as server, reading(server, api_key=KEY) as source:
        source.read_collection()
        source.read_points(None, limit=5)

    assert {KEY} == {headers["api-key"] for headers in server.headers}
    assert all(KEY not in request for request in server.collection.requests)
    assert KEY not in str(source.identity())
    assert {"identity"} == {headers["accept-encoding"] for headers in server.headers}
    assert len({headers["x-qdrant-route-affinity"] for headers in server.headers}) == 1
    assert server.collection.writes == []


@pytest.mark.fault("N13")
def test_a_redirect_is_not_followed() -> None:
    with rest_server(stored()) as other, rest_server(stored()) as server:
        with reading(server, api_key=KEY) as source:
            server.faults.append(Answer(307, headers={"Location": other.url}))
            with pytest.raises(RemoteUnavailableError, match="307"):
                source.count_points()

        assert other.collection.requests == []
        assert len(server.collection.requests) == 1


@pytest.mark.parametrize("certificate", ["loopback.pem", "elsewhere.pem"])
@pytest.mark.fault("N15", "X07")
def test_an_untrusted_certificate_stops_at_once(certificate: str) -> None:
    trusted = ASSETS / "elsewhere.pem" if certificate == "elsewhere.pem" else None
    clock = VirtualClock()
    with (
        rest_server(stored(), certificate=ASSETS / certificate) as server,
        reading(server, clock=clock, options=ServerOptions(ca_file=trusted)) as source,
        pytest.raises(AccessError, match="certificate is not trusted"),
    ):
        source.count_points()

    assert clock.waits == []


@pytest.mark.fault("X07")
def test_a_private_authority_can_be_named() -> None:
    certificate = ASSETS / "loopback.pem"
    options = ServerOptions(ca_file=certificate)
    with (
        rest_server(stored(), certificate=certificate, api_key=KEY) as server,
        reading(server, options=options, api_key=KEY) as source,
    ):
        assert source.count_points() == 3
        assert source.identity()["url"].startswith("https://127.0.0.1:")


@pytest.mark.fault("N14")
def test_nobody_listening_ends_within_the_attempts() -> None:
    clock = VirtualClock()
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    address = ServerAddress.parse(f"http://127.0.0.1:{port}")
    with (
        closing(
            RestSource(address, collection="c", api_key=None, clock=clock, options=QUICK)
        ) as source,
        pytest.raises(RemoteUnavailableError, match="cannot be reached"),
    ):
        source.count_points()

    assert len(clock.waits) == ATTEMPTS_MAX - 1


@pytest.mark.fault("N05")
def test_a_connection_reset_by_the_server_is_tried_again() -> None:
    """The first connection is dropped before a byte is answered, the second one serves."""
    body = b'{"result":{"count":5},"status":"ok","time":0}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            listening.accept()[0].close()
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        address = ServerAddress.parse(f"http://127.0.0.1:{listening.getsockname()[1]}")
        with closing(
            RestSource(address, collection="c", api_key=None, clock=VirtualClock(), options=QUICK)
        ) as source:
            assert source.count_points() == 5
        thread.join()


def test_a_wrong_name_lists_the_collections_there_are() -> None:
    collection = stored()
    collection.other_names = ["archive"]
    with rest_server(collection) as server, reading(server, collection="chunk") as source:
        for read in (source.read_collection, source.count_points):
            with pytest.raises(PreconditionError, match="it has 'archive', 'chunks'"):
                read()


def swap(points: list[StoredPoint]) -> list[StoredPoint]:
    return [points[1], points[0], *points[2:]]


DISORDER: dict[str, Callable[[list[StoredPoint]], list[StoredPoint]]] = {
    "repeat": lambda points: [points[0], *points],
    "swap": swap,
    "from the start again": lambda points: stored(30).points[: len(points)],
}


@pytest.mark.parametrize("case", DISORDER)
@pytest.mark.parametrize("method", ["read_ids", "read_points"])
@pytest.mark.fault("S02")
def test_an_answer_out_of_order_names_both_ids(case: str, method: str) -> None:
    collection = stored(30)
    with rest_server(collection) as server, reading(server) as source:
        source.read_collection()
        collection.bend_page = DISORDER[case]
        with pytest.raises(ArtefactDamagedError, match=r"point \d+.*(after point|start at) \d+"):
            getattr(source, method)(PointId(0, 10), limit=10)


@pytest.mark.fault("S02")
def test_a_short_page_with_a_null_cursor_is_not_the_end() -> None:
    collection = stored(30)
    collection.bend_page = lambda points: points[:2] or points
    with rest_server(collection) as server, reading(server) as source:
        found: list[PointId] = []
        start: PointId | None = None
        while ids := source.read_ids(start, limit=10):
            found += ids
            start = ids[-1].successor()

    assert [point.key for point in collection.points] == found


@pytest.mark.fault("S01")
def test_points_deleted_and_added_between_pages_do_not_disturb_the_rest() -> None:
    collection = stored(10)

    def write(_: StoredCollection) -> None:
        collection.points[:] = [point for point in collection.points if point.id != 4]
        collection.points.append(StoredPoint(100 + len(collection.requests)))

    with rest_server(collection) as server, reading(server) as source:
        first = source.read_ids(None, limit=4)
        collection.before_page = write
        rest = source.read_ids(first[-1].successor(), limit=6)

    assert [found.text for found in rest][:5] == ["5", "6", "7", "8", "9"]


@pytest.mark.fault("S05")
def test_a_collection_dropped_meanwhile_is_told() -> None:
    collection = stored()
    with rest_server(collection) as server, reading(server) as source:
        source.read_points(None, limit=2)
        collection.name = "gone"
        with pytest.raises(PreconditionError, match="has no collection 'chunks'; it has 'gone'"):
            source.read_points(PointId(0, 2), limit=2)


@pytest.mark.fault("D02", "D01")
def test_vectors_that_fit_no_column_are_kept_as_received() -> None:
    """Null stands for NaN or infinity; which of them, REST does not tell."""
    collection = stored(4)
    collection.points[1] = StoredPoint(1, {"": [0.5, float("inf")]})
    collection.points[2] = StoredPoint(2, {"": [0.5, 1.5, 2.5]})
    with rest_server(collection) as server, reading(server) as source:
        page = source.read_points(None, limit=10)

    column = page.vectors[""]
    assert isinstance(column, DenseColumn)
    assert column.present.tolist() == [True, False, False, True]
    assert page.irregular == (None, b'{"":[0.5,null]}', b'{"":[0.5,1.5,2.5]}', None)


@pytest.mark.parametrize(
    ("payload", "wanted"),
    [
        (b'{"t": "\\ud83d"}', b'{"t":"\\ud83d"}'),
        (b'{"n": 123456789012345678901234567890}', b'{"n":123456789012345678901234567890}'),
        (b'{"n": 18446744073709551615}', b'{"n":18446744073709551615}'),
    ],
    ids=["lone surrogate", "huge integer", "u64"],
)
@pytest.mark.fault("D10")
def test_payloads_beyond_the_fast_parser_survive(payload: bytes, wanted: bytes) -> None:
    with rest_server(stored(2)) as server, reading(server) as source:
        source.read_collection()
        server.faults.append(Bend(lambda body: body.replace(b'{"n": 1}', payload)))
        page = source.read_points(None, limit=5)

    assert (b'{"n":0}', wanted) == page.payloads
    column = page.vectors[""]
    assert isinstance(column, DenseColumn)
    assert column.values[:, 1].tolist() == [0.5, 1.5]


def test_values_beyond_float32_become_infinite_and_are_left_to_the_mapping() -> None:
    with rest_server(stored(2)) as server, reading(server) as source:
        source.read_collection()
        server.faults.append(Bend(lambda body: body.replace(b"[0.1,1.5]", b"[1e300,1e999]")))
        column = source.read_points(None, limit=5).vectors[""]

    assert isinstance(column, DenseColumn)
    assert [float("inf"), float("inf")] == column.values[1].tolist()


def test_custom_sharding_is_refused_with_a_way_out() -> None:
    collection = stored()
    collection.params["sharding_method"] = "custom"
    with (
        rest_server(collection) as server,
        reading(server) as source,
        pytest.raises(PreconditionError, match="custom sharding") as caught,
    ):
        source.read_collection()

    assert "each shard key" in caught.value.remedy


def test_fields_of_newer_servers_disturb_nothing() -> None:
    collection = stored()
    collection.vectors |= {"from_the_future": {"x": 1}, "datatype": "turbo32"}
    collection.info["also_new"] = [1]
    with rest_server(collection, version="1.20.0") as server, reading(server) as source:
        found = source.read_collection()

    assert found.vectors[0].datatype == "turbo32"
    assert found.config["also_new"] == [1]
    assert found.server == "qdrant 1.20.0"
    assert found.warnings == ()


def test_every_exception_of_the_http_library_becomes_ours() -> None:
    """The library's list, not ours: a new kind of failure must not slip through as a bug."""
    with rest_server(stored()) as server, reading(server) as source:
        raised: list[Exception] = []

        def fail(*_args: object, **_kwargs: object) -> None:
            raise raised[0]

        source._transport._client.stream = fail  # type: ignore[attr-defined]  # noqa: SLF001
        for kind in subclasses(httpx.RequestError):
            raised[:] = [kind("injected")]
            with pytest.raises(MigrationError):
                source.count_points()


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    direct = set(kind.__subclasses__())
    return direct.union(*(subclasses(inner) for inner in direct))


def test_a_plain_line_takes_no_key_beyond_this_machine() -> None:
    with pytest.raises(UsageError, match="plain text"):
        RestSource(
            ServerAddress.parse("http://qdrant.internal:6333"),
            collection="c",
            api_key=KEY,
            clock=VirtualClock(),
        )
