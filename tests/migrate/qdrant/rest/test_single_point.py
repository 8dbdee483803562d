"""What gRPC cannot carry is read over REST for that point, or the point is named. Both servers."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import grpc as wire

from migrate.errors import UnreadablePointError
from migrate.model.choices import TransportChoice
from migrate.model.digest import digest_points
from migrate.model.irregular import refused_why
from migrate.model.records import Page, PointId, VectorKind, VectorSpec
from migrate.qdrant.grpc.records import decode_page
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerOptions, ServerSource
from migrate.snapshot.walk import walk_points
from tests.harness.fakes.clock import VirtualClock
from tests.servers.qdrant_grpc import fill_value, grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import Answer, RestServer, rest_server

CASES = Path(__file__).parents[3] / "cases"
REFUSED = CASES / "23-payload-that-json-libraries-refuse"
SPEC = VectorSpec(name="", kind=VectorKind.DENSE, dimensions=2, distance="Dot", datatype="float32")
BEYOND = 1.5e19  # a float of the payload, and none of gRPC's rounded integers


def stored(*points: StoredPoint) -> StoredCollection:
    """Those points among plain ones; ids from 0."""
    plain = [StoredPoint(n, {"": [0.1, n + 0.5]}, {"n": n}) for n in range(20)]
    for point in points:
        assert isinstance(point.id, int)
        plain[point.id] = point
    return StoredCollection(vectors={"size": 2, "distance": "Dot"}, points=plain)


def odd(number: int, payload: dict[str, object], text: str | None = None) -> StoredPoint:
    return StoredPoint(number, {"": [0.1, number + 0.5]}, payload, text)


@contextmanager
def reading(
    collection: StoredCollection, transport: TransportChoice, said: list[str]
) -> Iterator[tuple[ServerSource, RestServer]]:
    with rest_server(collection) as rest, grpc_server(collection) as grpc:
        source = open_server_source(
            rest.url,
            collection="chunks",
            api_key=None,
            transport=transport,
            grpc_port=grpc.port,
            clock=VirtualClock(),
            options=ServerOptions(say=said.append),
        )
        with closing(source):
            yield source, rest


def read(source: ServerSource) -> list[Page]:
    return list(walk_points(source, None, None, limit=8))


def digests(pages: list[Page]) -> list[bytes]:
    return [digest for page in pages for digest in digest_points(page)]


POINTS: dict[str, StoredPoint] = {
    "float": odd(5, {"weight": BEYOND}),
    "unsigned": odd(5, {"hash": {"inner": [2**64 - 1]}}),
    "edge": odd(5, {"a": 2.0**63, "b": 2**63, "c": 2.0**64}),
    "deep": odd(5, json.loads('{"a":' * 40 + "1" + "}" * 40)),
    "deeper": odd(5, json.loads('{"a":' * 120 + "1" + "}" * 120)),
}


@pytest.mark.parametrize("case", POINTS)
@pytest.mark.fault("F27", "F23", "D09")
def test_a_point_that_grpc_cannot_carry_is_read_over_rest(case: str) -> None:
    """The same digests over both protocols, one REST page for it, and the operator is told."""
    collection = stored(POINTS[case], odd(11, {"weight": BEYOND, "n": 11}))
    said: list[str] = []
    with reading(collection, "rest", []) as (source, _):
        expected = digests(read(source))
    collection.requests.clear()
    with reading(collection, "grpc", said) as (source, _):
        pages = read(source)

    assert digests(pages) == expected
    assert sum(len(page) for page in pages) == 20
    over_rest = [request for request in collection.requests if request.startswith("POST")]
    assert len(over_rest) == 2
    assert any("point 5" in line and "over REST" in line for line in said)


@pytest.mark.fault("F23")
def test_a_collection_of_deep_payloads_costs_one_look_a_page() -> None:
    deep = json.loads('{"a":' * 60 + "1" + "}" * 60)
    collection = stored(*(odd(n, {"d": deep, "n": n}) for n in range(20)))
    with reading(collection, "rest", []) as (source, _):
        expected = digests(read(source))
    collection.requests.clear()
    with reading(collection, "grpc", []) as (source, _):
        pages = read(source)

    assert digests(pages) == expected
    assert collection.limits[-len(pages) :] == [8] * len(pages)
    assert sum(request.startswith("POST") for request in collection.requests) == len(pages)


@pytest.mark.fault("F23", "N08")
@given(st.binary(max_size=60), st.integers(0, 400))
def test_bytes_that_are_no_message_are_never_taken_for_a_deep_one(junk: bytes, cut: int) -> None:
    message = wire.ScrollResponse()
    point = message.result.add()
    point.id.num = 7
    fill_value(point.payload["x"], json.loads('{"a":' * 40 + "1" + "}" * 40))
    answer = message.SerializeToString()

    page, doubts = decode_page(answer, [SPEC])
    assert (page.ids, page.payloads) == ((PointId(0, 7),), (b"{}",))
    assert "deeper" in doubts[0]
    for broken in (answer[: min(cut, len(answer) - 1)] or b"\xff", answer + b"\xff" + junk):
        with suppress(ValueError):
            found, doubts = decode_page(broken, [SPEC])
            assert len(found) <= 1
            assert not len(found) or doubts or found.payloads != (b"{}",)


@pytest.mark.fault("F27")
def test_many_such_points_of_a_page_are_asked_for_at_once() -> None:
    collection = stored(*(odd(n, {"weight": BEYOND, "n": n}) for n in range(20)))
    with reading(collection, "rest", []) as (source, _):
        expected = digests(read(source))
    collection.requests.clear()
    with reading(collection, "grpc", []) as (source, _):
        pages = read(source)

    assert digests(pages) == expected
    assert sum(request.startswith("POST") for request in collection.requests) == len(pages)


@pytest.mark.fault("F27")
def test_where_rest_does_not_answer_the_point_is_named_and_the_rest_can_be_read() -> None:
    collection = stored(POINTS["float"])
    said: list[str] = []
    with reading(collection, "grpc", said) as (source, rest):
        vectors = source.read_collection().vectors
        rest.faults.append(Answer(503, times=10_000))
        with pytest.raises(UnreadablePointError, match=r"point 5: .*'weight'.*rounded") as caught:
            read(source)
        left = list(walk_points(source, None, None, limit=8, leave_unreadable=vectors))

    assert "source.transport = rest" in caught.value.remedy
    assert sum(len(page) for page in left) == 20
    assert [page.ids[0].number for page in left if page.irregular[0] is not None] == [5]


@pytest.mark.fault("F25", "F27")
def test_a_port_without_rest_is_found_out_once_however_many_points_need_it() -> None:
    collection = stored(*(odd(n, {"weight": BEYOND}) for n in range(0, 20, 3)))
    said: list[str] = []
    with grpc_server(collection) as grpc:
        source = open_server_source(
            f"http://127.0.0.1:{grpc.port}",
            collection="chunks",
            api_key=None,
            transport="grpc",
            grpc_port=grpc.port,
            clock=VirtualClock(),
            options=ServerOptions(say=said.append),
        )
        with closing(source):
            vectors = source.read_collection().vectors
            left = list(walk_points(source, None, None, limit=2, leave_unreadable=vectors))

    assert sum(len(page) for page in left) == 20
    assert sum("then attempt" in line for line in said) == 1


@pytest.mark.fault("F27")
def test_a_rest_port_that_is_away_for_a_moment_is_waited_for() -> None:
    collection = stored(POINTS["float"])
    with reading(collection, "grpc", []) as (source, rest):
        rest.faults.append(Answer(503, times=3))
        assert sum(len(page) for page in read(source)) == 20


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("long-integer", "an integer of more than 4300 digits"),
        ("deep-990", "nesting of more than 989 levels"),
        ("deep-20000", "nesting of more than 989 levels"),
        ("beyond-doubles", "a number beyond the doubles"),
    ],
)
@pytest.mark.fault("F23", "D09")
def test_a_payload_that_libraries_refuse_is_kept_as_its_text(name: str, why: str) -> None:
    """No page is read again for it, and its neighbours are what they are without it."""
    text = (REFUSED / f"{name}.json").read_text(encoding="utf-8")
    with reading(stored(), "rest", []) as (source, _):
        plain = digests(read(source))
    collection = stored(odd(5, {}, text))
    with reading(collection, "rest", []) as (source, _):
        pages = read(source)

    assert collection.limits == [8] * len(collection.limits)
    found = digests(pages)
    assert [one for n, one in enumerate(found) if n != 5] == plain[:5] + plain[6:]
    page = next(page for page in pages if page.ids[0].number <= 5 <= page.ids[-1].number)
    position = [point_id.number for point_id in page.ids].index(5)
    assert page.payloads[position] == b"{}"
    assert refused_why(page.irregular[position]) == why
    parts = json.loads(page.irregular[position] or b"")
    assert parts == [{}, text, why]


@pytest.mark.fault("F23")
def test_the_last_depth_that_was_always_read_is_still_read_in_canonical_form() -> None:
    """Whatever the depth of the caller: 989 levels are 989 levels in any thread."""
    text = '{"b":1,"a":' + "[" * 988 + "]" * 988 + "}"
    with reading(stored(odd(5, {}, text)), "rest", []) as (source, _):
        page = source.read_points(None, limit=20)

    assert page.payloads[5] == ('{"a":' + "[" * 988 + "]" * 988 + ',"b":1}').encode()
    assert page.irregular[5] is None
