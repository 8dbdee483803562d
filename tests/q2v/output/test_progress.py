"""Progress: a bar on a terminal, one line a minute otherwise."""

import io
import re
import threading

import pytest
from typing_extensions import override

from migrate.cloudflare.budget.budget import RequestBudget
from migrate.ports import Progress
from q2v.output.logs import PROCESS_MASKER
from q2v.output.progress import PlainProgress, TerminalProgress, open_progress


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
        "uploading: 600 of 10,000 vectors (6%), 10.0 vectors/s, about 16 min left\n"
        "uploading: 1,200 of 10,000 vectors (12%), 10.0 vectors/s, about 15 min left\n"
        "uploading: 1,800 of 10,000 vectors (18%), 10.0 vectors/s, about 14 min left\n"
    )


def test_where_bytes_are_moved_their_pace_is_told_too() -> None:
    stream, clock = io.StringIO(), HandClock()
    progress = PlainProgress(stream, clock)

    progress.start("uploading", total=10_000, unit="vectors")
    for _ in range(6):
        clock.wait(10)
        progress.advance(100, bytes_=21_000_000)

    assert stream.getvalue().endswith("10.0 vectors/s, 2.1 MB/s, about 16 min left\n")


def test_what_a_former_command_did_tells_no_pace() -> None:
    stream, clock = io.StringIO(), HandClock()
    progress = PlainProgress(stream, clock)

    progress.start("uploading", total=10_000, unit="vectors")
    progress.advance(9_000, bytes_=9_000, earlier=True)
    clock.wait(60)
    progress.advance(60)

    assert stream.getvalue().endswith(
        "uploading: 9,060 of 10,000 vectors (91%), 1.0 vectors/s, about 16 min left\n"
    )


def test_the_time_in_which_the_limiter_holds_us_back_is_no_pace_but_comes_on_top() -> None:
    """A budget of 6: all of them in a minute, then four minutes of silence, and so on."""
    stream, clock = io.StringIO(), HandClock()
    progress = PlainProgress(stream, clock)
    budget = RequestBudget(None, clock=clock, requests_max=6)
    progress.watch(budget)

    progress.start("reading back", total=360, unit="vectors", requests=18)
    for _ in range(7):
        budget.acquire(progress)
        clock.wait(10)
        budget.release()
        progress.advance(20)

    assert stream.getvalue().splitlines() == [
        "reading back: 360 vectors",
        "reading back: 120 of 360 vectors (33%), 2.0 vectors/s, about 10 min left",
        "waiting 240 s, until 00:21:40 UTC: 6 requests sent in the last 300 s",
        "reading back: 120 of 360 vectors (33%), 2.0 vectors/s, about 9 min left",
        "reading back: 120 of 360 vectors (33%), 2.0 vectors/s, about 8 min left",
        "reading back: 120 of 360 vectors (33%), 2.0 vectors/s, about 7 min left",
        "reading back: 120 of 360 vectors (33%), 2.0 vectors/s, about 6 min left",
    ]


def test_the_bar_tells_the_same_as_the_lines() -> None:
    terminal, stream, clock = Terminal(), io.StringIO(), HandClock()
    for progress in (PlainProgress(stream, clock), TerminalProgress(terminal, clock)):
        progress.start("uploading", total=10_000, unit="vectors")
        clock.wait(60)
        progress.advance(600, bytes_=21_000_000)

    words = "10.0 vectors/s, 350.0 kB/s, about 16 min left"
    assert stream.getvalue().endswith(f" (6%), {words}\n")
    assert words in terminal.getvalue()


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
    for progress in (PlainProgress(stream, HandClock()), TerminalProgress(terminal, HandClock())):
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
