"""Write rows of a mark, a name and a text that wraps in its own column."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from q2v.output.logs import PROCESS_MASKER
from q2v.output.screen.wrapping import wrapped
from q2v.output.terminal import escape_terminal, write_text

_GREEN, _YELLOW, _RED, _GREY = 32, 33, 31, 90
_COLOURS = {
    "ok": _GREEN,
    "pass": _GREEN,
    "warn": _YELLOW,
    "decide": _YELLOW,
    "stale": _YELLOW,
    "unknown": _YELLOW,
    "fail": _RED,
    "skipped": _GREY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row for people."""

    mark: str  # how it stands, in a word
    name: str
    text: str
    advice: str = ""  # below the text, one piece of it a line


def write_table(rows: Sequence[TableRow]) -> None:
    """The rows on stdout, aligned, within the width of the terminal."""
    marks = max((len(row.mark) for row in rows), default=0)
    names = max((len(row.name) for row in rows), default=0)
    colours = has_colours()
    for row in rows:
        head = f"{row.mark:<{marks}}  "
        if row.name:
            head += f"{row.name:<{names}}  "
        blank = " " * len(head)
        lines = wrapped(_plain(row.text), first=head, then=blank)
        for piece in row.advice.splitlines():
            lines += wrapped(_plain(piece), first=f"{blank}-> ", then=f"{blank}   ")
        if colours:
            lines[0] = _coloured(row.mark) + lines[0][len(row.mark) :]
        write_text(sys.stdout, "\n".join(lines) + "\n")


def has_colours() -> bool:
    """Whether stdout shows colours: a terminal, and NO_COLOR (no-color.org) is not set."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout is not None and sys.stdout.isatty() and not is_plain


def _plain(text: str) -> str:
    """Without secrets and control characters."""
    return escape_terminal(PROCESS_MASKER.mask(text))


def _coloured(mark: str) -> str:
    colour = _COLOURS.get(mark)
    return mark if colour is None else f"\x1b[{colour}m{mark}\x1b[0m"
