"""`q2v parity` over 100,000 points of 3,072 dimensions: CPU time and memory of the command."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.cases.alone import print_lines
from benchmarks.cases.nested import write_snapshot
from benchmarks.commands import run
from benchmarks.measure import Demand, Line

POINTS, DIMENSIONS, QUERIES = 100_000, 3_072, 1_000
WIDTHS = (256, 512, 768, 1_024, 1_536)  # and the whole width
CPU_S_MAX, MEMORY_MB_MAX = 20, 250


def lines(folder: Path) -> Iterator[Line]:
    """A line for the time and one for the memory."""
    with tempfile.TemporaryDirectory(dir=folder.absolute()) as scratch:
        snapshot = write_snapshot(Path(scratch), POINTS, DIMENSIONS)
        file = Path(scratch) / "queries.npy"
        chance = np.random.default_rng(1)
        np.save(file, chance.standard_normal((QUERIES, DIMENSIONS), dtype=np.float32))
        words = ["parity", str(snapshot), "--dir", scratch, "--queries", str(file)]
        measured = run([*words, *(part for width in WIDTHS for part in ("--at", str(width)))], {})
    what = f"parity, {QUERIES:,} queries, {POINTS:,} points, {len(WIDTHS) + 1} widths"
    for name, figure, unit, most in (
        ("CPU", measured.cpu_s, "s", CPU_S_MAX),
        ("memory", measured.peak_mb, "MB", MEMORY_MB_MAX),
    ):
        yield Line(
            name=f"{what}: {name}",
            ours=figure,
            unit=unit,
            against="the limit",
            theirs=None,
            figure=figure,
            demand=Demand(at_most=most),
        )


if __name__ == "__main__":
    print_lines(__doc__, "1.3 GB", lines)
