"""Tell the person at the keyboard how far a command is, on stderr."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from q2v.logs import PROCESS_MASKER
from q2v.render import format_count, format_duration
from q2v.terminal import escape_terminal, write_text

if TYPE_CHECKING:
    from tqdm import tqdm

    from migrate.ports import Clock, Progress

LINE_EVERY_S = 60.0


def _line(text: str) -> str:
    return escape_terminal(PROCESS_MASKER.mask(text))


class PlainProgress:
    """One line when a piece of work starts, one per minute while it goes on, and every `say`.

    For log files and pipes. The pace comes from the clock that never jumps.
    """

    def __init__(self, stream: TextIO, clock: "Clock") -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()  # uploads report from several threads
        self._what, self._unit = "", ""
        self._total: int | None = None
        self._done = 0
        self._started_s = self._written_s = 0.0

    def start(self, what: str, *, total: int | None, unit: str) -> None:
        """A new piece of work of `total` units."""
        with self._lock:
            self._what, self._total, self._unit, self._done = what, total, unit, 0
            self._started_s = self._written_s = self._clock.monotonic_s()
            size = "" if total is None else f": {format_count(total)} {unit}"
            self._write(f"{what}{size}")

    def advance(self, count: int) -> None:
        """`count` more units are done; at most one line a minute says so."""
        with self._lock:
            self._done += count
            now_s = self._clock.monotonic_s()
            if now_s - self._written_s >= LINE_EVERY_S:
                self._written_s = now_s
                self._write(self._state(now_s - self._started_s))

    def say(self, text: str) -> None:
        """One line, at once."""
        with self._lock:
            self._write(text)

    def close(self) -> None:
        """Nothing is left open."""

    def _state(self, elapsed_s: float) -> str:
        done = f"{self._what}: {format_count(self._done)}"
        rate = self._done / elapsed_s
        pace = f"{rate:,.1f} {self._unit}/s"
        if self._total is None:
            return f"{done} {self._unit}, {pace}"
        share = f"({self._done / self._total:.0%})" if self._total else "(100%)"
        state = f"{done} of {format_count(self._total)} {self._unit} {share}, {pace}"
        if rate and self._done < self._total:
            state += f", about {format_duration((self._total - self._done) / rate)} left"
        return state

    def _write(self, text: str) -> None:
        write_text(self._stream, f"{_line(text)}\n")


class TerminalProgress:
    """A bar that moves; `say` writes above it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._bar: tqdm[None] | None = None

    def start(self, what: str, *, total: int | None, unit: str) -> None:
        """A new bar below the former one, which stays as it ended."""
        # Imported here: a command that shows no bar does not pay for it.
        from tqdm import tqdm  # noqa: PLC0415

        with self._lock:
            self._close()
            self._bar = tqdm(
                desc=_line(what),
                total=total,
                unit=f" {unit}",
                file=self._stream,
                dynamic_ncols=True,
                unit_scale=False,
            )

    def advance(self, count: int) -> None:
        """Move the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.update(count)

    def say(self, text: str) -> None:
        """One line above the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.clear()
            write_text(self._stream, f"{_line(text)}\n")
            if self._bar is not None:
                self._bar.refresh()

    def close(self) -> None:
        """Leave the last bar as it is and the cursor below it. Harmless when repeated."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@contextmanager
def open_progress(stream: TextIO, clock: "Clock") -> "Iterator[Progress]":
    """A bar when `stream` is a terminal, plain lines otherwise; closed at the end."""
    progress = TerminalProgress(stream) if stream.isatty() else PlainProgress(stream, clock)
    try:
        yield progress
    finally:
        progress.close()
