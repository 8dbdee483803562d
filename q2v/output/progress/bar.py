"""Progress on a terminal: one line that moves, with a bar behind its words."""

import threading
from typing import TYPE_CHECKING, TextIO

from q2v.output.progress.lines import LINE_EVERY_S, shown
from q2v.output.progress.work import Work
from q2v.output.screen.wrapping import WIDTH_DEFAULT, terminal_width, wrapped
from q2v.output.terminal import copy_text, write_text

if TYPE_CHECKING:
    from tqdm import tqdm

    from migrate.ports import Clock, Limiter

WORDS_EVERY_S = 1.0
BAR_COLUMNS = 14  # "  43%|███     " at the least
# tqdm's own rate and end know nothing of the limiter, so it draws no more than the bar.
_WITHOUT_BAR = "{desc}"
_WITH_BAR = "{desc} {percentage:3.0f}%|{bar}|"


class TerminalProgress:
    """A line that moves; `say` writes above it. It ends as it was, with how far the work came."""

    def __init__(self, stream: TextIO, clock: "Clock") -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.RLock()  # a signal may come in the middle of a line
        self._bar: tqdm[None] | None = None
        self._work = Work(clock)
        self._worded_s = self._copied_s = 0.0

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        """A new line below the former one, which ends with how far it came."""
        # Imported here: a command that shows no bar does not pay for it.
        from tqdm import tqdm  # noqa: PLC0415

        with self._lock:
            self._close()
            self._work.start(what, total=total, unit=unit, requests=requests)
            self._worded_s = self._copied_s = self._clock.monotonic_s()
            copy_text(shown(self._work.announced()))
            self._bar = tqdm(
                desc=shown(self._work.announced()),
                total=total,
                file=self._stream,
                dynamic_ncols=True,
                bar_format=_WITH_BAR if total else _WITHOUT_BAR,
            )

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        """Move the bar; the words are at most a second old."""
        with self._lock:
            self._work.pace.advance(count, bytes_=bytes_, earlier=earlier)
            if self._bar is None:
                return
            self._bar.total = self._work.pace.total
            self._bar.update(count)
            if self._clock.monotonic_s() - self._worded_s >= WORDS_EVERY_S:
                self._word()

    def watch(self, limiter: "Limiter") -> None:
        """What requests wait for."""
        with self._lock:
            self._work.watch(limiter)

    def say(self, text: str) -> None:
        """Lines above the bar, within the width of the terminal."""
        with self._lock:
            if self._bar is not None:
                self._bar.clear()
            lines = wrapped(shown(text), then="  ", width=self._width())
            write_text(self._stream, "\n".join(lines) + "\n")
            if self._bar is not None:
                self._bar.refresh()

    def tick(self) -> None:
        """Draw the line again: a wait or a slow request must not look like a stop."""
        with self._lock:
            if self._bar is not None:
                self._word()

    def set_aside(self) -> None:
        """End the line as it stands, because something else is to be written."""
        with self._lock:
            self._close()

    def close(self) -> None:
        """End the line, and leave the cursor below it. Harmless when repeated."""
        with self._lock:
            self._close()

    def _word(self) -> None:
        assert self._bar is not None
        self._worded_s = self._clock.monotonic_s()
        if self._worded_s - self._copied_s >= LINE_EVERY_S:
            self._copied_s = self._worded_s
            copy_text(shown(self._work.state()))
        room = BAR_COLUMNS if self._bar.bar_format == _WITH_BAR else 1
        self._bar.set_description_str(shown(self._work.line(self._width() - room)))

    def _close(self) -> None:
        if self._bar is None:
            return
        self._word()
        room = BAR_COLUMNS if self._bar.bar_format == _WITH_BAR else 1
        self._bar.set_description_str(shown(self._work.ended(self._width() - room)))
        self._bar.close()
        self._bar = None

    def _width(self) -> int:
        return terminal_width(self._stream) or WIDTH_DEFAULT
