"""A catch-up of one change in a hundred points: CPU time of the whole `q2v catch-up`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cases.alone import print_lines
from benchmarks.commands import place
from benchmarks.made import DIMENSIONS
from benchmarks.measure import Demand, Line
from benchmarks.services.changing import CHANGED_EVERY
from benchmarks.whole import check_disk

POINTS = 100_000
CPU_S_MAX = 60


def lines(folder: Path, *, points: int = POINTS, dimensions: int = DIMENSIONS) -> Iterator[Line]:
    """The line: snapshot and migrate come first, and are not counted."""
    check_disk(folder, points)
    with (
        tempfile.TemporaryDirectory(dir=folder.absolute()) as scratch,
        place(points, Path(scratch), dimensions=dimensions, into_sink=True) as there,
    ):
        there.run("snapshot")
        there.run("migrate")
        there.change()
        caught = there.run("catch-up")
    changed = caught.document["changed"]
    if changed != points // CHANGED_EVERY:
        raise SystemExit(f"the catch-up has found {changed} changes in {points:,} points")
    yield Line(
        name=f"catch-up of {changed:,} in {points:,} points of {dimensions}",
        ours=caught.cpu_s,
        unit="s",
        against="CPU of the whole command, its processes included",
        theirs=None,
        figure=caught.cpu_s,
        demand=Demand(at_most=CPU_S_MAX),
    )


if __name__ == "__main__":
    print_lines(__doc__, "1.4 GB", lines)
