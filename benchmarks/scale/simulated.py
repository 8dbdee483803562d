"""The table of the simulation in docs/scale.md: each stage beside the arithmetic."""

from collections.abc import Iterator, Sequence
from math import isinf

from benchmarks.scale.arithmetic import Size
from benchmarks.scale.stages import CASES, GIVE_UP, ROUGH, Case
from benchmarks.scale.tables import WIDE, markdown, points_of, span

HEAD = (
    "points",
    "stage",
    "arithmetic",
    "simulated",
    "apart",
    "held by",
    "with failures",
    "ends of the driver",
    "done again",
)
NEVER = f"not within {GIVE_UP} times"


def row(size: Size, name: str, case: Case) -> list[str]:
    """One stage of one size."""
    quiet, rough = case.run(), case.run(ROUGH)
    return [
        points_of(size),
        name,
        span(case.expected_s),
        span(quiet.seconds),
        f"{quiet.seconds / case.expected_s - 1:+.2%}",
        quiet.held_by,
        NEVER if isinf(rough.seconds) else f"{rough.seconds / quiet.seconds:.2f} times",
        f"{rough.restarts:,}",
        f"{rough.repeated * case.group:,}",
    ]


def rows(sizes: Sequence[Size] = WIDE) -> Iterator[list[str]]:
    """Every stage of these sizes."""
    for size in sizes:
        for name, case in CASES.items():
            yield row(size, name, case(size))


def simulated() -> str:
    """The table."""
    return markdown(HEAD, rows())
