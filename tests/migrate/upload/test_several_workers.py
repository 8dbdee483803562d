"""Several upload workers and one journal: whatever is refused or killed, the end is that of one."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.model.limits import UPLOADS_IN_FLIGHT_MAX
from migrate.model.records import VectorId
from migrate.run.journal import Store
from migrate.snapshot.folder import Snapshot
from tests.harness.fakes.memory_source import UnexpectedError
from tests.harness.fakes.memory_target import MemoryVectors, Refusals
from tests.harness.move import Move, all_ids, planned_move, snapshot_of_chunks
from tests.harness.tiers import examples

POINTS = 1_300  # three row groups, so that there are shares
PER_UPLOAD = 60
IDS = all_ids(POINTS)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of_chunks(tmp_path_factory.mktemp("several"), POINTS)


def started(taken: Snapshot, vectors: MemoryVectors, uploaders: int) -> Move:
    move = planned_move(taken, vectors, vectors_per_upload=PER_UPLOAD)
    move.uploaders = uploaders
    return move


def check_end(move: Move, bad: frozenset[VectorId]) -> None:
    """Every good vector is there and was taken once, exactly the bad ones are left out."""
    assert set(move.vectors.stored) == set(IDS) - bad
    assert set(move.refused().values()) == bad
    taken_ids = [one.ids for one in move.vectors.uploads if one.taken]
    assert len(set(itertools.chain(*taken_ids))) == sum(map(len, taken_ids))
    assert move.reconcile().verdict == "equal"


@pytest.mark.slow
@pytest.mark.fault("N16", "I1", "I3")
@given(
    bad=st.frozensets(st.sampled_from(range(POINTS)), max_size=4),
    workers=st.integers(2, 5),
)
@settings(max_examples=examples(5))
def test_refusals_are_searched_by_whoever_had_them(
    taken: Snapshot, bad: frozenset[int], workers: int
) -> None:
    ids = frozenset(IDS[row] for row in bad)
    move = started(taken, MemoryVectors(Refusals(bad=ids)), workers)
    move.migrate()

    check_end(move, ids)


@pytest.mark.slow
@pytest.mark.fault("U01", "I1", "I3")
@given(data=st.data(), workers=st.integers(2, 5), kills=st.lists(st.integers(0, 12), max_size=4))
@settings(max_examples=examples(5))
def test_killed_at_any_upload_and_gone_on_with_by_any_number_of_workers(
    taken: Snapshot, data: st.DataObject, workers: int, kills: list[int]
) -> None:
    """What was acknowledged is not sent again, whoever has which share the next time."""
    vectors = MemoryVectors()
    move = started(taken, vectors, workers)
    for kill in kills:
        left = itertools.count(kill, -1)

        def strike(left: "itertools.count[int]" = left) -> None:
            if next(left) <= 0:
                raise UnexpectedError

        vectors.before_upload, vectors.after_upload = (
            (strike, lambda: None) if data.draw(st.booleans()) else (lambda: None, strike)
        )
        try:
            move.migrate()
        except UnexpectedError:
            move.uploaders = data.draw(st.integers(1, 5))
    vectors.before_upload = vectors.after_upload = lambda: None
    acknowledged = _acknowledged(move)
    sent_before = len(vectors.uploads)
    move.migrate()

    assert set(vectors.stored) == set(IDS)
    assert move.reconcile().verdict == "equal"
    again = {vector_id for one in vectors.uploads[sent_before:] for vector_id in one.ids}
    assert not again & acknowledged


def _acknowledged(move: Move) -> set[VectorId]:
    with move.opened() as run:
        rounds = run.state().rounds
    batches = rounds[0].batches[Store.VECTORS] if rounds else []
    rows = [row for one in batches if one.acknowledged for row in range(one.first, one.end)]
    return {IDS[row] for row in rows}


@pytest.mark.fault("U04")
def test_one_vector_of_each_upload_that_may_have_been_in_flight_last_is_read_back(
    taken: Snapshot,
) -> None:
    """Acks arrive in another order than that in which the service accepted."""
    move = started(taken, MemoryVectors(), 3)
    move.migrate()
    with move.opened() as run:
        last = run.state().rounds[0].taken[-UPLOADS_IN_FLIGHT_MAX:]

    assert {IDS[one.end - 1] for one in last} <= move.vectors.fetched
