"""Where a field lies in a payload, and which texts name no place."""

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from migrate.mapping.field_paths import is_filterable, parse_path, read_path
from tests.harness.strategies import json_objects

PAYLOAD: dict[str, object] = {
    "file_id": "a",
    "metadata": {"source": "b", "loc": {"pageNumber": 3}, "a.b": "dotted", "none": None},
    "pages": ["first", {"name": "second"}],
    "metadata.source": "a key that holds a dot",
    "größe": 1,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("file_id", "a"),
        ("metadata.source", "b"),
        ("metadata.loc.pageNumber", 3),
        ('metadata."a.b"', "dotted"),
        ('"metadata.source"', "a key that holds a dot"),
        ("pages[0]", "first"),
        ("pages[1].name", "second"),
        ("größe", 1),
        ("metadata.none", None),
    ],
)
def test_a_path_leads_to_its_value(path: str, value: object) -> None:
    assert read_path(PAYLOAD, path, "absent") == value


@pytest.mark.parametrize(
    "path",
    [
        "file",
        "metadata.sources",
        "file_id.b",
        "file_id[0]",
        "pages[2]",
        "pages.first",
        "metadata[0]",
    ],
)
def test_a_path_may_lead_nowhere(path: str) -> None:
    assert read_path(PAYLOAD, path, "absent") == "absent"
    assert read_path(PAYLOAD, path) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "a.", ".a", "a..b", "[0]", "a[01]", "a[-1]", "a[x]", "a[", "a]", "{a}"),
        *('"a', 'a"b"', '""', '"\\x"', "$a", "a.$b", " a", "a. b", "a .b"),
    ],
)
def test_a_text_that_names_no_place_is_refused(text: str) -> None:
    assert parse_path(text) is None
    assert read_path(PAYLOAD, text, "absent") == "absent"


def test_a_filter_reaches_keys_but_no_list_and_no_dot_in_a_key() -> None:
    assert is_filterable("file_id")
    assert is_filterable("metadata.source")
    assert not is_filterable("pages[0]")
    assert not is_filterable('metadata."a.b"')
    assert not is_filterable("a..b")


@given(json_objects(), st.data())
def test_every_value_of_a_payload_has_a_path(
    payload: dict[str, object], data: st.DataObject
) -> None:
    """With all keys quoted. The empty key has none, and a lone surrogate cannot be typed."""
    text = ""
    value: object = payload
    while isinstance(value, dict | list) and value:
        if isinstance(value, dict):
            key = data.draw(st.sampled_from(sorted(value)))
            assume(key.encode(errors="ignore").decode() == key != "")
            text += f"{'.' if text else ''}{orjson.dumps(key).decode()}"
            value = value[key]
        else:
            position = data.draw(st.integers(0, len(value) - 1))
            text += f"[{position}]"
            value = value[position]
    assume(text)
    assert read_path(payload, text, "absent") is value
