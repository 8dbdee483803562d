"""A move whose commands are shown on a terminal, and the comparison with what was kept."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.running.terminal import Terminal, on_terminal
from tests.harness.running.workbench import Workbench
from tests.q2v.screens.plain import plain

KEPT = Path(__file__).with_name("kept")

ACCEPT = "ACCEPT_SCREENS"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COMMAND = re.compile(r"\(?(?:or )?`q2v [^`]+`\)?[;,.]?")  # alone on its line
SIZES = [(80, 24), (120, 40)]
# Short, so that lines do not wrap in one place on one machine and in another on the next.
FOLDER = "snapshots"
PROGRAM = ("-m", "q2v")


@dataclass(frozen=True)
class Bench:
    """A move in a folder of its own."""

    workbench: Workbench
    cwd: Path

    def show(
        self,
        *words: str,
        columns: int,
        lines: int,
        act: Callable[[Terminal], None] = lambda _: None,
        program: Sequence[str] = PROGRAM,
    ) -> tuple[int, Terminal]:
        with on_terminal(
            *words,
            environment=self.workbench.environment,
            cwd=self.cwd,
            columns=columns,
            lines=lines,
            program=program,
        ) as terminal:
            act(terminal)
            return terminal.end(), terminal


def check_kept(
    name: str, terminal: Terminal, bench: Bench, lines: Sequence[str] | None = None
) -> None:
    """Compare with the kept file, word by word: where lines break depends on lengths of times.

    `lines`: what was shown at some time before the end. With ACCEPT in the environment the file
    is written before.
    """
    names = {str(bench.cwd / FOLDER): f"FOLDER/{FOLDER}", str(bench.cwd): "FOLDER"}
    source = bench.workbench.environment.get("QDRANT_URL")
    names |= {} if source is None else {source: "http://QDRANT"}
    shown = terminal.shown() if lines is None else lines
    check_lines(name, shown, names, columns=terminal.columns)


def check_lines(name: str, lines: Sequence[str], names: Mapping[str, str], *, columns: int) -> None:
    """As `check_kept`, of these lines of a terminal; `names` is what `plain` takes.

    A terminal breaks a word that is longer than its line, such as a path, wherever the line ends.
    So the spaces count only where no line is full: how long a path is differs between machines.
    """
    shown = plain(lines, names)
    file = KEPT / f"{name}-{columns}.txt"
    if os.environ.get(ACCEPT):
        file.write_text(shown, encoding="utf-8")
    is_broken = any(len(line) >= columns for line in lines)
    between = "" if is_broken else " "
    kept = file.read_text(encoding="utf-8")
    assert between.join(shown.split()) == between.join(kept.split()), shown


def check_width(terminal: Terminal, bench: Bench) -> None:
    """As `check_width_in`, of a move."""
    check_width_in(terminal, bench.cwd)


def check_width_in(terminal: Terminal, cwd: Path) -> None:
    """No line that is written is longer than the terminal, but for what is to be pasted."""
    place = str(cwd)
    lines = ANSI.sub("", terminal.drawn()).replace("\r\n", "\n").split("\n")
    long = [
        piece
        for line in lines
        for piece in line.split("\r")
        if len(piece.replace(place, "")) > terminal.columns
        and not piece.startswith(("next: q2v", "  wrangler "))
        and not _COMMAND.fullmatch(piece.strip().removeprefix("next: "))
        and " " in piece.strip()  # a path
    ]
    assert long == []
