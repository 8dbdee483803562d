"""What is particular to a `QdrantFileStore`: ids of other rules, names, failures of a server."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from qdrant_client import QdrantClient, models

from migrate.errors import AccessError, PreconditionError, RemoteUnavailableError
from migrate.file_stores.qdrant_store import QdrantFileStore
from migrate.file_stores.rules import FileStoreRules
from migrate.mapping.ids import point_id_of
from migrate.model.records import VectorId
from migrate.runtime import Runtime
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.silence import Silence
from tests.migrate.file_stores.backends import COLLECTION
from tests.migrate.file_stores.cases import DIMENSIONS, assert_same, rules, vector, vectors
from tests.servers.qdrant_points import StoredCollection
from tests.servers.qdrant_rest import Answer, Cut, RestServer, rest_server

# The server is on loopback.
pytestmark = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")
# Many values: a page holds few points.
WIDE = FileStoreRules(dimensions=20_000)


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    with closing(QdrantClient(":memory:")) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[RestServer]:
    collection = StoredCollection(name=COLLECTION, is_missing=True, is_writable=True)
    with rest_server(collection, api_key="key") as running:
        yield running


def store(client: QdrantClient, given: FileStoreRules | None = None) -> QdrantFileStore:
    runtime = Runtime(clock=VirtualClock(), progress=Silence())
    return QdrantFileStore(client, COLLECTION, given or rules(), runtime)


def served(server: RestServer, key: str = "key") -> QdrantFileStore:
    return store(QdrantClient(url=server.url, api_key=key, check_compatibility=False))


def old_point(number: int, chunk: int, **more: object) -> models.PointStruct:
    """A point whose id another rule made."""
    whole = vector("a", chunk)
    payload = {**whole.metadata, **more}
    return models.PointStruct(id=number, vector=list(map(float, whole.values)), payload=payload)


def test_the_rule_of_the_point_ids_stays_as_it_is() -> None:
    """Other programs may know it: another rule would write every chunk a second time."""
    assert point_id_of(VectorId("a_0")) == "e35cf4b3-9e08-5847-87e8-e2931348f8be"


@pytest.mark.fault("T11")
def test_points_with_ids_of_another_rule_are_read_replaced_and_deleted(
    client: QdrantClient,
) -> None:
    opened = store(client)
    opened.initialize_collection()
    client.upsert(COLLECTION, [old_point(number, number) for number in range(5)])

    assert_same(vectors("a", 5), opened.get_vectors_by_file_id("a"))
    opened.upsert_vectors(vectors("a", 2, version=2))
    assert opened.count_vectors() == 5
    assert_same(
        [*vectors("a", 2, version=2), *vectors("a", 3, first=2)],
        opened.get_vectors_by_file_id("a"),
    )
    opened.delete_vectors_by_ids(["a_0", "a_3"])
    opened.upsert_vectors([vector("a", 4)], whole_files=True)
    assert [one.id for one in opened.get_vectors_by_file_id("a")] == ["a_4"]
    assert opened.count_vectors() == 1


@pytest.mark.fault("T11")
def test_a_chunk_that_a_killed_upsert_left_twice_is_read_once_in_its_newer_form(
    client: QdrantClient,
) -> None:
    opened = store(client)
    opened.initialize_collection()
    opened.upsert_vectors([vector("a", 0, version=2)])
    client.upsert(COLLECTION, [old_point(0, 0), old_point(2**63, 0)])

    assert_same([vector("a", 0, version=2)], opened.get_vectors_by_file_id("a"))


@pytest.mark.parametrize(
    "point",
    [
        old_point(0, 0, chunk_index=None),
        old_point(0, 0, chunk_index="0"),
        models.PointStruct(id=0, vector={}, payload=dict(vector("a", 0).metadata)),
    ],
    ids=["no chunk number", "a text", "no vector"],
)
def test_a_point_that_is_no_chunk_is_named(client: QdrantClient, point: models.PointStruct) -> None:
    opened = store(client)
    opened.initialize_collection()
    client.upsert(COLLECTION, [point])

    with pytest.raises(PreconditionError, match="point 0 of file 'a' has no number of a chunk"):
        opened.get_vectors_by_file_id("a")
    opened.upsert_vectors([vector("a", 1)], whole_files=True)
    assert [one.id for one in opened.get_vectors_by_file_id("a")] == ["a_1"]


def test_named_vectors_are_written_and_read_by_their_name(client: QdrantClient) -> None:
    runtime = Runtime(clock=VirtualClock(), progress=Silence())
    opened = QdrantFileStore(client, COLLECTION, rules(), runtime, vector_name="large")
    opened.initialize_collection()

    opened.upsert_vectors(vectors("a", 3))

    assert_same(vectors("a", 3), opened.get_vectors_by_file_id("a"))
    with pytest.raises(PreconditionError, match="no single vector ''") as refused:
        store(client).count_vectors()
    assert "one of its names: large" in refused.value.remedy


@pytest.mark.parametrize(
    "params",
    [
        models.VectorParams(size=DIMENSIONS + 1, distance=models.Distance.COSINE),
        models.VectorParams(size=DIMENSIONS, distance=models.Distance.DOT),
        models.VectorParams(size=DIMENSIONS, distance=models.Distance.MANHATTAN),
        models.VectorParams(
            size=DIMENSIONS, distance=models.Distance.COSINE, datatype=models.Datatype.UINT8
        ),
    ],
    ids=["dimensions", "metric", "a metric that the target has not", "type"],
)
def test_a_collection_of_another_shape_is_refused_by_every_call(
    client: QdrantClient, params: models.VectorParams
) -> None:
    client.create_collection(COLLECTION, vectors_config=params)
    opened = store(client)
    calls: list[Callable[[], object]] = [
        opened.initialize_collection,
        lambda: opened.upsert_vectors(vectors("a", 1)),
        opened.count_vectors,
    ]

    for call in calls:
        with pytest.raises(PreconditionError, match="the store needs"):
            call()
    assert client.count(COLLECTION).count == 0


@pytest.mark.slow
def test_a_file_of_several_pages_is_written_and_read(server: RestServer) -> None:
    opened = store(QdrantClient(url=server.url, api_key="key", check_compatibility=False), WIDE)
    opened.initialize_collection()
    values = [1.0] * WIDE.dimensions

    opened.upsert_vectors([replace(vector("a", number), values=values) for number in range(25)])

    assert len(opened.get_vectors_by_file_id("a")) == 25
    requests = server.collection.requests
    assert sum("/points?wait" in request for request in requests) == 2
    assert sum(request.endswith("/points/scroll") for request in requests) == 2


@pytest.mark.fault("T07")
def test_requests_grow_with_the_files_and_not_with_the_ids(server: RestServer) -> None:
    opened = served(server)
    opened.initialize_collection()
    whole = [*vectors("a", 50), *vectors("b", 50)]
    before = len(server.collection.requests)

    opened.upsert_vectors(whole)
    opened.delete_vectors_by_ids([one.id for one in whole])

    sent = [request.partition("?")[0] for request in server.collection.requests[before:]]
    assert sent == [
        "PUT /collections/chunks/points",
        *["POST /collections/chunks/points/delete"] * 4,
    ]
    assert server.collection.points == []


@pytest.mark.fault("T11")
def test_payload_indexes_of_file_and_chunk_are_created_once_and_again(server: RestServer) -> None:
    for _ in range(2):
        served(server).initialize_collection()

    schema = server.collection.info["payload_schema"]
    assert isinstance(schema, dict)
    assert {name: entry["data_type"] for name, entry in schema.items()} == {
        "file_id": "keyword",
        "chunk_index": "integer",
    }


@pytest.mark.fault("T11")
@pytest.mark.parametrize(
    "fault",
    [
        Answer(500, times=2),
        Answer(503, body=b"<html>a proxy</html>", times=2),
        Answer(429, times=2),
        Answer(429, headers={"Retry-After": "7"}, times=2),
        Answer(200, body=b"<html>a login page</html>", times=2),
    ],
    ids=["500", "503", "429", "429 with a time", "no Qdrant"],
)
def test_a_server_that_fails_for_a_while_is_asked_again(server: RestServer, fault: Answer) -> None:
    opened = served(server)
    opened.initialize_collection()
    server.faults.append(fault)

    opened.upsert_vectors(vectors("a", 3))
    opened.delete_vectors_by_ids(["a_1"])

    assert len(server.collection.points) == 2
    assert not server.faults


@pytest.mark.fault("T11")
def test_a_server_that_keeps_failing_and_a_key_that_may_not_write_are_errors_of_their_own(
    server: RestServer,
) -> None:
    opened = served(server)
    opened.initialize_collection()
    server.faults.append(Answer(500, times=100))
    with pytest.raises(RemoteUnavailableError, match="given up after"):
        opened.upsert_vectors(vectors("a", 1))
    server.faults.clear()

    with pytest.raises(AccessError) as refused:
        served(server, key="wrong").upsert_vectors(vectors("a", 1))
    assert "read and write" in refused.value.remedy


@pytest.mark.fault("T11")
def test_a_lost_answer_to_the_creation_is_no_error(server: RestServer) -> None:
    """The collection is there at the second attempt."""
    server.faults.append(Cut(path=f"/collections/{COLLECTION}$", bytes_sent=3))

    served(server).initialize_collection()

    assert not server.collection.is_missing
    creations = [
        one for one in server.collection.requests if one == f"PUT /collections/{COLLECTION}"
    ]
    assert len(creations) == 1
    assert not server.faults
