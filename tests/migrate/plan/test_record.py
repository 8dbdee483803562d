"""The plan: it comes back as it was, and its fingerprint knows every decision."""

import json
from dataclasses import replace
from typing import Any

import pytest

from migrate.errors import ArtefactDamagedError, ForeignStateError
from migrate.mapping.shards import Shards
from migrate.model.sealed_json import seal_json, unseal_json
from migrate.plan.record import PLAN_FORMAT, BaseRun, RunPlan, decode_plan, encode_plan
from tests.migrate.model.records import PLAN

CONTENT = encode_plan(PLAN)
BASE = BaseRun(
    snapshot_id="s",
    run_id="r",
    fingerprint="0" * 64,
    kv_expires_from=PLAN.created_at,
    written=0,
    removed=0,
    bytes=0,
    sha256="",
)

DECIDING = [
    replace(PLAN, content_root="0" * 64),
    replace(PLAN, quarantine_sha256="0" * 64),
    replace(PLAN, vector_target={**PLAN.vector_target, "index": "other"}),
    replace(PLAN, kv_target={**PLAN.kv_target, "namespace": "0" * 32}),
    replace(PLAN, index=replace(PLAN.index, name="x")),
    replace(PLAN, index=replace(PLAN.index, dimensions=1535)),
    replace(PLAN, index=replace(PLAN.index, metric="euclidean")),
    replace(PLAN, index=replace(PLAN.index, created_on="2026-11-01T00:00:00Z")),
    replace(PLAN, mapping=replace(PLAN.mapping, id_template="{point_id}")),
    replace(PLAN, mapping=replace(PLAN.mapping, group_key="")),
    replace(PLAN, mapping=replace(PLAN.mapping, order_key="")),
    replace(PLAN, mapping=replace(PLAN.mapping, hash_key="")),
    replace(PLAN, mapping=replace(PLAN.mapping, key_template="f:{file_id}")),
    replace(PLAN, mapping=replace(PLAN.mapping, nulls="leave_out")),
    replace(PLAN, mapping=replace(PLAN.mapping, truncate_field="text")),
    replace(PLAN, mapping=replace(PLAN.mapping, hash_of="text")),
    replace(PLAN, mapping=replace(PLAN.mapping, hash_mismatch="quarantine")),
    replace(PLAN, mapping=replace(PLAN.mapping, group_type="integer")),
    replace(PLAN, values=replace(PLAN.values, vector_name="x")),
    replace(PLAN, values=replace(PLAN.values, source_dimensions=3071)),
    replace(PLAN, values=replace(PLAN.values, dimensions=1535)),
    replace(PLAN, values=replace(PLAN.values, reduce="none")),
    replace(PLAN, values=replace(PLAN.values, metric="euclidean")),
    replace(PLAN, writes=replace(PLAN.writes, vectors_per_upload=999)),
    replace(PLAN, writes=replace(PLAN.writes, body_bytes=1)),
    replace(PLAN, writes=replace(PLAN.writes, counter_key="x")),
    replace(PLAN, writes=replace(PLAN.writes, ttl_s=60)),
]
NOT_DECIDING = [
    replace(PLAN, run_id="001-x"),
    replace(PLAN, tool="q2v 0.2.0"),
    replace(PLAN, created_at="2027-01-01T00:00:00+00:00"),
    replace(PLAN, waived=()),
    replace(PLAN, quarantine_cap=11),
    replace(PLAN, points=4, vectors=3, files=2),
]


def test_a_plan_comes_back() -> None:
    assert decode_plan(CONTENT, where="plan.json") == PLAN


@pytest.mark.fault("G14")
@pytest.mark.parametrize("other", DECIDING)
def test_the_fingerprint_changes_with_every_decision(other: RunPlan) -> None:
    assert other != PLAN
    assert PLAN.fingerprint != other.fingerprint


@pytest.mark.parametrize("other", NOT_DECIDING)
def test_the_fingerprint_ignores_what_decides_nothing(other: RunPlan) -> None:
    assert PLAN.fingerprint == other.fingerprint


@pytest.mark.fault("G15")
def test_any_changed_byte_is_found() -> None:
    for position in range(len(CONTENT)):
        flipped = bytearray(CONTENT)
        flipped[position] ^= 0x01
        with pytest.raises((ArtefactDamagedError, ForeignStateError), match=r"^plan\.json: "):
            decode_plan(bytes(flipped), where="plan.json")


@pytest.mark.fault("X09")
@pytest.mark.parametrize("other", DECIDING[:5])
def test_a_plan_sealed_again_around_other_decisions_is_damaged(other: RunPlan) -> None:
    fields = unseal_json(encode_plan(other), where="plan.json", format_version=PLAN_FORMAT)
    content = seal_json({**fields, "fingerprint": PLAN.fingerprint})
    with pytest.raises(ArtefactDamagedError, match="fingerprint"):
        decode_plan(content, where="plan.json")


@pytest.mark.parametrize("name", ["index", "waived", "writes", "points", "fingerprint"])
def test_a_plan_without_a_field_is_damaged(name: str) -> None:
    fields = unseal_json(CONTENT, where="plan.json", format_version=PLAN_FORMAT)
    del fields[name]
    with pytest.raises(ArtefactDamagedError, match=r"missing|fingerprint"):
        decode_plan(seal_json(fields), where="plan.json")


@pytest.mark.fault("G14")
@pytest.mark.parametrize(
    "rules",
    [
        {"group_type": "integer"},
        {"group_key": "metadata.source", "key_template": "file:{metadata.source}"},
        {"order_key": "pages[0]"},
        {"hash_of": "metadata.text"},
        {"id_template": "{metadata.source}"},
    ],
)
def test_a_plan_that_reaches_inside_fields_has_a_format_that_older_versions_refuse(
    rules: dict[str, Any],
) -> None:
    plan = replace(PLAN, mapping=replace(PLAN.mapping, **rules))

    assert (PLAN.format, plan.format) == (2, 4)
    assert decode_plan(encode_plan(plan), where="plan.json") == plan
    assert b"group_type" not in CONTENT  # as in the plans of older versions


@pytest.mark.fault("G14")
def test_a_plan_of_another_format_is_foreign() -> None:
    with pytest.raises(ForeignStateError, match="format version 10"):
        decode_plan(seal_json({"format": 10}), where="plan.json")


def test_a_plan_for_one_of_several_indexes_has_a_format_of_its_own() -> None:
    shards = Shards(("wiki-0", "wiki-1"), "wiki-1")
    mapping = replace(PLAN.mapping, shards=shards, namespace="{tenant}")
    plan = replace(PLAN, mapping=mapping, elsewhere={"wiki-0": 3})

    assert (plan.format, replace(plan, base=BASE).format) == (8, 9)
    assert decode_plan(encode_plan(plan), where="plan.json") == plan
    assert plan.own_points == PLAN.points - 3
    assert b"elsewhere" not in CONTENT  # as in the plans of older versions
    assert b"shards" not in CONTENT


def test_a_plan_for_an_index_that_is_not_in_its_list_is_damaged() -> None:
    content = encode_plan(
        replace(PLAN, mapping=replace(PLAN.mapping, shards=Shards(("a", "b"), "a")))
    )
    fields = json.loads(content)
    del fields["sha256"]
    fields["mapping"]["shards"]["own"] = "c"

    with pytest.raises(ArtefactDamagedError, match=r"expected one of target\.shards"):
        decode_plan(seal_json(fields), where="plan.json")


def test_waived_reasons_do_not_count() -> None:
    plan = replace(PLAN, quarantined={"bad_key": 3, "id_too_long": 2})

    assert plan.unwaived == 2
    assert replace(plan, waived=()).unwaived == 5
