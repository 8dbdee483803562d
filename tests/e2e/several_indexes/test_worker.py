"""After a move into several indexes: the store of a Worker has all, one verifier reads all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from migrate.mapping.shards import shard_of
from tests.e2e.several_indexes.bench import (
    INDEXES,
    Several,
    check_moved,
    file_of,
    index_of,
    several,
    vector_id,
)
from tests.harness.network import LOOPBACK
from tests.harness.running.node import WORKER
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import chunk, points, unit_vectors
from tests.harness.running.workerd import RunningWorker, WorkerUnderTest, running_worker
from tests.reconcile.verifier.edge import running_verifier

pytestmark = pytest.mark.slow

BINDINGS = dict(zip(INDEXES, ("VECTORIZE_INDEX", "SECOND_INDEX", "THIRD_INDEX"), strict=True))


@contextmanager
def worker_of(both: Several) -> Iterator[RunningWorker]:
    """A Worker with the store over all indexes."""
    worker = WorkerUnderTest(
        main=WORKER / "test" / "client" / "bench" / "worker.ts",
        vectorize={binding: index for index, binding in BINDINGS.items()},
        kv={"FILE_VECTOR_INDEX": both.bench.namespace_id},
    )
    with running_worker(worker, both.bench.sandbox) as running:
        yield running


def body(made: tuple[object, ...]) -> dict[str, object]:
    return {"options": {"dimensions": DIMENSIONS}, "vectorize": BINDINGS, "calls": [made]}


def call(worker: RunningWorker, *made: object) -> Any:
    """The value of a call of the store."""
    answer = httpx.post(worker.url, json=body(made), timeout=120, verify=LOOPBACK)
    outcome = answer.raise_for_status().json()
    assert "error" not in outcome, outcome
    return outcome.get("value")


def vectors_of(file_id: str, count: int) -> list[dict[str, object]]:
    return [
        {"id": f"{file_id}_{number}", "values": row.tolist(), "metadata": chunk(file_id, number)}
        for number, row in enumerate(unit_vectors(count))
    ]


@pytest.mark.fault("O02")
def test_a_worker_reads_and_writes_every_file_in_the_index_of_its_entry(tmp_path: Path) -> None:
    stored = points(60, per_file=3)
    with several(tmp_path, stored) as both:
        assert both.bench.run("snapshot").exit_code == 0
        both.all("migrate")
        before = both.states()
        with worker_of(both) as worker:
            files = {file_of(one): index_of(one) for one in stored}
            assert set(files.values()) == set(INDEXES)
            for file_id, index in files.items():
                read = call(worker, "getVectorsByFileId", file_id)
                wanted = [vector_id(one) for one in stored if file_of(one) == file_id]
                assert [one["id"] for one in read] == wanted
                call(worker, "deleteVectorsByFileId", file_id)
                assert not both.ids(index) & set(wanted)
                call(worker, "upsertVectors", read)
            assert call(worker, "countVectors") == 60
            assert call(worker, "refreshCounter") == 60

            assert both.states() == before
            check_moved(both, stored)
            both.all("reconcile")

            # Of a new file the hash decides, as in the move; the monitor of each index is content.
            for number in range(6):
                file_id = f"new-{number}"
                call(worker, "upsertVectors", vectors_of(file_id, 2))
                assert f"{file_id}_1" in both.ids(shard_of(file_id, INDEXES))
            both.all("monitor")

            # A killed call: its vectors have no entry until the next call that writes the file.
            worker.order(cut="hold", after=5)  # entry, three indexes, the vectors
            torn_call = body(("upsertVectors", vectors_of("torn", 3)))
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(worker.url, json=torn_call, timeout=2, verify=LOOPBACK)
            worker.order()
            found = {index: both.run("monitor", index).document["findings"] for index in INDEXES}
            torn = shard_of("torn", INDEXES)
            assert found == {index: {} for index in INDEXES} | {torn: {"orphaned": 3, "counter": 1}}
            call(worker, "upsertVectors", vectors_of("torn", 1))
            both.all("monitor")


@pytest.mark.fault("H02")
def test_one_verifier_reads_each_index_for_its_run(tmp_path: Path) -> None:
    stored = points(60, per_file=3)
    with several(tmp_path, stored) as both:
        assert both.bench.run("snapshot").exit_code == 0
        both.all("migrate")
        with running_verifier(both.bench, indexes={index: index for index in INDEXES}):
            equal = both.all("reconcile")
            lost = next(vector_id(one) for one in stored if index_of(one) == "wiki-2")
            both.bench.sandbox.store.remove_vector("wiki-2", lost)
            verdicts = {index: both.run("reconcile", index).document for index in INDEXES}
        exchanged = dict(zip(INDEXES, reversed(INDEXES), strict=True))
        with running_verifier(both.bench, indexes=exchanged):
            other = both.run("reconcile", "wiki-0", "--fresh").document

    for index, found in equal.items():
        count = sum(index_of(one) == index for one in stored)
        assert found.document["coverage"]["read_by"] == {"rest": 0, "verifier": count}
    assert [one["verdict"] for one in verdicts.values()] == ["equal", "equal", "drift"]
    assert other["verdict"] == "equal"
    assert "bound to another index than 'wiki-0'" in other["coverage"]["fell_back"]
