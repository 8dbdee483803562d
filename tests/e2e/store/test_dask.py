"""Ranges are read by the workers of a Dask scheduler; workers and drivers may be killed."""

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import dask
import psutil  # type: ignore[import-untyped]
import pytest
from distributed import LocalCluster

from migrate.errors import ExitCode
from migrate.object_store.address import parse_object_address
from migrate.object_store.folder import ObjectFolder, object_folder
from migrate.storage.layout import RECORDS
from tests.e2e.processes import wait_until
from tests.harness.fakes.object_stores import CREDENTIALS, s3_server
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import Result, start_here

pytestmark = pytest.mark.slow

POINTS = 1_500
PART_POINTS = 100
WORKERS = 3  # each takes two seconds of CPU to start, and again after a kill
LOOK_S = 0.05  # between two looks into the store, each of which is two requests
# q2v with small parts: their size is a constant, its meaning is the same.
PROGRAM = f"""
from migrate.snapshot.begun import state
state._PART_ROWS_MAX = {PART_POINTS}
from q2v.__main__ import run
run()
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    folder = tmp_path_factory.mktemp("dask")
    with workbench(folder, points(POINTS), provision=False) as bench:
        yield bench


@dataclass
class Undisturbed:
    """A snapshot of the same points into a local folder."""

    content_root: str
    pages: int  # asked for in all, those with ids alone included


@pytest.fixture(scope="module")
def undisturbed(bench: Workbench) -> Undisturbed:
    taken = bench.run_process("snapshot", program=PROGRAM)
    assert taken.exit_code == 0, taken.stderr
    return Undisturbed(taken.document["content_root"], pages(bench))


def pages(bench: Workbench) -> int:
    """The pages that the source was asked for since this was asked last."""
    found = sum("scroll" in one for one in bench.collection.requests)
    bench.collection.requests.clear()
    return found


# The first worker that draws queries, the first that searches and the first that maps a part end in
# the middle of it.
KILLS = """
import os
import signal

from migrate.plan.census import tasks as mapping
from reconcile.parity import tasks as parity


def killing(tasks, name):
    work = getattr(tasks, name)

    def once(task):
        try:
            os.close(os.open(FOLDER + "/" + name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return work(task)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(tasks, name, once)


killing(parity, "draw")
killing(parity, "search")
killing(mapping, "map_part")
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty file for each kind of task in which a worker has ended."""
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def running(
    bench: Workbench, killed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A cluster of workers as processes, for all tests: a worker that ends is replaced.

    Without Dask's profiler, which looks at every worker a hundred times a second.
    """
    environment = {**CREDENTIALS, **bench.environment}
    kills = tmp_path_factory.mktemp("preload") / "kills.py"
    kills.write_text(f"FOLDER = {str(killed)!r}\n{KILLS}")
    with (
        dask.config.set(
            {
                "distributed.worker.preload": [str(kills)],
                "distributed.scheduler.allowed-failures": 10,
                # The cluster forgets a worker that takes longer to start again.
                "distributed.deploy.lost-worker-timeout": "600s",
                "distributed.worker.profile.enabled": False,
                "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**30,
            }
        ),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=WORKERS,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            env=environment,
            silence_logs=50,
        ) as running,
    ):
        yield running


@dataclass
class Place:
    """Where a test reads and writes: the cluster of all tests, and a store of its own."""

    running: Any
    store: str

    @property
    def scheduler(self) -> str:
        address: str = self.running.scheduler_address
        return address


@pytest.fixture
def place(running: Any) -> Iterator[Place]:
    with s3_server() as address:
        yield Place(running, address)


def by_workers(place: Place) -> list[str]:
    """Words of a command whose work the cluster does."""
    return ["--executor", "dask", "--scheduler", place.scheduler]


def start(bench: Workbench, place: Place, local: Path, *words: str) -> subprocess.Popen[str]:
    """The driver as a process; without words it takes a snapshot with the workers."""
    folders = ["--dir", place.store, "--local", str(local)]
    return start_here(
        *("-c", PROGRAM, *(words or ("snapshot", *by_workers(place))), *folders, "--json"),
        environment={**bench.environment, **CREDENTIALS},
        output=(subprocess.PIPE, subprocess.PIPE),
    )


def finish(process: subprocess.Popen[str]) -> Result:
    stdout, stderr = process.communicate()
    return Result(process.returncode, stdout, stderr)


def test_the_root_is_that_of_this_machine(
    bench: Workbench, place: Place, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    result = finish(start(bench, place, tmp_path))
    listening = list(addresses(place.running))

    assert result.exit_code == 0, result.stderr
    assert "MALLOC_TRIM_THRESHOLD_" not in result.stderr, "the workers were started as we say"
    assert result.document["content_root"] == undisturbed.content_root
    assert listening
    assert {one for one in listening if not ip_address(one).is_loopback} == set()


PARITY = ("parity", "--sample", "60", "--at", "2", "--at", "5")


def test_parity_is_that_of_this_machine_though_workers_are_killed(
    bench: Workbench, place: Place, tmp_path: Path, killed: Path
) -> None:
    taken = finish(start(bench, place, tmp_path / "one", "snapshot"))
    there = finish(start(bench, place, tmp_path / "two", *PARITY, *by_workers(place)))
    here = finish(start(bench, place, tmp_path / "three", *PARITY))

    assert taken.exit_code == 0, taken.stderr
    assert there.exit_code == here.exit_code == 0, there.stderr
    assert {"draw", "search"} <= {one.name for one in killed.iterdir()}
    assert figures(there) == figures(here)
    assert figures(here)["curve"]["2"]["overlap"]["mean"] < 1, "something could differ"


def figures(result: Result) -> dict[str, Any]:
    """A record of parity without its time and its place."""
    return {key: result.document[key] for key in result.document.keys() - {"at", "record"}}


def test_a_plan_is_that_of_this_machine_though_a_worker_is_killed(
    bench: Workbench, place: Place, tmp_path: Path, killed: Path
) -> None:
    taken = finish(start(bench, place, tmp_path / "one", "snapshot"))
    assert taken.exit_code == 0, taken.stderr
    plan = ("plan", str(taken.document["snapshot_id"]), "--out")
    there = start(
        bench, place, tmp_path / "two", *plan, str(tmp_path / "there"), *by_workers(place)
    )
    here = start(bench, place, tmp_path / "three", *plan, str(tmp_path / "here"))

    assert finish(there).exit_code == finish(here).exit_code == 0
    assert "map_part" in {one.name for one in killed.iterdir()}
    saved = [json.loads((tmp_path / one).read_bytes()) for one in ("here", "there")]
    planned = [without(one, "created_at", "sha256", "shown") for one in saved]
    shown = [without(one["shown"], "estimate", "route") for one in saved]  # the rest has no time
    assert "rows_sha256" in str(planned[0])
    assert planned[0] == planned[1]
    assert shown[0] == shown[1]


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def addresses(running: Any) -> Iterator[str]:
    """Where the scheduler, which is in this process, and the workers listen."""
    for pid in [os.getpid(), *worker_pids(running)]:
        for one in psutil.Process(pid).net_connections(kind="inet"):
            if one.status == psutil.CONN_LISTEN:
                yield one.laddr.ip


def worker_pids(running: Any) -> list[int]:
    return sorted(nanny.pid for nanny in running.workers.values() if nanny.pid is not None)


def test_two_drivers_at_once_seal_the_same_or_one_is_refused(
    bench: Workbench, place: Place, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    drivers = [start(bench, place, tmp_path / f"{number}") for number in range(2)]
    results = [finish(driver) for driver in drivers]

    assert ExitCode.DONE in {result.exit_code for result in results}
    for result in results:
        if result.exit_code == ExitCode.DONE:
            assert result.document["content_root"] == undisturbed.content_root
        else:  # both began at the same second
            assert result.exit_code == ExitCode.PRECONDITION, result.stderr


def recorded(folder: ObjectFolder) -> int:
    """Parts that have a record by now, over all snapshots in the store."""
    return sum(len(folder.child(name).child(RECORDS).names()) for name in folder.names())


def has_recorded(folder: ObjectFolder, parts: int) -> bool:
    return recorded(folder) >= parts


def play(seed: int, bench: Workbench, place: Place, tmp_path: Path) -> tuple[Result, int]:
    """A snapshot in which workers and drivers are killed, at moments that the seed gives.

    Returns the result of the last driver, and the records that were there when it started.
    """
    chance = random.Random(seed)
    looking = object_folder(parse_object_address(place.store), tmp_path / "looking")
    parts = POINTS // PART_POINTS
    moments = sorted(chance.sample(range(1, parts), 4))
    before = 0
    driver = start(bench, place, tmp_path / "driver-0")
    for number, moment in enumerate(moments, start=1):
        wait_until(driver, partial(has_recorded, looking, moment), LOOK_S)
        if chance.random() < 0.6:
            kill_a_worker(place.running, chance)
        if chance.random() < 0.6 or number == len(moments):
            driver.kill()
            finish(driver)
            before = recorded(looking)
            pages(bench)
            # Another machine: nothing of the first one's folder is there.
            driver = start(bench, place, tmp_path / f"driver-{number}")
    return finish(driver), before


def kill_a_worker(running: Any, chance: random.Random) -> None:
    """Without a word, as when memory runs out; the nanny starts another one."""
    os.kill(chance.choice(worker_pids(running)), signal.SIGKILL)


# `make check` has one of the evenings, with workers and drivers killed; `make faults` all twenty.
@pytest.mark.parametrize(
    "seed",
    [0, *(pytest.param(seed, marks=pytest.mark.search) for seed in range(1, 20))],
)
def test_whoever_is_killed_the_root_is_the_same(
    bench: Workbench, place: Place, tmp_path: Path, undisturbed: Undisturbed, seed: int
) -> None:
    result, before = play(seed, bench, place, tmp_path)

    assert result.exit_code == 0, result.stderr
    assert result.document["content_root"] == undisturbed.content_root
    # Of the first reading the last driver had the missing ranges alone, and of those that a killed
    # worker had in its hands some twice; the second reading has them all.
    parts = POINTS // PART_POINTS
    a_range = undisturbed.pages / (2 * parts)
    assert pages(bench) <= (parts - before + parts + 2 * WORKERS) * a_range
