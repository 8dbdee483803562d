"""Which tables are rules, and in which words the others are refused."""

import re

import pytest

from migrate.mapping.transforms.rules import RULES_MAX
from migrate.mapping.transforms.table import TableError, read_transforms

GOOD: list[dict[str, object]] = [
    {"keep": ["metadata.source", "text"]},
    {"drop": ['"a.b"']},
    {"rename": "metadata.source", "to": "source"},
    {"flatten": "metadata"},
    {"flatten": "*", "separator": "-", "levels": 2},
    {"to_text": ["user"], "of": ["big_integers"]},
    {"to_text": [], "of": ["number_lists", "deep_objects"]},
    {"nulls": "leave_out"},
    {"nulls": "text", "text": ""},
    {"truncate": "text", "characters": 2_000},
    {"constant": "origin", "value": True},
]


def test_every_kind_of_rule_is_read_and_written() -> None:
    rules = read_transforms(GOOD)

    assert read_transforms([rule.table() for rule in rules]) == rules
    assert len({rule.label for rule in rules}) == len(GOOD)


@pytest.mark.fault("M09")
@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("drop", "found no table"),
        ({}, "found none of them, expected one of keep, drop"),
        ({"drop": ["a"], "keep": ["b"]}, "found keep and drop"),
        ({"drop": ["a"], "dorp": 1}, "found the unknown key dorp, expected only drop"),
        ({"drop": "a"}, "drop: found 'a', expected a list of fields"),
        ({"drop": []}, "drop: found []"),
        ({"drop": ["a[0]"]}, "no position of a list"),
        ({"keep": ["a..b"]}, "keep: found 'a..b'"),
        ({"rename": "a"}, "to: found None, expected the name of one field"),
        ({"rename": "a", "to": "b.c"}, "to: found 'b.c'"),
        ({"rename": "a", "to": "$b"}, "to: found '$b'"),
        ({"flatten": "a", "separator": "."}, "separator: found '.'"),
        ({"flatten": "a", "separator": 1}, "separator: found 1"),
        ({"flatten": "a", "levels": 0}, "levels: found 0, expected a whole number from 1"),
        ({"flatten": "a", "levels": True}, "levels: found True"),
        ({"to_text": []}, "to_text: found []"),
        ({"to_text": ["a"], "of": ["dates"]}, "of: found ['dates']"),
        ({"nulls": "text"}, 'nulls = "text" with a text'),
        ({"nulls": "leave_out", "text": "x"}, 'expected nulls = "leave_out"'),
        ({"truncate": "a"}, "characters: found None"),
        ({"truncate": "a", "characters": 10_241}, "characters: found 10241"),
        ({"constant": "a"}, "value: found None"),
        ({"constant": "a", "value": [1]}, "value: found [1]"),
    ],
)
def test_a_table_that_is_no_rule_is_refused_by_its_number(table: object, words: str) -> None:
    with pytest.raises(TableError, match=f"^rule 2: .*{re.escape(words)}"):
        read_transforms([{"drop": ["x"]}, table])


@pytest.mark.fault("M09")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"rename": "a", "to": "n"}, {"rename": "b", "to": "n"}),
        ({"rename": "a", "to": "n"}, {"constant": "n", "value": 1}),
        ({"drop": ["a"]}, {"drop": ["a"]}),
    ],
)
def test_two_rules_that_collide_are_refused_with_both(
    first: dict[str, object], second: dict[str, object]
) -> None:
    labels = [read_transforms([one])[0].label for one in (first, second)]
    with pytest.raises(TableError) as refused:
        read_transforms([first, {"nulls": "leave_out"}, second])
    assert str(refused.value).startswith(f"rules 1 and 3: found '{labels[0]}' and '{labels[1]}'")


@pytest.mark.fault("M09")
def test_more_rules_than_the_maximum_are_refused() -> None:
    tables = [{"drop": [f"f{number}"]} for number in range(RULES_MAX + 1)]

    assert len(read_transforms(tables[:RULES_MAX])) == RULES_MAX
    with pytest.raises(TableError, match="found 51 rules, expected at most 50"):
        read_transforms(tables)
