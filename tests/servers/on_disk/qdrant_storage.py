"""A server's storage on disk, with shards that the embedded engine writes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.migrate.qdrant.sources import write_shard
from tests.servers.qdrant_points import StoredCollection, StoredPoint

PEER = 4711


def write_collection(
    home: Path,
    collection: StoredCollection,
    *,
    shards: int,
    place: Callable[[StoredPoint], int] | None = None,
    params: dict[str, object] | None = None,
) -> Path:
    """`home/collections/NAME` as a stopped server leaves it; `place` names a point's shard."""
    folder = home / "collections" / collection.name
    folder.mkdir(parents=True)
    described = {"vectors": collection.vectors, "shard_number": shards, "replication_factor": 1}
    config = {"params": described | (params or {}), "optimizer_config": {}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "version.info").write_text("1.18.3")
    (folder / "resharding_state.json").write_text("null")
    (folder / "shard_key_mapping.json").write_text("{}")
    for number in range(shards):
        here = [
            point
            for position, point in enumerate(collection.points)
            if (position % shards if place is None else place(point)) == number
        ]
        write_shard(replace(collection, points=here), folder / str(number))
        (folder / str(number) / "edge_config.json").unlink()
        (folder / str(number) / "shard_config.json").write_text('{"type":"ReplicaSet"}')
        set_replica(folder / str(number), "Active")
    return folder


def set_replica(shard: Path, state: str, *, is_local: bool = True) -> None:
    """What a node knows of its replica of a shard."""
    replicas = {"is_local": is_local, "this_peer_id": PEER, "peers": {str(PEER): state}}
    (shard / "replica_state.json").write_text(json.dumps(replicas))
