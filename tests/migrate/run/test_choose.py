"""Which snapshot or run a command works on, and which it refuses for its settings."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from migrate.errors import ForeignStateError, PreconditionError, UsageError
from migrate.plan.rules import PlanRules
from migrate.ports import Target
from migrate.run.choose.chain import choose_run
from migrate.run.choose.find import find_by_id, find_run, find_snapshot
from migrate.run.choose.matching import (
    Destination,
    check_collection,
    check_named_target,
    check_same_target,
    planned_target,
)
from migrate.run.folder import RunFolder, create_run
from migrate.run.journal import Kind
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder
from tests.e2e.older.older_files import copy_older
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.steps import KilledError
from tests.harness.move import Move, finished_move, new_move


@pytest.fixture
def move(tmp_path: Path) -> Move:
    """A plan of 20 points; nothing is written yet."""
    move = new_move(tmp_path, 20)
    move.plan()
    return move


def directory_of(move: Move) -> LocalFolder:
    return LocalFolder(move.folder)


def id_of(move: Move) -> str:
    """The run of the move."""
    return move.run_path.name


def snapshot_of(move: Move) -> Snapshot:
    with move.opened() as run:
        return run.snapshot


def rules_of(move: Move) -> PlanRules:
    """The settings that the plan was made with."""
    with move.opened() as run:
        return PlanRules(
            mapping=run.plan.mapping, writes=run.plan.writes, into_non_empty=run.plan.into_non_empty
        )


def chosen(move: Move, rules: PlanRules | None = None) -> str | None:
    """The run that a migrate would continue."""
    target = Target(move.vectors, move.kv)
    run = choose_run(snapshot_of(move), target, rules or rules_of(move))
    return None if run is None else run.plan.run_id


def take_another(move: Move, points: int = 3) -> Snapshot:
    report = take_snapshot(
        MemorySource(chunk_payloads(points)),
        directory_of(move),
        SnapshotOptions(),
        Runtime(clock=VirtualClock(), progress=Silence()),
    )
    return Snapshot(LocalFolder(Path(report.path)))


def cut_after_an_upload(move: Move) -> None:
    def cut(_: int, what: str) -> None:
        if what == "upsert" and "upsert" in move.calls.made:
            raise KilledError

    move.calls.before = cut
    with pytest.raises(KilledError):
        move.migrate()
    move.calls.before = lambda number, what: None


def test_an_empty_folder_has_neither_snapshot_nor_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sealed snapshot under"):
        find_snapshot(LocalFolder(tmp_path), None, None)
    with pytest.raises(UsageError, match="no run under"):
        find_run(LocalFolder(tmp_path), None, None)
    assert find_by_id(LocalFolder(tmp_path), "000-run") is None


def test_the_newest_snapshot_is_found_unless_one_is_named(move: Move) -> None:
    first = snapshot_of(move)
    second = take_another(move)

    newest = find_snapshot(directory_of(move), None, None)
    named = find_snapshot(directory_of(move), first.folder, None)

    assert newest.manifest.snapshot_id == second.manifest.snapshot_id
    assert named.manifest.snapshot_id == first.manifest.snapshot_id


def test_the_run_of_an_older_snapshot_is_found_when_the_newest_has_none(move: Move) -> None:
    take_another(move)

    run = find_run(directory_of(move), None, None, read_only=True)

    assert run.plan.run_id == id_of(move)


def test_a_named_run_is_opened_and_another_folder_refused(move: Move) -> None:
    with move.opened() as run:
        named, snapshot = run.folder, run.snapshot.folder

    found = find_run(directory_of(move), named, None)

    assert found.plan.run_id == id_of(move)
    found.close()
    with pytest.raises(UsageError, match="no run folder"):
        find_run(directory_of(move), snapshot, None)


def test_snapshots_and_runs_are_found_by_their_ids(move: Move) -> None:
    snapshot = snapshot_of(move)

    found = [
        find_by_id(directory_of(move), name)
        for name in (snapshot.manifest.snapshot_id, id_of(move), "001-none")
    ]

    assert [None if place is None else str(place) for place in found] == [
        str(snapshot.folder),
        str(move.run_path),
        None,
    ]


def test_no_run_is_due_to_be_continued_before_the_first(tmp_path: Path) -> None:
    move = new_move(tmp_path, 20)
    move.plan()
    rules = rules_of(move)
    other = take_another(move)

    assert choose_run(other, Target(move.vectors, move.kv), rules) is None


def test_a_run_with_the_same_decisions_is_continued(move: Move) -> None:
    assert chosen(move) == id_of(move)

    cut_after_an_upload(move)

    assert chosen(move) == id_of(move)


CHANGES: dict[str, Callable[[PlanRules], PlanRules]] = {
    "dimensions": lambda rules: replace(rules, dimensions=2),
    "reduce": lambda rules: replace(rules, reduce="matryoshka"),
    "vector_name": lambda rules: replace(rules, vector_name="text"),
    "counter_key": lambda rules: replace(rules, writes=replace(rules.writes, counter_key="n")),
    "nulls": lambda rules: replace(rules, mapping=replace(rules.mapping, nulls="leave_out")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_decisions_make_a_new_run_or_are_refused_by_name_once_it_is_half_written(
    move: Move, name: str
) -> None:
    other = CHANGES[name](rules_of(move))
    assert chosen(move, other) is None

    cut_after_an_upload(move)

    with pytest.raises(ForeignStateError, match=f"has other decisions: {name} "):
        chosen(move, other)


def test_the_dimensions_of_the_plan_are_no_other_decision(move: Move) -> None:
    with move.opened() as run:
        same = replace(rules_of(move), dimensions=run.plan.values.dimensions)

    assert chosen(move, same) == id_of(move)


def test_consent_to_a_target_with_content_makes_a_new_run_until_something_is_written(
    move: Move,
) -> None:
    consent = replace(rules_of(move), into_non_empty=True)
    assert chosen(move, consent) is None

    cut_after_an_upload(move)

    assert chosen(move, consent) == id_of(move)


@pytest.mark.fault("C13")
@pytest.mark.parametrize("name", CHANGES)
def test_after_a_complete_run_other_decisions_are_refused_by_name(
    tmp_path: Path, name: str
) -> None:
    move = finished_move(tmp_path, 20)
    other = CHANGES[name](rules_of(move))

    with pytest.raises(ForeignStateError, match=f"has other decisions: {name} "):
        chosen(move, other)

    assert chosen(move) == id_of(move)
    assert chosen(move, replace(other, into_non_empty=True)) is None


@pytest.mark.parametrize("changed", ["emptied", "made again", "another index"])
def test_other_decisions_make_a_new_run_into_an_index_without_the_vectors_of_the_complete_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    move = finished_move(tmp_path, 20)
    other = CHANGES["nulls"](rules_of(move))
    index = move.vectors.read_index()
    assert index is not None
    if changed == "emptied":
        move.vectors.stored.clear()
    elif changed == "made again":
        move.vectors.index = replace(index, created_on="2031-01-01T00:00:00Z")
    else:
        names = {**move.vectors.identity(), "vector_index": "another"}
        monkeypatch.setattr(move.vectors, "identity", lambda: names)

    assert chosen(move, other) is None


def test_a_run_that_is_being_rolled_back_is_refused_and_one_that_was_is_not_continued(
    tmp_path: Path,
) -> None:
    move = finished_move(tmp_path, 20)
    with move.opened() as run:
        run.journal.append({"type": Kind.ROLLBACK_OPENED.value, "manifest_sha256": "0" * 64})
    with pytest.raises(PreconditionError, match="is being rolled back"):
        chosen(move)

    move.roll_back()

    assert chosen(move) is None


def test_the_newest_run_is_the_one_that_is_chosen(move: Move) -> None:
    with move.opened() as run:
        snapshot, plan = run.snapshot, replace(run.plan, run_id="001-newer")
    RunFolder(create_run(snapshot, plan, b"", []), snapshot).close()

    assert chosen(move) == "001-newer"


@pytest.fixture
def written(tmp_path: Path) -> RunFolder:
    """A run that wrote to an account, and so names it."""
    _, path = copy_older(tmp_path, "complete-and-equal")
    return RunFolder(LocalFolder(path), Snapshot(LocalFolder(path.parents[1])), read_only=True)


@pytest.mark.parametrize("name", ["host", "account", "vector_index", "kv_namespace"])
def test_a_target_is_compared_by_each_of_its_names(written: RunFolder, name: str) -> None:
    planned = planned_target(written)
    assert check_named_target(written, planned) == ()

    with pytest.raises(ForeignStateError, match="the settings name 'elsewhere'"):
        check_named_target(written, replace(planned, **{name: "elsewhere"}))


def test_a_target_that_names_itself_is_compared(written: RunFolder) -> None:
    vectors, kv = written.plan.vector_target, written.plan.kv_target
    check_same_target(written, named_target(vectors, kv))

    with pytest.raises(ForeignStateError, match=r"KV namespace '.*', the settings name 'other'"):
        check_same_target(written, named_target(vectors, {**kv, "kv_namespace": "other"}))


def named_target(vectors: dict[str, str], kv: dict[str, str]) -> Target:
    """A target of which only its names are asked."""
    named = SimpleNamespace(
        vectors=SimpleNamespace(identity=lambda: vectors), kv=SimpleNamespace(identity=lambda: kv)
    )
    return cast(Target, named)


def test_names_that_are_not_configured_are_returned_and_not_compared(written: RunFolder) -> None:
    nothing = Destination(host=None, account=None, vector_index=None, kv_namespace=None)
    known = replace(planned_target(written), account=None)

    assert check_named_target(written, known) == ("account with fingerprint",)
    assert len(check_named_target(written, nothing)) == 4


def test_a_snapshot_of_another_collection_is_refused_with_the_newest_fitting_one(
    move: Move,
) -> None:
    older, newest = snapshot_of(move), take_another(move)
    found = newest.manifest.collection
    check_collection(newest, None, named_by="default")
    check_collection(newest, found, named_by="default")

    with pytest.raises(ForeignStateError, match=r"\(--collection\)") as refused:
        check_collection(newest, "other", named_by="--collection")
    assert "take a snapshot of 'other'" in refused.value.remedy

    object.__setattr__(older.manifest, "collection", "wanted")
    with pytest.raises(ForeignStateError) as named:
        check_collection(older, found, named_by="default")
    assert str(newest.folder) in named.value.remedy
