"""The request that creates a collection again, from the server's description of the former one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from migrate.qdrant.collection import Json

# Members of a description that have another name in the request that creates a collection.
RENAMED = {"optimizer_config": "optimizers_config", "optimizers": "optimizers_config"}
# Members that a request to update a collection takes, and one to create it does not.
FOR_UPDATES = frozenset({"read_fan_out_factor", "read_fan_out_delay_ms"})
SPARSE_INDEX = frozenset({"full_scan_threshold", "on_disk", "datatype", "memory"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSettings:
    """All settings of a collection, as the REST API takes them; without those that are null."""

    creation: Json  # the body of PUT /collections/{name}
    update: Json  # the `params` of PATCH /collections/{name}; empty when there are none
    indexes: Mapping[str, object]  # payload field -> `field_schema` of its index

    def differences(self, other: "CollectionSettings") -> list[str]:
        """What `other` has in another way, one text each. Additional settings do not count."""
        found = dict(_leaves("", other.creation)) | dict(_leaves("", other.update))
        own = [*_leaves("", self.creation), *_leaves("", self.update)]
        found |= {f"payload index on '{key}'": index for key, index in other.indexes.items()}
        own += [(f"payload index on '{key}'", index) for key, index in self.indexes.items()]
        return [
            f"{name} is {found.get(name)!r}, in the snapshot {value!r}"
            for name, value in own
            if found.get(name) != value
        ]


def read_settings(description: Json) -> CollectionSettings:
    """The settings in `Collection.config`, which is the answer to GET /collections/{name}.

    An embedded store describes itself in `config.params` alone.
    """
    config = cast(Json, description["config"])
    params = cast(Json, config["params"])
    members = {name: value for name, value in config.items() if name != "params"}
    found = {
        RENAMED.get(name, name): _without_nulls(value)
        for name, value in {**params, **members}.items()
        if value is not None
    }
    vectors = cast(Json, found.get("vectors") or {})
    found["vectors"] = vectors[""] if list(vectors) == [""] else vectors
    sparse = cast(Mapping[str, Json | None], found.get("sparse_vectors") or {})
    found["sparse_vectors"] = {name: _sparse(params or {}) for name, params in sparse.items()}
    return CollectionSettings(
        creation={name: value for name, value in found.items() if name not in FOR_UPDATES},
        update={name: value for name, value in found.items() if name in FOR_UPDATES},
        indexes={
            field: _without_nulls(entry.get("params")) or entry["data_type"]
            for field, entry in cast(
                Mapping[str, Json], description.get("payload_schema") or {}
            ).items()
        },
    )


def _sparse(params: Json) -> Json:
    """An embedded store keeps the members of the index beside the others."""
    index = {name: value for name, value in params.items() if name in SPARSE_INDEX}
    rest = {name: value for name, value in params.items() if name not in SPARSE_INDEX}
    return {**rest, "index": index} if index else rest


def _without_nulls(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _without_nulls(found) for name, found in value.items() if found is not None}
    return value


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Each value that is no object, with its dotted name."""
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, found in value.items():
        yield from _leaves(f"{name}.{key}" if name else key, found)
