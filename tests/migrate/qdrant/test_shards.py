"""What a server tells of its shards: all readable, or refused by number before anything is read."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from migrate.errors import PreconditionError
from migrate.model.choices import TransportChoice
from migrate.ports import PointSource
from migrate.qdrant.server import open_server_source
from tests.harness.fakes.clock import VirtualClock
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server


def stored() -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"}, points=[StoredPoint(1, {"": [1.0, 2.0]})]
    )


@contextmanager
def serve(collection: StoredCollection, transport: TransportChoice) -> Iterator[str]:
    """The url of a server that speaks the protocol."""
    if transport == "rest":
        with rest_server(collection) as rest:
            yield rest.url
    else:
        with grpc_server(collection) as grpc:
            yield grpc.url


SHARDS: dict[str, tuple[list[dict[str, object]], list[dict[str, object]], str]] = {
    "dead": (
        [{"shard_id": 0, "state": "Active"}, {"shard_id": 1, "state": "Dead"}],
        [{"shard_id": 2, "state": "Active"}],
        "shard 1 is Dead on every node that holds it",
    ),
    "partial": (
        [{"shard_id": 0, "state": "Partial"}, {"shard_id": 1, "state": "Active"}],
        [{"shard_id": 0, "state": "Dead"}, {"shard_id": 2, "state": "Active"}],
        "shard 0 is Dead and Partial on every node that holds it",
    ),
    "nowhere": (
        [{"shard_id": 0, "state": "Active"}],
        [{"shard_id": 2, "state": "Active"}],
        "shard 1 is on no node that the server names",
    ),
}


def open_three_shards(
    collection: StoredCollection, url: str, transport: TransportChoice
) -> PointSource:
    collection.params["shard_number"] = 3
    return open_server_source(
        url, collection="chunks", api_key=None, transport=transport, clock=VirtualClock()
    )


@pytest.mark.parametrize("transport", ["rest", "grpc"])
@pytest.mark.parametrize("case", SHARDS)
@pytest.mark.fault("F01", "S04")
def test_a_shard_that_cannot_be_read_is_refused_by_number(
    case: str, transport: TransportChoice
) -> None:
    local, remote, said = SHARDS[case]
    collection = stored()
    collection.cluster = {"local_shards": local, "remote_shards": remote}
    with (
        serve(collection, transport) as url,
        closing(open_three_shards(collection, url, transport)) as source,
        pytest.raises(PreconditionError, match=said) as caught,
    ):
        source.read_collection()

    assert "GET /collections/chunks/cluster" in caught.value.remedy


@pytest.mark.parametrize("transport", ["rest", "grpc"])
@pytest.mark.fault("F01")
def test_every_shard_with_a_readable_replica_is_listed(transport: TransportChoice) -> None:
    collection = stored()
    collection.cluster = {
        "local_shards": [{"shard_id": 0, "state": "Active"}, {"shard_id": 1, "state": "Dead"}],
        "remote_shards": [{"shard_id": 1, "state": "Active"}, {"shard_id": 2, "state": "Active"}],
    }
    with (
        serve(collection, transport) as url,
        closing(open_three_shards(collection, url, transport)) as source,
    ):
        found = source.read_collection()

    assert [shard.number for shard in found.shards] == [0, 1, 2]
    assert "not active: Dead" in found.warnings[0]
    assert found.suspects[0] == "replicas of a shard that do not hold the same points"


@pytest.mark.fault("F01", "X12")
def test_a_key_that_may_not_see_the_shards_is_told_what_was_not_checked() -> None:
    collection = stored()
    with (
        rest_server(collection) as server,
        closing(open_three_shards(collection, server.url, "rest")) as source,
    ):
        (warning,) = source.read_collection().warnings

    assert "this key may not see the shards of the server" in warning


@pytest.mark.parametrize("transport", ["rest", "grpc"])
@pytest.mark.fault("F01")
def test_points_that_no_reading_shows_are_named(transport: TransportChoice) -> None:
    collection = stored()
    collection.info["update_queue"] = {"length": 2, "deferred_points": 9}
    with (
        serve(collection, transport) as url,
        closing(open_three_shards(collection, url, transport)) as source,
    ):
        assert source.read_collection().hidden == (
            "2 writes that are acknowledged and not visible yet",
            "9 points that stay invisible until they are optimized",
        )
