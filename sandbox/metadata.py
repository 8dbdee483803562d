"""Metadata: what may be stored, and which vectors a filter matches."""

from collections.abc import Callable, Mapping

import orjson

from sandbox.errors import ServiceError, not_parsable, upstream
from sandbox.limits import (
    EXACT_INTEGER_MAX,
    FILTER_BYTES_MAX,
    FILTER_KEY_CHARACTERS_MAX,
    INDEXED_STRING_BYTES_MAX,
    METADATA_BYTES_MAX,
)

Metadata = dict[str, object]


def check_metadata(vector_id: str, metadata: object) -> bytes | None:
    """The metadata as compact JSON, None without any. Raises what the service answers.

    Strings, numbers, booleans, lists of strings, and objects of these one level down; where the
    documentation is silent (null, other lists, deeper nesting) the stand-in refuses.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise not_parsable()
    for key, value in metadata.items():
        _check_key(key)
        _check_value(value, depth=0)
    text = orjson.dumps(metadata)
    if len(text) > METADATA_BYTES_MAX:
        raise upstream(
            40016,
            f'oversized metadata for vector id="{vector_id}"; compact JSON must not exceed '
            f"{METADATA_BYTES_MAX} bytes, got {len(text)}",
        )
    return text


def _check_key(key: str) -> None:
    if not key or "." in key or '"' in key or key.startswith("$"):
        raise upstream(40018, f"invalid metadata key {key!r}")


def _check_value(value: object, *, depth: int) -> None:
    match value:
        case str() | bool() | float():
            return
        case int() if abs(value) <= EXACT_INTEGER_MAX:
            return
        case list() if all(isinstance(one, str) for one in value):
            return
        case dict() if depth == 0:
            for key, inner in value.items():
                _check_key(key)
                _check_value(inner, depth=1)
        case _:
            raise not_parsable()


def _less(left: object, right: object) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left < right
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    return False


_ORDER: dict[str, Callable[[object, object], bool]] = {
    "$lt": _less,
    "$lte": lambda value, bound: _less(value, bound) or value == bound,
    "$gt": lambda value, bound: _less(bound, value),
    "$gte": lambda value, bound: _less(bound, value) or value == bound,
}
_OPERATORS = {"$eq", "$ne", "$in", "$nin", *_ORDER}


def check_filter(filters: object) -> dict[str, dict[str, object]] | None:
    """The filter as property -> operators; None without one. Raises what the service answers."""
    if filters is None:
        return None
    if not isinstance(filters, dict) or not filters:
        raise upstream(40026, "filter: expected a non-empty object")
    if len(orjson.dumps(filters)) >= FILTER_BYTES_MAX:
        raise upstream(40026, f"filter: compact JSON must be below {FILTER_BYTES_MAX} bytes")
    return {key: _check_condition(key, condition) for key, condition in filters.items()}


def _check_condition(key: str, condition: object) -> dict[str, object]:
    if (
        not key
        or len(key) > FILTER_KEY_CHARACTERS_MAX
        or key.startswith("$")
        or set(key) & set('"|')
    ):
        raise upstream(40026, f"filter: invalid key {key!r}")
    if not isinstance(condition, dict):
        return {"$eq": condition}
    operators = set(condition)
    if not operators or operators - _OPERATORS:
        raise upstream(40026, f"filter: unknown operator in {sorted(operators)}")
    lower, upper = operators & {"$gt", "$gte"}, operators & {"$lt", "$lte"}
    ranges = len(lower) <= 1 and len(upper) <= 1 and operators == lower | upper
    if len(operators) > 1 and not ranges:
        raise upstream(40026, "filter: a range pairs one lower with one upper bound")
    for name in operators & {"$in", "$nin"}:
        if not isinstance(condition[name], list):
            raise upstream(40026, f"filter: {name} expects a list")
    return dict(condition)


def matches(metadata: Mapping[str, object], conditions: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether every condition holds; a property that is not there matches only `$ne`, `$nin`."""
    return all(
        _holds(_look_up(metadata, key), operator, bound)
        for key, condition in conditions.items()
        for operator, bound in condition.items()
    )


def _look_up(metadata: Mapping[str, object], path: str) -> object:
    value: object = metadata
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return _indexed(value)


def _indexed(value: object) -> object:
    """Strings are indexed by their first 64 bytes, cut at a character."""
    if isinstance(value, str):
        return value.encode()[:INDEXED_STRING_BYTES_MAX].decode(errors="ignore")
    return value


def _holds(value: object, operator: str, bound: object) -> bool:
    match operator, bound:
        case "$in", list():
            return any(_same(value, _indexed(one)) for one in bound)
        case "$nin", list():
            return not any(_same(value, _indexed(one)) for one in bound)
        case "$ne", _:
            return not _same(value, _indexed(bound))
        case "$eq", _:
            return _same(value, _indexed(bound))
        case _:
            return _ORDER[operator](value, _indexed(bound))


def _same(value: object, bound: object) -> bool:
    """Equal and of one kind: true is not 1."""
    return value == bound and isinstance(value, bool) == isinstance(bound, bool)


def bad_json() -> ServiceError:
    """A request body that is no JSON of the expected form."""
    return ServiceError(400, 10026, "could not parse the request body")
