"""Show the operator on stderr how far a command is: a bar, plain lines, or events for machines."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from q2v.invocation import current_invocation
from q2v.output.progress.bar import TerminalProgress
from q2v.output.progress.events import EventProgress
from q2v.output.progress.lines import PlainProgress

if TYPE_CHECKING:
    from migrate.ports import Clock, Progress

Shown = TerminalProgress | EventProgress | PlainProgress
TICK_S = 1.0
_OPEN: list[Shown] = []  # those of this process, the newest last


@contextmanager
def open_progress(stream: TextIO, clock: "Clock") -> "Iterator[Progress]":
    """The form that `--progress` names; without it a bar on a terminal, plain lines otherwise.

    While it is open it is drawn again every second. Closed at the end.
    """
    progress = _made(stream, clock)
    ended = threading.Event()
    ticker = threading.Thread(target=_tick, args=(progress, ended), daemon=True)
    ticker.start()
    _OPEN.append(progress)
    try:
        yield progress
    finally:
        _OPEN.remove(progress)
        ended.set()
        ticker.join()
        progress.close()


def set_progress_aside() -> None:
    """End the line of an open bar: a question or a result is to have a line of its own."""
    for progress in _OPEN:
        progress.set_aside()


def _tick(progress: Shown, ended: threading.Event) -> None:
    while not ended.wait(TICK_S):
        progress.tick()


def _made(stream: TextIO, clock: "Clock") -> Shown:
    form = current_invocation().progress
    if form == "json":
        return EventProgress(stream, clock)
    if form == "bar" or (form is None and stream.isatty()):
        return TerminalProgress(stream, clock)
    return PlainProgress(stream, clock)
