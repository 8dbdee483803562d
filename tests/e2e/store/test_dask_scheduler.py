"""The scheduler of Dask is killed while a command works: one error, and the command to go on with.

Scheduler and worker are processes of their own.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import psutil  # type: ignore[import-untyped]
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
state._PART_ROWS_MAX = 50
from q2v.__main__ import run
run()
"""
# The first task kills the scheduler, then does its work.
KILLS = """
import os
import signal

from migrate.workers import executors

work = executors.run_prepared


def killing(*given):
    try:
        os.kill(SCHEDULER, signal.SIGKILL)
    except ProcessLookupError:
        pass
    return work(*given)


executors.run_prepared = killing
"""


@contextmanager
def cluster(folder: Path, bench: Workbench) -> Iterator[str]:
    """The address of a scheduler with one worker, which kills it."""
    file, kills = folder / "scheduler.json", folder / "kills.py"
    quiet = (subprocess.DEVNULL, subprocess.DEVNULL)
    environment = {**bench.environment, **CREDENTIALS, "MALLOC_TRIM_THRESHOLD_": str(2**30)}
    here = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
    words = ("-m", "dask", "scheduler", *here, "--port", "0", "--scheduler-file", str(file))
    with ending(start_here(*words, environment={}, output=quiet)) as scheduler:
        wait_until(scheduler, lambda: file.exists() and file.read_bytes().endswith(b"}"))
        address: str = orjson.loads(file.read_bytes())["address"]
        kills.write_text(f"SCHEDULER = {scheduler.pid}\n{KILLS}")
        works = ("-m", "dask", "worker", address, *here, "--nthreads", "1", "--preload", str(kills))
        with ending(start_here(*works, environment=environment, output=quiet)) as worker:
            with Client(address, timeout=START_S) as looking:  # type: ignore[no-untyped-call]
                looking.wait_for_workers(1, timeout=START_S)
            children = psutil.Process(worker.pid).children(recursive=True)
            try:
                yield address
            finally:
                for child in children:
                    if child.is_running():
                        child.kill()


def run(bench: Workbench, *words: str) -> Result:
    process = start_here(
        *("-c", PROGRAM, *words, "--json"),
        environment={**bench.environment, **CREDENTIALS},
        output=(subprocess.PIPE, subprocess.PIPE),
    )
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
        with cluster(tmp_path, bench) as address:
            ended = run(bench, *words, *place, "--executor", "dask", "--scheduler", address)
        again = run(bench, *words, *place)

    assert ended.exit_code == ExitCode.UNAVAILABLE, ended.stderr
    error = ended.document["error"]
    assert error["what"] == f"the Dask scheduler at {address} has gone"
    assert error["next"].startswith("start it, then run the same command again")
    assert "Traceback" not in ended.stderr
    assert "distributed" not in ended.stderr
    assert again.exit_code == 0, again.stderr
