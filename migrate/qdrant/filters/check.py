"""Read a filter, and refuse one whose meaning could differ between the ways to read a collection.

A server checks a filter too. It ignores unknown members in some places, and its two protocols do
not carry everything alike: in a condition with two tests, gRPC has room for one. Such a filter
would move other points than it names, so it is refused before the first request.
"""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError
from qdrant_client import models

from migrate.errors import UsageError
from migrate.mapping.value_rules import FILTER, read_filter
from migrate.qdrant.filters.point_filter import PointFilter

CLAUSES = ("must", "should", "must_not", "min_should")
_TESTS = (
    "match",
    "range",
    "geo_bounding_box",
    "geo_radius",
    "geo_polygon",
    "values_count",
    "is_empty",
    "is_null",
)
# Alone, in the place of a field and a test of it.
_OTHERS: dict[str, TypeAdapter[Any]] = {
    "is_empty": TypeAdapter(models.IsEmptyCondition),
    "is_null": TypeAdapter(models.IsNullCondition),
    "has_id": TypeAdapter(models.HasIdCondition),
    "has_vector": TypeAdapter(models.HasVectorCondition),
}
_FIELD = TypeAdapter(models.FieldCondition)
_KNOWN = (
    f"'key' with one of {', '.join(_TESTS)}; or one of {', '.join(_OTHERS)}, nested; or a filter "
    f"with {', '.join(CLAUSES)}"
)
_SHOWN_MAX = 200
LEVELS_MAX = 90  # of objects and lists: gRPC carries 100 messages within each other
_WHOLE_NUMBERS = range(-(2**63), 2**64)


def parse_filter(text: str) -> PointFilter:
    """The filter in a JSON text. Raises UsageError for a text that is no filter of Qdrant.

    Not supported: the condition `slice`, which no reader of a folder has.
    """
    try:
        canonical = read_filter(text)
    except ValueError as error:
        raise UsageError(f"source.filter: {error}", remedy="correct source.filter") from error
    if canonical is None:
        raise UsageError(
            f"source.filter: found {text[:_SHOWN_MAX]!r}, expected {FILTER.expected}",
            remedy="correct source.filter",
        )
    found = PointFilter(canonical)
    _check_depth_and_numbers(found.members)
    _check_filter(found.members, "")
    return found


def _check_depth_and_numbers(members: object) -> None:
    """Raises UsageError for what a protocol cannot carry, whatever it stands for."""
    pending = [(members, 1)]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, dict | list) and depth > LEVELS_MAX:
            raise UsageError(
                f"source.filter: found more than {LEVELS_MAX} levels of objects and lists within "
                "each other, expected fewer",
                remedy="write the conditions with fewer levels",
            )
        match value:
            case dict():
                pending += [(one, depth + 1) for one in value.values()]
            case list():
                pending += [(one, depth + 1) for one in value]
            case int() if value not in _WHOLE_NUMBERS:
                raise UsageError(
                    f"source.filter: found the number {str(value)[:_SHOWN_MAX]}, expected whole "
                    "numbers of at most 64 bits",
                    remedy="correct source.filter",
                )


def conditions_of(clause: Any) -> Iterator[Any]:
    """The conditions of a clause, which is a list of them, one alone, or null."""
    match clause:
        case None:
            return
        case list():
            yield from clause
        case _:
            yield clause


def _check_filter(members: object, where: str) -> None:
    if not isinstance(members, dict) or set(members) - set(CLAUSES):
        raise _unknown(members, where, f"a filter with {', '.join(CLAUSES)}")
    for clause in ("must", "should", "must_not"):
        _check_conditions(members.get(clause), f"{where}{clause}")
    least = members.get("min_should")
    if least is not None:
        if not isinstance(least, dict) or set(least) != {"conditions", "min_count"}:
            raise _unknown(least, f"{where}min_should", "conditions and min_count")
        _check_count(least["min_count"], f"{where}min_should.min_count")
        _check_conditions(least["conditions"], f"{where}min_should.conditions")


def _check_count(count: object, where: str) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise _unknown(count, where, "a whole number from 0")


def _check_conditions(clause: object, where: str) -> None:
    for position, condition in enumerate(conditions_of(clause)):
        _check_condition(condition, f"{where}[{position}]")


def _check_condition(condition: object, where: str) -> None:
    if not isinstance(condition, dict):
        raise _unknown(condition, where, _KNOWN)
    if condition and set(condition) <= set(CLAUSES):
        _check_filter(condition, f"{where}.")
    elif set(condition) == {"nested"}:
        _check_nested(condition["nested"], f"{where}.nested")
    elif "key" in condition:
        tests = [name for name in _TESTS if condition.get(name) is not None]
        if len(tests) != 1:
            found = " and ".join(tests) or "no test"
            raise _unknown(condition, where, f"one test of the field, not {found}")
        _check_leaf(_FIELD, condition, where)
    elif len(condition) == 1 and (kind := next(iter(condition))) in _OTHERS:
        _check_leaf(_OTHERS[kind], condition, where)
    else:
        raise _unknown(condition, where, _KNOWN)


def _check_nested(nested: object, where: str) -> None:
    if not isinstance(nested, dict) or set(nested) != {"key", "filter"}:
        raise _unknown(nested, where, "key and filter")
    if not isinstance(nested["key"], str):
        raise _unknown(nested["key"], f"{where}.key", "the name of a field")
    _check_filter(nested["filter"], f"{where}.filter.")


def _check_leaf(kind: TypeAdapter[Any], condition: dict[str, Any], where: str) -> None:
    try:
        kind.validate_json(json.dumps(condition), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise _unknown(condition, where, f"{_KNOWN} ({place}: {first['msg']})") from error


def _unknown(found: object, where: str, expected: str) -> UsageError:
    shown = json.dumps(found)[:_SHOWN_MAX]
    return UsageError(
        f"source.filter: at {where.rstrip('.') or 'its top'} found {shown}, expected {expected}",
        remedy="correct source.filter; `q2v plan` shows how many points it picks",
    )
