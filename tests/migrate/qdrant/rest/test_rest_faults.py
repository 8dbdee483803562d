"""What only the REST source does when the server, the line or the answer is bad. Real sockets.

What holds for both protocols is in `test_faults.py`.
"""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import pytest

from migrate.errors import (
    AccessError,
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
from migrate.qdrant.source import ServerOptions
from tests.harness.fakes.clock import ImpatientClock, VirtualClock
from tests.migrate.qdrant.test_faults import KEY, OF_ONE_POINT, QUICK, REST, stored
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import (
    Answer,
    Bend,
    Endless,
    Fault,
    Hang,
    RestServer,
    Trickle,
    rest_server,
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


@pytest.mark.parametrize("name", sorted(OF_ONE_POINT))
@pytest.mark.fault("N08", "F06")
def test_a_lasting_fault_of_one_point_names_the_point(name: str) -> None:
    with rest_server(stored()) as server, reading(server) as source:
        source.read_collection()
        server.faults.extend([REST.passing[name]] * 40)
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
def test_another_refusal_carries_the_servers_words_and_is_not_repeated() -> None:
    body = b'{"status":{"error":"Bad request: Index required but not found"},"time":0}'
    with rest_server(stored()) as server, reading(server) as source:
        source.read_collection()
        server.faults.append(Answer(400, body=body))
        with pytest.raises(PreconditionError, match="Index required but not found"):
            source.read_points(None, limit=5)

    assert sum("scroll" in request for request in server.collection.requests) == 1


@pytest.mark.fault("X01")
def test_a_key_that_the_server_repeats_is_masked() -> None:
    body = b'{"status":{"error":"Invalid key ' + KEY.encode() + b'"}}'
    with rest_server(stored(), api_key=KEY) as server, reading(server, api_key=KEY) as source:
        server.faults.append(Answer(403, body=body))
        with pytest.raises(AccessError, match=r"Invalid key \*\*\*"):
            source.count_points()


@pytest.mark.fault("X12")
def test_answers_are_asked_for_unpacked() -> None:
    with rest_server(stored()) as server, reading(server) as source:
        source.read_collection()
        source.read_points(None, limit=5)

    assert {"identity"} == {headers["accept-encoding"] for headers in server.headers}


@pytest.mark.fault("N13")
def test_a_redirect_is_not_followed() -> None:
    with rest_server(stored()) as other, rest_server(stored()) as server:
        with reading(server, api_key=KEY) as source:
            server.faults.append(Answer(307, headers={"Location": other.url}))
            with pytest.raises(RemoteUnavailableError, match="307"):
                source.count_points()

        assert other.collection.requests == []
        assert len(server.collection.requests) == 1


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
