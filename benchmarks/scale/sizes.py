"""What one point takes on the disk: a small move, and the rows of a plan that spill.

`.venv/bin/python -m benchmarks.scale.sizes FOLDER [POINTS]` prints figures that `facts.py` keeps.
"""

import hashlib
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks.commands import place
from benchmarks.diff import vector_id
from benchmarks.made import REDUCED
from migrate.storage.layout import MANIFEST, PARTS, PRE_IMAGES, RUNS, TARGETS
from migrate.tables.plan_ids import IdTable, PlannedRows

POINTS = 20_000
SPILLED_ROWS = 2_000_000
_PAGE_ROWS = 10_000


def bytes_of(folder: Path) -> int:
    """Of all files below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stored(points: int, dimensions: int, folder: Path) -> Iterator[tuple[str, float]]:
    """Name and bytes a point, of each kind of file that a snapshot and a run leave."""
    with place(points, folder, dimensions=dimensions, into_sink=True) as there:
        there.run("snapshot")
        there.run("migrate")
    (manifest,) = folder.glob(f"snapshots/*/{MANIFEST}")
    snapshot = manifest.parent
    (run,) = (snapshot / RUNS).iterdir()
    parts = bytes_of(snapshot / PARTS)
    targets, before = (run / TARGETS).stat().st_size, bytes_of(run / PRE_IMAGES)
    yield "parts", parts / points
    yield "snapshot beside its parts", (bytes_of(snapshot) - parts - bytes_of(run)) / points
    yield "targets.parquet", targets / points
    yield "pre-images of absent vectors", before / points
    yield "run beside both", (bytes_of(run) - targets - before) / points


def spilled(rows: int, folder: Path) -> float:
    """Bytes a row that duckdb has written, at most, while a plan checks `rows` rows."""
    with IdTable(folder, rows=0) as table:
        for first in range(0, rows, _PAGE_ROWS):
            numbers = range(first, first + _PAGE_ROWS)
            table.add(
                PlannedRows(
                    rows=list(numbers),
                    vector_ids=[vector_id(number) for number in numbers],
                    files=[vector_id(number)[:33] for number in numbers],
                    positions=[number % 20 for number in numbers],
                    contents=[hashlib.sha256(b"%d" % number).digest() for number in numbers],
                    points=[
                        f"uuid:{hashlib.sha256(b'%d' % number).hexdigest()[:32]}"
                        for number in numbers
                    ],
                    metadata_bytes=[1_300] * _PAGE_ROWS,
                    notes=[()] * _PAGE_ROWS,
                    namespaces=[None] * _PAGE_ROWS,
                )
            )
        seen = [bytes_of(folder)]
        for sort in (table.collisions, table.gaps, table.files):
            deque(sort(), maxlen=0)
            seen.append(bytes_of(folder))
        return max(seen) / rows


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("points", type=click.IntRange(min=1_000), default=POINTS)
def main(folder: Path, points: int) -> None:
    """Move POINTS points of 3,072 and of 1,536 dimensions below FOLDER; print bytes a point."""
    folder.mkdir(parents=True, exist_ok=True)
    for dimensions in (2 * REDUCED, REDUCED):
        with tempfile.TemporaryDirectory(dir=folder.absolute()) as scratch:
            for name, size in stored(points, dimensions, Path(scratch)):
                sys.stdout.write(f"{dimensions:>6,}  {name:<30}{size:>12,.1f} B a point\n")
                sys.stdout.flush()
    with tempfile.TemporaryDirectory(dir=folder.absolute()) as scratch:
        size = spilled(SPILLED_ROWS, Path(scratch) / "spill")
        sys.stdout.write(f"        plan, spilled by duckdb       {size:>12,.1f} B a point\n")


if __name__ == "__main__":
    main()
