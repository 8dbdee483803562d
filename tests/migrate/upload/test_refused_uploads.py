"""One bad line refuses a whole upload: the bad vector is left out, every other one moves."""

import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import ceil, log2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.cloudflare.client.codes import OTHER_CODES
from migrate.errors import ExitCode, QuarantineExceededError, TargetRefusedError
from migrate.model.records import Vector, VectorId
from migrate.snapshot.folder import Snapshot
from migrate.storage.journal_lines import Entry
from tests.harness.fakes.memory_source import UnexpectedError
from tests.harness.fakes.memory_target import MemoryKv, MemoryVectors, Refusals
from tests.harness.move import Move, all_ids, planned_move, snapshot_of_chunks
from tests.harness.tiers import examples, one_in, struck_at, three_of_each

POINTS = 40
PER_UPLOAD = 8
IDS = all_ids(POINTS)
LINE_BYTES_MAX = 240


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of_chunks(tmp_path_factory.mktemp("refused"), POINTS)


def rows_sets() -> st.SearchStrategy[frozenset[int]]:
    few = st.frozensets(st.integers(0, POINTS - 1), max_size=4)
    return few | st.frozensets(st.integers(0, POINTS - 1)) | st.just(frozenset(range(POINTS)))


def of_rows(rows: frozenset[int] | set[int]) -> frozenset[VectorId]:
    return frozenset(IDS[row] for row in rows)


def check_end(move: Move, bad: frozenset[VectorId]) -> None:
    """Every good vector is there, exactly the bad ones are left out, and all counts add up."""
    good = set(IDS) - bad
    with move.opened() as run:
        state = run.state()
    files = {vector_id.partition("_")[0] for vector_id in good}
    report = move.reconcile()

    assert set(move.vectors.stored) == good
    assert set(move.refused().values()) == bad
    assert all(IDS[row] == vector_id for row, vector_id in move.refused().items())
    assert set(move.kv.stored) == {f"file:{file}" for file in files} | {"_vector_count"}
    listed = [json.loads(move.kv.stored[f"file:{file}"].value) for file in files]
    assert set(itertools.chain(*listed)) == good
    assert move.kv.stored["_vector_count"].value == str(len(good)).encode()
    assert state.vectors_acknowledged() + sum(run.quarantined_counts().values()) == POINTS
    assert run.vectors == state.vectors_acknowledged() == len(good)
    assert (report.verdict, report.counts["expected"]) == ("equal", len(good))
    assert report.quarantined == ({"refused": len(bad)} if bad else {})
    assert report.exit_code == (ExitCode.QUARANTINED if bad else ExitCode.DONE)


@pytest.mark.slow
@pytest.mark.fault("N16", "I1", "I5")
@given(bad=rows_sets())
@settings(max_examples=examples(20))
def test_exactly_the_bad_vectors_stay_behind_at_a_bounded_price(
    taken: Snapshot, bad: frozenset[int]
) -> None:
    move = planned_move(taken, MemoryVectors(Refusals(bad=of_rows(bad))))
    move.migrate()

    check_end(move, of_rows(bad))
    batches = ceil(POINTS / PER_UPLOAD)
    assert len(move.vectors.uploads) <= batches + 2 * len(bad) * ceil(log2(PER_UPLOAD))
    taken_ids = [one.ids for one in move.vectors.uploads if one.taken]
    assert len(set(itertools.chain(*taken_ids))) == sum(map(len, taken_ids))


@pytest.mark.slow
@pytest.mark.fault("N17")
@given(bad=rows_sets(), bytes_max=st.integers(LINE_BYTES_MAX, LINE_BYTES_MAX * 9))
@settings(max_examples=examples(15))
def test_a_hidden_limit_of_the_body_costs_some_uploads_and_no_vector(
    taken: Snapshot, bad: frozenset[int], bytes_max: int
) -> None:
    move = planned_move(taken, MemoryVectors(Refusals(bad=of_rows(bad), bytes_max=bytes_max)))
    move.migrate()

    check_end(move, of_rows(bad))


@pytest.mark.slow
@pytest.mark.fault("N17")
@given(bytes_max=st.integers(LINE_BYTES_MAX, LINE_BYTES_MAX * 9))
@settings(max_examples=examples(10))
def test_what_a_413_taught_holds_for_all_further_batches(taken: Snapshot, bytes_max: int) -> None:
    """Only parts of the first batch are ever too large."""
    move = planned_move(taken, MemoryVectors(Refusals(bytes_max=bytes_max)))
    move.migrate()

    refused = [one for one in move.vectors.uploads if not one.taken]
    assert {vector_id for one in refused for vector_id in one.ids} <= set(IDS[:PER_UPLOAD])
    assert all(len(one.body) > bytes_max for one in refused)
    check_end(move, frozenset())


@pytest.mark.fault("N17")
def test_one_vector_too_large_for_the_target_stays_behind_and_uploads_stay_large(
    taken: Snapshot,
) -> None:
    """A 413 that tells of one vector must not make single-vector uploads of all the rest."""
    vectors = MemoryVectors(Refusals(bad=of_rows({2}), status=413, code=None))
    move = planned_move(taken, vectors)
    move.migrate()

    check_end(move, of_rows({2}))
    after = [one.ids for one in vectors.uploads if set(one.ids) & set(IDS[PER_UPLOAD:])]
    assert min(map(len, after[:-1])) >= PER_UPLOAD // 2 - 1  # lines differ by some bytes


UPLOADING = {"round_opened", "intent", "ack", "refused", "vectors_processed"}


def kind_of(entry: Entry | None) -> str:
    """What a kill comes before or after: an entry of the journal, or a request."""
    return "request" if entry is None else str(entry["type"])


def of_the_upload(seam: Callable[[Entry | None], None]) -> Callable[[Entry | None], None]:
    """Called before and after every append and every request of the upload, and at no other."""

    def chosen(entry: Entry | None) -> None:
        if entry is None or (
            entry["type"] in UPLOADING and entry.get("store", "vectors") == "vectors"
        ):
            seam(entry)

    return chosen


def kill_number(kill_at: int) -> Callable[[Entry | None], None]:
    """Raises the kill at its turn, from 1."""
    counter = itertools.count(1)

    def seam(_: Entry | None) -> None:
        if next(counter) == kill_at:
            raise UnexpectedError

    return of_the_upload(seam)


@pytest.mark.slow
@pytest.mark.fault("G01", "I2", "I3", "N16", "U01")
@struck_at(three_of_each)
def test_a_kill_at_any_moment_of_the_search_changes_nothing_of_its_end(
    tmp_path: Path, chosen: Callable[[Sequence[str]], list[int]]
) -> None:
    taken = snapshot_of_chunks(tmp_path, 20)
    bad, limit = of_rows({5, 6}), LINE_BYTES_MAX * 6
    kinds: list[str] = []

    def migrated(seam: Callable[[Entry | None], None]) -> Move:
        """Up to the error that the seam raises, if any."""
        move = planned_move(taken, MemoryVectors(Refusals(bad=bad, bytes_max=limit)))
        move.vectors.before_upload = move.vectors.after_upload = partial(seam, None)
        with suppress(UnexpectedError):
            move.migrate(seam)
        move.vectors.before_upload = move.vectors.after_upload = lambda: None
        return move

    undisturbed = migrated(of_the_upload(lambda entry: kinds.append(kind_of(entry))))
    bodies = [one.body for one in undisturbed.vectors.uploads]
    assert len(kinds) == 4 * len(bodies) + 2 * len(bodies) + 4
    for at in chosen(kinds):
        move = migrated(kill_number(at))
        before = len(move.vectors.uploads)
        move.migrate()

        again = [one.body for one in move.vectors.uploads]
        # The same uploads in the same order, with at most the one in doubt a second time.
        assert again in (bodies, [*again[:before], *bodies[before - 1 :]])
        assert (
            move.vectors.stored.keys() == undisturbed.vectors.stored.keys() == set(IDS[:20]) - bad
        )
        assert move.kv.stored == undisturbed.kv.stored
        assert move.refused() == undisturbed.refused() == {row: IDS[row] for row in (5, 6)}


@pytest.mark.slow
@pytest.mark.fault("N16")
def test_a_target_that_takes_nothing_is_found_before_the_collection_is_searched(
    tmp_path: Path,
) -> None:
    """As a wrong width would make it: the answer is shown, and asking again sends nothing."""
    taken = snapshot_of_chunks(tmp_path, 400)
    move = planned_move(
        taken,
        MemoryVectors(Refusals(bad=frozenset(all_ids(400)))),
        vectors_per_upload=256,
        quarantine_cap=10,
    )

    for _ in range(2):
        with pytest.raises(QuarantineExceededError, match=r"took 0.*no thanks: file-0_2") as caught:
            move.migrate()
        assert caught.value.exit_code == ExitCode.QUARANTINED
    assert len(move.vectors.uploads) <= log2(256) + 2 * 11
    assert (move.vectors.stored, move.kv.stored) == ({}, {})


@pytest.mark.fault("N16", "D04")
@pytest.mark.parametrize(("bad", "cap", "stops"), [(3, 3, False), (4, 3, True), (1, 0, True)])
def test_the_cap_of_the_plan_counts_what_the_target_refuses(
    taken: Snapshot, bad: int, cap: int, *, stops: bool
) -> None:
    move = planned_move(
        taken, MemoryVectors(Refusals(bad=of_rows(set(range(20, 20 + bad))))), quarantine_cap=cap
    )
    if not stops:
        move.migrate()
        check_end(move, of_rows(set(range(20, 20 + bad))))
        return
    with pytest.raises(QuarantineExceededError, match=rf"refused {cap + 1} vectors?"):
        move.migrate()
    move.roll_back()

    assert (move.vectors.stored, move.kv.stored) == ({}, {})


@pytest.mark.fault("N16")
@pytest.mark.parametrize(
    ("status", "code"),
    one_in(
        3,
        [
            (404, None),
            (409, None),
            (411, None),
            (501, None),
            *((400, code) for code in OTHER_CODES),
        ],
    ),
)
def test_a_refusal_that_no_smaller_upload_would_mend_stops_the_run(
    taken: Snapshot, status: int, code: int | None
) -> None:
    """Above all a lost index (400, code 3000) and too many writes (400, code 40041)."""
    move = planned_move(taken, MemoryVectors(Refusals(bad=of_rows({9}), status=status, code=code)))
    with pytest.raises(TargetRefusedError):
        move.migrate()

    assert len(move.vectors.uploads) == 2
    move.vectors.refusals.bad = frozenset()
    move.migrate()
    check_end(move, frozenset())


@pytest.mark.fault("N16")
@pytest.mark.parametrize("status", [400, 413, 422])
def test_these_statuses_are_searched(taken: Snapshot, status: int) -> None:
    move = planned_move(taken, MemoryVectors(Refusals(bad=of_rows({9}), status=status)))
    move.migrate()

    check_end(move, of_rows({9}))


@pytest.mark.slow
@pytest.mark.fault("N16", "I7")
def test_a_file_that_lost_all_its_vectors_has_no_entry_and_rolls_back(taken: Snapshot) -> None:
    bad = frozenset(vector_id for vector_id in IDS if vector_id.startswith("file-3_"))
    move = planned_move(taken, MemoryVectors(Refusals(bad=bad)))
    move.migrate()

    check_end(move, bad)
    assert "file:file-3" not in move.kv.stored
    report = move.roll_back()
    assert (move.vectors.stored, move.kv.stored, report.conflicts) == ({}, {}, [])
    assert report.vectors_deleted == POINTS - len(bad)


def former(vector_id: VectorId) -> Vector:
    return Vector(id=vector_id, values=np.ones(4, np.float32), namespace=None, metadata={"a": 1})


@pytest.mark.fault("N16", "I7", "B03")
def test_what_an_id_held_before_its_refusal_stays_and_counts(taken: Snapshot) -> None:
    """The former vector is no drift, is in the counter, and a rollback does not touch it."""
    bad = of_rows({4, 11})
    before = {one: former(one) for one in (IDS[4], IDS[5], VectorId("foreign"))}
    move = planned_move(
        taken, MemoryVectors(Refusals(bad=bad), stored=before), MemoryKv(), into_non_empty=True
    )
    move.migrate()

    report = move.reconcile()
    assert (report.verdict, report.exit_code) == ("equal", ExitCode.QUARANTINED)
    assert len(move.vectors.stored) == POINTS - 2 + 2
    assert move.kv.stored["_vector_count"].value == str(POINTS).encode()
    assert move.vectors.stored[IDS[4]] is before[IDS[4]]
    move.roll_back()
    assert move.vectors.stored.keys() == before.keys()
    assert move.vectors.stored[IDS[4]] is before[IDS[4]]
    assert move.vectors.stored[IDS[5]].metadata == {"a": 1}
    assert move.kv.stored == {}


@pytest.mark.slow
@pytest.mark.fault("N16", "R01", "I7")
def test_a_repair_that_is_refused_is_told_once_and_not_tried_again(taken: Snapshot) -> None:
    """The vector is lost, and the target does not take it back: it is left out from then on."""
    move = planned_move(taken, MemoryVectors())
    move.migrate()
    lost = IDS[7]
    del move.vectors.stored[lost]
    move.vectors.refusals.bad = frozenset({lost})
    assert move.reconcile().drift["missing"] == 1
    move.migrate()

    sent = len(move.vectors.uploads)
    check_end(move, frozenset({lost}))
    move.migrate()
    assert len(move.vectors.uploads) == sent
    report = move.roll_back()
    assert (move.vectors.stored, move.kv.stored, report.conflicts) == ({}, {}, [])


@pytest.mark.fault("N16")
def test_refused_points_are_named_and_can_be_waived_after_the_plan(taken: Snapshot) -> None:
    move = planned_move(taken, MemoryVectors(Refusals(bad=of_rows({4}))))
    move.migrate()
    with move.opened() as run:
        (point,) = run.refused()

        assert (point.row, point.point_id.text, point.outcome.reason) == (4, "50", "refused")
        assert "no thanks: file-4_0" in point.outcome.detail
        assert run.unwaived == 1
        for _ in range(2):
            run.waive(["refused"])
        assert run.unwaived == 0
    assert move.reconcile().exit_code == ExitCode.DONE
    assert sum(entry["type"] == "waived" for entry in move.entries()) == 1
