"""A command on a terminal of its own, and what that terminal shows."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyte

from migrate.clock import SystemClock
from tests.harness.running.loaded.client import start_loaded
from tests.harness.running.workspace import REPOSITORY

WAIT_S = 120.0  # for a text that has to appear, or the end; a busy machine is slow
_SCROLLED_MAX = 2_000  # lines that have left the screen at its top


@dataclass
class Terminal:
    """A running program, the terminal it is on, and everything that was ever drawn."""

    process: subprocess.Popen[str]
    handle: int
    columns: int
    lines: int
    _screen: pyte.HistoryScreen = field(init=False)
    _stream: pyte.ByteStream = field(init=False)
    _drawn: bytes = b""

    def __post_init__(self) -> None:
        self._screen = pyte.HistoryScreen(self.columns, self.lines, history=_SCROLLED_MAX)
        self._stream = pyte.ByteStream(self._screen)

    def wait_for(self, text: str) -> None:
        """Until the terminal shows the text. Fails when the program ends before."""
        until = SystemClock().monotonic_s() + WAIT_S
        while text not in "\n".join(self.shown()):
            assert SystemClock().monotonic_s() < until, f"{text!r} did not appear in {self.shown()}"
            is_open = self._read(1.0)
            assert is_open or text in "\n".join(self.shown()), f"no {text!r}: {self.shown()}"

    def press(self, keys: str) -> None:
        r"""Type; "\r" is the Enter key, "\x03" Ctrl-C."""
        os.write(self.handle, keys.encode())

    def end(self, *, wait_s: float = WAIT_S) -> int:
        """Everything until the program ends; its exit code."""
        until = SystemClock().monotonic_s() + wait_s
        while self._read(1.0):
            assert SystemClock().monotonic_s() < until, f"no end: {self.shown()}"
        return self.process.wait(WAIT_S)

    def shown(self) -> list[str]:
        """The lines from the first to the last, those that have left the screen as well."""
        top = ["".join(line[x].data for x in range(self.columns)) for line in self._scrolled()]
        lines = [line.rstrip() for line in [*top, *self._screen.display]]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def drawn(self) -> str:
        """Every byte that the program has sent, lines that were drawn over as well."""
        return self._drawn.decode(errors="replace")

    def _scrolled(self) -> Iterator[dict[int, pyte.screens.Char]]:
        yield from self._screen.history.top

    def _read(self, seconds: float) -> bool:
        """Draw what comes within `seconds`. False at the end."""
        ready, _, _ = select.select([self.handle], [], [], seconds)
        if not ready:
            return True
        try:
            some = os.read(self.handle, 65_536)
        except OSError:  # what Linux answers once the last program has closed its side
            return False
        self._drawn += some
        self._stream.feed(some)
        return bool(some)


@contextmanager
def on_terminal(
    *words: str,
    environment: Mapping[str, str],
    cwd: Path,
    columns: int = 80,
    lines: int = 24,
    program: Sequence[str] = ("-m", "q2v"),
) -> Iterator[Terminal]:
    """`q2v` with these words; killed at the end of the block if it still runs.

    `program` are other arguments of Python in the place of `-m q2v`.
    """
    handle, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = start_loaded(
        *program,
        *words,
        stdin=other,
        stdout=other,
        stderr=other,
        cwd=cwd,
        has_terminal=True,
        env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(REPOSITORY), **environment},
    )
    os.close(other)
    try:
        yield Terminal(process, handle, columns, lines)
    finally:
        process.kill()
        process.wait()
        os.close(handle)
