"""What a metadata index holds of a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.metadata_indexes import (
    MISSING,
    OTHER,
    cut_text,
    indexed_value,
    look_up,
    type_of,
)
from migrate.model.limits import INDEXED_STRING_BYTES_MAX

TYPES = ("string", "number", "boolean")


@pytest.mark.fault("F03")
@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("", "string"),
        ("1", "string"),
        (1, "number"),
        (1.5, "number"),
        (True, "boolean"),
        (None, MISSING),
        (["a"], OTHER),
        ({"a": 1}, OTHER),
    ],
)
def test_a_value_fits_one_type_or_none(value: object, found: str) -> None:
    assert type_of(value) == found
    assert [kind for kind in TYPES if type_of(value) == kind] == ([found] if found in TYPES else [])


@pytest.mark.fault("F03")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a", {"b": {"c": 1}}),
        ("a.b", {"c": 1}),
        ("a.b.c", 1),
        ("a.c", None),
        ("text.b", None),
        ("none", None),
    ],
)
def test_dots_reach_into_objects(name: str, value: object) -> None:
    assert look_up({"a": {"b": {"c": 1}}, "text": "x"}, name) == value


@pytest.mark.fault("F03")
def test_an_index_holds_numbers_as_float64_and_no_other_type() -> None:
    assert indexed_value(2**53, "number") == float(2**53)
    assert repr(indexed_value(1, "number")) == "1.0"
    assert indexed_value(True, "number") is None
    assert indexed_value(0, "boolean") is None
    assert indexed_value("1", "number") is None
    assert indexed_value(False, "boolean") is False
    assert indexed_value("", "string") is None


@given(st.text(max_size=80))
def test_a_text_is_cut_at_a_character_within_64_bytes(text: str) -> None:
    encodable = text.encode(errors="ignore").decode()
    cut = cut_text(encodable)

    assert encodable.startswith(cut)
    assert len(cut.encode()) <= INDEXED_STRING_BYTES_MAX
    if cut != encodable:
        rest = encodable[len(cut) :]
        assert len((cut + rest[0]).encode()) > INDEXED_STRING_BYTES_MAX
