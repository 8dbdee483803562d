"""What only the gRPC source does when the server, the line or the answer is bad. Real sockets.

What holds for both protocols is in `test_faults.py`.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import grpc
import pytest

from migrate.errors import MigrationError
from migrate.model.records import DenseColumn
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.grpc.source import GrpcSource
from migrate.qdrant.source import ServerOptions
from tests.harness.fakes.clock import VirtualClock
from tests.migrate.qdrant.test_faults import QUICK, stored
from tests.servers.qdrant_grpc import Abort, GrpcServer, Stall, grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint

VERSIONS = ["1.16.3", "1.19.0"]  # the old and the new vector layout


@contextmanager
def reading(server: GrpcServer, *, options: ServerOptions = QUICK) -> Iterator[GrpcSource]:
    with closing(
        GrpcSource(
            ServerAddress.parse(server.url),
            collection="chunks",
            api_key=None,
            clock=VirtualClock(),
            options=options,
        )
    ) as source:
        yield source


@pytest.mark.fault("N10")
def test_a_call_without_answer_is_cut_off_and_read_again() -> None:
    options = ServerOptions(attempts_max=2, total_s=0.3)
    with grpc_server(stored(50)) as server, reading(server, options=options) as source:
        source.read_collection()
        server.faults.append(Stall())
        page = source.read_points(None, limit=1000)

    # What was not answered in time is asked for in half the size, once one id was answered.
    assert server.collection.limits == [1, 500]
    assert len(page) == 50


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.fault("S03")
def test_a_message_beyond_the_cap_is_asked_for_in_halves(version: str) -> None:
    options = ServerOptions(attempts_max=1, body_bytes_max=10_000)
    with (
        grpc_server(stored(1000), version=version) as server,
        reading(server, options=options) as source,
    ):
        page = source.read_points(None, limit=1000)

    assert server.collection.limits[:3] == [1000, 500, 250]
    assert 50 < len(page) <= 250


@pytest.mark.slow
def test_a_page_beyond_the_librarys_own_bound_of_4_mb_is_read() -> None:
    vectors: dict[str, object] = {"size": 3072, "distance": "Dot"}
    points = [StoredPoint(n, {"": [0.5] * 3072}) for n in range(400)]
    collection = StoredCollection(vectors=vectors, points=points)
    large = ServerOptions(page_bytes=8_000_000)
    with grpc_server(collection) as server, reading(server, options=large) as source:
        page = source.read_points(None, limit=400)

    assert len(page) == 400
    assert collection.limits == [400]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.fault("D01", "D02")
def test_odd_vectors_are_kept(version: str) -> None:
    """Not finite: in the column, with its bits. Wrong length: as received."""
    collection = stored(3)
    collection.points[1] = StoredPoint(1, {"": [float("nan"), float("-inf")]})
    collection.points[2] = StoredPoint(2, {"": [0.5, 1.5, float("inf")]})
    with grpc_server(collection, version=version) as server, reading(server) as source:
        page = source.read_points(None, limit=10)

    column = page.vectors[""]
    assert isinstance(column, DenseColumn)
    assert column.present.tolist() == [True, True, False]
    assert [str(value) for value in column.values[1].tolist()] == ["nan", "-inf"]
    assert page.irregular == (None, None, b'{"":[0.5,1.5,"inf"]}')


def test_the_description_has_the_shape_of_rest() -> None:
    multi = {"comparator": "max_sim"}
    collection = StoredCollection(
        vectors={
            "a": {"size": 2, "distance": "Cosine", "datatype": "uint8"},
            "m": {"size": 3, "distance": "Dot", "multivector_config": multi},
        },
        sparse_vectors={"s": {}},
    )
    with grpc_server(collection, version="1.18.1") as server, reading(server) as source:
        found = source.read_collection()

    config = found.config["config"]
    assert isinstance(config, dict)
    assert config["params"] == {
        "vectors": collection.vectors,
        "sparse_vectors": {"s": {}},
        "shard_number": 1,
    }
    assert (found.config["status"], found.config["optimizer_status"]) == ("green", "ok")
    assert found.server == "qdrant 1.18.1"


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"], ids=str)
def test_every_status_of_the_protocol_becomes_ours(code: grpc.StatusCode) -> None:
    """The library's list, not ours: a new kind of failure must not slip through as a bug."""
    with grpc_server(stored()) as server, reading(server) as source:
        server.faults.extend([Abort(code, method="Count")] * 20)
        with pytest.raises(MigrationError) as caught:
            source.count_points()

    assert caught.value.remedy
