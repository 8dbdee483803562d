"""Progress: a bar on a terminal, one line a minute otherwise."""

import contextlib
import io
import json
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from migrate.clock import SystemClock
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.ports import Progress
from q2v.output.logs import PROCESS_MASKER
from q2v.output.progress import open_progress, set_progress_aside
from q2v.output.progress.bar import TerminalProgress
from q2v.output.progress.events import EventProgress
from q2v.output.progress.lines import PlainProgress
from q2v.output.progress.waits import ToldClock
from q2v.output.progress.work import Work
from q2v.output.render import format_about


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


def test_on_a_terminal_the_time_left_comes_first_and_the_pace_where_there_is_room() -> None:
    terminal, clock = Terminal(), HandClock()
    progress = TerminalProgress(terminal, clock)
    progress.start("uploading", total=10_000, unit="vectors")
    clock.wait(60)
    progress.advance(600, bytes_=21_000_000)

    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith("uploading 600 of 10,000 vectors, about 16 min left, 10.0 vectors/s")
    assert "6%|" in last


@given(
    what=st.sampled_from(["uploading", "reading vectors and metadata back", "x" * 60]),
    total=st.one_of(st.none(), st.integers(0, 10**9)),
    share=st.floats(0, 1.2),
    passed_s=st.floats(0, 10**6),
    waits_s=st.one_of(st.none(), st.integers(1, 3600)),
    width=st.integers(64, 200),
)
def test_no_line_is_cut_off_where_its_needed_words_have_room(
    *,
    what: str,
    total: int | None,
    share: float,
    passed_s: float,
    waits_s: int | None,
    width: int,
) -> None:
    hand = HandClock()
    clock = ToldClock(hand)
    work = Work(clock)
    work.start(what, total=total, unit="vectors", requests=0)
    hand.wait(passed_s)
    work.pace.advance(int(share * (total or 1_000)), bytes_=10**9, earlier=False)
    with clock.waits.until(hand.now_s + waits_s) if waits_s else contextlib.nullcontext():
        line = work.line(width)

    left = work.pace.remaining_s()
    needed = [what] + ([f"waiting, {waits_s} s to go"] if waits_s else [])
    needed += [] if left is None else [f"about {format_about(left)} left"]
    assert all(words in line for words in needed)
    shortest = len(", ".join(needed)) + len(" 100%") + len(" 1,000,000,000 vectors")
    assert len(line) <= max(width, shortest)


def test_while_a_wait_lasts_the_line_counts_down_every_second() -> None:
    terminal, hand = Terminal(), HandClock()
    clock = ToldClock(hand)
    progress = TerminalProgress(terminal, clock)
    progress.start("uploading", total=10, unit="vectors")
    progress.say("HTTP 503; waiting 3 s, then attempt 2 of 8")
    with clock.waits.until(hand.now_s + 3):
        for _ in range(3):
            progress.tick()
            hand.wait(1)
    progress.tick()

    drawn = re.findall(r"waiting, (\d) s to go", terminal.getvalue())
    assert list(dict.fromkeys(drawn)) == ["3", "2", "1"]
    assert "waiting," not in terminal.getvalue().split("\r")[-1]


def test_of_several_waits_the_first_to_end_is_shown() -> None:
    hand = HandClock()
    clock = ToldClock(hand)
    with clock.waits.until(hand.now_s + 30), clock.waits.until(hand.now_s + 5):
        assert clock.waits.next_end_s() == hand.now_s + 5
    assert clock.waits.next_end_s() is None


def test_a_bar_that_did_not_come_to_its_end_says_how_far_it_came() -> None:
    terminal = Terminal()
    with open_progress(terminal, HandClock()) as progress:
        progress.start("uploading", total=10, unit="vectors")
        progress.advance(4)

    last = terminal.getvalue().rstrip("\n").split("\r")[-1]
    assert last.startswith("uploading ended at 4 of 10 vectors, in ")


def test_a_question_gets_a_line_of_its_own() -> None:
    terminal = Terminal()
    with open_progress(terminal, HandClock()) as progress:
        progress.start("reading the target", total=10, unit="requests")
        set_progress_aside()
        asked_at = len(terminal.getvalue())
        assert terminal.getvalue().endswith("\n")
        progress.advance(1)  # a thread that still works
        assert len(terminal.getvalue()) == asked_at


def test_the_open_progress_is_drawn_again_without_any_news() -> None:
    """A request that takes long must not look like a stop."""
    drawn = threading.Event()

    class Watched(Terminal):
        lines = 0

        @override
        def write(self, text: str) -> int:
            self.lines += text.count("\r")
            if self.lines > 3:
                drawn.set()
            return super().write(text)

    with open_progress(Watched(), SystemClock()) as progress:
        progress.start("listing", total=None, unit="ids")
        assert drawn.wait(60)


class TestEvents:
    """`--progress json`."""

    @staticmethod
    def events(stream: io.StringIO) -> list[dict[str, object]]:
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    def test_a_piece_of_work_has_a_start_a_middle_and_an_end(self) -> None:
        stream, clock = io.StringIO(), HandClock()
        progress = EventProgress(stream, clock)
        progress.start("uploading", total=100, unit="vectors")
        for _ in range(4):
            clock.wait(0.5)
            progress.advance(10)
        progress.say("half way")
        progress.close()
        progress.close()

        found = self.events(stream)
        assert [one["event"] for one in found] == ["start", "progress", "progress", "say", "end"]
        assert found[0] | {"at": ""} == {
            "event": "start", "at": "", "what": "uploading", "unit": "vectors", "total": 100,
        }  # fmt: skip
        assert [one["done"] for one in found if "done" in one] == [20, 40, 40]
        assert found[2]["left_s"] == 3.0
        assert found[3]["text"] == "half way"

    def test_a_secret_is_in_no_event(self) -> None:
        PROCESS_MASKER.register("hunter2events")
        stream = io.StringIO()
        EventProgress(stream, HandClock()).say("the token hunter2events")

        assert self.events(stream)[0]["text"] == "the token ***"


@pytest.mark.parametrize(
    ("total", "count", "state"),
    [
        (None, 60, "60 points, 1.0 points/s"),
        (0, 0, "0 of 0 points (100%), 0.0 points/s"),
        (60, 60, "60 of 60 points (100%), 1.0 points/s"),
        (60, 61, "61 of 61 points (100%), 1.0 points/s"),
        (1, 1, "1 of 1 point (100%), 0.0 points/s"),
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
    assert re.search(r"uploading 10 of 10 vectors, in 0.0 s 100%\|#+\|\n", text)
    assert re.search(r"[\r\n]waiting for the index\n", text)
    assert "listing 0 ids" in text
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
