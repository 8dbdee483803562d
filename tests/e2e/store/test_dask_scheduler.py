"""The scheduler of Dask or all its workers end while a command works: one error, and what to do.

Scheduler and worker are processes of their own.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from distributed import Client

from migrate.errors import ExitCode
from tests.e2e.processes import wait_until
from tests.harness.fakes.object_stores import CREDENTIALS, s3_server
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import Result, ending, start_here

pytestmark = pytest.mark.slow

START_S = 120  # of a scheduler and a worker on a busy machine
POINTS = 200
PROGRAM = """
from migrate.snapshot.begun import state
from migrate.workers import executors
state._PART_ROWS_MAX = 50
from q2v.executors import dask_cluster
executors.LOOK_S = 0.2
dask_cluster.WORKERS_S = 300
from q2v.__main__ import run
run()
"""
# The first task kills a process, then does its work. The worker has no process that replaces it.
KILLS = """
import os
import signal

from migrate.workers import executors

work = executors.run_prepared


def killing(*given):
    try:
        os.kill(KILLED or os.getpid(), signal.SIGKILL)
    except ProcessLookupError:
        pass
    return work(*given)


executors.run_prepared = killing
"""


HERE = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
QUIET = (subprocess.DEVNULL, subprocess.DEVNULL)


@dataclass
class Cluster:
    """A scheduler; its worker has no nanny, so one that ends is not replaced."""

    address: str
    scheduler: int  # its process
    environment: dict[str, str]  # of a worker

    @contextmanager
    def worker(self, *options: str) -> Iterator[None]:
        """A worker that has reported to the scheduler."""
        words = ("-m", "dask", "worker", self.address, *HERE, "--nthreads", "1", "--no-nanny")
        with ending(start_here(*words, *options, environment=self.environment, output=QUIET)):
            with Client(self.address, timeout=START_S) as looking:  # type: ignore[no-untyped-call]
                looking.wait_for_workers(1, timeout=START_S)
            yield


@contextmanager
def cluster(folder: Path, bench: Workbench) -> Iterator[Cluster]:
    """A scheduler without workers."""
    file = folder / "scheduler.json"
    words = ("-m", "dask", "scheduler", *HERE, "--port", "0", "--scheduler-file", str(file))
    with ending(start_here(*words, environment={}, output=QUIET)) as scheduler:
        wait_until(scheduler, lambda: file.exists() and file.read_bytes().endswith(b"}"))
        environment = {**bench.environment, **CREDENTIALS, "MALLOC_TRIM_THRESHOLD_": str(2**30)}
        yield Cluster(orjson.loads(file.read_bytes())["address"], scheduler.pid, environment)


@contextmanager
def killing_cluster(folder: Path, bench: Workbench, *, scheduler: bool) -> Iterator[str]:
    """The address of a scheduler with one worker, whose first task kills one of both."""
    kills = folder / "kills.py"
    with cluster(folder, bench) as started:
        kills.write_text(f"KILLED = {started.scheduler if scheduler else None}\n{KILLS}")
        with started.worker("--preload", str(kills)):
            yield started.address


def start(bench: Workbench, *words: str) -> "subprocess.Popen[str]":
    return start_here(
        *("-c", PROGRAM, *words, "--json"),
        environment={**bench.environment, **CREDENTIALS},
        output=(subprocess.PIPE, subprocess.PIPE),
    )


def run(bench: Workbench, *words: str) -> Result:
    process = start(bench, *words)
    stdout, stderr = process.communicate()
    return Result(process.returncode, stdout, stderr)


@pytest.mark.parametrize(
    "command",
    [
        "snapshot",
        "runbook",
        pytest.param("migrate", marks=pytest.mark.search),
        pytest.param("parity", marks=pytest.mark.search),
        pytest.param("plan", marks=pytest.mark.search),
    ],
)
def test_a_killed_scheduler_is_named_without_a_traceback(tmp_path: Path, command: str) -> None:
    with workbench(tmp_path, points(POINTS)) as bench, s3_server() as store:
        place = ["--dir", store, "--local", str(tmp_path / "local")]
        words = [command]
        if command != "snapshot":
            taken = run(bench, "snapshot", *place)
            assert taken.exit_code == 0, taken.stderr
            words += [str(taken.document["snapshot_id"])] if command == "plan" else []
        with killing_cluster(tmp_path, bench, scheduler=True) as address:
            ended = run(bench, *words, *place, "--executor", "dask", "--scheduler", address)
        again = run(bench, *words, *place)

    assert ended.exit_code == ExitCode.UNAVAILABLE, ended.stderr
    error = ended.document["error"]
    assert error["what"] == f"the Dask scheduler at {address} has gone"
    assert error["next"].startswith("start it, then run the same command again")
    assert "Traceback" not in ended.stderr
    assert "distributed" not in ended.stderr
    assert again.exit_code == 0, again.stderr


def test_a_command_whose_workers_have_all_ended_does_not_wait_for_ever(tmp_path: Path) -> None:
    with workbench(tmp_path, points(POINTS)) as bench, s3_server() as store:
        place = ["--dir", store, "--local", str(tmp_path / "local")]
        with killing_cluster(tmp_path, bench, scheduler=False) as address:
            ended = run(bench, "snapshot", *place, "--executor", "dask", "--scheduler", address)
        again = run(bench, "snapshot", *place)

    assert ended.exit_code == ExitCode.UNAVAILABLE, ended.stderr
    error = ended.document["error"]
    assert error["what"].startswith(f"the Dask scheduler at {address} has had no workers for ")
    assert "start some" in error["next"]
    assert "Traceback" not in ended.stderr
    assert again.exit_code == 0, again.stderr


def test_a_command_waits_for_a_worker_that_starts_later(tmp_path: Path) -> None:
    with (
        workbench(tmp_path, points(POINTS)) as bench,
        s3_server() as store,
        cluster(tmp_path, bench) as started,
    ):
        words = ("--dir", store, "--executor", "dask", "--scheduler", started.address)
        with ending(start(bench, "snapshot", *words, "--local", str(tmp_path / "local"))) as begun:
            assert begun.stderr is not None
            said = begun.stderr.readline()
            while said and "has no workers: waiting" not in said:
                said = begun.stderr.readline()
            with started.worker():
                stdout, stderr = begun.communicate()
    assert "has no workers: waiting" in said, stderr
    assert begun.returncode == 0, stderr
    assert orjson.loads(stdout)["points"] == POINTS
