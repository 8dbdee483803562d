"""Canonical JSON: equal values, equal text; nothing a source sends is lost."""

import json

import pytest
from hypothesis import given

from migrate.model.canonical import decode_json, encode_canonical_json
from tests.harness.strategies import json_values, whole_numbers


def same(one: object, other: object) -> bool:
    """Equal as JSON: 1, 1.0 and true are three values, key order is none."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)  # tells -0.0 from 0.0


@pytest.mark.fault("D10")
@given(json_values())
def test_every_value_comes_back_as_it_was(value: object) -> None:
    assert same(value, decode_json(encode_canonical_json(value)))


@given(json_values(), json_values())
def test_two_values_have_one_text_exactly_if_they_are_equal(one: object, other: object) -> None:
    texts_equal = encode_canonical_json(one) == encode_canonical_json(other)

    assert same(one, other) == texts_equal


@given(json_values())
def test_the_order_of_keys_does_not_show(value: object) -> None:
    shuffled = reversed_keys(value)

    assert encode_canonical_json(value) == encode_canonical_json(shuffled)


def reversed_keys(value: object) -> object:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(list(value))}
    return [reversed_keys(inner) for inner in value] if isinstance(value, list) else value


@given(json_values())
def test_the_text_is_one_line_of_valid_utf8(value: object) -> None:
    text = encode_canonical_json(value)

    assert b"\n" not in text
    assert text.decode().encode() == text


def test_one_and_one_point_zero_differ() -> None:
    texts = {encode_canonical_json(value) for value in (1, 1.0, "1", True)}

    assert {b"1", b"1.0", b'"1"', b"true"} == texts


@pytest.mark.fault("D10")
@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ude42\ud83d"])
def test_lone_surrogates_survive_as_their_escape(text: str) -> None:
    encoded = encode_canonical_json({"a": text})

    assert {"a": text} == decode_json(encoded)
    assert encoded.isascii()


@pytest.mark.fault("D09")
@given(whole_numbers())
def test_integers_of_any_size_stay_exact(number: int) -> None:
    assert str(number).encode() == encode_canonical_json(number)
    assert same(number, decode_json(str(number).encode()))
    assert same([number], decode_json(f"[{number}]".encode()))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(number: float) -> None:
    for value in (number, [number], {"a": {"b": number}}, ["\ud800", number], (number,)):
        with pytest.raises(ValueError, match="JSON"):
            encode_canonical_json(value)


@pytest.mark.parametrize("key", [1, None, True, 1.5])
def test_keys_are_never_turned_into_text(key: object) -> None:
    for value in ({key: 1}, [{key: 1}], {"a": {key: "\ud800"}}):
        with pytest.raises(ValueError, match="text was expected"):
            encode_canonical_json(value)


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, b"bytes"])
def test_what_is_no_json_value_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not a JSON value"):
        encode_canonical_json(value)


@pytest.mark.fault("D09")
def test_endless_nesting_is_refused_both_ways() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(ValueError, match="not a JSON value"):
        encode_canonical_json(deep)
    with pytest.raises(ValueError, match="nested too deeply"):
        decode_json(b"[" * 100_000)


@pytest.mark.fault("D02", "D09", "D10")
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"[-1e400]",
        b"9" * 5000,
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf1",
        '"a"'.encode("utf-16"),
        b"1 2",
    ],
)
def test_text_that_is_no_json_in_utf8_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_json(text)


def test_large_floats_stay_floats() -> None:
    assert same([1e300, -1e19], decode_json(b"[1e300,-1e19]"))


def test_the_text_is_the_one_that_other_tools_write() -> None:
    value = {"b": [1, "é\n\x7f\u2028"], "a": None, "é": {"z": 1, "y": False}}

    expected = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert expected.encode() == encode_canonical_json(value)
