"""Counting what moves: every point in exactly one of mapped and quarantined."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.payload import Reason
from migrate.mapping.upload_body import encode_line
from migrate.mapping.values import ValueRules
from migrate.model.canonical import encode_canonical_json
from migrate.model.irregular import encode_irregular
from migrate.model.records import DenseColumn, Page, PointId, VectorId
from migrate.plan.census.statistics import (
    LINE_REST_BYTES_MAX,
    VALUE_TEXT_BYTES_MAX,
    Census,
    quarantine_cap,
    take_census,
)
from tests.harness.strategies import HASH, RULES, finite_floats, payloads

BODY_BYTES = 100_000

VALUES = ValueRules(
    vector_name="", source_dimensions=2, dimensions=2, reduce="none", metric="cosine"
)


def page_of(fields: list[dict[str, object]], values: list[float]) -> Page:
    return Page(
        ids=tuple(PointId(0, number) for number in range(len(fields))),
        payloads=tuple(map(encode_canonical_json, fields)),
        vectors={
            "": DenseColumn(
                np.array([[value, 0] for value in values], np.float32).reshape(-1, 2),
                np.ones(len(fields), np.bool_),
            )
        },
        irregular=(None,) * len(fields),
    )


@pytest.mark.fault("I1")
@given(st.lists(st.tuples(payloads(), st.sampled_from([0.0, 1.0])), max_size=6))
def test_each_point_is_counted_once(rows: list[tuple[dict[str, object], float]]) -> None:
    page = page_of([fields for fields, _ in rows], [value for _, value in rows])
    census = Census()
    rules = replace(RULES, truncate_field="text")
    result = take_census(census, page, rules, VALUES, body_bytes=BODY_BYTES)

    places = [at for at, _ in result.mapped] + [at for at, _ in result.quarantined]
    assert list(range(len(rows))) == sorted(places)
    assert len(rows) == census.points
    assert len(result.quarantined) == census.quarantined.total()


def test_a_point_with_two_faults_is_counted_for_its_payload() -> None:
    good: dict[str, object] = {"file_id": "f", "chunk_index": 0, "chunk_hash": HASH}
    page = page_of([{}, good, good], [0.0, 0.0, 1.0])
    census = Census()
    result = take_census(census, page, RULES, VALUES, body_bytes=BODY_BYTES)
    take_census(census, page, RULES, VALUES, body_bytes=BODY_BYTES)

    assert [one.reason for _, one in result.quarantined] == [
        Reason.FIELD_MISSING,
        Reason.ZERO_VECTOR,
    ]
    assert [at for at, _ in result.mapped] == [2]
    assert census.quarantined == {Reason.FIELD_MISSING: 2, Reason.ZERO_VECTOR: 2}
    assert census.points == 6


@pytest.mark.fault("N17")
@pytest.mark.parametrize("more", ["", "é", '"', "\\", "\x01", "\u2028"])
def test_a_line_larger_than_an_upload_stays_behind_to_the_byte(more: str) -> None:
    fields: dict[str, object] = {"file_id": f"f{more}", "chunk_index": 0, "chunk_hash": HASH}
    rules = replace(RULES, group_key="")
    page = page_of([fields], [0.1])
    ((_, one),) = take_census(Census(), page, rules, VALUES, body_bytes=BODY_BYTES).mapped
    size = len(encode_line(one.vector_id, np.array([0.1, 0], np.float32), one.metadata))
    fits = take_census(Census(), page, rules, VALUES, body_bytes=size)
    too_large = take_census(Census(), page, rules, VALUES, body_bytes=size - 1)

    assert [at for at, _ in fits.mapped] == [0]
    ((_, outcome),) = too_large.quarantined
    assert outcome.reason is Reason.UPLOAD_TOO_LARGE
    assert f"{size} B encoded" in outcome.detail


@pytest.mark.fault("N17")
@given(st.lists(finite_floats(), min_size=1, max_size=50), st.text(max_size=64))
def test_no_line_is_larger_than_its_bound(values: list[float], name: str) -> None:
    """Only near the limit is a line encoded to know its size."""
    row = np.array(values, np.float32)
    if len(name.encode()) <= 64:
        size = len(encode_line(VectorId(name), row, b"{}"))
        assert size <= len(row) * VALUE_TEXT_BYTES_MAX + 2 + LINE_REST_BYTES_MAX


@pytest.mark.fault("D11")
def test_a_payload_with_a_key_twice_stays_behind_even_with_good_values() -> None:
    good: dict[str, object] = {"file_id": "f", "chunk_index": 0, "chunk_hash": HASH}
    page = page_of([good, good], [1.0, 1.0])
    page = replace(page, irregular=(encode_irregular({}, '{"a":1,"a":2}'), None))
    result = take_census(Census(), page, RULES, VALUES, body_bytes=BODY_BYTES)

    assert [(at, one.reason) for at, one in result.quarantined] == [(0, Reason.DUPLICATE_KEY)]


@pytest.mark.parametrize(
    ("points", "cap"),
    [(0, 10), (1, 10), (10_999, 10), (11_000, 11), (999_999, 999), (10**6, 1000), (10**8, 1000)],
)
def test_the_share_that_may_stay_behind(points: int, cap: int) -> None:
    assert cap == quarantine_cap(points, None)


@pytest.mark.parametrize("setting", [0, 5, 5000])
def test_a_setting_overrides_the_share(setting: int) -> None:
    assert setting == quarantine_cap(10**6, setting)
