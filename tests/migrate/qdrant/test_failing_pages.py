"""Pages that fail for their size, or for one point: halved, and the point is named."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import grpc
import pytest

from migrate.errors import RemoteUnavailableError, UnreadablePointError
from migrate.model.pages import unreadable_page
from migrate.model.records import PointId
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.grpc.source import GrpcSource
from migrate.qdrant.rest.source import RestSource
from migrate.qdrant.source import ServerOptions, ServerSource
from migrate.snapshot.walk import walk_points
from tests.harness.fakes.clock import ImpatientClock, VirtualClock
from tests.servers.qdrant_grpc import Abort, Stall, grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint, holding, larger_than
from tests.servers.qdrant_rest import Answer, Cut, Fault, Hang, rest_server

COUNT = 300
SHORT = ServerOptions(read_s=0.4, total_s=0.4)


def stored(count: int = COUNT) -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"},
        points=[StoredPoint(n, {"": [0.1, n + 0.5]}, {"n": n}) for n in range(count)],
    )


@dataclass
class Reader:
    """A source, the collection behind it, and what it says."""

    source: ServerSource
    collection: StoredCollection
    said: list[str]
    clock: VirtualClock | ImpatientClock = field(default_factory=VirtualClock)

    def read_all(self, *, leave: bool = False) -> list[int]:
        """The numbers of the points, one walk."""
        vectors = self.source.read_collection().vectors
        pages = walk_points(
            self.source, None, None, limit=100, leave_unreadable=vectors if leave else None
        )
        return [point_id.number for page in pages for point_id in page.ids]


@contextmanager
def over_rest(
    collection: StoredCollection, failure: Fault, options: ServerOptions | None = None
) -> Iterator[Reader]:
    said: list[str] = []
    clock = VirtualClock() if options is None else ImpatientClock()
    options = options or ServerOptions()
    with rest_server(collection) as server:
        server.page_failure = failure
        source = RestSource(
            ServerAddress.parse(server.url),
            collection="chunks",
            api_key=None,
            clock=clock,
            options=_telling(options, said),
        )
        with closing(source):
            yield Reader(source, collection, said, clock)


@contextmanager
def over_grpc(
    collection: StoredCollection, failure: Abort, options: ServerOptions | None = None
) -> Iterator[Reader]:
    said: list[str] = []
    clock = VirtualClock()
    with grpc_server(collection) as server:
        server.page_failure = failure
        source = GrpcSource(
            ServerAddress.parse(server.url),
            collection="chunks",
            api_key=None,
            clock=clock,
            options=_telling(options or ServerOptions(), said),
        )
        with closing(source):
            yield Reader(source, collection, said, clock)


def _telling(options: ServerOptions, said: list[str]) -> ServerOptions:
    return ServerOptions(
        read_s=options.read_s,
        total_s=options.total_s,
        body_bytes_max=options.body_bytes_max,
        say=said.append,
    )


REST_FAILURES: dict[str, Fault] = {
    **{f"status {code}": Answer(code) for code in (408, 413, 500, 502, 503, 504, 524)},
    "cut": Cut(100),
    "cut at once": Cut(0),
    "garbled": Answer(200, body=b'{"result":{"points":[{"id":'),
    "page of a proxy": Answer(502, body=b"<html>upstream sent too large a body</html>"),
}
GRPC_FAILURES: dict[str, Abort] = {
    **{
        code.name: Abort(code)
        for code in (
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.CANCELLED,
            grpc.StatusCode.UNKNOWN,
            grpc.StatusCode.OUT_OF_RANGE,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.DATA_LOSS,
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.ABORTED,
        )
    },
    "of the server's encoder": Abort(
        grpc.StatusCode.OUT_OF_RANGE,
        "Error, encoded message length too large: found 12900000 bytes, the limit is: 4194304",
    ),
    "of a proxy": Abort(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "trying to send message larger than max (12900000 vs. 4194304)",
    ),
    "of the library": Abort(
        grpc.StatusCode.INTERNAL, "Decompressed message larger than max (12900000 vs. 67108864)"
    ),
}


@pytest.mark.parametrize("failure", REST_FAILURES.values(), ids=REST_FAILURES)
@pytest.mark.fault("F06")
def test_pages_that_fail_for_their_size_over_rest_are_read_in_smaller_ones(failure: Fault) -> None:
    collection = stored()
    collection.breaks = larger_than(30)
    with over_rest(collection, failure) as reader:
        assert reader.read_all() == list(range(COUNT))

    assert max(collection.whole_limits()) == 100


@pytest.mark.parametrize("failure", GRPC_FAILURES.values(), ids=GRPC_FAILURES)
@pytest.mark.fault("F06")
def test_pages_that_fail_for_their_size_over_grpc_are_read_in_smaller_ones(failure: Abort) -> None:
    collection = stored()
    collection.breaks = larger_than(30)
    with over_grpc(collection, failure) as reader:
        assert reader.read_all() == list(range(COUNT))

    assert max(collection.whole_limits()) == 100


@pytest.mark.fault("F06")
def test_pages_that_are_late_for_their_size_are_read_in_smaller_ones() -> None:
    collection = stored(60)
    collection.breaks = larger_than(30)
    with over_rest(collection, Hang(), SHORT) as reader:
        assert reader.read_all() == list(range(60))


@pytest.mark.slow
@pytest.mark.fault("F06")
def test_a_size_that_fails_is_not_tried_again_with_every_other_page() -> None:
    """2,000 points in pages of at most 30 are at least 67 pages; few more are wasted."""
    collection = stored(2000)
    collection.breaks = larger_than(30)
    with over_rest(collection, Answer(500)) as reader:
        assert reader.read_all() == list(range(2000))

    failed = [limit for limit in collection.limits if limit > 30]
    assert len(failed) < 30
    assert len(collection.limits) < 200


@pytest.mark.parametrize("poisoned", [0, 1, 137, 255, COUNT - 1])
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.fault("F06")
def test_one_point_that_fails_is_named(protocol: str, poisoned: int) -> None:
    """In a bounded number of requests, wherever it lies, with the command that goes on."""
    collection = stored()
    collection.breaks = holding(poisoned)
    opened = (
        over_rest(collection, Answer(500))
        if protocol == "rest"
        else over_grpc(collection, Abort(grpc.StatusCode.INTERNAL))
    )
    with opened as reader, pytest.raises(UnreadablePointError) as caught:
        reader.read_all()

    assert f"point {poisoned} cannot be read" in str(caught.value)
    assert "q2v snapshot --leave-unreadable" in caught.value.remedy
    assert (caught.value.point_id, caught.value.point_id_type) == (str(poisoned), "uint64")
    assert len(collection.limits) < 90


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.fault("F06")
def test_all_points_but_those_that_fail_are_read_on_request(protocol: str) -> None:
    """Alone, in a row, and at both ends."""
    poisoned = [0, 50, 51, 52, 53, 200, COUNT - 1]
    collection = stored()
    collection.breaks = holding(*poisoned)
    opened = (
        over_rest(collection, Answer(500))
        if protocol == "rest"
        else over_grpc(collection, Abort(grpc.StatusCode.INTERNAL))
    )
    with opened as reader:
        vectors = reader.source.read_collection().vectors
        pages = list(walk_points(reader.source, None, None, limit=100, leave_unreadable=vectors))

    assert [point_id.number for page in pages for point_id in page.ids] == list(range(COUNT))
    marked = [page for page in pages if page.irregular[0] is not None]
    assert [page.ids[0].number for page in marked] == poisoned
    expected = [unreadable_page(PointId(0, number), vectors) for number in poisoned]
    assert [page.irregular for page in expected] == [page.irregular for page in marked]
    assert {page.payloads for page in marked} == {(b"{}",)}


@pytest.mark.fault("F06")
def test_a_point_of_the_next_range_does_not_end_this_one() -> None:
    collection = stored(20)
    collection.breaks = holding(10)
    with over_rest(collection, Answer(500)) as reader:
        pages = walk_points(reader.source, None, PointId(0, 10), limit=100, expected=10)
        assert sum(len(page) for page in pages) == 10


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.fault("F06", "N04")
def test_a_server_that_is_down_is_not_asked_for_ever_smaller_pages(protocol: str) -> None:
    """It fails the smallest question as well: one request's attempts, and no point is blamed."""
    collection = stored()
    if protocol == "rest":
        opened = over_rest(collection, Answer(500))
    else:
        opened = over_grpc(collection, Abort(grpc.StatusCode.INTERNAL))
    with opened as reader:
        reader.source.read_collection()
        collection.is_away = lambda: True
        with pytest.raises(RemoteUnavailableError, match="given up after 7 attempts"):
            reader.source.read_points(None, limit=100)

    assert collection.limits == []
    assert collection.refused == 7


@pytest.mark.fault("F06", "N04")
def test_an_outage_in_the_middle_of_a_search_blames_no_point() -> None:
    """The page fails for its size; then the server is away for some requests, and comes back."""
    collection = stored()
    collection.breaks = larger_than(10)
    outage = iter([False] * 9 + [True] * 3 + [False] * 10_000)
    collection.is_away = lambda: next(outage)
    with over_rest(collection, Answer(500)) as reader:
        assert reader.read_all() == list(range(COUNT))

    assert collection.refused == 3


@pytest.mark.fault("F06")
def test_a_cap_of_ours_is_called_ours() -> None:
    """Over both protocols, with the number, for the point that alone is beyond it."""
    large = StoredPoint(7, {"": [1, 2]}, {"text": "x" * 300_000})
    options = ServerOptions(body_bytes_max=100_000)
    rest, over = stored(20), stored(20)
    for opened in (
        over_rest(rest, Answer(500), options),
        over_grpc(over, Abort(grpc.StatusCode.INTERNAL), options),
    ):
        rest.points[7] = over.points[7] = large
        with (
            opened as reader,
            pytest.raises(UnreadablePointError, match="point 7 ") as caught,
        ):
            reader.read_all()

        assert "100,000 bytes, the most that q2v itself takes of one answer" in str(caught.value)


@pytest.mark.slow
@pytest.mark.fault("F06")
def test_one_huge_point_does_not_shrink_all_later_pages() -> None:
    collection = stored(2000)
    collection.points[7] = StoredPoint(7, {"": [1, 2]}, {"text": "x" * 300_000})
    with over_rest(collection, Answer(500), ServerOptions(body_bytes_max=100_000)) as reader:
        assert reader.read_all(leave=True) == list(range(2000))

    assert max(collection.whole_limits()[-10:]) > 50


@pytest.mark.fault("F06")
def test_a_call_that_is_never_answered_for_one_point_ends_by_name() -> None:
    collection = stored(8)
    with grpc_server(collection) as server:
        collection.breaks = holding(5)
        server.page_failure = Stall()
        source = GrpcSource(
            ServerAddress.parse(server.url),
            collection="chunks",
            api_key=None,
            clock=ImpatientClock(),
            options=ServerOptions(total_s=0.5, attempts_max=3),
        )
        with closing(source), pytest.raises(UnreadablePointError, match="point 5 "):
            for _ in walk_points(source, None, None, limit=100):
                pass
