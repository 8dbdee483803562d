"""A payload with rules becomes one vector within all limits, or has one reason."""

import sys
import tempfile
from dataclasses import replace
from inspect import stack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.mapping.kv_keys import key_fault
from migrate.mapping.payload import (
    Change,
    Mapped,
    Quarantined,
    Reason,
    encode_kv_key,
    map_again,
    map_payload,
)
from migrate.mapping.rules import MappingRules
from migrate.mapping.transforms.rules import (
    ALL_LEVELS,
    BIG_INTEGERS,
    DEEP_OBJECTS,
    Constant,
    Drop,
    Flatten,
    Nulls,
    ToText,
    Transform,
)
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.limits import EXACT_INTEGER_MAX, METADATA_BYTES_MAX, VECTOR_ID_BYTES_MAX
from migrate.model.records import PointId, VectorId
from migrate.plan.transforms import TransformPreview
from tests.harness.fakes.memory_source import MemorySource, page_of, take_and_open
from tests.harness.strategies import (
    HASH,
    RULES,
    json_objects,
    json_values,
    payloads,
    scalars,
    texts,
)
from tests.harness.tiers import examples
from tests.migrate.mapping.transforms import test_rules
from tests.migrate.mapping.transforms.test_rules import SMALL

POINT = PointId(0, 7)
ANY = replace(RULES, id_template="{point_id}", group_key="", order_key="", hash_key="")
CONSTANTS = st.builds(Constant, st.sampled_from(["n", "origin"]), st.sampled_from(["x", 1, 0.5]))
TABLES = st.lists(
    test_rules.RULES | CONSTANTS,
    max_size=4,
    unique_by=(lambda rule: rule.label, lambda rule: rule.makes or rule.label),
).map(tuple)


def _rules(group_key: str, **members: Any) -> MappingRules:
    return replace(RULES, group_key=group_key, key_template=f"file:{{{group_key}}}", **members)


RULE_TABLES = st.builds(
    _rules,
    st.sampled_from(["", "file_id", "meta.file", 'meta."a.b"', "pages[0]"]),
    id_template=st.sampled_from(
        ["{point_id}", "{file_id}_{chunk_index}", "{meta.file}", "{pages[1]}-{text}"]
    ),
    order_key=st.sampled_from(["", "chunk_index", "meta.n"]),
    hash_key=st.sampled_from(["", "chunk_hash"]),
    hash_of=st.sampled_from(["", "text", "meta.file"]),
    hash_mismatch=st.sampled_from(["warn", "quarantine"]),
    group_type=st.sampled_from(["text", "integer"]),
    nulls=st.sampled_from(["quarantine", "leave_out"]),
    truncate_field=st.sampled_from([None, "text"]),
    long_id_field=st.sampled_from([None, "whole_id", "text"]),
    transforms=TABLES,
)
FILES = st.just("file-1") | st.integers(0, 9) | texts() | scalars()
META = st.fixed_dictionaries(
    {}, optional={"file": FILES, "n": st.integers(0, 9), "a.b": FILES, "rest": json_values()}
)
NESTED = st.fixed_dictionaries(
    {"chunk_hash": st.just(HASH)},
    optional={
        "file_id": FILES,
        "chunk_index": st.integers(0, 9),
        "meta": META,
        "pages": st.lists(FILES, max_size=3),
        "text": st.text(max_size=99) | st.integers(0, 11_000).map("ö".__mul__),
        "note": st.none(),
    },
)
PAYLOADS: st.SearchStrategy[dict[str, Any]] = json_objects() | SMALL | payloads() | NESTED


def numbers_in(value: object) -> list[float]:
    """The numbers of metadata: at the top, or one level down."""
    inner = value.values() if isinstance(value, dict) else [value]
    several = [
        one for each in inner for one in (each.values() if isinstance(each, dict) else [each])
    ]
    return [one for one in several if isinstance(one, int | float)]


@given(PAYLOADS, RULE_TABLES)
def test_a_payload_is_moved_within_all_limits_or_has_one_reason(
    payload: dict[str, Any], rules: MappingRules
) -> None:
    text = encode_canonical_json(payload)

    outcome = map_payload(POINT, text, rules)

    frozen = decode_json(encode_canonical_json(rules.record()))
    assert isinstance(frozen, dict)
    assert outcome == map_payload(POINT, text, MappingRules.from_record(frozen))
    if isinstance(outcome, Quarantined):
        assert outcome.reason in Reason
        return
    assert isinstance(outcome, Mapped)
    metadata = decode_json(outcome.metadata)
    assert len(outcome.metadata) <= METADATA_BYTES_MAX
    assert encode_canonical_json(metadata) == outcome.metadata
    assert all(abs(one) <= EXACT_INTEGER_MAX for one in numbers_in(metadata) if type(one) is int)
    assert 1 <= len(outcome.vector_id.encode()) <= VECTOR_ID_BYTES_MAX
    assert outcome.group is None or key_fault(encode_kv_key(outcome.group, rules)) is None
    # What the rules leave is metadata already: without rules it moves as it is.
    again = map_payload(POINT, outcome.metadata, ANY)
    assert isinstance(again, Mapped)
    assert again.metadata == outcome.metadata
    assert map_again(POINT, text, rules) == (
        outcome.vector_id,
        outcome.group,
        outcome.order,
        outcome.metadata,
        outcome.namespace,
    )
    if not outcome.changes:
        assert outcome.metadata == text


@settings(max_examples=examples(15))
@given(st.lists(PAYLOADS, min_size=1, max_size=4), RULE_TABLES)
def test_the_snapshot_and_the_rules_give_the_metadata_again_byte_for_byte(
    several: list[dict[str, Any]], rules: MappingRules
) -> None:
    points = dict(enumerate(several))
    with tempfile.TemporaryDirectory() as folder:
        snapshot = take_and_open(MemorySource(points), Path(folder))
        pages = [rows.page for rows in snapshot.read(with_vectors=())]
        kept = {
            point_id.number: map_payload(point_id, payload, rules)
            for page in pages
            for point_id, payload in zip(page.ids, page.payloads, strict=True)
        }

    assert kept == {
        number: map_payload(PointId(0, number), encode_canonical_json(payload), rules)
        for number, payload in points.items()
    }


DEPTH = 900


def deep(depth: int) -> dict[str, Any]:
    """An object in an object and so on, with what the rules look for at its end."""
    value: dict[str, Any] = {"end": None, "big": 2**60, "list": [1]}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.fault("M12")
@pytest.mark.parametrize(
    ("rule", "moves"),
    [
        (Drop((("deep",),)), True),
        (ToText((), (DEEP_OBJECTS,)), True),
        (ToText((("deep",),), ()), True),
        (ToText((), (BIG_INTEGERS,)), False),
        (Nulls(None), False),
        (Nulls("none"), False),
        (Flatten(None, "_", ALL_LEVELS), False),
    ],
    ids=str,
)
def test_a_payload_deeper_than_the_stack_is_mapped_or_has_a_reason(
    rule: Transform, *, moves: bool
) -> None:
    points: dict[int, dict[str, object]] = {0: {"deep": deep(DEPTH)}}
    page = page_of(points, [PointId(0, 0)])
    preview = TransformPreview([rule])
    changed = Mapped(
        vector_id=VectorId("0"),
        group=None,
        order=0,
        metadata=b"{}",
        changes=((Change.TRANSFORMED, "1"),),
    )
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(stack()) + 100)
    try:
        outcome = map_payload(page.ids[0], page.payloads[0], replace(ANY, transforms=(rule,)))
        preview.add_page([0], page, [(0, changed)])
    finally:
        sys.setrecursionlimit(limit)

    assert isinstance(outcome, Mapped) == moves
    assert len(preview.effects({})[0].examples) == 1
