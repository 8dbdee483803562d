"""Convert a collection's description from gRPC to the shape of the REST API.

One reader and one kind of manifest then serve both protocols. The messages are converted
generically: an unknown field is left out and an unknown enum value becomes its number; neither is
an error.
"""

import re
from collections.abc import Callable
from typing import cast

from google.protobuf.descriptor import (
    EnumDescriptor,
    FieldDescriptor,
)
from google.protobuf.message import Message

Json = dict[str, object]

# Fields that gRPC wraps and REST does not.
RENAMED = {
    "qdrant.CollectionParams": {
        "vectors_config": "vectors",
        "sparse_vectors_config": "sparse_vectors",
    },
}
KEPT_CASE = {"Distance", "ReplicaState"}  # REST spells these as gRPC does
UNSET = {"Default", "Unknown", "UnknownType", "UnknownCollectionStatus", "MemoryUnknown"}


def describe(message: Message) -> Json:
    """A message as JSON: fields that are set, plus lists; names and enums as REST spells them."""
    names = RENAMED.get(message.DESCRIPTOR.full_name, {})
    found: Json = {}
    for field, value in message.ListFields():
        found[names.get(field.name, field.name)] = _field(field, value)
    return {name: value for name, value in found.items() if value is not None}


def _field(field: FieldDescriptor, value: object) -> object:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        inner = entry.fields_by_name["value"]
        pairs = cast(dict[object, object], value).items()
        return {str(key): _one(inner, found) for key, found in pairs}
    if field.is_repeated:
        return [_one(field, found) for found in cast(list[object], value)]
    return _one(field, value)


def _one(field: FieldDescriptor, value: object) -> object:
    if isinstance(value, Message):
        special = SPECIAL.get(value.DESCRIPTOR.full_name, describe)
        return special(value)
    if field.enum_type is not None:
        return _enum(field.enum_type, cast(int, value))
    return value


def _enum(enum: EnumDescriptor, number: int) -> str | None:
    known = enum.values_by_number.get(number)
    if known is None:
        return str(number)
    name = str(known.name)
    if name in UNSET:
        return None
    if enum.name in KEPT_CASE:
        return name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _vectors(message: Message) -> object:
    """`VectorsConfig`: one unnamed vector, or a map of names."""
    inner = describe(message)
    return inner.get("params") or cast(Json, inner.get("params_map", {})).get("map", {})


def _only(key: str) -> Callable[[Message], object]:
    """The conversion of a message that wraps one field, which REST has without the wrapper."""
    return lambda message: describe(message).get(key, {})


def _comparator(message: Message) -> object:
    # max_sim is number 0, which protobuf does not send.
    return {"comparator": "max_sim", **describe(message)}


def _optimizer_status(message: Message) -> object:
    inner = describe(message)
    return "ok" if inner.get("ok") else {"error": inner.get("error", "unknown")}


def _index_params(message: Message) -> object:
    """REST tags the parameters of a payload index with their type."""
    return {
        key: value
        for name, params in describe(message).items()
        for key, value in (
            {"type": name.removesuffix("_index_params")} | cast(Json, params)
        ).items()
    }


def _value(message: Message) -> object:
    """A JSON value, as in collection metadata."""
    kind = message.WhichOneof("kind")
    if kind in {None, "null_value"}:
        return None
    return _one(message.DESCRIPTOR.fields_by_name[kind], getattr(message, kind))


SPECIAL: dict[str, Callable[[Message], object]] = {
    "qdrant.VectorsConfig": _vectors,
    "qdrant.SparseVectorConfig": _only("map"),
    "qdrant.MultiVectorConfig": _comparator,
    "qdrant.OptimizerStatus": _optimizer_status,
    "qdrant.MaxOptimizationThreads": lambda message: describe(message).get("value", "auto"),
    "qdrant.PayloadIndexParams": _index_params,
    "qdrant.Value": _value,
    "qdrant.Struct": _only("fields"),
    "qdrant.ListValue": lambda message: describe(message).get("values", []),
}
