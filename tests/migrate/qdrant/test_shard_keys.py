"""A collection with custom sharding: every key is read by itself, and the answers are one row."""

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from grpc import RpcError
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from migrate.errors import PreconditionError
from migrate.model.choices import TransportChoice
from migrate.model.digest import digest_points
from migrate.model.pages import merge_pages
from migrate.model.records import Page, PointId, ShardKeyCount, encode_shard_key
from migrate.ports import PointSource
from migrate.qdrant.filters.check import parse_filter
from migrate.qdrant.filters.point_filter import PointFilter
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerOptions
from migrate.snapshot.walk import walk_ids, walk_points
from tests.harness.fakes.clock import VirtualClock
from tests.harness.tiers import examples
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import (
    Points,
    StoredCollection,
    StoredPoint,
    holding,
    make_keyed,
)
from tests.servers.qdrant_rest import rest_server

KEYS: tuple[int | str, ...] = ("east", "west", "7", 7, 0, "")
BOTH = pytest.mark.parametrize("transport", ["rest", "grpc"])


@contextmanager
def reading(
    collection: StoredCollection, transport: TransportChoice, options: ServerOptions | None = None
) -> Iterator[PointSource]:
    """The collection, read over the protocol."""
    serve = rest_server if transport == "rest" else grpc_server
    with (
        serve(collection) as server,
        closing(
            open_server_source(
                server.url,
                collection=collection.name,
                api_key=None,
                transport=transport,
                clock=VirtualClock(),
                options=options,
            )
        ) as source,
    ):
        yield source


def point(number: int | str, key: int | str) -> StoredPoint:
    n = PointId.parse(number).number % 1000
    return StoredPoint(number, {"": [n, -n, 0.5]}, {"n": n}, shard_key=key)


def stored(*points: StoredPoint) -> StoredCollection:
    collection = StoredCollection(vectors={"size": 3, "distance": "Dot"}, points=list(points))
    make_keyed(collection, *KEYS)
    return collection


IDS = st.one_of(st.integers(0, 60), st.integers(0, 2**64 - 1), st.uuids().map(str))
PLACED = st.lists(
    st.tuples(IDS, st.sampled_from(KEYS)),
    max_size=60,
    unique_by=lambda placed: PointId.parse(placed[0]),
)


def read_all(source: PointSource, limit: int) -> Page:
    """All points, walked as a snapshot walks over them."""
    pages = [*walk_points(source, None, None, limit=limit)]
    assert [one for page in pages for one in page.ids] == [
        one for ids in walk_ids(source, limit=limit) for one in ids
    ]
    return merge_pages(pages) if pages else source.read_points(None, limit=limit)


@pytest.mark.slow
@pytest.mark.fault("M26")
@BOTH
@settings(max_examples=examples(30), deadline=None)
@given(placed=PLACED, limit=st.integers(1, 40))
def test_all_points_of_all_keys_are_one_ascending_row(
    transport: TransportChoice, placed: list[tuple[int | str, int | str]], limit: int
) -> None:
    collection = stored(*(point(*one) for one in placed))
    with reading(collection, transport) as source:
        described = source.read_collection()
        page = read_all(source, limit)
        assert source.count_points() == len(placed)

    expected = sorted((PointId.parse(number), key) for number, key in placed)
    assert list(page.ids) == [point_id for point_id, _ in expected]
    assert list(page.shard_keys or ()) == [encode_shard_key(key) for _, key in expected]
    assert described.shard_keys == tuple(
        ShardKeyCount(
            key=encode_shard_key(key),
            points=sum(one == key for _, one in placed if type(one) is type(key)),
        )
        for key in (0, 7, "", "7", "east", "west")
    )


@pytest.mark.slow
def test_both_protocols_give_the_same_points_and_the_key_is_under_the_digest() -> None:
    points = [point(number, KEYS[number % len(KEYS)]) for number in range(1, 40)]
    digests = {}
    for transport in ("rest", "grpc"):
        with reading(stored(*points), transport) as source:
            digests[transport] = digest_points(read_all(source, 7))
    assert digests["rest"] == digests["grpc"]

    moved = [point(1, "east"), *points[1:]]
    with reading(stored(*moved), "rest") as source:
        other = digest_points(read_all(source, 7))
    assert [one == two for one, two in zip(digests["rest"], other, strict=True)] == [
        False,
        *[True] * (len(points) - 1),
    ]


@pytest.mark.slow
@pytest.mark.fault("M27")
@BOTH
@settings(max_examples=examples(15), deadline=None)
@given(placed=PLACED.filter(bool), limit=st.integers(1, 40), data=st.data())
def test_an_id_under_two_keys_is_refused_with_the_id_and_both_keys(
    transport: TransportChoice,
    placed: list[tuple[int | str, int | str]],
    limit: int,
    data: st.DataObject,
) -> None:
    number, key = data.draw(st.sampled_from(placed))
    other = data.draw(st.sampled_from([one for one in KEYS if one is not key]))
    collection = stored(*(point(*one) for one in placed), point(number, other))
    text = PointId.parse(number).text
    keys = [f"'{one}'" if isinstance(one, str) else str(one) for one in (key, other)]
    for read in (walk_ids, lambda source, limit: walk_points(source, None, None, limit=limit)):
        with (
            reading(collection, transport) as source,
            pytest.raises(PreconditionError, match="under several shard keys") as caught,
        ):
            for _ in read(source, limit=limit):
                pass
        assert f" {text} (under " in str(caught.value)
        assert all(one in str(caught.value) for one in keys)


@pytest.mark.fault("M27")
@BOTH
def test_an_id_that_comes_under_a_second_key_while_it_is_read_is_found(
    transport: TransportChoice,
) -> None:
    collection = stored(*(point(number, "east") for number in range(1, 20)))
    scrolls = 0

    def write(served: StoredCollection) -> None:
        nonlocal scrolls
        scrolls += 1
        if scrolls == len(KEYS) + 1:  # the ids of every key were read, the points were not
            served.points = [*served.points, point(5, "west")]

    with reading(collection, transport) as source:
        source.read_collection()
        collection.before_page = write
        with pytest.raises(PreconditionError, match=r"5 \(under 'east' and 'west'\)"):
            read_all(source, 30)


def cut_short(page: Points) -> Points:
    """As a server before 1.14 does while others delete: a page that ends too early."""
    return page[: max(1, len(page) - 2)]


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("limit", [1, 3, 5, 100])
def test_a_short_page_of_one_key_hides_no_point(transport: TransportChoice, limit: int) -> None:
    points = [point(number, KEYS[number * number % len(KEYS)]) for number in range(1, 60)]
    collection = stored(*points)
    collection.bend_page = cut_short
    with reading(collection, transport) as source:
        assert len(read_all(source, limit)) == len(points)


@BOTH
def test_points_deleted_between_their_ids_and_their_contents_end_nothing(
    transport: TransportChoice,
) -> None:
    collection = stored(*(point(number, "east") for number in range(1, 30)), point(99, "west"))
    scrolls = 0

    def delete(served: StoredCollection) -> None:
        nonlocal scrolls
        scrolls += 1
        if scrolls == len(KEYS) + 1:
            served.points = [one for one in served.points if one.id == 99]

    with reading(collection, transport) as source:
        source.read_collection()
        collection.before_page = delete
        pages = [*walk_points(source, None, None, limit=8)]
    assert [one.text for page in pages for one in page.ids] == ["99"]


@pytest.mark.fault("M28")
@BOTH
@pytest.mark.parametrize("wanted", [None, parse_filter('{"must": []}')])
def test_a_key_that_is_removed_while_it_is_read_is_named(
    transport: TransportChoice, wanted: PointFilter | None
) -> None:
    collection = stored(point(1, "east"), point(2, "west"))
    with reading(collection, transport, ServerOptions(filter=wanted)) as source:
        source.read_collection()
        make_keyed(collection, *(key for key in KEYS if key != "west"))
        with pytest.raises(PreconditionError, match="shard key 'west' of collection 'chunks' was"):
            source.read_points(None, limit=10)


@pytest.mark.fault("M28")
@BOTH
def test_keys_that_may_not_be_seen_are_refused(transport: TransportChoice) -> None:
    collection = stored(point(1, "east"))
    collection.cluster = None
    with (
        reading(collection, transport) as source,
        pytest.raises(PreconditionError, match="may not see its shard keys") as caught,
    ):
        source.read_ids(None, limit=1)
    assert "GET /collections/chunks/cluster" in caught.value.remedy


@pytest.mark.fault("M28")
@BOTH
def test_a_shard_without_a_key_is_refused(transport: TransportChoice) -> None:
    collection = stored(point(1, "east"))
    collection.cluster = {
        "local_shards": [
            {"shard_id": 1, "state": "Active", "shard_key": "east"},
            {"shard_id": 4, "state": "Active"},
        ]
    }
    with (
        reading(collection, transport) as source,
        pytest.raises(PreconditionError, match="shard 4 has no shard key that q2v can read"),
    ):
        source.read_collection()


@BOTH
def test_a_filter_picks_among_all_keys(transport: TransportChoice) -> None:
    collection = stored(*(point(number, KEYS[number % len(KEYS)]) for number in range(1, 30)))
    wanted = parse_filter('{"must": [{"key": "n", "range": {"gte": 20}}]}')
    with reading(collection, transport, ServerOptions(filter=wanted)) as source:
        assert [one.number for one in read_all(source, 4).ids] == [*range(20, 30)]
        assert (source.count_points(), source.count_left_out()) == (10, 19)
        assert sum(one.points for one in source.read_collection().shard_keys or ()) == 10


@BOTH
def test_a_point_that_cannot_be_read_has_its_key(transport: TransportChoice) -> None:
    collection = stored(*(point(number, KEYS[number % 2]) for number in range(1, 9)))
    collection.breaks = holding(5)
    with reading(collection, transport) as source:
        vectors = source.read_collection().vectors
        pages = [*walk_points(source, None, None, limit=4, leave_unreadable=vectors)]
    page = merge_pages(pages)
    assert [one.number for one in page.ids] == [*range(1, 9)]
    assert page.shard_keys == tuple(encode_shard_key(KEYS[n % 2]) for n in range(1, 9))
    assert [one for one, odd in zip(page.ids, page.irregular, strict=True) if odd is not None] == [
        PointId(0, 5)
    ]


@BOTH
def test_no_point_is_sent_twice_for_one_page(transport: TransportChoice) -> None:
    points = [point(number, KEYS[number % len(KEYS)]) for number in range(1, 301)]
    collection = stored(*points)
    sent = 0

    def count(page: Points) -> bool:
        nonlocal sent
        sent += len(page)
        return False

    collection.breaks = count
    with reading(collection, transport) as source:
        read_all(source, 100)
    # A server looks at one point more for its cursor, in the answer of each key.
    assert sent <= len(points) + len(KEYS) * 8


@BOTH
def test_keys_whose_ids_lie_together_are_read_in_whole_pages(transport: TransportChoice) -> None:
    """Tenants that were written one after the other, with ids that count."""
    points = [point(number, KEYS[number // 100 % len(KEYS)]) for number in range(600)]
    collection = stored(*points)
    with reading(collection, transport) as source:
        source.read_collection()
        sizes = [len(page) for page in walk_points(source, None, None, limit=100)]
    assert sum(sizes) == len(points)
    assert len(sizes) <= 2 * len(points) // 100 + 1, "pages are at least half full"


@pytest.mark.parametrize("raw", [True, 1.0, -1, 2**64, None, ["east"], {"keyword": "east"}])
def test_anything_else_is_no_shard_key(raw: object) -> None:
    with pytest.raises(ValueError, match="not a shard key"):
        encode_shard_key(raw)


def test_a_number_and_the_same_digits_are_two_keys() -> None:
    assert encode_shard_key(7) != encode_shard_key("7")
    assert encode_shard_key(str(uuid.UUID(int=1))) == f'"{uuid.UUID(int=1)}"'


@pytest.mark.parametrize("prefer_grpc", [False, True])
def test_the_official_client_finds_the_test_server_to_be_as_a_server(prefer_grpc: bool) -> None:
    """What these tests stand on: the client's own calls, answered as the server's source says."""
    collection = StoredCollection(name="c", is_writable=True, is_missing=True)
    with rest_server(collection) as rest, grpc_server(collection) as grpc:
        writer = QdrantClient(url=rest.url, check_compatibility=False)
        client = QdrantClient(
            host="127.0.0.1",
            port=rest.port,
            grpc_port=int(grpc.url.rpartition(":")[2]),
            prefer_grpc=prefer_grpc,
            check_compatibility=False,
        )
        with closing(writer), closing(client):
            writer.create_collection(
                "c",
                vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT),
                sharding_method=models.ShardingMethod.CUSTOM,
            )
            one = [models.PointStruct(id=1, vector=[1.0, 2.0], payload={})]
            with pytest.raises(UnexpectedResponse, match="Shard key not specified"):
                writer.upsert("c", one)
            with pytest.raises(UnexpectedResponse, match=r"Shard key \S*east\S* not found"):
                writer.upsert("c", one, shard_key_selector="east")
            for key in ("east", 7):
                writer.create_shard_key("c", key)
            with pytest.raises(UnexpectedResponse, match="Shard key 7 already exists"):
                writer.create_shard_key("c", 7)
            for key in ("east", 7):
                writer.upsert("c", one, shard_key_selector=key)

            assert client.count("c").count == 2, "a count over all keys counts an id twice"
            assert len(client.scroll("c")[0]) == 1, "a scroll over all keys shows it once"
            for key in ("east", 7):
                (record,) = client.scroll("c", shard_key_selector=key)[0]
                assert (record.id, record.shard_key) == (1, key)
                assert client.count("c", shard_key_selector=key).count == 1
                assert len(client.retrieve("c", [1], shard_key_selector=key)) == 1
            refusal = RpcError if prefer_grpc else UnexpectedResponse
            with pytest.raises(refusal, match=r"Shard key \S*west\S* not found"):
                client.scroll("c", shard_key_selector="west")
