"""Metadata that was changed after the move goes back into the payload's own shape."""

import copy
from typing import Any

import pytest

from migrate.mapping.transforms.apply import apply_transforms
from migrate.mapping.transforms.table import read_transforms
from migrate.mapping.transforms.undo import place_fields, undo_transforms

RULES = read_transforms(
    [
        {"drop": ["internal"]},
        {"rename": "metadata.source", "to": "source"},
        {"flatten": "metadata"},
        {"to_text": ["user"]},
        {"constant": "origin", "value": "qdrant"},
    ]
)
PAYLOAD: dict[str, Any] = {
    "internal": {"secret": 1},
    "metadata": {"source": "a", "loc": {"page": 3}},
    "user": 7,
    "text": "old",
}
SENT: dict[str, Any] = copy.deepcopy(PAYLOAD)
apply_transforms(RULES, SENT)


def undone(found: dict[str, Any]) -> dict[str, Any]:
    return undo_transforms(RULES, copy.deepcopy(PAYLOAD), SENT, found)


@pytest.mark.fault("M11")
def test_what_did_not_change_is_as_in_the_payload() -> None:
    assert SENT == {
        "source": "a",
        "metadata_loc_page": 3,
        "user": "7",
        "text": "old",
        "origin": "qdrant",
    }
    assert undone(SENT) == PAYLOAD


@pytest.mark.fault("M11")
def test_a_changed_field_goes_back_to_its_place() -> None:
    found = {**SENT, "source": "b", "metadata_loc_page": 4, "text": "new"}

    assert undone(found) == {
        **PAYLOAD,
        "metadata": {"source": "b", "loc": {"page": 4}},
        "text": "new",
    }


@pytest.mark.fault("M11")
def test_a_removed_field_is_removed_at_its_place() -> None:
    found = {key: value for key, value in SENT.items() if key not in {"source", "text"}}

    assert undone(found) == {
        "internal": {"secret": 1},
        "metadata": {"loc": {"page": 3}},
        "user": 7,
    }


@pytest.mark.fault("M11")
def test_a_field_that_no_rule_can_place_stands_at_the_top() -> None:
    found = {**SENT, "user": "8", "origin": "worker", "new": {"x": 1}}

    assert undone(found) == {**PAYLOAD, "user": "8", "origin": "worker", "new": {"x": 1}}


@pytest.mark.fault("M11")
def test_a_moved_field_that_became_an_object_goes_back_to_its_place_alone() -> None:
    found = {**SENT, "source": {"drive": "b"}}

    assert undone(found) == {
        **PAYLOAD,
        "metadata": {"source": {"drive": "b"}, "loc": {"page": 3}},
    }


@pytest.mark.fault("M11")
def test_fields_of_new_metadata_go_where_payloads_have_them() -> None:
    found = {
        "source": "b",
        "metadata_loc_page": 4,
        "metadata_x": 5,
        "user": "8",
        "origin": "qdrant",
    }
    paths = [("metadata", "source"), ("metadata", "loc", "page"), ("pages", 0), ("text",)]

    placed = place_fields(RULES, paths, found)
    others = place_fields(RULES, [], {**found, "origin": "worker"})

    assert placed == {
        "metadata": {"source": "b", "loc": {"page": 4}},
        "metadata_x": 5,
        "user": "8",
    }
    assert others == {**found, "origin": "worker"}
