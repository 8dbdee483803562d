"""`make bench` and `make bench-full`: every demand of speed and size, measured in one run."""

import argparse
import gc
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import diff, edge, packing, scrolls, steps, uploads, whole
from benchmarks.cases import catch_up, parity, rules
from benchmarks.measure import HEAD, Line
from migrate.clock import SystemClock
from migrate.model.stamps import iso_stamp
from migrate.workers.processes import KEEP_FREED_MEMORY, freeze_gc

SCRATCH = (
    Path("build") / "bench"
)  # in the clone, and git ignores it: a small /tmp would not hold it
RESULTS = Path("benchmarks") / "RESULTS.md"
# Points -> how often they are moved. The move with the median time stands for the others.
QUICK_MOVES = {20_000: 1}
FULL_MOVES = {whole.DEMANDED_POINTS: 3, 1_000_000: 1}
SECOND_PROCESS_POINTS = 60_000  # a worker's start is then a fifth of its time


def main() -> None:
    """Print the table; with --write keep it, with date and machine, in RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="100,000 and 1,000,000 points too")
    parser.add_argument("--write", action="store_true", help=f"put the table into {RESULTS}")
    choice = parser.parse_args()
    if not KEEP_FREED_MEMORY.items() <= os.environ.items():  # as q2v starts its workers
        words = [sys.executable, "-m", "benchmarks.run", *sys.argv[1:]]
        os.execve(words[0], words, {**os.environ, **KEEP_FREED_MEMORY})  # noqa: S606 - ourselves
    for name in KEEP_FREED_MEMORY:
        del os.environ[name]  # commands are started as by an operator
    SCRATCH.mkdir(parents=True, exist_ok=True)
    freeze_gc()  # as the processes do whose steps are measured here
    told: list[str] = []
    with tempfile.TemporaryDirectory(dir=SCRATCH) as scratch:
        for text in _table(Path(scratch), full=choice.full):
            told.append(text)
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
    gc.unfreeze()  # or duckdb's binding lists at the end everything that it cannot free
    if choice.write:
        _write(told, full=choice.full)


def _table(folder: Path, *, full: bool) -> Iterator[str]:
    yield HEAD
    yield from map(str, _step_lines(folder))
    yield from map(str, _command_lines(folder))
    yield from map(str, edge.lines(folder))
    if full:
        yield str(edge.against_rest_line(folder))
        yield from map(str, rules.lines(folder))
        yield from map(str, catch_up.lines(folder))
        yield from map(str, parity.lines(folder))
    yield from _moves(folder, FULL_MOVES if full else QUICK_MOVES)
    if full:
        yield from map(str, diff.lines(folder))


def _step_lines(folder: Path) -> Iterator[Line]:
    rows = steps.Steps(folder)
    yield from rows.lines()
    with scrolls.scrolls(steps.ROWS) as readers:
        yield from scrolls.scroll_lines(readers)
    yield from packing.packing_lines(steps.ROWS)
    with scrolls.scrolls(scrolls.SNAPSHOT_ROWS) as readers:
        whole_rows = steps.Steps(folder, scrolls.SNAPSHOT_ROWS)
        yield from scrolls.snapshot_lines(readers, whole_rows, folder)
    with uploads.uploads(rows) as senders:
        yield from uploads.upload_lines(senders)


def _command_lines(folder: Path) -> Iterator[Line]:
    yield whole.start_line()
    yield whole.second_process_line(SECOND_PROCESS_POINTS, folder)


def _moves(folder: Path, times: Mapping[int, int]) -> Iterator[str]:
    small = whole.move(whole.EMPTY, folder)
    moved = []
    for size, rounds in times.items():
        one, floors = whole.median_move(size, folder, rounds=rounds)
        moved.append(one)
        yield ""
        yield from whole.facts(one)
        yield from map(str, whole.pipeline_lines(one, floors))
        yield str(whole.request_line(one))
    yield ""
    yield from map(str, whole.memory_lines(small, *moved))


def _write(told: list[str], *, full: bool) -> None:
    """Replace the part of RESULTS.md that this kind of run writes."""
    kind = "make bench-full" if full else "make bench"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    begin, end = f"<!-- {kind} -->\n", f"<!-- end of {kind} -->\n"
    section = (
        f"{begin}## `{kind}`\n\n{iso_stamp(SystemClock().wall_s())[:10]}, {machine}, Python "
        f"{platform.python_version()}\n\n```\n" + "\n".join(told) + f"\n```\n\n{end}"
    )
    text = RESULTS.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    RESULTS.write_text(before + section + after, encoding="utf-8")


if __name__ == "__main__":
    main()
