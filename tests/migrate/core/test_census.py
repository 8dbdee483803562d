"""Counting what moves: every point in exactly one of mapped and quarantined."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.core.canonical import encode_canonical_json
from migrate.core.census import Census, quarantine_cap, take_census
from migrate.core.mapping import Mapped, Reason, map_payload
from migrate.core.model import DenseColumn, Page, PointId
from migrate.core.values import ValueRules
from tests.strategies import HASH, RULES, payloads

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
    result = take_census(census, page, replace(RULES, truncate_field="text"), VALUES)

    places = [at for at, _ in result.mapped] + [at for at, _ in result.quarantined]
    assert list(range(len(rows))) == sorted(places)
    assert len(rows) == census.points
    assert len(result.quarantined) == census.quarantined.total()
    assert sum(len(one.metadata) for _, one in result.mapped) == census.metadata_bytes
    assert sum(len(one.changes) for _, one in result.mapped) == census.changes.total()


def test_a_point_with_two_faults_is_counted_for_its_payload() -> None:
    good: dict[str, object] = {"file_id": "f", "chunk_index": 0, "chunk_hash": HASH}
    page = page_of([{}, good, good], [0.0, 0.0, 1.0])
    census = Census()
    result = take_census(census, page, RULES, VALUES)
    take_census(census, page, RULES, VALUES)

    assert [one.reason for _, one in result.quarantined] == [
        Reason.FIELD_MISSING,
        Reason.ZERO_VECTOR,
    ]
    assert [at for at, _ in result.mapped] == [2]
    assert census.quarantined == {Reason.FIELD_MISSING: 2, Reason.ZERO_VECTOR: 2}
    assert census.points == 6


def test_declared_changes_are_counted_by_field() -> None:
    rules = replace(RULES, nulls="leave_out")
    fields: dict[str, object] = {"file_id": "f", "chunk_index": 0, "chunk_hash": HASH, "a": None}
    census = Census()
    take_census(census, page_of([fields, fields], [1, 1]), rules, VALUES)
    outcome = map_payload(PointId(0, 0), encode_canonical_json(fields), rules)

    assert census.changes == {"null_left_out:a": 2}
    assert isinstance(outcome, Mapped)


@pytest.mark.parametrize(
    ("points", "cap"),
    [(0, 10), (1, 10), (10_999, 10), (11_000, 11), (999_999, 999), (10**6, 1000), (10**8, 1000)],
)
def test_the_share_that_may_stay_behind(points: int, cap: int) -> None:
    assert cap == quarantine_cap(points, None)


@pytest.mark.parametrize("setting", [0, 5, 5000])
def test_a_setting_overrides_the_share(setting: int) -> None:
    assert setting == quarantine_cap(10**6, setting)
