"""What each rule changes, what it leaves, and what it refuses to overwrite."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.field_paths import Path, format_path, parse_path, read_steps
from migrate.mapping.transforms.apply import apply_transforms, path_after
from migrate.mapping.transforms.rules import (
    ALL_LEVELS,
    BIG_INTEGERS,
    DEEP_OBJECTS,
    NUMBER_LISTS,
    Constant,
    Drop,
    FieldTakenError,
    Flatten,
    Keep,
    Nulls,
    Rename,
    ShardKeyField,
    ToText,
    Transform,
    Truncate,
)
from migrate.mapping.transforms.table import read_transforms
from tests.harness.strategies import json_objects

Fields = dict[str, Any]
DOCUMENT: Fields = {
    "text": "hello",
    "meta": {
        "source": "a.pdf",
        "loc": {"page": 3, "lines": {"from": 1, "to": 9}},
        "tags": [1],
    },
    "none": None,
}


def after(rule: Transform, fields: Fields) -> Fields | None:
    """The fields after the rule; None when it says that nothing has changed."""
    changed = copy.deepcopy(fields)
    return changed if rule.apply(changed) else None


@pytest.mark.fault("M01")
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Keep((("text",),)), {"text": "hello"}),
        (
            Keep((("meta", "loc"), ("none",))),
            {"meta": {"loc": DOCUMENT["meta"]["loc"]}, "none": None},
        ),
        (Drop((("meta",), ("none",))), {"text": "hello"}),
        (
            Drop((("meta", "loc"), ("meta", "tags"), ("none",), ("text",))),
            {"meta": {"source": "a.pdf"}},
        ),
    ],
)
def test_fields_are_kept_or_dropped(rule: Transform, expected: Fields) -> None:
    assert after(rule, DOCUMENT) == expected


@pytest.mark.fault("M02")
def test_a_value_gets_a_name_at_the_top() -> None:
    assert after(Rename(("meta", "source"), "source"), {"meta": {"source": None}, "x": 1}) == {
        "meta": {},
        "x": 1,
        "source": None,
    }


@pytest.mark.fault("M03")
@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Flatten(("a",), "_", 1), {"a_b": {"c": {"d": 1}}, "a_e": 2, "z": {"y": 0}}),
        (Flatten(("a",), "_", 2), {"a_b_c": {"d": 1}, "a_e": 2, "z": {"y": 0}}),
        (Flatten(("a",), "__", ALL_LEVELS), {"a__b__c__d": 1, "a__e": 2, "z": {"y": 0}}),
        (Flatten(None, "_", 1), {"a_b": {"c": {"d": 1}}, "a_e": 2, "z_y": 0}),
        (Flatten(("a", "b"), "_", 1), {"a": {"b_c": {"d": 1}, "e": 2}, "z": {"y": 0}}),
    ],
)
def test_the_members_of_an_object_join_what_holds_it(rule: Transform, expected: Fields) -> None:
    assert after(rule, {"a": {"b": {"c": {"d": 1}}, "e": 2}, "z": {"y": 0}}) == expected


@pytest.mark.fault("M03")
def test_an_empty_object_is_not_lost_by_flattening() -> None:
    assert after(Flatten(("a",), "_", ALL_LEVELS), {"a": {}}) is None
    assert after(Flatten(("a",), "_", ALL_LEVELS), {"a": {"b": {}}}) == {"a_b": {}}


@pytest.mark.fault("M04")
@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (ToText((("f",),), ()), 7, "7"),
        (ToText((("f",),), ()), 7.5, "7.5"),
        (ToText((("f",),), ()), True, "true"),
        (ToText((("f",),), ()), [1, "x", None], ["1", "x", "null"]),
        (ToText((("f",),), ()), {"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
        (ToText((("f",),), ()), [[1], 2], "[[1],2]"),
        (
            ToText((), (BIG_INTEGERS,)),
            [2**53, {"x": 2**53 - 1}],
            ["9007199254740992", {"x": 2**53 - 1}],
        ),
        (ToText((), (NUMBER_LISTS,)), [1, 2.5], ["1", "2.5"]),
        (ToText((), (DEEP_OBJECTS,)), {"a": {"b": 1}}, {"a": '{"b":1}'}),
        (ToText((), (DEEP_OBJECTS,)), [{"b": 1}], ['{"b":1}']),
    ],
)
def test_values_become_texts(rule: Transform, value: object, expected: object) -> None:
    assert after(rule, {"f": value}) == {"f": expected}


@pytest.mark.fault("M04")
@pytest.mark.parametrize("value", ["x", None, ["x", "y"]])
def test_a_text_stays_as_it_is(value: object) -> None:
    assert (
        after(ToText((("f",),), (BIG_INTEGERS, NUMBER_LISTS, DEEP_OBJECTS)), {"f": value}) is None
    )


@pytest.mark.fault("M05")
def test_nulls_go_at_any_depth() -> None:
    fields: Fields = {"a": None, "b": {"c": None, "d": [None, 1, {"e": None}]}, "f": 0}

    assert after(Nulls(None), fields) == {"b": {"d": [1, {}]}, "f": 0}
    assert after(Nulls("none"), fields) == {
        "a": "none",
        "b": {"c": "none", "d": ["none", 1, {"e": "none"}]},
        "f": 0,
    }
    assert after(Nulls(None), {"a": 0}) is None


@pytest.mark.fault("M06")
def test_a_text_keeps_its_first_characters() -> None:
    assert after(Truncate(("a", "b"), 3), {"a": {"b": "äöü🙂"}}) == {"a": {"b": "äöü"}}
    assert after(Truncate(("a",), 4), {"a": "äöü🙂"}) is None
    assert after(Truncate(("a",), 1), {"a": ["xy"]}) is None


@pytest.mark.fault("M07")
def test_every_vector_gets_a_constant() -> None:
    assert after(Constant("origin", "qdrant"), {"a": 1}) == {"a": 1, "origin": "qdrant"}


@pytest.mark.fault("M08")
@pytest.mark.parametrize(
    ("rule", "fields", "taken"),
    [
        (Rename(("a", "b"), "c"), {"a": {"b": 1}, "c": 2}, "c"),
        (Flatten(("a",), "_", 1), {"a": {"b": 1}, "a_b": 2}, "a_b"),
        (Flatten(None, "_", ALL_LEVELS), {"a": {"b_c": 1, "b": {"c": 2}}}, "a_b_c"),
        (Constant("a", 1), {"a": 1}, "a"),
    ],
)
def test_no_rule_overwrites_a_field(rule: Transform, fields: Fields, taken: str) -> None:
    with pytest.raises(FieldTakenError) as refused:
        rule.apply(fields)
    assert refused.value.field == taken
    assert rule.label in str(refused.value)


KEYS = st.sampled_from(["a", "b", "c", "a.b", "$x"])
PATHS = st.lists(KEYS, min_size=1, max_size=3).map(tuple)
LEVELS = st.sampled_from([1, 2, ALL_LEVELS])
RULES: st.SearchStrategy[Transform] = st.one_of(
    st.builds(Keep, st.tuples(PATHS, PATHS)),
    st.builds(Drop, st.tuples(PATHS)),
    st.builds(Rename, PATHS, st.sampled_from(["n", "m", "a"])),
    st.builds(Flatten, st.none() | PATHS, st.sampled_from(["_", ""]), LEVELS),
    st.builds(ToText, st.tuples(PATHS), st.sampled_from([(), (BIG_INTEGERS,), (DEEP_OBJECTS,)])),
    st.builds(Nulls, st.none() | st.just("none")),
    st.builds(Truncate, PATHS, st.integers(1, 3)),
)
SCALARS = st.none() | st.booleans() | st.integers(0, 2**60) | st.text("xyz", max_size=5)
SMALL: st.SearchStrategy[Fields] = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.dictionaries(KEYS, inner, max_size=3) | st.lists(inner, max_size=2),
        max_leaves=6,
    ),
    max_size=4,
)


@given(SMALL, RULES)
def test_a_rule_says_whether_it_changed_anything(fields: Fields, rule: Transform) -> None:
    """The number of points that a plan shows for a rule is that of points it has changed."""
    changed = copy.deepcopy(fields)
    try:
        says = rule.apply(changed)
    except FieldTakenError:
        return
    assert says == (json.dumps(changed, sort_keys=True) != json.dumps(fields, sort_keys=True))


@given(SMALL, RULES)
def test_a_rule_that_only_removes_or_rewrites_changes_nothing_the_second_time(
    fields: Fields, rule: Transform
) -> None:
    match rule:
        case Rename() | Constant():
            return  # they make a field, and refuse to overwrite it
        case Flatten(levels=levels) if levels != ALL_LEVELS:
            return  # the next levels
    changed = copy.deepcopy(fields)
    try:
        rule.apply(changed)
    except FieldTakenError:
        return
    assert after(rule, changed) is None


@given(SMALL, st.lists(RULES, max_size=4))
def test_a_value_is_where_the_rules_say_that_it_is(fields: Fields, rules: list[Transform]) -> None:
    """`path_after` never names a place that holds another value."""
    changed = copy.deepcopy(fields)
    try:
        apply_transforms(rules, changed)
    except FieldTakenError:
        return
    for path, value in leaves(fields):
        there = path_after(rules, path)
        found = None if there is None else read_steps(changed, there)
        if found is not None:
            kinds = [rule for rule in rules if isinstance(rule, Nulls | ToText)]
            assert found == value or kinds


@given(SMALL, st.lists(RULES, max_size=4))
def test_the_same_rules_give_the_same_fields(fields: Fields, rules: list[Transform]) -> None:
    def outcome() -> tuple[object, object]:
        changed = copy.deepcopy(fields)
        try:
            return apply_transforms(rules, changed), changed
        except FieldTakenError as error:
            return str(error), None

    assert outcome() == outcome()


@given(
    st.lists(RULES, max_size=4, unique_by=lambda rule: rule.label),
    st.sampled_from([[], [ShardKeyField("tenant")]]),
)
def test_a_table_comes_back(others: list[Transform], first: list[Transform]) -> None:
    rules = [*first, *others]
    tables = json.loads(json.dumps([rule.table() for rule in rules]))
    made = [rule.makes for rule in rules if rule.makes is not None]
    if len(made) == len(set(made)):
        assert read_transforms(tables) == tuple(rules)


@given(json_objects())
def test_paths_with_any_key_have_a_text(fields: Fields) -> None:
    for path, _ in leaves(fields):
        if all(str(step).encode(errors="ignore").decode() == step != "" for step in path):
            assert parse_path(format_path(path)) == path


def leaves(fields: Fields, start: Path = ()) -> list[tuple[Path, object]]:
    found: list[tuple[Path, object]] = []
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            found += leaves(value, (*start, key))
        else:
            found.append(((*start, key), value))
    return found
