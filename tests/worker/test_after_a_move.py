"""A Worker reads and changes what `q2v migrate` wrote, and q2v reads what a Worker wrote."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from migrate.errors import ExitCode
from rehearsal.corpus.build import read_chunks
from rehearsal.corpus.embedding import embed_texts
from sandbox.profile import INSTANT, with_budget
from tests.harness.network import LOOPBACK
from tests.harness.running.node import WORKER
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import Workbench, chunk, points, unit_vectors, workbench
from tests.harness.running.workerd import RunningWorker, WorkerUnderTest, running_worker
from tests.servers.qdrant_points import StoredPoint

pytestmark = pytest.mark.slow

CORPUS_DIMENSIONS = 256  # the embedding model's own
Json = dict[str, Any]


@contextmanager
def worker_of(bench: Workbench) -> Iterator[RunningWorker]:
    """A Worker with the store, bound to the target of a move."""
    worker = WorkerUnderTest(
        main=WORKER / "test" / "client" / "bench" / "worker.ts",
        vectorize={"VECTORIZE_INDEX": bench.index},
        kv={"FILE_VECTOR_INDEX": bench.namespace_id},
    )
    with running_worker(worker, bench.sandbox) as running:
        yield running


def call(worker: RunningWorker, dimensions: int, *calls: list[object]) -> Any:
    """Calls of one store in one invocation; the value of the last."""
    body = {"options": {"dimensions": dimensions}, "calls": calls}
    outcome = (
        httpx.post(worker.url, json=body, timeout=120, verify=LOOPBACK).raise_for_status().json()
    )
    assert "error" not in outcome, outcome
    return outcome.get("value")


def by_file(stored: list[StoredPoint]) -> dict[str, list[StoredPoint]]:
    """File -> its points, by chunk."""
    found: dict[str, list[StoredPoint]] = {}
    for point in stored:
        assert point.payload is not None
        found.setdefault(str(point.payload["file_id"]), []).append(point)
    return found


def test_every_file_of_the_rehearsals_corpus_reads_as_it_was_in_qdrant(tmp_path: Path) -> None:
    chunks = read_chunks()
    values = embed_texts([one.text for one in chunks], CORPUS_DIMENSIONS)
    stored = [
        StoredPoint(id=one.point_id, vectors={"": row.tolist()}, payload=one.payload)
        for one, row in zip(chunks, values, strict=True)
    ]
    # The shim sends what a binding does, and a binding has no budget of requests.
    profile = with_budget(INSTANT, 1_000_000)
    with workbench(tmp_path, stored, dimensions=CORPUS_DIMENSIONS, profile=profile) as bench:
        moved = bench.move()
        assert moved.exit_code == ExitCode.DONE, moved.stderr
        with worker_of(bench) as worker:
            files = by_file(stored)
            for file_id, wanted in files.items():
                read: list[Json] = call(worker, CORPUS_DIMENSIONS, ["getVectorsByFileId", file_id])
                assert [one["id"] for one in read] == [
                    f"{file_id}_{number}" for number in range(len(wanted))
                ]
                for one, point in zip(read, wanted, strict=True):
                    assert one["metadata"] == point.payload
                    assert np.array_equal(
                        np.array(one["values"], np.float32),
                        np.array(point.vectors[""], np.float32),
                    )
            assert call(worker, CORPUS_DIMENSIONS, ["countVectors"]) == len(stored)

    assert max(map(len, files.values())) > 100
    assert len(stored) == 4_100


def vectors_of(file_id: str, count: int) -> list[Json]:
    """Chunks of a new file."""
    return [
        {"id": f"{file_id}_{number}", "values": row.tolist(), "metadata": chunk(file_id, number)}
        for number, row in enumerate(unit_vectors(count))
    ]


def test_files_that_a_worker_removes_and_writes_again_are_equal_for_reconcile(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(80)) as bench:
        assert bench.move().exit_code == ExitCode.DONE
        before = bench.state()
        with worker_of(bench) as worker:
            for number in range(0, 12, 3):
                file_id = f"file-{number:04d}"
                read = call(worker, DIMENSIONS, ["getVectorsByFileId", file_id])
                call(worker, DIMENSIONS, ["deleteVectorsByFileId", file_id])
                assert bench.state() != before
                call(worker, DIMENSIONS, ["upsertVectors", read])

        assert bench.state() == before
        reconciled = bench.run("reconcile", "--full")
        assert reconciled.document["verdict"] == "equal"


def kill(worker: RunningWorker, after: int, made: list[object]) -> None:
    """Make a call, and end its invocation when it has made `after` subrequests."""
    worker.order(cut="hold", after=after)
    body = {"options": {"dimensions": DIMENSIONS}, "calls": [made]}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(worker.url, json=body, timeout=2)
    worker.order()


@pytest.mark.fault("W01", "O02")
def test_the_monitor_names_what_a_killed_worker_left_until_its_next_call(tmp_path: Path) -> None:
    with workbench(tmp_path, points(30)) as bench:
        assert bench.move().exit_code == ExitCode.DONE
        with worker_of(bench) as worker:
            call(worker, DIMENSIONS, ["upsertVectors", vectors_of("whole", 3)])
            assert bench.run("monitor").document["verdict"] == "consistent"
            # The vectors are written, and the entry is not.
            kill(worker, 2, ["upsertVectors", vectors_of("torn", 3)])

            torn = bench.run("monitor")
            assert torn.exit_code == ExitCode.DRIFT
            assert torn.document["findings"] == {"orphaned": 3, "counter": 1}
            # Another upsert of the file is enough.
            call(worker, DIMENSIONS, ["upsertVectors", vectors_of("torn", 1)])
            assert bench.run("monitor").document["verdict"] == "consistent"

            # The entry is shorter, and no vector is removed.
            kill(worker, 3, ["deleteVectorsByIds", ["torn_0", "torn_2"]])
            assert bench.run("monitor").document["findings"] == {"orphaned": 2}
            call(worker, DIMENSIONS, ["upsertVectors", vectors_of("torn", 1)])
            assert bench.run("monitor").document["verdict"] == "consistent"


@pytest.mark.fault("O02")
def test_a_rollback_undoes_an_entry_of_which_a_killed_worker_has_noted_a_removal(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(20)) as bench:
        assert bench.move().exit_code == ExitCode.DONE
        with worker_of(bench) as worker:
            read = call(worker, DIMENSIONS, ["getVectorsByFileId", "file-0000"])
            kill(worker, 3, ["deleteVectorsByIds", [read[1]["id"]]])
            call(worker, DIMENSIONS, ["upsertVectors", read[:1]])

        assert bench.run("reconcile", "--full").document["verdict"] == "equal"
        undone = bench.run("rollback", "--execute", "--yes")
        assert undone.document["conflicts"] == []
        assert undone.exit_code == ExitCode.DONE
