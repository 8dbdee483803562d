"""Progress: a bar on a terminal, one line a minute otherwise."""

import io
import re
import threading

import pytest
from typing_extensions import override

from migrate.ports import Progress
from q2v.logs import PROCESS_MASKER
from q2v.progress import PlainProgress, TerminalProgress, open_progress


class HandClock:
    """A clock that moves when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def wall_s(self) -> float:
        return self.now_s

    def monotonic_s(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    @override
    def isatty(self) -> bool:
        return True


def test_a_pipe_gets_a_line_at_the_start_and_one_a_minute() -> None:
    stream, clock = io.StringIO(), HandClock()
    progress = PlainProgress(stream, clock)

    progress.start("uploading", total=10_000, unit="vectors")
    for _ in range(18):
        clock.wait(10)
        progress.advance(100)

    assert stream.getvalue() == (
        "uploading: 10,000 vectors\n"
        "uploading: 600 of 10,000 vectors (6%), 10.0 vectors/s, about 15 min 40 s left\n"
        "uploading: 1,200 of 10,000 vectors (12%), 10.0 vectors/s, about 14 min 40 s left\n"
        "uploading: 1,800 of 10,000 vectors (18%), 10.0 vectors/s, about 13 min 40 s left\n"
    )


@pytest.mark.parametrize(
    ("total", "count", "state"),
    [
        (None, 60, "60 points, 1.0 points/s"),
        (0, 0, "0 of 0 points (100%), 0.0 points/s"),
        (60, 60, "60 of 60 points (100%), 1.0 points/s"),
        (60, 61, "61 of 60 points (102%), 1.0 points/s"),
        (60, 0, "0 of 60 points (0%), 0.0 points/s"),
    ],
)
def test_a_total_that_is_unknown_reached_or_wrong_is_no_trouble(
    total: int | None, count: int, state: str
) -> None:
    stream, clock = io.StringIO(), HandClock()
    progress = PlainProgress(stream, clock)
    progress.start("reading", total=total, unit="points")
    clock.wait(60)
    progress.advance(count)

    assert stream.getvalue().splitlines()[-1] == f"reading: {state}"


def test_what_is_said_comes_at_once_as_one_safe_line() -> None:
    stream, terminal = io.StringIO(), Terminal()
    PROCESS_MASKER.register("hunter2progress")
    for progress in (PlainProgress(stream, HandClock()), TerminalProgress(terminal)):
        progress.say("waiting \x1b[2J\nfor hunter2progress")

    assert stream.getvalue() == terminal.getvalue() == "waiting \\x1b[2J\\nfor ***\n"


def test_a_terminal_gets_a_bar_that_is_finished_on_close() -> None:
    terminal = Terminal()
    with open_progress(terminal, HandClock()) as progress:
        progress.start("uploading", total=10, unit="vectors")
        progress.advance(4)
        progress.say("waiting for the index")
        progress.advance(6)
        progress.start("listing", total=None, unit="ids")

    text = terminal.getvalue()
    assert "uploading: 100%" in text
    assert "10/10" in text
    assert re.search(r"[\r\n]waiting for the index\n", text)
    assert "listing" in text
    assert text.endswith("\n")


def test_the_stream_decides_which_one_it_is() -> None:
    for stream, kind in ((Terminal(), TerminalProgress), (io.StringIO(), PlainProgress)):
        with open_progress(stream, HandClock()) as progress:
            found: Progress = progress

        assert isinstance(found, kind)


def test_advancing_before_the_start_or_after_the_end_is_harmless() -> None:
    for stream in (Terminal(), io.StringIO()):
        with open_progress(stream, HandClock()) as progress:
            progress.advance(1)
        progress.advance(1)


def test_no_unit_is_lost_between_threads() -> None:
    stream, clock = io.StringIO(), HandClock()
    progress = PlainProgress(stream, clock)
    progress.start("uploading", total=None, unit="vectors")

    def advance() -> None:
        for _ in range(1_000):
            progress.advance(1)

    threads = [threading.Thread(target=advance) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.wait(60)
    progress.advance(0)

    assert "uploading: 8,000 vectors" in stream.getvalue()
