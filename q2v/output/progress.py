"""Show the operator on stderr how far a command is."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from q2v.output.eta import Pace
from q2v.output.logs import PROCESS_MASKER
from q2v.output.render import format_count
from q2v.output.terminal import escape_terminal, write_text

if TYPE_CHECKING:
    from tqdm import tqdm

    from migrate.ports import Clock, Limiter, Progress

LINE_EVERY_S = 60.0
WORDS_EVERY_S = 1.0
# tqdm's own rate and end know nothing of the limiter.
_WITHOUT_BAR = "{desc}: {n_fmt}{unit} [{elapsed}{postfix}]"
_WITH_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit} [{elapsed}{postfix}]"


def _line(text: str) -> str:
    return escape_terminal(PROCESS_MASKER.mask(text))


class PlainProgress:
    """One line when a piece of work starts, one per minute while it lasts, and every `say`.

    For log files and pipes. The pace comes from the clock that never jumps.
    """

    def __init__(self, stream: TextIO, clock: "Clock") -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()  # uploads report from several threads
        self._what, self._unit = "", ""
        self._pace = Pace(clock)
        self._written_s = 0.0

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        """A new piece of work of `total` units."""
        with self._lock:
            self._what, self._unit = what, unit
            self._pace.start(total=total, requests=requests)
            self._written_s = self._clock.monotonic_s()
            size = "" if total is None else f": {format_count(total)} {unit}"
            self._write(f"{what}{size}")

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        """`count` more units are done; at most one line a minute says so."""
        with self._lock:
            self._pace.advance(count, bytes_=bytes_, earlier=earlier)
            now_s = self._clock.monotonic_s()
            if self._what and now_s - self._written_s >= LINE_EVERY_S:
                self._written_s = now_s
                self._write(self._state())

    def watch(self, limiter: "Limiter") -> None:
        """What requests wait for."""
        with self._lock:
            self._pace.watch(limiter)

    def say(self, text: str) -> None:
        """One line, at once."""
        with self._lock:
            self._write(text)

    def close(self) -> None:
        """Nothing is left open."""

    def _state(self) -> str:
        total, done = self._pace.total, self._pace.done
        state, words = f"{self._what}: {format_count(done)}", self._pace.words(self._unit)
        if total is None:
            return f"{state} {self._unit}, {words}"
        share = f"({done / total:.0%})" if total else "(100%)"
        return f"{state} of {format_count(total)} {self._unit} {share}, {words}"

    def _write(self, text: str) -> None:
        write_text(self._stream, f"{_line(text)}\n")


class TerminalProgress:
    """A bar that moves; `say` writes above it."""

    def __init__(self, stream: TextIO, clock: "Clock") -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._bar: tqdm[None] | None = None
        self._unit = ""
        self._pace = Pace(clock)
        self._worded_s = 0.0

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        """A new bar below the former one, which stays as it ended."""
        # Imported here: a command that shows no bar does not pay for it.
        from tqdm import tqdm  # noqa: PLC0415

        with self._lock:
            self._close()
            self._unit = unit
            self._pace.start(total=total, requests=requests)
            self._worded_s = self._clock.monotonic_s()
            self._bar = tqdm(
                desc=_line(what),
                total=total,
                unit=f" {unit}",
                file=self._stream,
                dynamic_ncols=True,
                unit_scale=False,
                bar_format=_WITH_BAR if total else _WITHOUT_BAR,
            )

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        """Move the bar; what is written behind it is at most a second old."""
        with self._lock:
            self._pace.advance(count, bytes_=bytes_, earlier=earlier)
            if self._bar is None:
                return
            self._bar.update(count)
            now_s = self._clock.monotonic_s()
            if now_s - self._worded_s >= WORDS_EVERY_S:
                self._worded_s = now_s
                self._word(self._bar)

    def watch(self, limiter: "Limiter") -> None:
        """What requests wait for."""
        with self._lock:
            self._pace.watch(limiter)

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

    def _word(self, bar: "tqdm[None]") -> None:
        if self._pace.done > (self._pace.total or 0):
            bar.bar_format = _WITHOUT_BAR  # no total, or a wrong one
        bar.set_postfix_str(_line(self._pace.words(self._unit)))

    def _close(self) -> None:
        if self._bar is not None:
            self._word(self._bar)
            self._bar.close()
            self._bar = None


@contextmanager
def open_progress(stream: TextIO, clock: "Clock") -> "Iterator[Progress]":
    """A bar when `stream` is a terminal, plain lines otherwise; closed at the end."""
    progress = TerminalProgress(stream, clock) if stream.isatty() else PlainProgress(stream, clock)
    try:
        yield progress
    finally:
        progress.close()
