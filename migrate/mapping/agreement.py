"""Rules of a mapping that fit each by itself and cannot work together; pure."""

from collections.abc import Mapping
from typing import Any

from migrate.errors import UsageError
from migrate.mapping.kv_keys import key_fault
from migrate.mapping.shards import counter_key_of, shard_binding
from migrate.mapping.value_rules import template_fields

# Two fields of a point that are never the same: an integer, a text of 64 hex digits, and its text.
_NEVER_THE_SAME = (
    ("mapping.order_key", "mapping.group_key", "the first is an integer, the second a text"),
    ("mapping.order_key", "mapping.hash_key", "the first is an integer, the second a text"),
    ("mapping.hash_of", "mapping.hash_key", "no text holds its own SHA-256"),
)


def check_agreement(values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """Raises UsageError for values with which no point could move, naming them.

    `values` has the rules by the names of their settings, as `MappingRules.by_setting` does; those
    of a Worker's bindings may be missing.
    `origins` says where it came from; a setting that is not in it has its default.
    """
    group, template = values["mapping.group_key"], values["kv.key_template"]
    if group and template_fields(template) != (group,):  # every file would get the same KV key
        raise UsageError(
            f'kv.key_template from {_origin("kv.key_template", origins)}: found "{template}", '
            f"expected the field of mapping.group_key in braces, {{{group}}}, and no other",
            remedy=f'set kv.key_template = "file:{{{group}}}" or similar',
        )
    for first, second, why in _NEVER_THE_SAME:
        field = values[first]
        if field and field == values[second]:
            raise UsageError(
                f'{first} from {_origin(first, origins)}: found "{field}", the same field as '
                f"{second} from {_origin(second, origins)}; expected two fields: {why}",
                remedy=f"correct {first} or {second}, or set the one that is not needed to the "
                "empty text in migration.toml",
            )
    _check_shards(values, origins)
    binding, kv_binding = values.get("target.vector_binding"), values.get("target.kv_binding")
    shards = values.get("target.shards") or ()
    if kv_binding is not None and kv_binding in {
        binding,
        *(shard_binding(str(binding), index) for index in shards),
    }:
        raise UsageError(
            f"target.kv_binding from {_origin('target.kv_binding', origins)}: found "
            f'"{kv_binding}", the same name as target.vector_binding or that which target.shards '
            "makes of it; expected two names",
            remedy="correct target.kv_binding or target.vector_binding",
        )


def _check_shards(values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    shards, index = values.get("target.shards"), values.get("target.vector_index")
    if not shards:
        return
    if index is not None and index not in shards:
        raise UsageError(
            f'target.vector_index from {_origin("target.vector_index", origins)}: found "{index}", '
            f"expected one of target.shards: {', '.join(shards)}",
            remedy="name one of them with --vector-index, or correct target.shards",
        )
    fault = key_fault(counter_key_of(values["kv.counter_key"], max(shards, key=len)))
    if fault is not None:
        raise UsageError(
            f"kv.counter_key from {_origin('kv.counter_key', origins)}: found a key that is too "
            f"long with the name of an index of target.shards after it: {fault}",
            remedy="shorten kv.counter_key",
        )


def _origin(setting: str, origins: Mapping[str, str]) -> str:
    return origins.get(setting, "default")


def idle_rules(values: Mapping[str, str]) -> tuple[str, ...]:
    """Rules that have no effect beside the others, in words; `values` as `check_agreement`."""
    notes = []
    if values["mapping.hash_of"] and not values["mapping.hash_key"]:
        notes.append("mapping.hash_of has no effect: mapping.hash_key is empty")
    if values["mapping.hash_mismatch"] == "quarantine" and not values["mapping.hash_of"]:
        notes.append("mapping.hash_mismatch has no effect: mapping.hash_of is empty")
    return tuple(notes)
