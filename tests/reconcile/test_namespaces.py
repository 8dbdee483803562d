"""Where a run puts vectors into namespaces, the namespace is part of what it compares and mends."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from migrate.mapping.rules import MappingRules
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.storage.journal_lines import Entry
from tests.harness.fakes.memory_source import UnexpectedError
from tests.harness.move import COUNTER, Move, finished_move, new_move
from tests.harness.strategies import RULES

BY_FILE = replace(RULES, namespace="t-{file_id}")
POINTS = 15
VECTOR, KEY = "file-2_1", "file:file-2"


def move_in_namespaces(folder: Path, mapping: MappingRules = BY_FILE) -> Move:
    move = new_move(folder, POINTS)
    move.mapping = mapping
    return move


def finished(folder: Path) -> Move:
    move = move_in_namespaces(folder)
    move.plan()
    move.migrate()
    return move


def of_vector(namespace: str | None) -> Callable[[Move], None]:
    return lambda move: move.put(replace(move.vector(VECTOR), namespace=namespace))


def of_entry(metadata: object) -> Callable[[Move], None]:
    def do(move: Move) -> None:
        move.kv.stored[KEY] = replace(move.kv.stored[KEY], metadata=metadata)

    return do


PLANTED = [
    (VECTOR, of_vector("t-file-3"), ["namespace"]),
    (VECTOR, of_vector(None), ["namespace"]),
    (KEY, of_entry({"namespace": "t-file-3"}), ["kv metadata"]),
    (KEY, of_entry(None), ["kv metadata"]),
]


@pytest.mark.fault("M13")
def test_every_vector_and_entry_has_its_namespace(tmp_path: Path) -> None:
    move = finished(tmp_path)

    assert {one.id: one.namespace for one in move.vectors.stored.values()} == {
        VectorId(f"file-{row % 5}_{row // 5}"): f"t-file-{row % 5}" for row in range(POINTS)
    }
    assert {key: entry.metadata for key, entry in move.kv.stored.items()} == {
        **{f"file:file-{number}": {"namespace": f"t-file-{number}"} for number in range(5)},
        COUNTER: None,
    }
    assert move.reconcile().verdict == "equal"


@pytest.mark.fault("M13")
@pytest.mark.parametrize(("where", "plant", "differs"), PLANTED)
def test_a_wrong_namespace_is_found_named_and_mended(
    tmp_path: Path, where: str, plant: Callable[[Move], None], differs: list[str]
) -> None:
    move = finished(tmp_path)
    right = move.held()
    plant(move)

    report = move.reconcile()
    move.migrate()

    assert (report.verdict, report.document()["differs"]) == ("drift", {where: differs})
    assert move.held() == right
    assert move.reconcile(fresh=True).verdict == "equal"


@pytest.mark.fault("M13")
@pytest.mark.parametrize(("where", "plant", "differs"), PLANTED)
def test_a_rollback_keeps_what_others_moved_to_another_namespace(
    tmp_path: Path, where: str, plant: Callable[[Move], None], differs: list[str]
) -> None:
    move = finished(tmp_path)
    plant(move)
    theirs = move.held()

    report = move.roll_back()

    assert report.conflicts == [where]
    assert {name: list(what) for name, what in report.differs.items()} == {where: differs}
    vectors, entries = move.held()
    assert (vectors.get(where), entries.get(where)) == (theirs[0].get(where), theirs[1].get(where))


@pytest.mark.fault("M13")
def test_the_note_of_a_removal_beside_the_namespace_is_no_difference(tmp_path: Path) -> None:
    move = finished(tmp_path)
    note = {"removing": "1,4", "since": 1_790_000_000_000}
    of_entry({"namespace": "t-file-2", **note})(move)
    equal = move.reconcile()
    of_entry(note)(move)
    drift = move.reconcile(fresh=True)

    assert equal.verdict == "equal"
    assert drift.document()["differs"] == {KEY: ["kv metadata"]}


@pytest.mark.fault("M13")
def test_metadata_of_others_at_the_counter_is_kept_as_ever(tmp_path: Path) -> None:
    move = finished(tmp_path)
    move.kv.stored[COUNTER] = replace(move.kv.stored[COUNTER], metadata="theirs")

    assert move.reconcile().verdict == "drift"
    move.migrate()

    assert move.kept() == [COUNTER]


@pytest.mark.fault("M13")
@pytest.mark.parametrize("mapping", [RULES, BY_FILE])
def test_a_former_state_in_other_namespaces_comes_back(
    tmp_path: Path, mapping: MappingRules
) -> None:
    move = move_in_namespaces(tmp_path, mapping)
    values = np.full(4, 0.5, np.float32)
    for name, namespace in ((VECTOR, "old"), ("file-1_0", None), ("file-0_0", "t-file-0")):
        move.put(Vector(id=VectorId(name), values=values, namespace=namespace, metadata={"n": 1}))
    move.kv.stored[KEY] = KvEntry(key=KEY, value=b"[]", metadata={"namespace": "old"})
    before = move.held()

    move.plan(into_non_empty=True)
    move.migrate()
    during = move.held()
    move.roll_back()

    assert during[0][VECTOR][1] == ("t-file-2" if mapping.namespace else None)
    assert move.held() == before


@pytest.mark.slow
@pytest.mark.fault("M13")
def test_a_kill_around_any_entry_of_the_journal_changes_nothing_of_the_end(tmp_path: Path) -> None:
    undisturbed = finished(tmp_path / "whole").held()
    for kill_at in itertools.count():
        move = move_in_namespaces(tmp_path / str(kill_at))
        move.plan()
        appends = itertools.count()

        def seam(
            _: Entry, appends: "itertools.count[int]" = appends, kill_at: int = kill_at
        ) -> None:
            if next(appends) == kill_at:
                raise UnexpectedError

        try:
            move.migrate(seam)
        except UnexpectedError:
            move.migrate()
            assert move.held() == undisturbed
        else:
            break
    assert kill_at > 10


@pytest.mark.fault("M13")
def test_an_export_says_which_vectors_are_in_another_namespace_than_their_points_name(
    tmp_path: Path,
) -> None:
    move = finished(tmp_path)
    new = move.vector(VECTOR)
    added = {"file_id": "file-9", "chunk_index": 0, "chunk_hash": f"{9:064x}"}
    move.put(replace(new, id=VectorId("file-9_0"), namespace="t-file-9", metadata=added))
    right = move.export_later()
    move.put(replace(new, namespace="t-file-3"))
    wrong = move.export_later()

    assert (right.in_namespace, wrong.in_namespace) == (0, 1)


@pytest.mark.fault("M13")
def test_a_run_without_namespaces_takes_them_for_those_of_others(tmp_path: Path) -> None:
    move = finished_move(tmp_path, POINTS)
    of_vector("tenant")(move)

    assert move.reconcile().verdict == "drift"
    move.migrate()

    assert move.kept() == [VECTOR]
