"""JSON text read by its grammar alone: values as a library reads them, and what it refuses."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.model.json_text import (
    DEPTH_MAX,
    DIGITS_MAX,
    Raw,
    RefusedJsonError,
    read_json,
    read_outline,
)
from tests.harness.strategies import json_values

CASES = Path(__file__).parents[2] / "cases" / "23-payload-that-json-libraries-refuse"


@given(json_values(), st.booleans(), st.sampled_from([None, 1]))
def test_what_a_library_reads_is_read_as_the_library_reads_it(
    value: object, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)

    assert repr(json.loads(text)) == repr(read_json(text, dict))


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \\u\n', max_size=12))
def test_what_a_library_refuses_as_text_is_refused(text: str) -> None:
    """The other way round, over texts that look like JSON."""
    try:
        expected = repr(json.loads(text))
    except ValueError:
        with pytest.raises(ValueError, match=r"\w"):
            read_json(text, dict)
    else:
        assert "inf" in expected or expected == repr(read_json(text, dict))


@pytest.mark.fault("F23")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("long-integer", "an integer of more than 4300 digits"),
        ("deep-990", "nesting of more than 989 levels"),
        ("deep-20000", "nesting of more than 989 levels"),
        ("beyond-doubles", "a number beyond the doubles"),
    ],
)
def test_what_libraries_refuse_is_named_for_what_it_is(name: str, why: str) -> None:
    text = (CASES / f"{name}.json").read_text(encoding="utf-8")

    with pytest.raises(RefusedJsonError, match=why):
        read_json(text, dict)


@pytest.mark.fault("F23")
def test_the_bounds_are_inside() -> None:
    deep = "[" * DEPTH_MAX + "]" * DEPTH_MAX
    long = "9" * DIGITS_MAX

    assert json.loads(long) == read_json(long, dict)
    value, levels = read_json(deep, dict), 0
    while isinstance(value, list):
        value, levels = (value[0] if value else None), levels + 1
    assert levels == DEPTH_MAX


def test_an_outline_keeps_the_text_of_what_lies_deeper() -> None:
    text = '{"a": [1, {"b":[ [] ]}], "c":"x"}'

    assert read_outline(text, 1) == {"a": Raw('[1, {"b":[ [] ]}]'), "c": Raw('"x"')}
    assert read_outline(text, 2) == {"a": [Raw("1"), Raw('{"b":[ [] ]}')], "c": Raw('"x"')}


@pytest.mark.parametrize("text", ["[1,]", '{"a"}', "[1}", "1 2", '"a', "[[1]", "01", "{,}", "]"])
def test_an_outline_passes_over_no_text_that_is_no_json(text: str) -> None:
    for wrapped in (text, f'{{"a":{text}}}'):
        with pytest.raises(ValueError, match="at character"):
            read_outline(wrapped, 1)
