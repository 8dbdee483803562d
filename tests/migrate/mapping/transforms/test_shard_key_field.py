"""The rule that puts the shard key of a point where templates and other rules can name it."""

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.payload import (
    Mapped,
    Quarantined,
    Reason,
    map_again,
    map_payload,
    with_shard_key,
)
from migrate.mapping.rules import MappingRules
from migrate.mapping.transforms.rules import Rename, ShardKeyField, ToText
from migrate.mapping.transforms.table import TableError, read_transforms
from migrate.model.canonical import encode_canonical_json
from migrate.model.records import PointId, encode_shard_key
from tests.harness.strategies import json_objects

RULES = MappingRules(
    id_template="{tenant}-{point_id}",
    group_key="",
    order_key="",
    hash_key="",
    key_template="file:{file_id}",
    nulls="leave_out",
    truncate_field=None,
    transforms=(ShardKeyField("tenant"),),
    namespace="{tenant}",
)
POINT = PointId(0, 5)


@pytest.mark.fault("M34")
@pytest.mark.parametrize("key", ["acme", 7, "7", 0])
def test_id_namespace_and_metadata_have_the_key(key: int | str) -> None:
    payload = encode_canonical_json({"text": "x"})
    shard_key = encode_shard_key(key)
    mapped = map_payload(POINT, payload, RULES, shard_key)

    assert isinstance(mapped, Mapped)
    assert (mapped.vector_id, mapped.namespace) == (f"{key}-5", str(key))
    assert orjson.loads(mapped.metadata) == {"text": "x", "tenant": key}
    again = map_again(POINT, payload, RULES, shard_key)
    assert again == (mapped.vector_id, mapped.group, mapped.order, mapped.metadata, str(key))
    assert with_shard_key(payload, RULES, shard_key) == mapped.metadata


@pytest.mark.fault("M34")
def test_other_rules_see_the_field_and_a_large_number_can_become_a_text() -> None:
    rules = replace(
        RULES,
        transforms=(
            Rename(("tenant",), "customer"),
            ShardKeyField("tenant"),
            ToText((("customer",),), ()),
        ),
    )
    mapped = map_payload(POINT, b"{}", rules, encode_shard_key(2**64 - 1))
    assert isinstance(mapped, Mapped)
    assert orjson.loads(mapped.metadata) == {"customer": str(2**64 - 1)}
    whole = map_payload(POINT, b"{}", RULES, encode_shard_key(2**64 - 1))
    assert isinstance(whole, Quarantined), "metadata keeps no such integer"


@pytest.mark.fault("M34")
@given(fields=json_objects(), key=st.text(max_size=8) | st.integers(0, 2**64 - 1))
def test_no_payload_loses_a_field_to_the_key(fields: dict[str, object], key: int | str) -> None:
    payload = encode_canonical_json({**fields, "tenant": "mine"})
    outcome = map_payload(POINT, payload, RULES, encode_shard_key(key))
    assert isinstance(outcome, Quarantined)
    assert (outcome.reason, outcome.field) == (Reason.FIELD_TAKEN, "tenant")


def test_without_custom_sharding_the_rule_adds_nothing() -> None:
    rules = replace(RULES, id_template="{point_id}", namespace="")
    mapped = map_payload(POINT, b'{"a":1}', rules)
    assert isinstance(mapped, Mapped)
    assert (mapped.metadata, mapped.changes) == (b'{"a":1}', ())


def test_without_the_rule_the_key_changes_nothing() -> None:
    rules = replace(RULES, id_template="{point_id}", namespace="", transforms=())
    key = encode_shard_key("acme")
    assert map_payload(POINT, b'{"a":1}', rules, key) == map_payload(POINT, b'{"a":1}', rules)
    assert map_again(POINT, b'{"a":1}', rules, key) == map_again(POINT, b'{"a":1}', rules)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([{"shard_key": "a"}, {"shard_key": "b"}], "found 2 rules for the shard key"),
        ([{"shard_key": "a"}, {"constant": "a", "value": 1}], "do not make the same field"),
        ([{"shard_key": "a.b"}], "expected the name of one field"),
        ([{"shard_key": 7}], "expected the name of one field"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(table: list[object], said: str) -> None:
    with pytest.raises(TableError, match=said):
        read_transforms(table)
