"""A catch-up brings the target to what the source holds now, and the whole chain can be undone."""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.begin import begin_run
from migrate.errors import ForeignStateError, PreconditionError
from migrate.mapping.rules import WriteRules
from migrate.migrate import WriteOptions, migrate
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.plan.rules import PlanRules
from migrate.ports import Target
from migrate.run.choose.find import find_run
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import take_difference
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder
from migrate.upload.settle import SettleRules
from reconcile.compare import compare
from reconcile.report.report import ReconcileReport
from reconcile.rollback.chain import open_chain, preview_chain, roll_back_chain
from reconcile.rollback.manifest import read_existing, read_foreign_keys
from reconcile.rollback.report import RollbackReport, UndoRules
from reconcile.stores import ReconcileRules
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.memory_target import Calls, MemoryKv, MemoryVectors, some_calls
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.steps import KilledError
from tests.harness.strategies import RULES
from tests.harness.tiers import examples, struck_at

POINTS = 23
DIMENSIONS = 32  # the fewest that a target takes
SETTLE = SettleRules(timeout_s=60, poll_s=1)
UNDO = UndoRules(settle=SETTLE, pause_s=1, kv_settle_s=1, note_every=5)
WRITES = WriteRules(vectors_per_upload=7, body_bytes=10**6, counter_key="_vector_count", ttl_s=None)
PLAN_RULES = PlanRules(mapping=RULES, writes=WRITES)
RECONCILE_RULES = ReconcileRules(
    content_full_max=1_000,
    content_sample=10,
    seed=1,
    pause_s=1,
    kv_settle_s=1,
    page_points=100,
    requests_per_5min=900,
)
Held = tuple[dict[str, tuple[bytes, object]], dict[str, bytes]]


class Evening:
    """A source that goes on changing, a target in memory, and the folder between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = LocalFolder(folder)
        self.source = MemorySource(chunk_payloads(POINTS), dimensions=DIMENSIONS)
        self.calls = Calls()
        self.vectors = MemoryVectors(calls=self.calls, dimensions=DIMENSIONS)
        self.kv = MemoryKv(self.calls)
        self.clock = VirtualClock()
        self.progress = Silence()

    def copy(self, folder: Path) -> "Evening":
        """Another evening with the same past, in an empty or missing folder."""
        shutil.copytree(self.folder.path, folder, dirs_exist_ok=True)
        other = Evening(folder)
        other.source.points = dict(self.source.points)
        other.vectors.continue_from(self.vectors)
        other.kv.stored = dict(self.kv.stored)
        other.clock.wait(self.clock.monotonic_s())
        return other

    @property
    def target(self) -> Target:
        return Target(self.vectors, self.kv)

    def runtime(self) -> Runtime:
        return Runtime(clock=self.clock, progress=self.progress)

    def snapshot(self, *, moving: bool = False) -> Snapshot:
        self.clock.wait(1)
        report = take_snapshot(
            self.source, self.folder, SnapshotOptions(moving=moving, part_points=5), self.runtime()
        )
        return self.opened(report.path)

    def difference(self, parent: Snapshot, *, moving: bool = False) -> Snapshot:
        self.clock.wait(1)
        options = SnapshotOptions(moving=moving, part_points=5)
        return self.opened(take_difference(self.source, parent, options, self.runtime()).path)

    @staticmethod
    def opened(path: str) -> Snapshot:
        return Snapshot(LocalFolder(Path(path)))

    def newest(self) -> Snapshot:
        """The snapshot that was taken last."""
        return Snapshot(sealed_folders(self.folder)[-1])

    def migrate(self, snapshot: Snapshot, rules: PlanRules = PLAN_RULES) -> None:
        with closing(begin_run(snapshot, self.target, rules, self.runtime())) as run:
            migrate(run, self.target, WriteOptions(settle=SETTLE), self.runtime())

    def reconcile(self) -> ReconcileReport:
        with closing(find_run(self.folder, None, None)) as run:
            return compare(run, self.source, self.target, RECONCILE_RULES, self.runtime())

    def roll_back(self, forced: frozenset[str] = frozenset()) -> RollbackReport:
        with (
            closing(find_run(self.folder, None, None)) as run,
            open_chain(run) as chain,
        ):
            return roll_back_chain(
                chain,
                self.target,
                UNDO,
                self.runtime(),
                requests_per_5min=900,
                forced=forced,
            )

    def edit(self, edits: dict[int, int | None]) -> None:
        """Give points another content, or delete those of None."""
        for number, shift in edits.items():
            if shift is None:
                self.source.points.pop(number, None)
            else:
                row = number // 10
                self.source.points[number] = {
                    "file_id": f"file-{row % 5}",
                    "chunk_index": 100 + number,
                    "chunk_hash": f"{number:064x}",
                    "text": f"text {shift}",
                    "shift": shift,
                }

    def held(self) -> Held:
        """All records of the target."""
        return (
            {
                str(vector_id): (vector.values.tobytes(), vector.metadata)
                for vector_id, vector in self.vectors.stored.items()
            },
            {key: entry.value for key, entry in self.kv.stored.items()},
        )


EDITS = {20: 1, 25: 2, 30: None, 80: None, 130: None, 180: None, 230: None, 300: 3}
# Of file-2 all points: 30, 80, 130, 180, 230.
EMPTY: Held = ({}, {})  # the target before every move


# Pasts that no test changes: each begins with a copy.


@pytest.fixture(scope="module")
def past_move(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    """After a snapshot of all points and its move."""
    evening = Evening(tmp_path_factory.mktemp("moved"))
    assert evening.held() == EMPTY
    evening.migrate(evening.snapshot())
    return evening


@pytest.fixture(scope="module")
def past_moving(tmp_path_factory: pytest.TempPathFactory) -> Evening:
    """As `past_move`, while others went on writing to the source."""
    evening = Evening(tmp_path_factory.mktemp("moving"))
    evening.migrate(evening.snapshot(moving=True))
    return evening


@pytest.fixture(scope="module")
def past_difference(past_move: Evening, tmp_path_factory: pytest.TempPathFactory) -> Evening:
    """The move, then `EDITS`, and the difference that they make."""
    evening = past_move.copy(tmp_path_factory.mktemp("differing"))
    evening.edit(EDITS)
    evening.difference(evening.newest())
    return evening


@pytest.fixture(scope="module")
def past_catch_up(past_difference: Evening, tmp_path_factory: pytest.TempPathFactory) -> Evening:
    """The move, and a catch-up that brought `EDITS`."""
    evening = past_difference.copy(tmp_path_factory.mktemp("caught-up"))
    evening.migrate(evening.newest())
    return evening


@pytest.fixture
def moved(past_move: Evening, tmp_path: Path) -> Evening:
    """After a snapshot of all points and its move."""
    return past_move.copy(tmp_path)


@pytest.fixture
def differing(past_difference: Evening, tmp_path: Path) -> Evening:
    """The move, then `EDITS`, and the difference that they make, which is not moved yet."""
    return past_difference.copy(tmp_path)


@pytest.mark.slow
def test_a_catch_up_writes_and_deletes_what_has_changed_and_nothing_else(
    differing: Evening,
) -> None:
    evening = differing

    evening.migrate(evening.newest())
    report = evening.reconcile()

    sent = [vector_id for upload in evening.vectors.uploads for vector_id in upload.ids]
    assert sorted(sent) == ["file-0_400", "file-2_125", "file-2_120"] or len(sent) == 3
    assert report.verdict == "equal", report.why
    assert report.counts["vector_index"] == POINTS - 5 + 2
    assert report.counts["kv_counter"] == POINTS - 5 + 2
    assert [what for what in evening.calls.writes if what == "delete"] == ["delete"]


@pytest.mark.slow
@pytest.mark.parametrize("moving", [False, True])
def test_undoing_the_chain_gives_back_the_former_target(tmp_path: Path, moving: bool) -> None:
    evening = Evening(tmp_path)
    before = evening.held()
    base = evening.snapshot(moving=moving)
    evening.migrate(base)
    evening.edit(EDITS)
    second = evening.difference(base, moving=moving)
    evening.migrate(second)
    evening.edit({20: 5, 40: None, 25: None})
    evening.migrate(evening.difference(second))

    with closing(find_run(evening.folder, None, None)) as run, open_chain(run) as chain:
        preview = preview_chain(chain, requests_per_5min=900)
    done = evening.roll_back()
    again = evening.roll_back()

    assert evening.held() == before
    assert len(done.runs) == 3
    assert not done.conflicts
    assert preview.vectors_deleted == done.vectors_deleted
    assert again.already_done


@pytest.mark.slow
@pytest.mark.fault("C06", "C09")
@pytest.mark.parametrize("is_value_old", [False, True])
def test_a_former_state_that_two_reads_show_in_part_is_no_pre_image(
    tmp_path: Path, is_value_old: bool
) -> None:
    """KV shows a write a minute later: a listing may show one state, a read the other."""
    evening = Evening(tmp_path)
    key, far = "file:file-0", 4_000_000_000
    old = KvEntry(key=key, value=b'["old"]', metadata={"by": "a trial"}, expiration=far)
    evening.kv.stored[key] = old
    evening.kv.stored["file:file-1"] = replace(old, key="file:file-1", expiration=None)
    rules = replace(PLAN_RULES, into_non_empty=True)
    base = evening.snapshot()
    evening.migrate(base, rules)
    evening.edit({10: 1, 20: 2})
    if is_value_old:
        evening.kv.stale[key] = [replace(old, expiration=None)]
    else:
        evening.kv.listed_expirations[key] = far
    evening.migrate(evening.difference(base), rules)
    evening.kv.listed_expirations.clear()

    done = evening.roll_back()

    assert done.conflicts == []
    assert evening.kv.stored == {
        key: old,
        "file:file-1": replace(old, key="file:file-1", expiration=None),
    }


@pytest.mark.slow
@pytest.mark.fault("C06", "C09")
def test_stale_pre_images_in_a_chain_still_lead_back_to_the_first_state(tmp_path: Path) -> None:
    """The third run reads what the first one wrote, the second one what was there before it."""
    evening = Evening(tmp_path)
    vector_id, key = VectorId("file-0_0"), "file:file-0"
    old = Vector(
        id=vector_id, values=np.ones(DIMENSIONS, np.float32), metadata={"old": 1}, namespace=None
    )
    evening.vectors.stored[vector_id] = old
    entry = KvEntry(key=key, value=b'["old"]')
    evening.kv.stored[key] = entry
    former = evening.held()
    rules = replace(PLAN_RULES, into_non_empty=True)
    last = evening.snapshot()
    evening.migrate(last, rules)
    first = evening.vectors.stored[vector_id], evening.kv.stored[key]
    for number, (shown_vector, shown_entry) in enumerate([(old, entry), first]):
        evening.source.points[10] = {**evening.source.points[10], "text": f"changed {number}"}
        evening.edit({60: number + 1})
        last = evening.difference(last)
        evening.vectors.stale[vector_id] = [shown_vector]
        evening.kv.stale[key] = [shown_entry]
        evening.migrate(last, rules)

    done = evening.roll_back()

    assert done.conflicts == []
    assert evening.held() == former


@pytest.mark.slow
@pytest.mark.fault("C09")
def test_what_a_stale_read_shows_of_a_vector_to_remove_is_not_another_writers(
    tmp_path: Path,
) -> None:
    evening = Evening(tmp_path)
    vector_id = VectorId("file-0_0")
    old = Vector(
        id=vector_id, values=np.ones(DIMENSIONS, np.float32), metadata={"old": 1}, namespace=None
    )
    evening.vectors.stored[vector_id] = old
    former = evening.held()
    rules = replace(PLAN_RULES, into_non_empty=True)
    base = evening.snapshot()
    evening.migrate(base, rules)
    del evening.source.points[10]
    evening.vectors.stale[vector_id] = [old]
    evening.migrate(evening.difference(base), rules)
    left = vector_id in evening.vectors.stored

    done = evening.roll_back()

    assert not left
    assert (evening.held(), done.conflicts) == (former, [])


@pytest.mark.slow
@pytest.mark.fault("C09")
def test_a_listing_that_leaves_out_a_vector_to_remove_does_not_keep_it(tmp_path: Path) -> None:
    evening = Evening(tmp_path)
    base = evening.snapshot()
    evening.migrate(base)
    del evening.source.points[10]
    evening.vectors.left_out = frozenset([VectorId("file-0_0")])
    evening.migrate(evening.difference(base))
    evening.vectors.left_out = frozenset()

    assert evening.reconcile().verdict == "equal"


@pytest.mark.slow
@pytest.mark.fault("C09", "W01")
def test_what_is_listed_after_its_removal_is_neither_counted_nor_another_writers(
    tmp_path: Path,
) -> None:
    evening = Evening(tmp_path)
    base = evening.snapshot()
    evening.migrate(base)
    gone = [number for number in evening.source.points if (number // 10 - 1) % 5 == 2]
    evening.edit(dict.fromkeys(gone))
    second = evening.difference(base)
    evening.migrate(second)
    evening.source.points[20] = {**evening.source.points[20], "text": "changed"}
    evening.vectors.listed_gone = {VectorId("file-2_0"), VectorId("file-2_3")}
    evening.kv.listed_gone = {"file:file-2"}
    evening.migrate(evening.difference(second))
    evening.vectors.listed_gone, evening.kv.listed_gone = set(), set()
    report = evening.reconcile()

    with closing(find_run(evening.folder, None, None)) as run:
        assert "file:file-2" not in read_foreign_keys(run)
        assert list(read_existing(run)) == []
    assert report.verdict == "equal", report.why
    assert report.counts["kv_counter"] == POINTS - len(gone)


@pytest.mark.slow
@pytest.mark.fault("C10")
def test_what_a_later_point_overwrote_is_gone_with_it_until_the_rollback(tmp_path: Path) -> None:
    """Another writer's record under the id of a point that comes, changes and goes."""
    evening = Evening(tmp_path)
    vector_id, key = VectorId("file-7_0"), "file:file-7"
    theirs = Vector(
        id=vector_id, values=np.ones(DIMENSIONS, np.float32), metadata={"old": 1}, namespace="t"
    )
    evening.vectors.stored[vector_id] = theirs
    evening.kv.stored[key] = KvEntry(key=key, value=b'["theirs"]', metadata={"by": "them"})
    former, entries = evening.held(), dict(evening.kv.stored)
    rules = replace(PLAN_RULES, into_non_empty=True)
    last = evening.snapshot()
    evening.migrate(last, rules)
    seen = []
    point = {**evening.source.points[10], "file_id": "file-7", "chunk_index": 0}
    for payload in (point, {**point, "text": "changed"}, None):
        if payload is None:
            del evening.source.points[15]
        else:
            evening.source.points[15] = payload
        last = evening.difference(last)
        evening.migrate(last, rules)
        seen.append((vector_id in evening.vectors.stored, key in evening.kv.stored))
    equal = evening.reconcile()

    done = evening.roll_back()

    assert seen == [(True, True), (True, True), (False, False)]
    assert (equal.verdict, done.conflicts) == ("equal", [])
    assert (evening.held(), evening.kv.stored) == (former, entries)
    assert evening.vectors.stored[vector_id].namespace == "t"


@pytest.mark.slow
def test_an_expiry_that_only_another_writer_can_have_set_is_kept(tmp_path: Path) -> None:
    evening = Evening(tmp_path)
    base = evening.snapshot()
    evening.migrate(base)
    theirs = replace(evening.kv.stored["file:file-0"], expiration=4_000_000_000)
    evening.kv.stored["file:file-0"] = theirs
    evening.edit({10: 1})
    evening.migrate(evening.difference(base))

    done = evening.roll_back()

    assert done.conflicts == ["file:file-0"]
    assert evening.kv.stored == {"file:file-0": theirs}


edits = st.dictionaries(
    st.integers(1, POINTS + 4).map(lambda row: 10 * row),
    st.none() | st.integers(0, 3),
    max_size=8,
)


@pytest.mark.slow
@settings(max_examples=examples(16))
@given(steps=st.lists(edits, min_size=1, max_size=3))
def test_after_any_catch_ups_the_target_is_that_of_one_move_of_the_same_points(
    past_moving: Evening,
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[dict[int, int | None]],
) -> None:
    evening = past_moving.copy(tmp_path_factory.mktemp("chain"))
    last = evening.newest()
    for step in steps:
        evening.edit(step)
        last = evening.difference(last, moving=step is not steps[-1])
        evening.migrate(last)
    report = evening.reconcile()
    fresh = Evening(tmp_path_factory.mktemp("fresh"))
    fresh.source.points = dict(evening.source.points)
    fresh.migrate(fresh.snapshot())
    found = evening.held()
    evening.roll_back()

    assert report.verdict == "equal", report.why
    assert found == fresh.held()
    assert evening.held() == EMPTY


@pytest.mark.slow
@pytest.mark.fault("C01")
def test_a_chain_that_was_not_read_frozen_is_never_equal(tmp_path: Path) -> None:
    evening = Evening(tmp_path)
    base = evening.snapshot(moving=True)
    evening.migrate(base)

    first = evening.reconcile()
    evening.migrate(evening.difference(base))
    last = evening.reconcile()

    assert first.verdict == "indeterminate"
    assert "catch-up --frozen" in first.why
    assert last.verdict == "equal"


Chosen = Callable[[Sequence[str]], list[int]]


@pytest.mark.slow
@pytest.mark.fault("C02")
@pytest.mark.parametrize("then", ["finish", "undo"])
@struck_at(some_calls)
def test_after_a_kill_at_any_call_the_catch_up_is_finished_or_undone(
    past_difference: Evening, tmp_path: Path, chosen: Chosen, then: str
) -> None:
    undisturbed = past_difference.copy(tmp_path / "undisturbed")
    undisturbed.migrate(undisturbed.newest())
    for at in chosen(undisturbed.calls.made):
        evening = past_difference.copy(tmp_path / str(at))
        second = evening.newest()
        evening.calls.before = _kill_at(at - 1)
        with pytest.raises(KilledError):
            evening.migrate(second)
        evening.calls.before = lambda number, what: None
        if then == "undo":
            evening.roll_back()
            assert evening.held() == EMPTY, f"killed at call {at}"
        else:
            evening.migrate(second)
            assert evening.reconcile().verdict == "equal", f"killed at call {at}"


@pytest.mark.slow
@pytest.mark.fault("C06")
@struck_at(some_calls)
def test_an_undone_chain_that_is_killed_is_undone_the_second_time(
    past_catch_up: Evening, tmp_path: Path, chosen: Chosen
) -> None:
    undisturbed = past_catch_up.copy(tmp_path / "undisturbed")
    undisturbed.roll_back()
    for at in chosen(undisturbed.calls.made):
        evening = past_catch_up.copy(tmp_path / str(at))
        evening.calls.before = _kill_at(at - 1)
        with pytest.raises(KilledError):
            evening.roll_back()
        evening.calls.before = lambda number, what: None
        evening.roll_back()

        assert evening.held() == EMPTY, f"killed at call {at}"


@pytest.mark.slow
@pytest.mark.fault("C06", "B03")
def test_an_interrupted_run_is_undone_again_when_a_later_one_puts_its_vectors_back(
    tmp_path: Path,
) -> None:
    """The attempt had passed the vector; what the later run puts back is what it had written."""
    evening, name = Evening(tmp_path), VectorId("file-0_0")
    former = Vector(
        id=name, values=np.ones(DIMENSIONS, np.float32), namespace=None, metadata={"old": True}
    )
    evening.vectors.stored[name] = former
    held = evening.held()
    rules = replace(PLAN_RULES, into_non_empty=True)
    evening.migrate(evening.snapshot(), rules)
    evening.edit({10: None})
    second = evening.difference(evening.newest())
    evening.migrate(second, rules)
    evening.vectors.stored[name] = replace(former, metadata={"theirs": True})

    def strike(_: int, what: str) -> None:
        with (
            closing(find_run(evening.folder, None, None)) as newest,
            open_chain(newest) as (later, earlier),
        ):
            if earlier.state().undone is not None:
                raise KilledError
            if what == "fetch" and later.state().rollback_completed:
                evening.vectors.stored.pop(name, None)  # the other writer takes it away again

    evening.calls.before = strike
    with pytest.raises(KilledError):
        evening.roll_back()
    evening.calls.before = lambda number, what: None
    assert evening.held()[0][name] == held[0][name]

    evening.roll_back(forced=frozenset([name]))

    assert evening.held() == held


@pytest.mark.slow
def test_no_kv_entry_names_a_vector_that_is_gone(differing: Evening) -> None:
    """Neither while the catch-up deletes nor while its rollback puts back."""
    evening = differing

    def check(_number: int, _what: str) -> None:
        for key, entry in evening.kv.stored.items():
            if key.startswith("file:"):
                named = set(json.loads(entry.value))
                assert named <= set(map(str, evening.vectors.stored)), key

    evening.calls.before = check
    evening.migrate(evening.newest())
    with closing(find_run(evening.folder, None, None)) as run:
        roll_back_chain(
            [run],
            evening.target,
            UNDO,
            evening.runtime(),
            requests_per_5min=900,
        )


@pytest.mark.slow
@pytest.mark.fault("C04")
def test_a_vector_that_another_writer_changed_is_not_deleted(moved: Evening) -> None:
    evening, base = moved, moved.newest()
    evening.edit({30: None})
    theirs = evening.vectors.stored[VectorId("file-2_0")]
    evening.vectors.stored[theirs.id] = type(theirs)(
        id=theirs.id, values=theirs.values, namespace=None, metadata={"theirs": True}
    )

    evening.migrate(evening.difference(base))

    assert evening.vectors.stored[theirs.id].metadata == {"theirs": True}
    assert evening.reconcile().verdict == "drift"


@pytest.mark.slow
@pytest.mark.fault("C03")
def test_more_deletions_than_allowed_are_refused_before_anything_is_written(moved: Evening) -> None:
    evening, base = moved, moved.newest()
    evening.edit({10 * row: None for row in range(1, 13)})
    second = evening.difference(base)
    held = evening.held()

    with pytest.raises(PreconditionError, match=r"would delete 12 of 23 vectors") as caught:
        evening.migrate(second)
    share = float(caught.value.remedy.partition("--max-delete ")[2].partition(";")[0])
    assert evening.held() == held
    evening.migrate(second, PlanRules(mapping=RULES, writes=WRITES, max_delete=share))

    assert evening.reconcile().verdict == "equal"


def test_a_catch_up_waits_for_the_run_before_it(tmp_path: Path) -> None:
    evening = Evening(tmp_path)
    base = evening.snapshot()
    evening.calls.before = _kill_at(6)
    with pytest.raises(KilledError):
        evening.migrate(base)
    evening.calls.before = lambda number, what: None
    second = evening.difference(base)
    if second.manifest.parent is None:
        evening.edit({20: 1})
        second = evening.difference(base)

    with pytest.raises(PreconditionError, match="continues from a complete run") as caught:
        evening.migrate(second)

    assert str(base.folder) in caught.value.remedy


def _kill_at(at: int) -> Callable[[int, str], None]:
    def kill(number: int, _: str) -> None:
        if number == at:
            raise KilledError

    return kill


def test_other_rules_than_the_run_before_are_refused(moved: Evening) -> None:
    evening, base = moved, moved.newest()
    evening.edit({20: 1})
    second = evening.difference(base)
    other = WriteRules(vectors_per_upload=7, body_bytes=10**6, counter_key="_other", ttl_s=None)

    with pytest.raises(ForeignStateError, match="_other"):
        evening.migrate(second, PlanRules(mapping=RULES, writes=other))


@pytest.mark.slow
def test_the_run_before_is_not_undone_while_a_catch_up_stands_on_it(moved: Evening) -> None:
    evening, base = moved, moved.newest()
    evening.edit({20: 1})
    evening.migrate(evening.difference(base))
    first = next(iter(base.runs.names()))

    with (
        closing(find_run(evening.folder, base.runs.child(first), None)) as run,
        pytest.raises(PreconditionError, match="continues from"),
        open_chain(run),
    ):
        pass


@pytest.mark.slow
@pytest.mark.fault("S06")
def test_a_vector_whose_successor_was_refused_is_removed_with_its_point(moved: Evening) -> None:
    """The index keeps the former vector when the new one is refused."""
    evening, base = moved, moved.newest()
    payload = evening.source.points[20]
    vector_id = VectorId(f"{payload['file_id']}_{payload['chunk_index']}")
    evening.source.points[20] = {**payload, "shift": 3}
    evening.vectors.refusals.bad = frozenset({vector_id})
    second = evening.difference(base)
    evening.migrate(second)
    assert vector_id in evening.vectors.stored

    evening.vectors.refusals.bad = frozenset()
    del evening.source.points[20]
    evening.migrate(evening.difference(second))

    assert vector_id not in evening.vectors.stored
    assert evening.reconcile().verdict == "equal"
    evening.roll_back()
    assert evening.held() == EMPTY


def test_the_run_before_is_not_repaired_while_a_catch_up_stands_on_it(moved: Evening) -> None:
    evening, base = moved, moved.newest()
    evening.edit({20: 1})
    evening.migrate(evening.difference(base))
    held = evening.held()

    with pytest.raises(PreconditionError, match="continues from"):
        evening.migrate(base)

    assert evening.held() == held
