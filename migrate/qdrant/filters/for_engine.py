"""A filter as the embedded engine has it: the engine that reads a folder evaluates it."""

from collections.abc import Callable
from typing import Any

import qdrant_edge as engine

from migrate.qdrant.filters.check import conditions_of
from migrate.qdrant.filters.point_filter import PointFilter

Json = dict[str, Any]


def encode_for_engine(point_filter: PointFilter) -> Any:
    """The engine's filter. Raises UsageError for what it refuses, as a path that is none."""
    try:
        return _filter(point_filter.members)
    except (TypeError, ValueError, OverflowError) as error:
        first_line = str(error).partition("\n")[0]
        raise point_filter.refused(f"the engine refuses the filter: {first_line}") from error


def _filter(members: Json) -> Any:
    least = members.get("min_should")
    return engine.Filter(
        must=_conditions(members.get("must")),
        should=_conditions(members.get("should")),
        must_not=_conditions(members.get("must_not")),
        min_should=None
        if least is None
        else engine.MinShould(_conditions(least["conditions"]) or [], least["min_count"]),
    )


def _conditions(clause: Any) -> list[Any] | None:
    return None if clause is None else [_condition(one) for one in conditions_of(clause)]


def _condition(condition: Json) -> Any:
    if "key" in condition:
        tests = {name: test for name, test in condition.items() if test is not None}
        key = tests.pop("key")
        return engine.FieldCondition(key, **{name: _TESTS[name](tests[name]) for name in tests})
    kind = next(iter(condition))
    return _OTHERS[kind](condition[kind]) if kind in _OTHERS else _filter(condition)


def _nested(nested: Json) -> Any:
    return engine.NestedCondition(nested["key"], _filter(nested["filter"]))


def _match(test: Json) -> Any:
    [(kind, value)] = test.items()
    return _MATCHES[kind](value)


def _range(test: Json) -> Any:
    bounds = {name: bound for name, bound in test.items() if bound is not None}
    is_time = any(isinstance(bound, str) for bound in bounds.values())
    return (engine.RangeDateTime if is_time else engine.RangeFloat)(**bounds)


def _box(test: Json) -> Any:
    return engine.GeoBoundingBox(_point(test["top_left"]), _point(test["bottom_right"]))


def _radius(test: Json) -> Any:
    return engine.GeoRadius(_point(test["center"]), test["radius"])


def _polygon(test: Json) -> Any:
    return engine.GeoPolygon(
        _line(test["exterior"]), [_line(one) for one in test.get("interiors") or ()]
    )


def _line(line: Json) -> list[Any]:
    return [_point(point) for point in line["points"]]


def _point(point: Json) -> Any:
    return engine.GeoPoint(point["lon"], point["lat"])


def _count(test: Json) -> Any:
    return engine.ValuesCount(**{name: one for name, one in test.items() if one is not None})


_MATCHES: dict[str, Callable[[Any], Any]] = {
    "value": engine.MatchValue,
    "any": engine.MatchAny,
    "except": engine.MatchExcept,
    "text": engine.MatchText,
    "text_any": engine.MatchTextAny,
    "phrase": engine.MatchPhrase,
    "prefix": engine.MatchPrefix,
    "substring": engine.MatchSubstring,
}
_TESTS: dict[str, Callable[[Any], Any]] = {
    "match": _match,
    "range": _range,
    "geo_bounding_box": _box,
    "geo_radius": _radius,
    "geo_polygon": _polygon,
    "values_count": _count,
    "is_empty": bool,
    "is_null": bool,
}
_OTHERS: dict[str, Callable[[Any], Any]] = {
    "nested": _nested,
    "is_empty": lambda field: engine.IsEmptyCondition(field["key"]),
    "is_null": lambda field: engine.IsNullCondition(field["key"]),
    "has_id": lambda ids: engine.HasIdCondition(set(ids)),
    "has_vector": engine.HasVectorCondition,
}
