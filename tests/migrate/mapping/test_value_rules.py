"""What a value that an operator chooses has to be: both sides of every bound."""

import pytest

from migrate.mapping import value_rules
from migrate.mapping.value_rules import Rule, index_types, number, one_of, truncated_field, whole
from migrate.model.choices import Nulls
from migrate.model.limits import METADATA_INDEXES_MAX, VECTOR_ID_BYTES_MAX

LONGEST = "k" * 512


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("1", 1),
        ("+1", 1),
        ("10", 10),
        ("0", None),
        ("11", None),
        ("1.5", None),
        ("1.0", None),
        ("1e1", None),
        ("0x1", None),
        ("١", None),  # noqa: RUF001 - a digit, but no plain one
        (" 1", None),
        ("", None),
    ],
)
def test_a_whole_number_is_typed_in_plain_digits_within_its_bounds(
    typed: str, value: int | None
) -> None:
    assert value == whole(1, 10).read_typed(typed)


@pytest.mark.parametrize(
    ("typed", "value"),
    [("0.5", 0.5), ("2", 2.0), ("2.01", None), ("0.49", None), ("nan", None), ("inf", None)],
)
def test_a_number_may_have_a_fraction_and_is_finite(typed: str, value: float | None) -> None:
    assert value == number(0.5, 2).read_typed(typed)


@pytest.mark.parametrize(
    ("rule", "value", "read"),
    [
        (whole(1, 10), 10, 10),
        (whole(1, 10), 11, None),
        (whole(1, 10), True, None),
        (whole(1, 10), 1.0, None),
        (whole(1, 10), "1", None),
        (number(0, 1), 1, 1.0),
        (number(0, 1), 0.25, 0.25),
        (number(0, 1), float("nan"), None),
        (number(0, 1), False, None),
        (value_rules.NAME, 7, None),
        (value_rules.METADATA_INDEXES, "a:string", None),
    ],
)
def test_a_value_of_a_settings_file_has_the_type_of_its_rule(
    rule: Rule, value: object, read: object
) -> None:
    found = rule.read_native(value)

    assert (type(read), read) == (type(found), found)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        ["file_id:string"],
        ["a.b:number", "a:boolean"],
        [f"{LONGEST}:string"],
        [f"n{number}:number" for number in range(METADATA_INDEXES_MAX)],
    ],
)
def test_metadata_indexes_that_the_target_takes(entries: list[str]) -> None:
    assert tuple(entries) == value_rules.METADATA_INDEXES.read_native(entries)


@pytest.mark.parametrize(
    "entries",
    [
        ["file_id"],
        ["file_id:text"],
        [":string"],
        ["a:b:string"],
        ["a.:string"],
        ["$a:string"],
        [f"{LONGEST}k:string"],
        ["a:string", "a:number"],
        ["a:string", 7],
        ["a\n:string"],
        [f"n{number}:number" for number in range(METADATA_INDEXES_MAX + 1)],
    ],
)
def test_metadata_indexes_that_the_target_refuses(entries: list[object]) -> None:
    assert value_rules.METADATA_INDEXES.read_native(entries) is None


def test_metadata_indexes_are_typed_with_commas_between_them() -> None:
    typed = value_rules.METADATA_INDEXES.read_typed(" file_id:string, n:number,")

    assert typed == ("file_id:string", "n:number")
    assert index_types(typed) == {"file_id": "string", "n": "number"}


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:6333",
        "https://qdrant.example/prefix",
        "http://[::1]:6333",
        "http://[fe80::1%eth0]:6333",
        "https://qdrant.example:65535",
    ],
)
def test_urls_that_name_a_server(url: str) -> None:
    assert url == value_rules.URL.read_typed(url)


@pytest.mark.parametrize(
    "url",
    [
        "qdrant.example",
        "ftp://qdrant.example",
        "http://",
        "http://qdrant.example:0",
        "http://qdrant.example:65536",
        "http://qdrant.example:port",
        "http://[::1",
        "http://[::g]:6333",
        "https://user:word@qdrant.example",
        "https://qdrant.example/?api_key=word",
        "https://qdrant.example/#top",
        "https://qdrant.example/a b",
        "https://qdrant.example\\@other.example",
        "https://qdrant.example/\n",
    ],
)
def test_urls_that_name_no_server_or_hold_more_than_its_name(url: str) -> None:
    assert value_rules.URL.read_typed(url) is None
    assert value_rules.URL.may_hold_secret


@pytest.mark.parametrize(
    ("rule", "fits", "does_not_fit"),
    [
        (value_rules.COLLECTION, "c" * 255, "c" * 256),
        (value_rules.COLLECTION, "a.b", ".."),
        (value_rules.NAME, "n" * 64, "n" * 65),
        (value_rules.NAME, "-n", "n/n"),
        (value_rules.INDEX_NAME, "n-1", "-n"),
        (value_rules.VARIABLE_NAME, "_A1", "1A"),
        (value_rules.FIELD_OR_NONE, "", " file_id"),
        (value_rules.FIELD_OR_NONE, "a$", "$a"),
        (value_rules.ID_TEMPLATE, "x" * (VECTOR_ID_BYTES_MAX - 1) + "{a}", "x" * 64 + "{a}"),
        (value_rules.ID_TEMPLATE, "{a}", "{}"),
        (value_rules.ID_TEMPLATE, "{a}{b}", "{a}}"),
        (value_rules.KEY_TEMPLATE, "file:{file_id}", "file: {file_id}"),
        (value_rules.KEY, "k" * 512, "k" * 513),
        (value_rules.OVERSIZE_RULE, "quarantine", "Quarantine"),
        (value_rules.OVERSIZE_RULE, "truncate:text", "truncate:"),
    ],
)
def test_both_sides_of_a_rule_for_texts(rule: Rule, fits: str, does_not_fit: str) -> None:
    assert fits == rule.read_typed(fits)
    assert rule.read_typed(does_not_fit) is None


def test_a_choice_takes_its_words_alone() -> None:
    rule = one_of(Nulls)

    assert all(word == rule.read_typed(word) for word in rule.words)
    assert rule.read_typed("") is None
    assert {"quarantine", "leave_out"} <= set(rule.words)


def test_the_field_that_is_cut() -> None:
    assert truncated_field("truncate:text") == "text"
    assert truncated_field("quarantine") is None
