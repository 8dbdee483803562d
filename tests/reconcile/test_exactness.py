"""Reconcile reports exactly what differs: the right class and id, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrate.errors import ExitCode
from migrate.model.records import Vector, VectorId
from reconcile.report.report import ReconcileReport
from reconcile.scan import vectors
from tests.harness.fakes.memory_source import DIMENSIONS
from tests.harness.move import COUNTER, RECONCILE_RULES, Move, new_move
from tests.harness.tiers import examples, one_in
from tests.reconcile.plants import (
    KEYS,
    OF_COUNTER,
    OF_KEYS,
    OF_SOURCE,
    OF_VECTORS,
    VECTORS,
    Plant,
    found_as,
    payloads,
)

POINTS = [str(number) for number in payloads()]
TARGETS = {"vector": "file-2_3", "key": "file:file-2", "counter": "", "source": "100"}
ALL = [
    *(("vector", plant) for plant in OF_VECTORS),
    *(("key", plant) for plant in OF_KEYS),
    *(("counter", plant) for plant in OF_COUNTER),
    *(("source", plant) for plant in OF_SOURCE),
]


@pytest.fixture(scope="module")
def move(tmp_path_factory: pytest.TempPathFactory) -> Move:
    """One move for all tests of this module; each test removes what it has planted."""
    moved = new_move(tmp_path_factory.mktemp("exactness"))
    moved.source.points = payloads()
    moved.plan()
    moved.migrate()
    return moved


@contextmanager
def put_back(move: Move) -> Iterator[None]:
    """Restore source and target at the end."""
    kept = dict(move.vectors.stored), dict(move.kv.stored), deepcopy(move.source.points)
    try:
        yield
    finally:
        move.vectors.stored, move.kv.stored, move.source.points = kept


def assert_exactly(move: Move, report: ReconcileReport, found: dict[str, list[str]]) -> None:
    """Check that counts, id files, verdict and exit code name exactly this difference."""
    counter = int("counter" in found)
    named = {name: sorted(ids) for name, ids in found.items() if name != "counter"}
    classes = move.ids_of(report)
    for name in ("foreign", "kv_foreign"):  # a part of the others, and of the counter's
        drifted = {*named.get(name.replace("foreign", "mismatched"), []), COUNTER}
        assert set(classes.pop(name, [])) <= drifted
    assert {name: sorted(ids) for name, ids in classes.items()} == named
    counts = {name: len(named.get(name, [])) for name in report.drift if name != "counter"}
    assert report.drift == {**counts, "counter": counter}
    assert report.source_drift == {
        kind: len(named.get(f"source_{kind}", [])) for kind in ("added", "changed", "deleted")
    }
    assert report.verdict == ("drift" if found else "equal")
    assert report.exit_code == (ExitCode.DRIFT if found else ExitCode.DONE)


@pytest.mark.fault("R01", "R09", "I6")
@pytest.mark.parametrize(
    ("where", "plant"), one_in(3, ALL), ids=lambda one: getattr(one, "name", one)
)
def test_one_difference_is_found_as_exactly_that(move: Move, where: str, plant: Plant) -> None:
    target = TARGETS[where]
    with put_back(move):
        plant.do(move, target)

        report = move.reconcile()

    found = {} if plant.drift is None else {plant.drift: [found_as(plant, target)]}
    assert_exactly(move, report, found)


@st.composite
def plantings(draw: st.DrawFn) -> list[tuple[Plant, str]]:
    """Several differences, each on an id, key or point of its own."""
    chosen: list[tuple[Plant, str]] = []
    for plants, targets in ((OF_VECTORS, VECTORS), (OF_KEYS, KEYS), (OF_SOURCE, POINTS)):
        some = draw(st.lists(st.sampled_from(targets), unique=True, max_size=5))
        chosen += [(draw(st.sampled_from(plants)), target) for target in some]
    chosen += [(plant, "") for plant in draw(st.lists(st.sampled_from(OF_COUNTER), max_size=1))]
    return chosen


@pytest.mark.slow
@pytest.mark.fault("R01", "R02", "I6")
@settings(
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(plantings())
def test_any_differences_are_found_as_exactly_those(
    move: Move, planted: list[tuple[Plant, str]]
) -> None:
    found: dict[str, list[str]] = {}
    with put_back(move):
        for plant, target in planted:
            plant.do(move, target)
            if plant.drift is not None:
                found.setdefault(plant.drift, []).append(found_as(plant, target))

        report = move.reconcile()

    assert_exactly(move, report, found)


def _swap_values(move: Move, one: Vector, other: Vector) -> None:
    move.put(replace(one, values=other.values))
    move.put(replace(other, values=one.values))


def _swap_metadata(move: Move, one: Vector, other: Vector) -> None:
    move.put(replace(one, metadata=other.metadata))
    move.put(replace(other, metadata=one.metadata))


def _swap_all(move: Move, one: Vector, other: Vector) -> None:
    move.put(replace(one, id=other.id))
    move.put(replace(other, id=one.id))


def _shift_values(move: Move, one: Vector, other: Vector) -> None:
    step = np.eye(1, DIMENSIONS, dtype=np.float32)[0]
    move.put(replace(one, values=one.values + step))
    move.put(replace(other, values=other.values - step))


def _shift_numbers(move: Move, one: Vector, other: Vector) -> None:
    move.put(replace(one, metadata={**(one.metadata or {}), "one": 2}))
    move.put(replace(other, metadata={**(other.metadata or {}), "one": 0}))


@pytest.mark.fault("R02")
@pytest.mark.parametrize(
    "pair", [_swap_values, _swap_metadata, _swap_all, _shift_values, _shift_numbers]
)
def test_two_vectors_whose_differences_cancel_in_a_sum_are_both_found(
    move: Move, pair: object
) -> None:
    assert callable(pair)
    with put_back(move):
        pair(move, move.vector("file-1_2"), move.vector("file-3_4"))

        report = move.reconcile()

    assert_exactly(move, report, {"mismatched": ["file-1_2", "file-3_4"]})


@pytest.mark.fault("R02")
def test_swapped_and_traded_kv_values_are_both_found(move: Move) -> None:
    held, keys = move.kv.stored, ("file:file-1", "file:file-3")
    with put_back(move):
        one, other = held[keys[0]], held[keys[1]]
        held |= {
            one.key: replace(one, value=other.value),
            other.key: replace(other, value=one.value),
        }
        swapped = move.reconcile()
        first, second = orjson.loads(one.value), orjson.loads(other.value)
        first[0], second[0] = second[0], first[0]
        for entry, ids in ((one, first), (other, second)):
            held[entry.key] = replace(entry, value=orjson.dumps(ids))
        traded = move.reconcile()

    assert_exactly(move, swapped, {"kv_mismatched": list(keys)})
    assert_exactly(move, traded, {"kv_mismatched": list(keys)})


@pytest.mark.fault("R02", "R09")
def test_one_lost_and_one_gained_leave_the_count_right_and_are_both_found(move: Move) -> None:
    with put_back(move):
        one = move.vectors.stored.pop(VectorId("file-1_2"))
        move.put(replace(one, id=VectorId("stray")))
        report = move.reconcile()
        del move.kv.stored["file:file-1"]
        move.kv.stored["file:stray"] = replace(move.kv.stored["file:file-0"], key="file:stray")
        both = move.reconcile()

    assert report.counts["vector_index"] == report.counts["expected"] == len(VECTORS)
    found = {"missing": ["file-1_2"], "extra": ["stray"]}
    assert_exactly(move, report, found)
    kv = {"kv_missing": ["file:file-1"], "kv_extra": ["file:stray"]}
    assert_exactly(move, both, {**found, **kv})


@pytest.mark.fault("R02")
def test_a_counter_that_agrees_with_a_wrong_number_of_vectors_is_no_excuse(move: Move) -> None:
    with put_back(move):
        move.put(replace(move.vector("file-1_2"), id=VectorId("stray")))
        OF_COUNTER[0].do(move, "")  # counts the stray one

        report = move.reconcile()

    assert_exactly(move, report, {"extra": ["stray"], "counter": [""]})


@pytest.mark.fault("R03", "I8")
@pytest.mark.parametrize("page_ids", [1, 29, 30, 31, 1000])
@pytest.mark.parametrize("page_points", [1, 30, 1000])
def test_equal_stores_are_equal_whatever_the_pages(
    move: Move, monkeypatch: pytest.MonkeyPatch, page_ids: int, page_points: int
) -> None:
    monkeypatch.setattr(move.vectors, "page_ids", page_ids)
    monkeypatch.setattr(vectors, "REQUESTS_PER_NOTE", 1 if page_ids == 1 else 50)

    report = move.reconcile(replace(RECONCILE_RULES, page_points=page_points))

    assert_exactly(move, report, {})
    assert report.counts == {
        "source": 30,
        "snapshot": 30,
        "expected": 30,
        "vector_index": 30,
        "kv_ids": 30,
        "kv_counter": 30,
    }


@pytest.mark.fault("R09", "K08")
def test_what_was_there_before_is_no_drift_and_what_came_since_is(tmp_path: Path) -> None:
    full = new_move(tmp_path)
    full.source.points = payloads()
    foreign = Vector(
        id=VectorId("theirs"), values=np.ones(DIMENSIONS, np.float32), namespace=None, metadata=None
    )
    full.put(foreign)
    full.plan(into_non_empty=True)
    full.migrate()
    before = full.reconcile()
    full.put(replace(foreign, id=VectorId("since")))

    since = full.reconcile()

    assert_exactly(full, before, {})
    assert before.counts["kv_counter"] == before.counts["vector_index"] == 31
    assert_exactly(full, since, {"extra": ["since"]})
