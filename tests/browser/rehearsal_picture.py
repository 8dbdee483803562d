"""A rehearsal on a terminal as a page, to make a picture of: a real screen, cut twice."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tests.harness.running.terminal import on_terminal

COLUMNS = 100
WAIT_S = 1_800.0  # a busy machine is slow
FIRST, LAST, END = "11. ", "14. ", "17. "  # steps: shown from, up to, and again from
_STEP = re.compile(r"[ \d]\d\. ")
_CUT = ("", "⋮", "")
_PAGE = """<!doctype html><meta charset="utf-8"><title>q2v rehearse</title><style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; background: light-dark(#ffffff, #0d1117); color: light-dark(#1f2328, #e6edf3); }}
pre {{ margin: 16px; font: 14px/19px "DejaVu Sans Mono", "Liberation Mono", monospace; }}
b {{ color: light-dark(#0a5c2b, #7ee2a0); }}
</style><pre>{lines}</pre>
"""


def rehearsal_screen(folder: Path) -> Sequence[str]:
    """What `q2v rehearse` leaves on a terminal of 100 columns; it has to end with 0."""
    with on_terminal("rehearse", environment={}, cwd=folder, columns=COLUMNS) as terminal:
        code = terminal.end(wait_s=WAIT_S)
        shown = terminal.shown()
    assert code == 0, shown
    return shown


def rehearsal_page(screen: Sequence[str]) -> str:
    """The steps in which differences are planted, found and repaired, and the end, as HTML."""
    first, last, end = (_at(screen, step) for step in (FIRST, LAST, END))
    lines = ["$ make rehearse", *_CUT, *screen[first:last], *_CUT[1:], *screen[end:]]
    return _PAGE.format(lines="\n".join(map(_marked, lines)))


def _at(screen: Sequence[str], step: str) -> int:
    (found,) = [at for at, line in enumerate(screen) if line.startswith(step)]
    return found


def _marked(line: str) -> str:
    """The line in HTML; titles of steps and the last word stand out."""
    text = escape(line)
    stands_out = _STEP.match(line) or " steps held, " in line
    return f"<b>{text}</b>" if stands_out else text
