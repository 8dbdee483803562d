"""Progress as plain lines, for log files and pipes."""

import threading
from typing import TYPE_CHECKING, TextIO

from q2v.output.logs import PROCESS_MASKER
from q2v.output.progress.work import Work
from q2v.output.terminal import escape_terminal, write_text

if TYPE_CHECKING:
    from migrate.ports import Clock, Limiter

LINE_EVERY_S = 60.0


def shown(text: str) -> str:
    """A text as it may be written: without secrets and control characters."""
    return escape_terminal(PROCESS_MASKER.mask(text))


class PlainProgress:
    """One line when a piece of work starts, one per minute while it lasts, and every `say`.

    The pace comes from the clock that never jumps.
    """

    def __init__(self, stream: TextIO, clock: "Clock") -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()  # uploads report from several threads
        self._work = Work(clock)
        self._written_s = 0.0

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        """A new piece of work of `total` units."""
        with self._lock:
            self._work.start(what, total=total, unit=unit, requests=requests)
            self._written_s = self._clock.monotonic_s()
            self._write(self._work.announced())

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        """`count` more units are done; at most one line a minute says so."""
        with self._lock:
            self._work.pace.advance(count, bytes_=bytes_, earlier=earlier)
            now_s = self._clock.monotonic_s()
            if self._work.what and now_s - self._written_s >= LINE_EVERY_S:
                self._written_s = now_s
                self._write(self._work.state())

    def watch(self, limiter: "Limiter") -> None:
        """What requests wait for."""
        with self._lock:
            self._work.watch(limiter)

    def say(self, text: str) -> None:
        """One line, at once."""
        with self._lock:
            self._write(text)

    def tick(self) -> None:
        """Nothing: a log file needs no second hand."""

    def set_aside(self) -> None:
        """Nothing: no line is open."""

    def close(self) -> None:
        """Nothing is left open."""

    def _write(self, text: str) -> None:
        write_text(self._stream, f"{shown(text)}\n")
