"""What a canary is: one bug planted on purpose, and the test that has to meet it."""

from dataclasses import dataclass
from textwrap import indent


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A bug that somebody could write in good faith: the code still runs, and mostly works.

    `old` occurs exactly once in `file`; `new` takes its place.
    """

    name: str
    effect: str  # what it would do in production, one clause
    file: str
    old: str
    new: str
    test: str  # pytest id; a function stands for all of its cases


def code(depth: int, *lines: str) -> str:
    """Whole lines of code, `depth` levels deep."""
    return indent("".join(f"{line}\n" for line in lines), "    " * depth)
