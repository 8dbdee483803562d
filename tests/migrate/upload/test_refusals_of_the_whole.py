"""A refusal that is about the whole is never held against vectors, and refused ones can be retried.

The codes here name no line of the upload: an unknown one, none at all, or the 413 of something in
between.
"""

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import log2
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.cloudflare.client.codes import CODES, Subject
from migrate.errors import QuarantineExceededError, TargetRefusedError
from migrate.model.records import VectorId
from migrate.run.refusal_evidence import CANDIDATES_MAX
from migrate.snapshot.folder import Snapshot
from migrate.storage.journal_lines import Entry
from tests.harness.fakes.memory_source import UnexpectedError
from tests.harness.fakes.memory_target import MemoryVectors, Refusals
from tests.harness.move import Move, all_ids, planned_move, snapshot_of_chunks
from tests.harness.tiers import examples, one_in, struck_at, three_of_each
from tests.migrate.upload.test_refused_uploads import (
    IDS,
    POINTS,
    check_end,
    former,
    kind_of,
    of_rows,
    rows_sets,
)

UNNAMED = [(400, 49_999), (422, 49_999), (400, None), (413, None)]


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of_chunks(tmp_path_factory.mktemp("whole"), POINTS)


def while_counting(first: int, end: int) -> Callable[[], bool]:
    """True for the requests `first` .. `end` - 1, counted from 0."""
    counter = itertools.count()
    return lambda: first <= next(counter) < end


@pytest.mark.slow
@pytest.mark.fault("F05", "N16")
@pytest.mark.parametrize(("status", "code"), UNNAMED)
def test_a_target_that_refuses_all_stops_the_run_and_condemns_no_vector(
    tmp_path: Path, status: int, code: int | None
) -> None:
    """It says so soon, with its own words, and the run goes on when it takes uploads again."""
    taken = snapshot_of_chunks(tmp_path, 400)
    vectors = MemoryVectors(Refusals(bad=frozenset(all_ids(400)), status=status, code=code))
    move = planned_move(taken, vectors, vectors_per_upload=256)
    for _ in range(3):
        with pytest.raises(TargetRefusedError, match="no thanks") as stop:
            move.migrate()
        assert "q2v migrate" in stop.value.remedy
        assert move.refused() == {}

    assert len(vectors.uploads) <= log2(256) + 4 * (CANDIDATES_MAX + 2)
    vectors.refusals.bad = frozenset()
    move.migrate()
    assert vectors.stored.keys() == set(all_ids(400))
    assert move.refused() == {}


@pytest.mark.slow
@pytest.mark.fault("F05", "N16", "I1", "I5")
@given(
    first=st.integers(0, 12),
    length=st.integers(1, 60),
    per_upload=st.sampled_from([1, 3, 8, 40]),
    code=st.sampled_from([49_999, None]),
    workers=st.sampled_from([1, 3]),
)
@settings(max_examples=examples(20))
def test_a_while_of_refusals_costs_uploads_and_no_vector(  # noqa: PLR0917 - drawn
    taken: Snapshot, first: int, length: int, per_upload: int, code: int | None, workers: int
) -> None:
    """Whenever the service begins to refuse everything, and for however long."""
    vectors = MemoryVectors(
        Refusals(refuses_all=while_counting(first, first + length), code_for_all=code)
    )
    move = planned_move(taken, vectors, vectors_per_upload=per_upload)
    move.uploaders = workers
    for _ in range(length + 1):
        try:
            move.migrate()
        except TargetRefusedError:
            assert move.refused() == {}
        else:
            break

    assert move.vectors.stored.keys() == set(IDS)
    assert move.refused() == {}
    assert move.kv.stored["_vector_count"].value == str(POINTS).encode()


@pytest.mark.slow
@pytest.mark.fault("F05", "N16", "I1", "I5")
@given(bad=rows_sets(), case=st.sampled_from(UNNAMED))
@settings(max_examples=examples(15))
def test_bad_vectors_are_found_under_a_code_that_names_no_line(
    taken: Snapshot, bad: frozenset[int], case: tuple[int, int | None]
) -> None:
    """On evidence, or else when the operator says that they may be left out: never another one."""
    status, code = case
    move = planned_move(taken, MemoryVectors(Refusals(bad=of_rows(bad), status=status, code=code)))
    try:
        move.migrate()
    except TargetRefusedError:
        assert set(move.refused().values()) <= of_rows(bad)
        with move.opened() as run:
            run.waive(["refused"])
        move.migrate()

    assert set(move.refused().values()) == of_rows(bad)
    assert set(move.vectors.stored) == set(IDS) - of_rows(bad)


@pytest.mark.fault("F05", "N16")
@pytest.mark.parametrize("rows", [{0}, {7}, {39}, {32}, {0, 39}, {8, 9, 10}])
def test_a_few_bad_vectors_among_good_ones_need_no_decision(
    taken: Snapshot, rows: set[int]
) -> None:
    move = planned_move(taken, MemoryVectors(Refusals(bad=of_rows(rows), code=49_999)))
    move.migrate()

    check_end(move, of_rows(rows))


@pytest.mark.fault("F05", "N16")
@pytest.mark.parametrize(
    "code",
    one_in(3, [code for code, known in CODES.items() if known.subject is not Subject.CONTENT]),
)
def test_codes_about_the_whole_are_never_searched(taken: Snapshot, code: int) -> None:
    vectors = MemoryVectors(Refusals(refuses_all=lambda: True, code_for_all=code))
    move = planned_move(taken, vectors)
    with pytest.raises(TargetRefusedError):
        move.migrate()

    assert len(vectors.uploads) == 1
    vectors.refusals.refuses_all = lambda: False
    move.migrate()
    check_end(move, frozenset())


@pytest.mark.slow
@pytest.mark.fault("F05", "N16", "I1", "I5", "I7")
@given(bad=rows_sets(), again=rows_sets())
@settings(max_examples=examples(6))
def test_refused_vectors_are_taken_on_a_retry(
    taken: Snapshot, bad: frozenset[int], again: frozenset[int]
) -> None:
    """All or some of them: what is refused again is left out, and everything else adds up."""
    move = planned_move(taken, MemoryVectors(Refusals(bad=of_rows(bad))))
    move.migrate()
    uploads = len(move.vectors.uploads)
    move.vectors.refusals.bad = of_rows(again)
    move.migrate(retry_refused=True)

    left = of_rows(bad & again)
    check_end(move, left)
    sent = {vector_id for one in move.vectors.uploads[uploads:] for vector_id in one.ids}
    assert sent == of_rows(bad)
    move.vectors.refusals.bad = frozenset()
    move.migrate(retry_refused=True)
    assert move.vectors.stored.keys() == set(IDS)
    assert move.kv.stored["_vector_count"].value == str(POINTS).encode()
    report = move.roll_back()
    assert (move.vectors.stored, move.kv.stored, report.conflicts) == ({}, {}, [])


@pytest.mark.slow
@pytest.mark.fault("F05", "N16", "I7", "B03")
def test_a_retry_over_former_content_counts_once_and_rolls_back(taken: Snapshot) -> None:
    bad = of_rows({4, 11})
    before = {one: former(one) for one in (IDS[4], IDS[5], VectorId("foreign"))}
    move = planned_move(taken, MemoryVectors(Refusals(bad=bad), stored=before), into_non_empty=True)
    move.migrate()
    assert move.kv.stored["_vector_count"].value == str(POINTS).encode()
    move.vectors.refusals.bad = of_rows({11})
    move.migrate(retry_refused=True)

    assert move.kv.stored["_vector_count"].value == str(POINTS - 1 + 1).encode()
    assert move.reconcile().verdict == "equal"
    move.vectors.refusals.bad = frozenset()
    move.migrate(retry_refused=True)
    assert move.kv.stored["_vector_count"].value == str(POINTS + 1).encode()
    assert move.reconcile().verdict == "equal"
    move.roll_back()
    assert move.vectors.stored.keys() == before.keys()
    assert all(move.vectors.stored[one].metadata == {"a": 1} for one in before)
    assert move.kv.stored == {}


@pytest.mark.slow
@pytest.mark.fault("F05", "I7")
def test_a_vector_that_a_repair_lost_is_counted_right_after_its_retry(taken: Snapshot) -> None:
    """It was taken, lost, refused in the repair, and is taken again."""
    move = planned_move(taken, MemoryVectors())
    move.migrate()
    lost = IDS[7]
    del move.vectors.stored[lost]
    move.vectors.refusals.bad = frozenset({lost})
    assert move.reconcile().drift["missing"] == 1
    move.migrate()
    check_end(move, frozenset({lost}))
    move.vectors.refusals.bad = frozenset()
    move.migrate(retry_refused=True)

    check_end(move, frozenset())
    report = move.roll_back()
    assert (move.vectors.stored, move.kv.stored, report.conflicts) == ({}, {}, [])


@pytest.mark.fault("F05")
def test_a_retry_without_refusals_sends_nothing(taken: Snapshot) -> None:
    move = planned_move(taken, MemoryVectors())
    move.migrate()
    sent, entries = len(move.vectors.uploads), move.entries()
    move.migrate(retry_refused=True)

    assert (len(move.vectors.uploads), move.entries()) == (sent, entries)


@pytest.mark.fault("F05", "N16", "D04")
@pytest.mark.parametrize("way", ["retry", "more may be left out", "roll back"])
def test_each_way_out_of_too_many_refusals_leads_on(taken: Snapshot, way: str) -> None:
    """Those that the message names."""
    bad = of_rows(set(range(20, 26)))
    move = planned_move(taken, MemoryVectors(Refusals(bad=bad)), quarantine_cap=3)
    with pytest.raises(QuarantineExceededError):
        move.migrate()
    with pytest.raises(QuarantineExceededError) as stop:
        move.migrate()
    if way == "retry":
        assert "--retry-refused" in stop.value.remedy
        move.vectors.refusals.bad = frozenset()
        move.migrate(retry_refused=True)
        check_end(move, frozenset())
    elif way == "more may be left out":
        assert "--max-quarantine 4" in stop.value.remedy
        with pytest.raises(QuarantineExceededError):
            move.migrate(quarantine_cap=4)
        move.migrate(quarantine_cap=6)
        check_end(move, bad)
    else:
        assert "rollback --execute" in stop.value.remedy
        move.roll_back()
        assert (move.vectors.stored, move.kv.stored) == ({}, {})


Seam = Callable[[Entry | None], None]


def _kill_number(kill_at: int) -> Seam:
    """Counted from 1 over all appends and requests."""
    counter = itertools.count(1)

    def seam(entry: Entry | None) -> None:
        if next(counter) == kill_at:
            raise UnexpectedError

    return seam


def _retried(taken: Snapshot, stop_early: int | None, seam: Seam) -> Move:
    """A run with refused vectors, and its retry up to the error that the seam raises, if any.

    The seam is called at every append and at every request of the retry.
    """
    move = planned_move(
        taken, MemoryVectors(Refusals(bad=of_rows({3, 5, 6}))), quarantine_cap=stop_early
    )
    try:
        move.migrate()
    except QuarantineExceededError:
        assert stop_early is not None
    move.vectors.refusals.bad = of_rows({5})
    move.vectors.before_upload = move.vectors.after_upload = partial(seam, None)
    with suppress(UnexpectedError):
        move.migrate(seam, retry_refused=True)
    move.vectors.before_upload = move.vectors.after_upload = lambda: None
    return move


@pytest.mark.slow
@pytest.mark.fault("F05", "G01", "I2", "I3", "I5", "I7", "U01")
@pytest.mark.parametrize("stop_early", [None, 1], ids=["after the run", "in its first round"])
@struck_at(three_of_each)
def test_a_kill_at_any_moment_of_a_retry_changes_nothing_of_its_end(
    tmp_path: Path, stop_early: int | None, chosen: Callable[[Sequence[str]], list[int]]
) -> None:
    taken = snapshot_of_chunks(tmp_path, 8)
    kinds: list[str] = []
    _retried(taken, stop_early, lambda entry: kinds.append(kind_of(entry)))
    assert len(kinds) > 10
    for count, at in enumerate(chosen(kinds), start=1):
        _check_after_kill(_retried(taken, stop_early, _kill_number(at)), count, stop_early)


def _check_after_kill(move: Move, count: int, stop_early: int | None) -> None:
    """In turns: roll back, go on, or begin the retry again."""
    if count % 3 == 0:
        move.roll_back()
        assert (move.vectors.stored, move.kv.stored) == ({}, {})
        return
    uploads = len(move.vectors.uploads)
    if count % 3 == 1:
        with suppress(QuarantineExceededError):  # the kill came before the retry was noted
            move.migrate()
    move.migrate(retry_refused=True)

    ids = set(all_ids(8)) - of_rows({5})
    assert set(move.vectors.stored) == ids
    assert move.refused() == {5: IDS[5]}
    assert move.kv.stored["_vector_count"].value == str(len(ids)).encode()
    sent = [vector for one in move.vectors.uploads[uploads:] for vector in one.ids if one.taken]
    assert set(sent) <= of_rows({3, 6}) | (ids if stop_early else set())
    assert len(sent) == len(set(sent))
