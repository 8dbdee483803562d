"""Compare ten million listed ids with what a run has put there: rows, CPU seconds, peak memory.

As reconcile does it: the run's ids from its targets.parquet, the listing page by page. The data is
made on the fly in build/; the comparison runs in a process of its own, since peak memory only
ever grows. `.venv/bin/python -m benchmarks.diff [VECTORS]`.
"""

import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
import pyarrow as pa

from benchmarks.measure import Demand, Line
from migrate.model.records import VectorId
from migrate.plan.record import TargetsFile
from migrate.run.targets import (
    TARGETS_SCHEMA,
    Selection,
    read_targets,
    write_targets,
)
from migrate.storage.local_folder import LocalFolder
from migrate.storage.parquet.row_files import ROW_GROUP_ROWS
from migrate.tables.target_ids import ID_COLUMNS, MEMORY_MB, ListedIds

VECTORS = 10_000_000
ROUNDS = 3
PAGE_IDS = 1_000
APART = 1_000  # of this number of ids one is missing on each side
STRIDE = 7_368_787  # a prime: the listing has an order of its own
CPU_S_MAX, PEAK_MB_MAX = 12.0, 800  # for 10,000,000
DISK_BYTES_PER_VECTOR = 300  # the file, and what duckdb spills
SCRATCH = Path("build") / "diff"


def vector_id(number: int) -> VectorId:
    """45 bytes: a file's id and the number of a chunk."""
    return VectorId(f"{number * 2_654_435_761 % 2**64:016x}-{number // 7:016x}_{number:011d}")


def tables(vectors: int) -> Iterator[pa.Table]:
    """What the run's rows become; ids from 0 on."""
    for first in range(0, vectors, ROW_GROUP_ROWS):
        rows = range(first, min(vectors, first + ROW_GROUP_ROWS))
        columns: list[list[object]] = [
            list(rows),
            [vector_id(row) for row in rows],
            [f"{row // 7:016x}" for row in rows],
            [row % 7 for row in rows],
            [hashlib.sha256(row.to_bytes(8, "big")).digest() for row in rows],
        ]
        yield pa.table(
            [pa.array(one, field.type) for one, field in zip(columns, TARGETS_SCHEMA, strict=True)],
            schema=TARGETS_SCHEMA,
        )


class Listing:
    """The listing, page by page; counts what making it up has cost."""

    def __init__(self, vectors: int) -> None:
        self.cpu_s = 0.0
        self._vectors = vectors

    def pages(self) -> Iterator[list[VectorId]]:
        """As many ids as the run has, from `vectors / APART` on, in an order of their own."""
        first, count = self._vectors // APART, self._vectors
        for start in range(0, count, PAGE_IDS):
            before = time.process_time()
            positions = range(start, min(count, start + PAGE_IDS))
            page = [vector_id(first + position * STRIDE % count) for position in positions]
            self.cpu_s += time.process_time() - before
            yield page


def compare(folder: Path, expected: TargetsFile) -> dict[str, float]:
    """One comparison, as `reconcile/scan/vectors.py` makes it."""
    before = time.process_time()
    listing = Listing(expected.rows)
    with ListedIds(folder / "spill") as listed:
        count = listed.replace(listing.pages())
        targets = LocalFolder(folder).file("targets.parquet")
        listed.compare(read_targets(targets, expected, ID_COLUMNS, Selection()))
        missing = sum(1 for _ in listed.missing())
        extra = sum(1 for _ in listed.elsewhere())
    cpu_s = time.process_time() - before - listing.cpu_s
    assert count == expected.rows
    assert missing == extra == expected.rows // APART, (missing, extra)
    return {"cpu_s": cpu_s, "peak_mb": _peak_mb()}


def _peak_mb() -> int:
    """Of this process: `ru_maxrss` would be inherited from a fat parent."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("Linux tells it")


def measure(vectors: int, folder: Path) -> dict[str, float]:
    """Make the data, then compare several times, each in a process of its own."""
    expected = write_targets(LocalFolder(folder).file("targets.parquet"), tables(vectors))
    words = [sys.executable, "-m", "benchmarks.diff", "--in", str(folder)]
    found: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        done = subprocess.run(  # noqa: S603 - our own command
            [*words, json.dumps(asdict(expected))], stdout=subprocess.PIPE, check=True, text=True
        )
        found.append(json.loads(done.stdout))
    return {
        "cpu_s": statistics.median(one["cpu_s"] for one in found),
        "peak_mb": max(one["peak_mb"] for one in found),
    }


def lines(folder: Path, vectors: int = VECTORS) -> Iterator[Line]:
    """Median CPU and most memory of a comparison; the demands are for ten million."""
    check_disk(folder, vectors)
    found = measure(vectors, folder)
    what = f"{vectors // APART:,} missing on each side, duckdb's limit {MEMORY_MB} MB"
    yield Line(
        name=f"diff of {vectors:,} ids, CPU",
        ours=found["cpu_s"],
        unit="s",
        against=what,
        theirs=None,
        figure=found["cpu_s"],
        demand=Demand(at_most=CPU_S_MAX),
    )
    yield Line(
        name=f"diff of {vectors:,} ids, peak RSS",
        ours=found["peak_mb"],
        unit="MB",
        against="of the whole process",
        theirs=None,
        figure=found["peak_mb"],
        demand=Demand(at_most=PEAK_MB_MAX),
    )


def check_disk(folder: Path, vectors: int) -> None:
    """Raises SystemExit when the ids and what spills would not fit."""
    needed, free = vectors * DISK_BYTES_PER_VECTOR, shutil.disk_usage(folder).free
    if free < needed:
        raise SystemExit(f"{needed / 1e9:.1f} GB of disk are needed, {free / 1e9:.1f} are free")


@click.command()
@click.argument("vectors", type=click.IntRange(min=APART), default=VECTORS)
@click.option("--in", "made", type=(click.Path(path_type=Path), str), hidden=True)
def main(vectors: int, made: tuple[Path, str] | None) -> None:
    """Compare VECTORS listed ids (ten million) with those of a run; print CPU time and memory."""
    # The process of one comparison: the data is there, the figures are the output.
    if made is not None:
        folder, expected = made[0], TargetsFile(**json.loads(made[1]))
        sys.stdout.write(json.dumps(compare(folder, expected)))
        return
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        for line in lines(Path(scratch), vectors):
            sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
