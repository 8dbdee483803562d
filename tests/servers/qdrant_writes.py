"""The writes of the REST test server: create a collection, its indexes; write and delete points.

As a server does it: ids are checked and spelled in one way, values become float32, cosine vectors
of another length than 1 are normalised, a vector of another shape fails the whole request.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from migrate.model.records import PointId
from tests.servers.qdrant_points import (
    AnyVector,
    SparseValues,
    StoredCollection,
    StoredPoint,
    matching,
)

Request = Mapping[str, Any]
UNIT_TOLERANCE = 1e-6  # of the squared length
SHORTEST = 1.2e-7  # squared length; shorter vectors are stored as they are
DEFAULTS = {"shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1}
OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "default_segment_number": 0,
    "max_segment_size": None,
    "flush_interval_sec": 5,
}
HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}


class WriteRefusedError(Exception):
    """The request is answered with this status and text."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


def _create(collection: StoredCollection, request: Request) -> bool:
    if not collection.is_missing:
        raise WriteRefusedError(409, f"Wrong input: Collection `{collection.name}` already exists!")
    collection.vectors = dict(request.get("vectors", {}))
    collection.sparse_vectors = dict(request.get("sparse_vectors") or {})
    collection.points = []
    params = (*DEFAULTS, "on_disk_payload", "sharding_method")
    if request.get("sharding_method") == "custom":  # it begins without a shard
        collection.cluster = {"local_shards": [], "remote_shards": []}
    config = {
        "params": {
            **DEFAULTS,
            **{name: request[name] for name in params if request.get(name) is not None},
            "vectors": collection.vectors,
            **({"sparse_vectors": collection.sparse_vectors} if collection.sparse_vectors else {}),
        },
        "optimizer_config": OPTIMIZERS | (request.get("optimizers_config") or {}),
        "hnsw_config": HNSW | (request.get("hnsw_config") or {}),
        **{
            name: request.get(name)
            for name in ("wal_config", "quantization_config", "strict_mode_config")
        },
    }
    collection.info = {"config": config, "payload_schema": {}}
    collection.is_missing = False
    return True


def _update(collection: StoredCollection, request: Request) -> bool:
    config = cast(dict[str, Any], collection.info["config"])
    config["params"] |= request["params"]
    return True


def _index(collection: StoredCollection, request: Request) -> dict[str, object]:
    schema = request["field_schema"]
    entry = {"data_type": schema} if isinstance(schema, str) else {"data_type": schema["type"]}
    if not isinstance(schema, str):
        entry["params"] = schema
    schemas = cast(dict[str, object], collection.info.setdefault("payload_schema", {}))
    schemas[request["field_name"]] = {**entry, "points": len(collection.points)}
    return {"operation_id": len(collection.writes), "status": "completed"}


def _upsert(collection: StoredCollection, request: Request) -> dict[str, object]:
    key = request.get("shard_key")
    if (key is None) is collection.is_custom:
        text = "Shard key not specified" if key is None else f"Shard key {_shown(key)} not found"
        raise WriteRefusedError(400, f"Wrong input: {text}")
    if key is not None and key not in collection.shard_keys:
        raise WriteRefusedError(400, f"Wrong input: Shard key {_shown(key)} not found")
    points = [replace(_point(collection, point), shard_key=key) for point in request["points"]]
    # An id under another key is another point: the server does not look there.
    held = {(point.shard_key, point.key): point for point in collection.points}
    held |= {(key, point.key): point for point in points if collection.is_stored(point)}
    collection.points = list(held.values())
    return {"operation_id": len(collection.writes), "status": "completed"}


def _make_key(collection: StoredCollection, request: Request) -> bool:
    key = request["shard_key"]
    if not collection.is_custom:
        text = f"Shard Key {_shown(key)} cannot be created with Auto sharding method"
        raise WriteRefusedError(400, f"Bad request: {text}")
    if key in collection.shard_keys:
        raise WriteRefusedError(400, f"Bad request: Shard key {_shown(key)} already exists")
    shards = cast(list[object], cast(dict[str, object], collection.cluster)["local_shards"])
    shards.append({"shard_id": len(shards) + 1, "state": "Active", "shard_key": key})
    return True


def _shown(key: object) -> str:
    return f'"{key}"' if isinstance(key, str) else str(key)


def _delete(collection: StoredCollection, request: Request) -> dict[str, object]:
    removed = {point.key for point in matching(collection.points, request["filter"])}
    collection.points = [point for point in collection.points if point.key not in removed]
    return {"operation_id": len(collection.writes), "status": "completed"}


WRITES: dict[tuple[str, str], Callable[[StoredCollection, Request], object]] = {
    ("PUT", ""): _create,
    ("PATCH", ""): _update,
    ("PUT", "index"): _index,
    ("PUT", "shards"): _make_key,
    ("PUT", "points"): _upsert,
    ("POST", "points/delete"): _delete,
}


def _point(collection: StoredCollection, point: Request) -> StoredPoint:
    try:
        key = PointId.parse(point["id"])
    except ValueError as error:
        raise WriteRefusedError(400, f"Format error in JSON body: {error}") from error
    given = point["vector"]
    named = given if isinstance(given, dict) else {"": given}
    vectors = {name: _vector(collection, name, vector) for name, vector in named.items()}
    return StoredPoint(id=key.wire, vectors=vectors, payload=point.get("payload"))


def _vector(collection: StoredCollection, name: str, vector: Any) -> AnyVector:
    dense = {"": collection.vectors} if "size" in collection.vectors else collection.vectors
    if name in collection.sparse_vectors:
        return SparseValues(vector["indices"], vector["values"])
    if name not in dense:
        raise WriteRefusedError(400, f"Wrong input: Not existing vector name error: {name}")
    params = cast(Request, dense[name])
    rows = vector if "multivector_config" in params else [vector]
    found = [_row(params, row) for row in rows]
    if "multivector_config" in params:
        return found
    return found[0]


def _row(params: Request, row: Sequence[float]) -> Sequence[float]:
    if any(value is None for value in row):
        raise WriteRefusedError(400, "Format error in JSON body: expected a number, found null")
    if len(row) != params["size"]:
        size = params["size"]
        text = f"Wrong input: Vector dimension error: expected dim: {size}, got {len(row)}"
        raise WriteRefusedError(400, text)
    values = np.array(row, dtype=np.float32)
    squared = float(np.dot(values, values))
    is_kept = squared < SHORTEST or abs(squared - 1) <= UNIT_TOLERANCE
    if params["distance"] == "Cosine" and not is_kept:
        values = (values / np.float32(math.sqrt(squared))).astype(np.float32)
    return cast(Sequence[float], values.tolist())
