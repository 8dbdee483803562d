"""Several upload workers and one journal: whatever is refused or killed, the end is that of one."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.model.limits import UPLOADS_IN_FLIGHT_MAX
from migrate.model.records import VectorId
from migrate.run.journal import Store
from migrate.snapshot.folder import Snapshot
from tests.migrate.upload.whole_run import WholeRun, all_ids, snapshot_of_chunks, start_run
from tests.servers.memory_target import KilledError, MemoryVectors, Refusals

POINTS = 1_300  # three row groups, so that there are shares
PER_UPLOAD = 60
IDS = all_ids(POINTS)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of_chunks(tmp_path_factory.mktemp("several"), POINTS)


def started(taken: Snapshot, vectors: MemoryVectors, workers: int) -> WholeRun:
    run = start_run(taken, vectors, vectors_per_upload=PER_UPLOAD)
    run.workers = workers
    return run


def check_end(run: WholeRun, bad: frozenset[VectorId]) -> None:
    """Every good vector is there and was taken once, exactly the bad ones are left out."""
    assert set(run.vectors.stored) == set(IDS) - bad
    assert set(run.refused().values()) == bad
    taken_ids = [one.ids for one in run.vectors.uploads if one.taken]
    assert len(set(itertools.chain(*taken_ids))) == sum(map(len, taken_ids))
    assert run.reconcile().verdict == "equal"


@pytest.mark.slow
@pytest.mark.fault("N16", "I1", "I3")
@given(
    bad=st.frozensets(st.sampled_from(range(POINTS)), max_size=4),
    workers=st.integers(2, 5),
)
@settings(max_examples=5)
def test_refusals_are_searched_by_whoever_had_them(
    taken: Snapshot, bad: frozenset[int], workers: int
) -> None:
    ids = frozenset(IDS[row] for row in bad)
    run = started(taken, MemoryVectors(Refusals(bad=ids)), workers)
    run.migrate()

    check_end(run, ids)


@pytest.mark.slow
@pytest.mark.fault("U01", "I1", "I3")
@given(data=st.data(), workers=st.integers(2, 5), kills=st.lists(st.integers(0, 12), max_size=4))
@settings(max_examples=5)
def test_killed_at_any_upload_and_gone_on_with_by_any_number_of_workers(
    taken: Snapshot, data: st.DataObject, workers: int, kills: list[int]
) -> None:
    """What was acknowledged is not sent again, whoever has which share the next time."""
    vectors = MemoryVectors()
    run = started(taken, vectors, workers)
    for kill in kills:
        left = itertools.count(kill, -1)

        def strike(left: "itertools.count[int]" = left) -> None:
            if next(left) <= 0:
                raise KilledError

        vectors.before_upload, vectors.after_upload = (
            (strike, lambda: None) if data.draw(st.booleans()) else (lambda: None, strike)
        )
        try:
            run.migrate()
        except KilledError:
            run.workers = data.draw(st.integers(1, 5))
    vectors.before_upload = vectors.after_upload = lambda: None
    acknowledged = _acknowledged(run)
    sent_before = len(vectors.uploads)
    run.migrate()

    assert set(vectors.stored) == set(IDS)
    assert run.reconcile().verdict == "equal"
    again = {vector_id for one in vectors.uploads[sent_before:] for vector_id in one.ids}
    assert not again & acknowledged


def _acknowledged(run: WholeRun) -> set[VectorId]:
    opened = run.open()
    opened.close()
    rounds = opened.state().rounds
    batches = rounds[0].batches[Store.VECTORS] if rounds else []
    rows = [row for one in batches if one.acknowledged for row in range(one.first, one.end)]
    return {IDS[row] for row in rows}


@pytest.mark.fault("U04")
def test_one_vector_of_each_upload_that_may_have_been_in_flight_last_is_read_back(
    taken: Snapshot,
) -> None:
    """Acks arrive in another order than that in which the service accepted."""
    run = started(taken, MemoryVectors(), 3)
    run.migrate()
    opened = run.open()
    opened.close()
    last = opened.state().rounds[0].taken[-UPLOADS_IN_FLIGHT_MAX:]

    assert {IDS[one.end - 1] for one in last} <= run.vectors.fetched
