"""A snapshot whose ranges are read by two Dask workers into an object store, beside a local one.

CPU of the command with all its workers; the source and the store are processes of their own and do
not count. The store is versitygw, which `make store-server` builds. Then the same with the command
killed half-way and started again: how many points the source has sent more than once.
"""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import psutil  # type: ignore[import-untyped]
from distributed import LocalCluster

from benchmarks.cases.alone import print_lines
from benchmarks.commands import run, serving_process
from benchmarks.made import DIMENSIONS, TEXT_REPEATED
from benchmarks.measure import Demand, Line
from benchmarks.services.served import points_sent
from benchmarks.whole import check_disk
from migrate.clock import SystemClock

POINTS = 300_000  # starting cluster and command costs 3 s of CPU, whatever the size
WORKERS = 2
RATIO_MAX = 1.15  # of the CPU of a snapshot in the same store that this machine reads
GATEWAY = Path("build/bin/versitygw")
_BUCKET = "bench"
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-of-this-machine"}


def lines(folder: Path, *, points: int = POINTS, dimensions: int = DIMENSIONS) -> Iterator[Line]:
    """Local folder, object store, object store with workers: the roots have to be the same."""
    check_disk(folder, 4 * points)
    with (
        tempfile.TemporaryDirectory(dir=folder.absolute()) as scratch,
        serving_process(
            "benchmarks.services.served",
            *(str(points), str(dimensions), str(TEXT_REPEATED)),
            str(sent := Path(scratch) / "sent"),
        ) as (url, _),
        _gateway(Path(scratch) / "objects") as endpoint,
    ):
        settings = {
            "QDRANT_URL": url.strip(),
            "QDRANT_COLLECTION": "chunks",
            "Q2V_TRANSPORT": "grpc",
            "Q2V_SNAPSHOT_READERS": str(WORKERS),
            **_CREDENTIALS,
        }

        def words(name: str, *others: str) -> list[str]:
            place = ["--dir", f"s3://{_BUCKET}/{name}?endpoint={endpoint}&region=us-east-1"]
            return ["snapshot", *place, "--local", str(Path(scratch) / name), *others]

        here = run(["snapshot", "--dir", str(Path(scratch) / "here")], settings)
        stored = run(words("stored"), settings)
        with _cluster(settings) as (scheduler, pids):
            by_workers = ("--executor", "dask", "--scheduler", scheduler)
            before, sent_before = _cpu_s(pids), points_sent(sent)
            spread = run(words("spread", *by_workers), settings)
            workers_s = _cpu_s(pids) - before
            peaks = [_peak_mb(pid) for pid in pids]
            undisturbed = points_sent(sent) - sent_before
            of_one = points // (parts := len(list(_parts(Path(scratch), "spread"))))
            _kill_when(
                words("killed", *by_workers),
                settings,
                when=lambda: len(list(_parts(Path(scratch), "killed"))) >= parts // 2,
            )
            again = run(words("killed", *by_workers), settings)
            twice = points_sent(sent) - sent_before - 2 * undisturbed
    roots = {one.document["content_root"] for one in (here, stored, spread, again)}
    if len(roots) != 1:
        raise SystemExit(f"four snapshots of the same points have roots {roots}")
    size = f"{points:,} points of {dimensions}"
    yield Line(
        name=f"snapshot of {size} into a store",
        ours=stored.cpu_s,
        unit="s",
        against="into a local folder, two processes each",
        theirs=here.cpu_s,
        figure=stored.cpu_s / here.cpu_s,
        demand=Demand(),
    )
    memory = f"{max(peaks)} MB each at most, the command {spread.peak_mb} MB"
    yield Line(
        name=f"the same by {WORKERS} Dask workers, {memory}",
        ours=spread.cpu_s + workers_s,
        unit="s",
        against="into the store, two processes",
        theirs=stored.cpu_s,
        figure=(spread.cpu_s + workers_s) / stored.cpu_s,
        demand=Demand(at_most=RATIO_MAX),
    )
    yield Line(
        name=f"command killed at half of {parts} parts and started again: points read twice",
        ours=twice,
        unit="points",
        against=f"parts of {of_one:,} points, one a worker in flight",
        theirs=WORKERS * of_one,
        figure=twice / of_one,
        demand=Demand(at_most=WORKERS),
    )


def _parts(scratch: Path, name: str) -> Iterator[Path]:
    """The parts that a snapshot has in the store's files."""
    return (scratch / "objects" / _BUCKET / name).glob("*/parts/part-*.parquet")


def _kill_when(words: list[str], environment: dict[str, str], when: Callable[[], bool]) -> None:
    """Start q2v, and kill it when that is true."""
    with subprocess.Popen(  # noqa: S603 - our own commands
        [sys.executable, "-m", "q2v", *words],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not when():
            if process.poll() is not None:
                raise SystemExit(f"q2v {words[0]} ended with {process.returncode} before the kill")
            SystemClock().wait(0.05)
        process.kill()


@contextmanager
def _gateway(folder: Path) -> Iterator[str]:
    """A store on files; gives its endpoint."""
    if not GATEWAY.is_file():
        raise SystemExit(f"{GATEWAY} is missing: `make store-server` builds it")
    (folder / _BUCKET).mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "ROOT_ACCESS_KEY": _CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "ROOT_SECRET_KEY": _CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    }
    words = [str(GATEWAY), "--port", f"127.0.0.1:{port}", "posix", str(folder)]
    with subprocess.Popen(  # noqa: S603 - our own commands
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            while not _takes_connections(port):
                SystemClock().wait(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _takes_connections(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _cluster(environment: dict[str, str]) -> Iterator[tuple[str, list[int]]]:
    """Two workers on this machine; gives the scheduler's address and the workers' process ids."""
    kept = {"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**30}
    with (
        dask.config.set(kept),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=WORKERS,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            env=environment,
        ) as running,
    ):
        yield running.scheduler_address, [nanny.pid for nanny in running.workers.values()]


def _cpu_s(pids: list[int]) -> float:
    found = [psutil.Process(pid).cpu_times() for pid in pids]
    return float(sum(one.user + one.system for one in found))


def _peak_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    print_lines(__doc__ or "", "10 GB", lines)
