"""Parts are searched by any executor, with the figures of one process, and no task has a secret."""

import pickle
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from migrate.errors import ArtefactDamagedError
from migrate.model.hmac_key import SealKey
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import take_difference
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder
from migrate.workers.executors import Machines, TaskExecutor
from migrate.workers.processes import no_preparation
from reconcile.parity.nearest import NO_ROW, Answers, Queries
from reconcile.parity.parity import ParityReport, measure_snapshot, rules_for
from reconcile.parity.queries import NamedQueries, sample_stored
from reconcile.parity.tasks import FileRule, Searched, SearchTask, search, store
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.silence import Silence

POINTS = 230
KEY = "seal-key-0f1e2d3c4b5a69788796a5b4c3d2e1f0"
OPTIONS = SnapshotOptions(page_points=30, part_points=40, seal_key=SealKey(KEY))
RULE = FileRule(group_key="file_id", group_type="text", key_field=None)


def runtime() -> Runtime:
    return Runtime(clock=VirtualClock(), progress=Silence())


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A difference: points of its parent were changed and deleted, and some were added."""
    folder = LocalFolder(tmp_path_factory.mktemp("parity"))
    source = MemorySource(chunk_payloads(POINTS))
    parent = take_snapshot(source, folder, OPTIONS, runtime()).snapshot_id
    numbers = sorted(source.points)
    for number in numbers[10:60:7]:
        del source.points[number]
    for number in numbers[100:140]:
        source.points[number] = {**source.points[number], "chunk_index": number + 5}
    for number in range(5):
        source.points[10**6 + number] = source.points[numbers[200 + number]]
    whole = Snapshot(folder.child(parent), OPTIONS.seal_key)
    report = take_difference(source, whole, OPTIONS, runtime())
    return Snapshot(folder.child(report.snapshot_id), OPTIONS.seal_key)


def measure(snapshot: Snapshot, machines: Machines | None) -> tuple[NamedQueries, ParityReport]:
    queries = sample_stored(
        snapshot, "", RULE, frozenset({3, 150}), sample=50, seed=1, machines=machines
    )
    rules = rules_for(snapshot, "", [1, 2, 3], top=10, overlap_min=0.5, seed=1)
    return queries, measure_snapshot(snapshot, queries, rules, runtime(), machines=machines)


@pytest.fixture(params=[ThreadPoolExecutor, ProcessPoolExecutor])
def machines(request: pytest.FixtureRequest) -> Iterator[Machines]:
    is_threads = request.param is ThreadPoolExecutor
    pool: Executor = (
        ThreadPoolExecutor(2)
        if is_threads
        else ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    )
    with pool:
        yield Machines(TaskExecutor(pool, no_preparation), 4)


@pytest.mark.slow
def test_every_executor_has_the_figures_of_one_process(chain: Snapshot, machines: Machines) -> None:
    queries, report = measure(chain, None)
    other_queries, other = measure(chain, machines)

    assert queries.names == other_queries.names
    assert queries.files == other_queries.files
    np.testing.assert_array_equal(queries.vectors.values, other_queries.vectors.values)
    np.testing.assert_array_equal(queries.vectors.own_rows, other_queries.vectors.own_rows)
    assert report.curve[1].overlap.mean < 1, "something can differ"
    assert other == report


def tasks_of(chain: Snapshot, tmp_path: Path) -> list[SearchTask]:
    queries = sample_stored(chain, "", RULE, frozenset(), sample=20, seed=1)
    searched = store(Searched(queries=queries.vectors, answers=None), LocalFolder(tmp_path))
    return [
        SearchTask(
            part=part, vector_name="", searched=searched, widths=(2,), metric="cosine", floors={}
        )
        for part in chain.live_parts()
    ]


def test_no_task_has_a_key_or_a_vector(chain: Snapshot, tmp_path: Path) -> None:
    values = next(iter(chain.read(with_vectors=("",)))).page.vectors[""].values  # type: ignore[union-attr]
    for task in tasks_of(chain, tmp_path):
        pickled = pickle.dumps(task)

        assert KEY.encode() not in pickled
        assert values[0].tobytes() not in pickled


def test_queries_in_a_file_are_what_was_stored(tmp_path: Path) -> None:
    queries = Queries(
        values=np.arange(6, dtype=np.float32).reshape(2, 3), own_rows=np.array([4, NO_ROW])
    )
    answers = Answers(width=2, queries=np.array([0, 1]), rows=np.array([7, 8]))
    for given in (None, answers):
        searched = Searched(queries=queries, answers=given)
        stored = store(searched, LocalFolder(tmp_path))
        assert store(searched, LocalFolder(tmp_path)) == stored, "the same bytes may be there"
        found = stored.load()

        np.testing.assert_array_equal(found.queries.values, queries.values)
        np.testing.assert_array_equal(found.queries.own_rows, queries.own_rows)
        assert (found.answers is None) == (given is None)
        if found.answers is not None:
            assert found.answers.width == answers.width
            np.testing.assert_array_equal(found.answers.queries, answers.queries)
            np.testing.assert_array_equal(found.answers.rows, answers.rows)


def test_queries_that_were_changed_are_refused(chain: Snapshot, tmp_path: Path) -> None:
    task = tasks_of(chain, tmp_path)[0]
    (name,) = LocalFolder(tmp_path).names()
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)

    with pytest.raises(ArtefactDamagedError, match="found other bytes"):
        search(task)
