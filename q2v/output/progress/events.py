"""Progress for machines: one JSON object a line on stderr."""

import json
import threading
from typing import TYPE_CHECKING, TextIO

from migrate.model.stamps import iso_stamp
from q2v.output.logs import PROCESS_MASKER
from q2v.output.progress.work import Work
from q2v.output.terminal import copy_text, write_formed

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrate.ports import Clock, Limiter

EVENT_EVERY_S = 1.0


class EventProgress:
    """`start`, `progress` (at most one a second), `say` and `end`, each with its time.

    docs/formats.md has the members.
    """

    def __init__(self, stream: TextIO, clock: "Clock") -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.RLock()
        self._work = Work(clock)
        self._written_s = 0.0

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        """A new piece of work; the one before ends."""
        with self._lock:
            self._end()
            self._work.start(what, total=total, unit=unit, requests=requests)
            self._write("start", what=what, unit=unit, total=total)

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        """`count` more units are done."""
        with self._lock:
            self._work.pace.advance(count, bytes_=bytes_, earlier=earlier)
            self.tick()

    def watch(self, limiter: "Limiter") -> None:
        """What requests wait for."""
        with self._lock:
            self._work.watch(limiter)

    def say(self, text: str) -> None:
        """What people would read."""
        with self._lock:
            self._write("say", text=text)

    def tick(self) -> None:
        """How far the work is, unless that was said less than a second ago."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            if self._work.what and now_s - self._written_s >= EVENT_EVERY_S:
                self._write("progress", **self._figures())

    def set_aside(self) -> None:
        """Nothing: no line is open."""

    def close(self) -> None:
        """The work ends. Harmless when repeated."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._work.what:
            self._write("end", **self._figures())
            self._work.what = ""

    def _figures(self) -> dict[str, object]:
        pace, waits_s, left_s = self._work.pace, self._work.waits_s(), self._work.pace.remaining_s()
        return {
            "what": self._work.what,
            "done": pace.done,
            "total": pace.total,
            "left_s": None if left_s is None else round(left_s, 1),
            "waits_s": None if waits_s is None else round(waits_s, 1),
        }

    def _write(self, event: str, **members: object) -> None:
        self._written_s = self._clock.monotonic_s()
        line = _line(event, self._clock, **members)
        copy_text(line)
        write_formed(self._stream, line)


def as_events(clock: "Clock") -> "Callable[[str], str]":
    """The form of stderr for machines: each line of a text for people is a `say`."""

    def form(text: str) -> str:
        return "".join(_line("say", clock, text=line) for line in text.splitlines() if line.strip())

    return form


def _line(event: str, clock: "Clock", **members: object) -> str:
    record = {"event": event, "at": iso_stamp(clock.wall_s()), **members}
    return json.dumps(PROCESS_MASKER.mask_values(record)) + "\n"
