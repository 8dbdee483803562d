"""A plan with ten rules of `mapping.transform` beside the same plan without one.

Every rule changes every payload, and without rules every point moves too. Both plans read one
snapshot. What is compared is the CPU time (user and system) of the whole `q2v plan`, with the
processes that it starts.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.cases.alone import print_lines
from benchmarks.cases.nested import write_snapshot
from benchmarks.commands import Run, run
from benchmarks.made import REDUCED
from benchmarks.measure import Demand, Line, ratio_line

POINTS = 100_000
DIMENSIONS = (64, 3_072)  # the fewer, the more of a plan is mapping; 3,072 move as 1,536
RATIO_MAX = 1.5
ROUNDS = 3
RULES: list[dict[str, object]] = [
    {"drop": ["_node_content", "metadata.internal"]},
    {"rename": "metadata.source", "to": "source"},
    {"rename": "metadata.page", "to": "page"},
    {"flatten": "metadata"},
    {"to_text": ["user_id"], "of": ["big_integers", "number_lists", "deep_objects"]},
    {"nulls": "leave_out"},
    {"truncate": "text", "characters": 1_000},
    {"truncate": "summary", "characters": 20},
    {"constant": "origin", "value": "qdrant"},
    {
        "keep": [
            *("file_id", "chunk_index", "chunk_hash", "text", "summary", "source", "page"),
            *("origin", "metadata_author", "metadata_created", "user_id", "tags"),
        ]
    },
]
SETTINGS = {
    "QDRANT_COLLECTION": "chunks",
    "Q2V_MAPPING_NULLS": "leave_out",  # else no point would move without rules
}


def lines(
    folder: Path,
    *,
    points: int = POINTS,
    dimensions: Sequence[int] = DIMENSIONS,
    rounds: int = ROUNDS,
) -> Iterator[Line]:
    """One line for each number of dimensions: medians of plans taken in turn."""
    for size in dimensions:
        with tempfile.TemporaryDirectory(dir=folder.absolute()) as scratch:
            snapshot = write_snapshot(Path(scratch), points, size)
            without, with_rules = _cpu_s(snapshot, points, min(size, REDUCED), rounds)
        yield ratio_line(
            f"plan with {len(RULES)} rules, {points:,} points of {size}",
            with_rules,
            "q2v plan without rules, CPU of the whole command",
            without,
            Demand(at_most=RATIO_MAX),
            unit="s",
        )


def _cpu_s(snapshot: Path, points: int, reduced: int, rounds: int) -> tuple[float, float]:
    """Of a plan without rules, and of one with them."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for seconds, rules in zip(taken, ([], RULES), strict=True):
            planned = _plan(snapshot, reduced, rules)
            _check(planned, points, rules)
            seconds.append(planned.cpu_s)
    without, with_rules = map(statistics.median, taken)
    return without, with_rules


def _plan(snapshot: Path, reduced: int, rules: list[dict[str, object]]) -> Run:
    environment = {
        **SETTINGS,
        "Q2V_DIMENSIONS": str(reduced),
        "Q2V_REDUCE": "matryoshka" if reduced == REDUCED else "none",
        "Q2V_MAPPING_TRANSFORM": json.dumps(rules),
    }
    return run(["plan", str(snapshot), "--dir", str(snapshot.parent)], environment)


def _check(planned: Run, points: int, rules: list[dict[str, object]]) -> None:
    """Raises SystemExit when a point does not move, or a rule does not change every point."""
    effects = planned.document["transforms"]
    assert isinstance(effects, list)
    changed = [effect["points"] for effect in effects]
    if planned.number("vectors") != points or changed != [points] * len(rules):
        raise SystemExit(f"{planned.number('vectors')} vectors move, rules change {changed}")


if __name__ == "__main__":
    print_lines(__doc__, "1.5 GB", lines)
