"""Rules as the operator writes them, `[[mapping.transform]]`, and as a plan keeps them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from migrate.mapping.field_paths import FORM, parse_path
from migrate.mapping.transforms.rules import (
    ALL,
    ALL_LEVELS,
    KINDS_OF_VALUES,
    RULES_MAX,
    Constant,
    Drop,
    Flatten,
    Keep,
    Keys,
    Nulls,
    Rename,
    ShardKeyField,
    ToText,
    Transform,
    Truncate,
)

CHARACTERS_MAX = 10_240  # metadata holds no more bytes
SEPARATOR_MAX = 8
_SHOWN_MAX = 80  # characters of a refused value
Table = Mapping[str, object]


class TableError(ValueError):
    """A rule that is none: which, what was found, what was expected."""


def read_transforms(tables: Sequence[object]) -> tuple[Transform, ...]:
    """The rules of a table. Raises TableError for one that is none, or two that collide."""
    if len(tables) > RULES_MAX:
        raise TableError(f"found {len(tables)} rules, expected at most {RULES_MAX}")
    rules = tuple(_read(number, table) for number, table in enumerate(tables, 1))
    _check_together(rules)
    return rules


def _read(number: int, table: object) -> Transform:
    try:
        return _read_table(table)
    except TableError as error:
        raise TableError(f"rule {number}: {error}") from None


def _read_table(table: object) -> Transform:
    if not isinstance(table, Mapping):
        raise TableError('found no table, expected one as { drop = ["internal"] }')
    kinds = [kind for kind in _READERS if kind in table]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none of them"
        raise TableError(f"found {found}, expected one of {', '.join(_READERS)}")
    members, read = _READERS[kinds[0]]
    unknown = sorted(map(str, set(table) - {kinds[0], *members}))
    if unknown:
        known = ", ".join([kinds[0], *members])
        raise TableError(f"found the unknown key {unknown[0]}, expected only {known}")
    return read(table)


def _check_together(rules: Sequence[Transform]) -> None:
    """Two rules that make one field, a rule that stands there twice, and two for shard keys."""
    named = [rule.name for rule in rules if isinstance(rule, ShardKeyField)]
    if len(named) > 1:
        raise TableError(f"found {len(named)} rules for the shard key, expected one")
    for numbers in ("makes", "label"):
        first: dict[object, int] = {}
        for number, rule in enumerate(rules, 1):
            made = getattr(rule, numbers)
            if made is not None and made in first:
                other = rules[first[made] - 1]
                raise TableError(
                    f"rules {first[made]} and {number}: found '{other.label}' and '{rule.label}', "
                    "expected two rules that differ and do not make the same field"
                )
            first[made] = number


def _keep(table: Table) -> Transform:
    return Keep(_paths(table, "keep"))


def _drop(table: Table) -> Transform:
    return Drop(_paths(table, "drop"))


def _rename(table: Table) -> Transform:
    return Rename(_path(table["rename"], "rename"), _name(table, "to"))


def _flatten(table: Table) -> Transform:
    where = None if table["flatten"] == ALL else _path(table["flatten"], "flatten")
    separator = table.get("separator", "_")
    if (
        not isinstance(separator, str)
        or set(separator) & set('."')
        or len(separator) > SEPARATOR_MAX
    ):
        raise _refused(
            "separator", separator, f'a text of at most {SEPARATOR_MAX} characters without . and "'
        )
    levels = table.get("levels", "all")
    if levels == "all":
        return Flatten(where, separator, ALL_LEVELS)
    return Flatten(where, separator, _whole(levels, "levels", 1, 100))


def _to_text(table: Table) -> Transform:
    of = table.get("of", [])
    if not isinstance(of, list) or not all(kind in KINDS_OF_VALUES for kind in of):
        raise _refused("of", of, f"a list of {', '.join(KINDS_OF_VALUES)}")
    fields = () if table["to_text"] == [] and of else _paths(table, "to_text")
    return ToText(fields, tuple(dict.fromkeys(of)))


def _nulls(table: Table) -> Transform:
    match table["nulls"], table.get("text"):
        case "leave_out", None:
            return Nulls(None)
        case "text", str(text):
            return Nulls(text)
    raise TableError('expected nulls = "leave_out", or nulls = "text" with a text')


def _truncate(table: Table) -> Transform:
    characters = _whole(table.get("characters"), "characters", 1, CHARACTERS_MAX)
    return Truncate(_path(table["truncate"], "truncate"), characters)


def _constant(table: Table) -> Transform:
    value = table.get("value")
    if not isinstance(value, str | int | float) or not _is_json(value):
        raise _refused("value", value, "a text, a number, or true or false")
    return Constant(_name(table, "constant"), value)


def _shard_key(table: Table) -> Transform:
    return ShardKeyField(_name(table, "shard_key"))


_READERS: dict[str, tuple[tuple[str, ...], Callable[[Table], Transform]]] = {
    "keep": ((), _keep),
    "drop": ((), _drop),
    "rename": (("to",), _rename),
    "flatten": (("separator", "levels"), _flatten),
    "to_text": (("of",), _to_text),
    "nulls": (("text",), _nulls),
    "truncate": (("characters",), _truncate),
    "constant": (("value",), _constant),
    "shard_key": ((), _shard_key),
}


def _paths(table: Table, key: str) -> tuple[Keys, ...]:
    given = table[key]
    if not isinstance(given, list) or not given:
        raise _refused(key, given, 'a list of fields, as ["metadata.source"]')
    return tuple(_path(one, key) for one in given)


def _path(given: object, key: str) -> Keys:
    path = parse_path(given) if isinstance(given, str) else None
    keys = tuple(step for step in path or () if isinstance(step, str))
    if not keys or keys != path:
        raise _refused(key, given, f"{FORM}; and no position of a list")
    return keys


def _name(table: Table, key: str) -> str:
    name = table.get(key)
    path = parse_path(name) if isinstance(name, str) else None
    if not isinstance(name, str) or path != (name,):
        raise _refused(key, name, "the name of one field, which metadata can hold")
    return name


def _is_json(value: str | float) -> bool:
    """Whether JSON and UTF-8 can hold it: a number that is finite, a text of whole characters."""
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    return isinstance(value, int) or math.isfinite(value)


def _whole(given: Any, key: str, low: int, high: int) -> int:
    if type(given) is int and low <= given <= high:
        return given
    raise _refused(key, given, f"a whole number from {low} to {high:,}")


def _refused(key: str, found: object, expected: str) -> TableError:
    shown = repr(found)
    if len(shown) > _SHOWN_MAX:
        shown = f"{shown[:_SHOWN_MAX]}..."
    return TableError(f"{key}: found {shown}, expected {expected}")
