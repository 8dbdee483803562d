"""Metadata filters of a query: their rules, and which vectors they match."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.errors import invalid_filter
from sandbox.limits import (
    FILTER_BYTES_MAX,
    FILTER_KEY_CHARACTERS_MAX,
    INDEXED_STRING_BYTES_MAX,
)
from sandbox.vectorize.metadata import look_up
from sandbox.vectorize.reader import MetadataIndex, StoredVector

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "$lt": operator.lt,
    "$lte": operator.le,
    "$gt": operator.gt,
    "$gte": operator.ge,
}
_LOWER, _UPPER = {"$gt", "$gte"}, {"$lt", "$lte"}
_OPERATORS = {"$eq", "$ne", "$in", "$nin", *_ORDER}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one property; a filter is the AND of all its conditions."""

    path: str  # dots reach into objects
    operator: str
    operand: object


def parse_filter(request_filter: object) -> list[Condition]:
    """Read a filter. Raises ServiceError for one against the rules."""
    if not isinstance(request_filter, dict) or not request_filter:
        raise invalid_filter("expected a non-empty object")
    if len(orjson.dumps(request_filter)) >= FILTER_BYTES_MAX:
        raise invalid_filter(f"compact JSON must be under {FILTER_BYTES_MAX} bytes")
    conditions: list[Condition] = []
    for path, wanted in request_filter.items():
        _check_path(path)
        operators = wanted if isinstance(wanted, dict) else {"$eq": wanted}
        _check_operators(path, operators)
        conditions += [Condition(path, name, operand) for name, operand in operators.items()]
    return conditions


def _check_path(path: str) -> None:
    if len(path) > FILTER_KEY_CHARACTERS_MAX or '"' in path or path.startswith("$"):
        raise invalid_filter(f"invalid key {path!r}")
    if not all(path.split(".")):
        raise invalid_filter(f"empty part in key {path!r}")


def _check_operators(path: str, operators: Mapping[str, object]) -> None:
    names = set(operators)
    if not names or names - _OPERATORS:
        raise invalid_filter(f"unknown operator on {path!r}")
    # A range is one bound, or a lower and an upper one; other operators stand alone.
    lower, upper = names & _LOWER, names & _UPPER
    pair = len(lower) == len(upper) == 1 and names == lower | upper
    if len(names) > 1 and not pair:
        raise invalid_filter(f"operators on {path!r} cannot be combined")
    for name, operand in operators.items():
        if name in {"$in", "$nin"}:
            good = isinstance(operand, list) and bool(operand) and all(map(_is_plain, operand))
        elif name in _ORDER:
            good = isinstance(operand, str | int | float) and not isinstance(operand, bool)
        else:
            good = operand is None or _is_plain(operand)
        if not good:
            raise invalid_filter(f"wrong operand for {name} on {path!r}")


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)  # a bool is an int


def matches(
    vector: StoredVector, conditions: Sequence[Condition], indexes: Mapping[str, MetadataIndex]
) -> bool:
    """Whether all conditions hold.

    A property without a metadata index, or a vector written before it, never matches.
    """
    metadata = None if vector.metadata is None else orjson.loads(vector.metadata)
    for condition in conditions:
        index = indexes.get(condition.path)
        if index is None or vector.written_seq <= index.from_seq:
            return False
        if not _holds(_indexed(look_up(metadata, condition.path), index), condition):
            return False
    return True


def _indexed(value: object, index: MetadataIndex) -> object:
    """What the index holds of a value: None if it is not of the index's type."""
    if not isinstance(value, _TYPES[index.type]):
        return None
    if isinstance(value, bool) and index.type != "boolean":
        return None
    return _cut(value)


def _cut(value: object) -> object:
    """Strings are compared by their first 64 bytes, cut at a character."""
    if isinstance(value, str):
        return value.encode()[:INDEXED_STRING_BYTES_MAX].decode(errors="ignore")
    return value


def _holds(value: object, condition: Condition) -> bool:
    name, operand = condition.operator, condition.operand
    if name in _ORDER:
        return _comparable(value, operand) and _ORDER[name](value, _cut(operand))
    operands = operand if isinstance(operand, list) else [operand]
    found = any(_same(value, _cut(one)) for one in operands)
    return found if name in {"$eq", "$in"} else not found


def _same(value: object, operand: object) -> bool:
    """Equal and of one kind: true is not 1."""
    return value == operand and isinstance(value, bool) == isinstance(operand, bool)


def _comparable(value: object, operand: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, str):
        return isinstance(operand, str)
    return isinstance(value, int | float) and isinstance(operand, int | float)
