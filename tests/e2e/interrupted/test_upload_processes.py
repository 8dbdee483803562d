"""Uploads from processes of their own: the same end as from one, whoever of them is killed."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.workers import processes
from sandbox.profile import INSTANT
from tests.e2e.processes import is_running, started_by, wait_for_end, wait_until
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import ending

pytestmark = pytest.mark.slow
COUNT = 1_200  # three row groups: there is something to share
SETTINGS = {"Q2V_LIMITS_VECTORS_PER_UPLOAD": "40", "Q2V_LIMITS_UPLOADS_IN_FLIGHT": "2"}
SLOW = replace(INSTANT, name="slow-commits", commit_delay_s=1.0)
EVEN_FOR_LITTLE = "import migrate.workers.processes as p; p.WORKER_BYTES_MIN = 1; "
MIGRATE = EVEN_FOR_LITTLE + "import q2v.__main__ as q; q.run()"


@contextmanager
def worth_it() -> Iterator[None]:
    """Workers are started for as little as a test moves."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(processes, "WORKER_BYTES_MIN", 1)
        yield


@contextmanager
def migrating(bench: Workbench) -> Iterator[subprocess.Popen[str]]:
    """A migrate that has had some uploads acknowledged; it is gone at the end."""
    with ending(bench.start("migrate", program=MIGRATE)) as process:
        wait_until(process, lambda: len(bench.acknowledged()) >= 4)
        yield process


def check_end(bench: Workbench) -> None:
    """Everything is there once the run has gone on, with workers or in one process."""
    assert bench.run("migrate").exit_code == 0
    assert len(bench.stored()) == COUNT
    assert bench.run("reconcile").document["verdict"] == "equal"


@pytest.mark.fault("I1", "I3")
def test_several_processes_leave_what_one_process_leaves(tmp_path: Path) -> None:
    states, requests = [], []
    for in_flight in ("1", "2"):
        settings = {**SETTINGS, "Q2V_LIMITS_UPLOADS_IN_FLIGHT": in_flight}
        folder = tmp_path / in_flight
        with workbench(folder, points(COUNT), settings=settings) as bench:
            bench.run("snapshot")
            with worth_it():
                result = bench.run("migrate")
            assert result.exit_code == 0, result.stderr
            states.append(bench.state())
            requests.append(len(bench.uploads()))
            assert len(set(bench.uploads())) == len(bench.uploads())
            assert result.document["acknowledged"] == COUNT
            # The limiter's file is shared: no request of a worker is missing in the count.
            assert result.document["requests"] >= len(bench.uploads()) + 4

    assert states[0] == states[1]
    assert requests[0] == COUNT / 40
    assert requests[1] <= requests[0] + 2  # each share may end with a smaller one


@pytest.mark.fault("N16")
def test_what_a_worker_is_refused_is_searched_and_stays_behind(tmp_path: Path) -> None:
    fault = "refuse-ids:one-in=300"
    with workbench(tmp_path, points(COUNT), fault=fault, settings=SETTINGS) as bench:
        bench.run("snapshot")
        with worth_it():
            result = bench.run("migrate")

        assert result.exit_code == 3
        refused = result.document["quarantined_reasons"]["refused"]
        assert 0 < refused == COUNT - len(bench.stored())


@pytest.mark.fault("G01", "U01", "I3")
def test_when_q2v_is_killed_its_workers_end_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with workbench(tmp_path, points(COUNT), settings=SETTINGS) as bench:
        bench.run("snapshot")
        with migrating(bench) as process:
            workers = started_by(process.pid)
            process.kill()
            process.wait()
            before, sent_before = bench.acknowledged(), len(bench.uploads())
            wait_for_end(workers)

        with worth_it():
            check_end(bench)
        assert len(workers) == 2
        assert before
        in_flight = len(workers)
        assert not before & set(bench.uploads()[sent_before + in_flight :])


@pytest.mark.fault("G01")
def test_a_worker_that_is_killed_ends_the_run_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with workbench(tmp_path, points(COUNT), settings=SETTINGS) as bench:
        bench.run("snapshot")
        with migrating(bench) as process:
            os.kill(started_by(process.pid)[0], signal.SIGKILL)
            output, _ = process.communicate()

        assert process.returncode == 9, output
        assert "a worker process ended with status -9" in output
        check_end(bench)


@pytest.mark.fault("G12")
def test_sigterm_does_not_wait_for_what_is_in_flight(tmp_path: Path) -> None:
    with workbench(tmp_path, points(COUNT), profile=SLOW, settings=SETTINGS) as bench:
        bench.run("snapshot")
        with migrating(bench) as process:
            workers = started_by(process.pid)
            process.send_signal(signal.SIGTERM)
            process.communicate()

            assert process.returncode == 143
            assert not any(map(is_running, workers))
        check_end(bench)
