"""Whole commands over points that are made on the fly: pipeline, second core, memory, requests."""

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

import httpx

from benchmarks.commands import Place, Run, place
from benchmarks.made import DIMENSIONS, REDUCED
from benchmarks.measure import Demand, Line, ratio_line, wall_ms
from benchmarks.scrolls import scrolls
from benchmarks.services import sink
from benchmarks.steps import ROWS, Steps
from benchmarks.uploads import uploads
from migrate.run.pending import RowRange
from migrate.runtime import NoProgress
from migrate.storage.layout import PLAN
from migrate.storage.local_folder import LocalFolder
from migrate.upload.tasks import UploadJob, UploadProcess
from q2v import wiring

SNAPSHOT_BYTES_PER_POINT = 11_500  # at 3,072 dimensions and 1.3 kB of payload
EMPTY = 10  # points of a collection whose commands need no memory for points
BODY_BYTES = 40_000_000  # the default of limits.body_bytes
START_S_MAX = 0.25
DEMANDED_POINTS = 100_000  # with fewer, the start of the workers is much of the time
SHOWN_S_MIN = 0.1  # of a phase
QUIET = {"Q2V_LIMITS_REQUESTS_PER_5MIN": "1200"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One collection moved from the served source into the sink."""

    size: int
    snapshot: Run
    migrate: Run
    requests: dict[str, int]  # that the sink got, by the last word of their paths
    body_bytes: dict[str, int]

    @property
    def wall_s(self) -> float:
        """Both commands, one after the other."""
        return self.snapshot.wall_s + self.migrate.wall_s

    @property
    def pipeline_s(self) -> float:
        """Reading, writing, reading back, encoding and sending."""
        return self.snapshot.phases_s["reading points"] + self.migrate.phases_s["uploading"]


def check_disk(folder: Path, points: int) -> None:
    """Raises SystemExit when the snapshot would not fit, with a fifth to spare."""
    needed = points * SNAPSHOT_BYTES_PER_POINT * 6 // 5
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SystemExit(
            f"{folder}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} are needed for a snapshot of "
            f"{points:,} points; name another folder in TMPDIR"
        )


def move(size: int, folder: Path, settings: Mapping[str, str] | None = None) -> Moved:
    """Snapshot and migrate, as an operator would."""
    check_disk(folder, size)
    with (
        tempfile.TemporaryDirectory(dir=folder) as scratch,
        place(size, Path(scratch), settings={**QUIET, **(settings or {})}, into_sink=True) as there,
    ):
        return _move(size, there)


def _move(size: int, there: Place) -> Moved:
    snapshot, migrate = there.run("snapshot"), there.run("migrate")
    counts = httpx.get(there.environment["CLOUDFLARE_API_BASE_URL"] + "/counts").json()["result"]
    return Moved(size=size, snapshot=snapshot, migrate=migrate, **counts)


def start_line() -> Line:
    """How long the command line takes to say what it can do."""

    def start() -> None:
        subprocess.run(
            [sys.executable, "-m", "q2v", "--help"], stdout=subprocess.DEVNULL, check=True
        )

    (taken,) = wall_ms(start)
    return Line(
        name="q2v --help",
        ours=taken,
        unit="ms",
        against="wall",
        theirs=None,
        figure=taken / 1000,
        demand=Demand(at_most=START_S_MAX),
    )


def floors_s(folder: Path) -> dict[str, float]:
    """Seconds of wall for each step of a move on one core, per point."""
    steps = Steps(folder)
    with scrolls(ROWS) as read, uploads(steps) as send:
        calls: dict[str, Callable[[], object]] = {
            "scroll": read.floor,
            "sha256": steps.digest_floor,
            "Parquet": lambda: steps.write_to(folder / "floor"),
            "read back": steps.read_floor,
            "reduce": steps.reduce,
            "encode": steps.encode_floor,
        }
        taken = dict(zip(calls, wall_ms(*calls.values()), strict=True))
        (sent,) = wall_ms(send.floor)
    floors = {name: ms / 1000 / ROWS for name, ms in taken.items()}
    return {**floors, "send": sent / 1000 / send.vectors}


def median_move(size: int, folder: Path, *, rounds: int) -> tuple[Moved, dict[str, float]]:
    """The move with the median time of its pipeline, and the medians of the floors around each."""
    floors, moved = [floors_s(folder)], []
    for _ in range(rounds):
        moved.append(move(size, folder))
        floors.append(floors_s(folder))  # a shared machine is not as fast as minutes ago
    moved.sort(key=lambda one: one.pipeline_s)
    return moved[rounds // 2], {
        name: statistics.median(one[name] for one in floors) for name in floors[0]
    }


def pipeline_lines(moved: Moved, floors: Mapping[str, float]) -> Iterator[Line]:
    """What the commands took against one core doing only what cannot be left out."""
    once = sum(floors.values()) * moved.size
    points = f"{moved.size:,} points"
    demand = Demand(at_most=0.9) if moved.size >= DEMANDED_POINTS else Demand()
    floor = "sum of the floors on one core"
    yield ratio_line(
        f"read, write, read back, encode, send {points}",
        moved.pipeline_s,
        floor,
        once,
        demand,
        unit="s",
    )
    yield ratio_line(
        f"both commands whole, {points}", moved.wall_s, floor, once, Demand(), unit="s"
    )


def request_line(moved: Moved, body_bytes: int = BODY_BYTES) -> Line:
    """How many uploads there were against the fewest that the limit allows."""
    sent, requests = moved.body_bytes["upsert"], moved.requests["upsert"]
    fewest = ceil(sent / body_bytes)
    return Line(
        name=f"uploads for {moved.size:,} vectors ({sent / 1e9:.2f} GB)",
        ours=requests,
        unit="",
        against=f"ceil(bytes / {body_bytes / 1e6:.0f} MB)",
        theirs=fewest,
        figure=requests - fewest,
        demand=Demand(at_most=1),
    )


def memory_lines(small: Moved, *moved: Moved) -> Iterator[Line]:
    """Peak memory beyond that of the same commands over next to nothing."""
    for name, most in (("snapshot", 200), ("migrate", 150)):
        base: Run = getattr(small, name)
        for one in moved:
            run: Run = getattr(one, name)
            yield Line(
                name=f"extra peak RSS of {name}, {one.size:,} points",
                ours=run.peak_mb,
                unit="MB",
                against=f"the same over {small.size} points; largest process",
                theirs=base.peak_mb,
                figure=run.peak_mb - base.peak_mb,
                demand=Demand(at_most=most),
            )


def second_process_line(size: int, folder: Path) -> Line:
    """Two upload workers against one, each with a share of the same rows, into the sink."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as scratch,
        place(size, Path(scratch), settings=QUIET, into_sink=True) as there,
    ):
        _move(size, there)
        job = _job(there)
        alone, together = wall_ms(
            partial(_work, job, [RowRange(0, size)]),
            partial(_work, job, [RowRange(0, size // 2), RowRange(size // 2, size)]),
            rounds=5,
        )
    return Line(
        name="a second upload worker, wall",
        ours=together,
        unit="ms",
        against="one worker, start included",
        theirs=alone,
        figure=alone / together,
        demand=Demand(at_least=1.6),
    )


def _job(there: Place) -> UploadJob:
    (plan,) = (there.folder / "snapshots").glob(f"*/runs/*/{PLAN}")
    return UploadJob(
        snapshot=LocalFolder(plan.parents[2]),
        run=LocalFolder(plan.parent),
        excluded=frozenset(),
        api_base_url=there.environment["CLOUDFLARE_API_BASE_URL"],
        allow_other_host=False,
        account_id=sink.ACCOUNT,
        api_token=sink.TOKEN,
        vector_index=sink.INDEX,
        ca_file=None,
        budget=there.folder / "budget" / "requests",
        requests_per_5min=1_200,
        seal_key=None,
        jitter=wiring.jitter,
    )


def _work(job: UploadJob, shares: list[RowRange]) -> None:
    """Send every share from a worker of its own."""

    def send(share: RowRange) -> None:
        with UploadProcess(job, NoProgress()) as worker:
            first = share.first
            while (upload := worker.cut(RowRange(first, share.end), None)) is not None:
                worker.send()
                first = upload.end_row

    with ThreadPoolExecutor(len(shares)) as threads:
        list(threads.map(send, shares))


def facts(moved: Moved) -> Iterator[str]:
    """What a reader wants to know of one move, in words."""
    for name in ("snapshot", "migrate"):
        run: Run = getattr(moved, name)
        phases = (f"{phase} {s:.1f}" for phase, s in run.phases_s.items() if s >= SHOWN_S_MIN)
        yield f"{name:9} {', '.join(phases)} s"
        yield (
            f"{name:9} {moved.size:>9,} points  {moved.size / run.wall_s:>8,.0f} points/s  "
            f"{run.wall_s:7.1f} s wall  {run.cpu_s:7.1f} s CPU  {run.peak_mb:4} MB"
        )
    sent, requests = moved.body_bytes["upsert"], sum(moved.requests.values())
    yield (
        f"wire      {sent / 1e9:.2f} GB in {moved.requests['upsert']} uploads, {requests} requests "
        f"in all; {sent / moved.size:,.0f} B per vector of {REDUCED} (from {DIMENSIONS}) values"
    )
