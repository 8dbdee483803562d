"""Turn a server's description of a collection, as plain JSON, into a `Collection`.

The input is plain JSON, because a typed model rejects the whole answer of a newer server. Only the
needed fields are read; unknown fields stay in `config`.
"""

import re
from collections.abc import Mapping
from typing import cast

from migrate.model.records import Collection, VectorKind, VectorSpec
from migrate.qdrant.sharding.shards import (
    disagreement_suspects,
    readable_shards,
    shard_warnings,
)
from migrate.words import subject

Json = Mapping[str, object]

EXACT_DATATYPE = "float32"
CALM_STATUSES = {"green", "yellow"}
PRODUCT = "qdrant"
_SIZES = range(1, 2**20 + 1)  # of a vector; servers take 65,536
TESTED_VERSIONS = ((1, 7), (1, 20))  # first and last minor version this reader was written for
SCROLL_LOCK_VERSION = (1, 14)  # before it a delete between listing and fetching shortened pages


def read_collection(
    name: str, info: dict[str, object], *, version: str | None, cluster: Json | None
) -> Collection:
    """Describe collection `name` from `GET /collections/{name}` and, where visible, `.../cluster`.

    `version` is the server's version, None when it is not known. Shard keys are added by the
    source, which counts their points. Raises PreconditionError for shards that cannot be read,
    ValueError when `info` is no description of a collection.
    """
    config = _object(info.get("config"), "config")
    params = _object(config.get("params"), "config.params")
    return Collection(
        name=name,
        vectors=read_vector_specs(params),
        config=info,
        server=f"{PRODUCT} {version}" if version else f"{PRODUCT} (version unknown)",
        warnings=(
            *_version_warnings(version, params),
            *_state_warnings(info),
            *_queue_warnings(info, config),
            *shard_warnings(cluster),
        ),
        shards=readable_shards(name, params, cluster),
        hidden=_hidden(info),
        suspects=disagreement_suspects(params, info, cluster),
    )


def check_description(info: Json) -> None:
    """Raises ValueError when `info` is no description of a collection."""
    read_vector_specs(_object(_object(info.get("config"), "config").get("params"), "config.params"))


def read_vector_specs(params: Json) -> tuple[VectorSpec, ...]:
    """The vector names of a collection's `params`, sorted; raises ValueError for odd shapes."""
    dense = _object(params.get("vectors") or {}, "vectors")
    if isinstance(dense.get("size"), int):
        dense = {"": dense}  # the one unnamed vector is not wrapped in a map
    specs = [_dense_spec(name, _object(found, name)) for name, found in dense.items()]
    sparse = _object(params.get("sparse_vectors") or {}, "sparse_vectors")
    specs += [_sparse_spec(name, _object(found or {}, name)) for name, found in sparse.items()]
    return tuple(sorted(specs, key=lambda spec: spec.name))


def _dense_spec(name: str, found: Json) -> VectorSpec:
    size = found.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size not in _SIZES:
        raise ValueError(f"vector '{name}' has size {size!r}")
    return VectorSpec(
        name=name,
        kind=VectorKind.MULTI if found.get("multivector_config") else VectorKind.DENSE,
        dimensions=size,
        distance=str(found.get("distance")),
        datatype=str(found.get("datatype") or EXACT_DATATYPE),
    )


def _sparse_spec(name: str, found: Json) -> VectorSpec:
    index = _object(found.get("index") or {}, name)
    datatype = index.get("datatype") or found.get("datatype") or EXACT_DATATYPE
    return VectorSpec(
        name=name,
        kind=VectorKind.SPARSE,
        dimensions=None,
        distance=None,
        datatype=str(datatype),
    )


def _object(value: object, what: str) -> Json:
    match value:
        case Mapping():
            return cast(Json, value)
        case _:
            raise ValueError(f"no object where the collection's {what} belongs")


def _version_warnings(version: str | None, params: Json) -> list[str]:
    found = re.match(r"(\d+)\.(\d+)", version or "")
    if found is None:
        return ["the server does not report its version; q2v is tested with 1.7 to 1.20"]
    minor = (int(found[1]), int(found[2]))
    warnings = []
    if not TESTED_VERSIONS[0] <= minor <= TESTED_VERSIONS[1]:
        warnings.append(
            f"server version {version} is outside 1.7 to 1.20, which q2v is tested with"
        )
    if minor < SCROLL_LOCK_VERSION and params.get("shard_number") not in {None, 1}:
        warnings.append(
            f"server version {version} with several shards: a delete during reading can hide "
            "other points; stop the writers first (1.14.0 repairs it)"
        )
    return warnings


def _hidden(info: Json) -> tuple[str, ...]:
    """One text for each kind of points that neither pages nor counts include."""
    queue = info.get("update_queue")
    if not isinstance(queue, Mapping):
        return ()
    kinds = (
        ("length", "writes that are acknowledged and not visible yet"),
        ("deferred_points", "points that stay invisible until they are optimized"),
    )
    return tuple(f"{queue[key]} {what}" for key, what in kinds if queue.get(key))


def _state_warnings(info: Json) -> list[str]:
    warnings = []
    status = str(info.get("status") or "unknown").lower()
    if status not in CALM_STATUSES:
        warnings.append(f"collection status is {status}, expected green or yellow")
    optimizer = info.get("optimizer_status")
    if optimizer is not None and optimizer != "ok":
        warnings.append(f"optimizer status is {optimizer}")
    for warning in _list(info.get("warnings")):
        text = warning.get("message") if isinstance(warning, Mapping) else warning
        warnings.append(f"the server warns: {text}")
    return warnings


def _queue_warnings(info: Json, config: Json) -> list[str]:
    warnings = []
    queue = info.get("update_queue")
    if isinstance(queue, Mapping):
        if queue.get("length"):
            warnings.append(
                f"{subject(queue['length'], 'write', 'is')} acknowledged but not visible yet"
            )
        if queue.get("deferred_points"):
            warnings.append(
                f"{subject(queue['deferred_points'], 'point', 'is')} invisible until optimized: "
                "neither pages nor counts hold them"
            )
    optimizers = config.get("optimizer_config")
    if isinstance(optimizers, Mapping) and optimizers.get("prevent_unoptimized"):
        warnings.append(
            "prevent_unoptimized is on: points written lately stay invisible until optimized"
        )
    return warnings


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
