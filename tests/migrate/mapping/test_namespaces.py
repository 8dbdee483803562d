"""The namespace of a vector comes from its payload; what names none is quarantined, with why."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.kv_entries import encode_file_entry, read_entry_namespace
from migrate.mapping.payload import Mapped, Quarantined, Reason, map_payload, read_namespace
from migrate.mapping.rules import MappingRules
from migrate.mapping.transforms.table import read_transforms
from migrate.mapping.upload_body import encode_line
from migrate.mapping.value_rules import NAMESPACE
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.limits import KV_METADATA_BYTES_MAX, NAMESPACE_BYTES_MAX
from migrate.model.records import PointId, VectorId
from tests.harness.strategies import HASH, RULES

POINT = PointId(0, 7)
GOOD: dict[str, object] = {"file_id": "file-1", "chunk_index": 3, "chunk_hash": HASH, "text": "x"}
ID, VALUES = VectorId("file-1_3"), np.ones(4, np.float32)
BY_TENANT = replace(RULES, namespace="{tenant}")


def outcome(fields: dict[str, object], rules: MappingRules = BY_TENANT) -> Mapped | Quarantined:
    found = map_payload(POINT, encode_canonical_json({**GOOD, **fields}), rules)
    assert isinstance(found, Mapped | Quarantined)
    return found


@pytest.mark.parametrize(
    ("template", "fields", "namespace"),
    [
        ("{tenant}", {"tenant": "acme"}, "acme"),
        ("{tenant}", {"tenant": 42}, "42"),
        ("{tenant}", {"tenant": -1}, "-1"),
        ("{owner.team}-{pages[0]}", {"owner": {"team": "blue"}, "pages": ["7"]}, "blue-7"),
        ("t-{tenant}", {"tenant": "é" * 31}, "t-" + "é" * 31),
    ],
)
def test_fields_are_filled_into_the_template(
    template: str, fields: dict[str, object], namespace: str
) -> None:
    found = outcome(fields, replace(RULES, namespace=template))

    assert isinstance(found, Mapped)
    assert found.namespace == namespace
    assert found.metadata == encode_canonical_json({**GOOD, **fields})  # the field stays there


@pytest.mark.fault("M14")
@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({}, Reason.FIELD_MISSING, "tenant"),
        ({"tenant": None}, Reason.FIELD_MISSING, "tenant"),
        ({"tenant": True}, Reason.FIELD_TYPE, "tenant"),
        ({"tenant": 1.0}, Reason.FIELD_TYPE, "tenant"),
        ({"tenant": ["acme"]}, Reason.FIELD_TYPE, "tenant"),
        ({"tenant": ""}, Reason.FIELD_RANGE, "tenant"),
        ({"tenant": "x" * 65}, Reason.NAMESPACE_TOO_LONG, "namespace"),
        ({"tenant": "é" * 33}, Reason.NAMESPACE_TOO_LONG, "namespace"),
    ],
)
def test_a_field_that_names_no_namespace_quarantines_the_point(
    fields: dict[str, object], reason: Reason, field: str
) -> None:
    found = outcome(fields)

    assert isinstance(found, Quarantined)
    assert (found.reason, found.field) == (reason, field)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=70))
def test_a_text_is_the_namespace_or_too_long(tenant: str) -> None:
    size = len(tenant.encode())

    match outcome({"tenant": tenant}):
        case Mapped(namespace=namespace):
            assert namespace == tenant
            assert size <= NAMESPACE_BYTES_MAX
        case Quarantined(reason=reason):
            assert (reason, size > NAMESPACE_BYTES_MAX) == (Reason.NAMESPACE_TOO_LONG, True)


def test_transforms_do_not_change_the_namespace() -> None:
    rules = replace(BY_TENANT, transforms=read_transforms([{"drop": ["tenant"]}]))

    found = outcome({"tenant": "acme"}, rules)

    assert isinstance(found, Mapped)
    assert found.namespace == "acme"
    assert b"tenant" not in found.metadata


@pytest.mark.parametrize(
    ("transform", "template"),
    [
        ({"rename": "tenant", "to": "owner"}, "{owner}"),
        ({"drop": ["tenant"]}, ""),
        ({"to_text": ["tenant"]}, ""),
        ({"drop": ["text"]}, "{tenant}"),
    ],
)
def test_metadata_names_the_namespace_where_it_has_the_field(
    transform: dict[str, object], template: str
) -> None:
    rules = replace(BY_TENANT, transforms=read_transforms([transform]))

    assert rules.on_metadata().namespace == template


def test_rules_without_a_namespace_have_the_record_of_former_versions() -> None:
    assert "namespace" not in RULES.record()
    assert MappingRules.from_record(RULES.record()) == RULES
    assert MappingRules.from_record(BY_TENANT.record()) == BY_TENANT


@pytest.mark.parametrize("fields", [{}, {"tenant": ""}, {"tenant": [1]}, {"tenant": "x" * 65}])
def test_a_reader_of_metadata_finds_no_namespace_where_there_is_none(
    fields: dict[str, object],
) -> None:
    assert read_namespace(fields, BY_TENANT) is None
    assert read_namespace({"tenant": "acme"}, BY_TENANT) == "acme"
    assert read_namespace({"tenant": "acme"}, RULES) is None


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16))
def test_an_upload_line_and_a_kv_entry_carry_it(namespace: str) -> None:
    line = encode_line(ID, VALUES, b'{"a":1}', namespace)
    entry = encode_file_entry("f", [ID], RULES, expiration=None, namespace=namespace)

    fields = decode_json(line)
    assert isinstance(fields, dict)
    assert (fields["id"], fields["namespace"]) == (ID, namespace)
    assert read_entry_namespace(entry) == namespace
    assert len(encode_canonical_json(entry.metadata)) <= KV_METADATA_BYTES_MAX


def test_without_a_namespace_a_line_and_an_entry_are_those_of_former_versions() -> None:
    assert b"namespace" not in encode_line(ID, VALUES, b"{}")
    assert encode_file_entry("f", [], RULES, expiration=None).metadata is None


@pytest.mark.parametrize("text", ["", "{tenant}", "t-{owner.team}", "{a}{b}"])
def test_these_are_templates_of_a_namespace(text: str) -> None:
    assert NAMESPACE.read(text) == text


@pytest.mark.parametrize("text", ["tenant", "{}", "{point_id}", "{a", "x" * 64 + "{a}", "{ a }"])
def test_these_are_not(text: str) -> None:
    assert NAMESPACE.read(text) is None
