"""Rules with which no point could move are refused for every caller, before any point is read."""

from dataclasses import replace
from typing import Any

import pytest

from migrate.errors import UsageError
from migrate.mapping.rules import WriteRules
from migrate.plan.rules import PlanRules
from tests.harness.strategies import RULES

WRITES = WriteRules(
    vectors_per_upload=100, body_bytes=1_000_000, counter_key="_vector_count", ttl_s=None
)


@pytest.mark.fault("F20")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"key_template": "file:{name}"}, "kv.key_template from default: found"),
        ({"group_key": "doc"}, "expected the field of mapping.group_key in braces, {doc}"),
        ({"order_key": "file_id"}, 'mapping.order_key from flag X: found "file_id", the same'),
        ({"order_key": "chunk_hash"}, "the same field as mapping.hash_key"),
        ({"hash_of": "chunk_hash"}, "no text holds its own SHA-256"),
    ],
)
def test_rules_that_cannot_work_together_make_no_plan(changed: dict[str, Any], words: str) -> None:
    mapping = replace(RULES, **changed)

    with pytest.raises(UsageError) as error:
        PlanRules(mapping=mapping, writes=WRITES, origins={"mapping.order_key": "flag X"})

    assert words in str(error.value)
    assert error.value.remedy


def test_fields_that_are_not_used_agree_with_all_others() -> None:
    mapping = replace(RULES, group_key="", order_key="", hash_key="", hash_of="")

    assert PlanRules(mapping=mapping, writes=WRITES).mapping == mapping
