"""Requests that have to wait are sent in the order in which they began to, over all processes.

The senders are threads with a budget of their own on one file, as processes have it; the clock is
simulated.
"""

import sqlite3
from collections import Counter
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from migrate.cloudflare.budget.budget import PACE_PIECE_S, WAIT_PIECE_S, WAKE_LATE_S, RequestBudget
from tests.harness.fakes.shared_time import SharedTime
from tests.harness.tiers import examples
from tests.migrate.cloudflare.clients import Talker

WINDOW_S = 300.0 - 1e-6  # floats are added up in another order
# Those before it wake within a millisecond of their time, each.
ROUNDED_S = 0.5
NOTICED_S = PACE_PIECE_S + ROUNDED_S
PASSED_OVER_S = WAIT_PIECE_S + WAKE_LATE_S + ROUNDED_S


class Sent(NamedTuple):
    """A request: when it was asked for, when it was sent and when it was answered."""

    asked_s: float
    sent_s: float
    answered_s: float


class Sender(NamedTuple):
    """A process that sends one request after the other."""

    begins_s: float
    requests: int
    answer_s: float  # of each of its requests
    killed_s: float | None = None


class Fleet:
    """Senders of one account."""

    def __init__(self, path: Path, *, requests_max: int) -> None:
        self.time = SharedTime()
        self.sent: list[Sent] = []
        self._path = path
        self._requests_max = requests_max

    def budget(self) -> RequestBudget:
        return RequestBudget(
            self._path, clock=self.time, requests_max=self._requests_max, boot_id=lambda: "boot"
        )

    def start(self, sender: Sender) -> None:
        def send() -> None:
            self.time.wait(sender.begins_s)
            budget = self.budget()
            for _ in range(sender.requests):
                asked_s = self.time.monotonic_s()
                departure = budget.acquire(within_s=120)
                sent_s = self.time.monotonic_s()
                self.sent.append(Sent(asked_s, sent_s, sent_s + sender.answer_s))
                self.time.wait(sender.answer_s)
                budget.release(departure)

        self.time.start(send, killed_s=sender.killed_s)

    def run(self, senders: list[Sender]) -> None:
        for sender in senders:
            self.start(sender)
        self.time.run()

    def latest_by_the_line(self, number: int) -> float:
        """When the request `number` can be sent by those before it, if the line has no gap."""
        one, before = self.sent[number], self.sent[:number]
        found = [one.asked_s, *(other.sent_s for other in before)]
        answers = sorted((other.answered_s for other in before), reverse=True)
        if len(answers) >= self._requests_max:
            found.append(answers[self._requests_max - 1] + 300)
        return max(found)

    def check_windows(self) -> None:
        times = [one.sent_s for one in self.sent]
        for earlier, later in zip(times, times[self._requests_max :], strict=False):
            assert later - earlier >= WINDOW_S


SENDERS = st.lists(
    st.builds(
        Sender,
        begins_s=st.floats(0, 700),
        requests=st.integers(1, 6),
        answer_s=st.floats(0.01, 100),
        killed_s=st.none(),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@pytest.mark.fault("I9")
@settings(max_examples=examples(60), deadline=None)
@given(SENDERS, st.integers(1, 6))
def test_every_request_is_sent_in_its_turn_as_soon_as_the_maximum_allows(
    senders: list[Sender], requests_max: int
) -> None:
    with TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder) / "requests", requests_max=requests_max)
        fleet.run(senders)

    fleet.check_windows()
    assert len(fleet.sent) == sum(sender.requests for sender in senders)
    asked = [one.asked_s for one in fleet.sent]
    assert asked == sorted(asked), "the order in which they are sent is the order of asking"
    for number, one in enumerate(fleet.sent):
        assert one.sent_s <= fleet.latest_by_the_line(number) + ROUNDED_S


@pytest.mark.slow
@pytest.mark.fault("I9", "G13", "E08")
@settings(max_examples=examples(60), deadline=None)
@given(
    SENDERS,
    st.lists(
        st.builds(
            Sender,
            begins_s=st.floats(0, 400),
            requests=st.integers(1, 6),
            answer_s=st.floats(0.01, 100),
            killed_s=st.floats(0, 900),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 6),
)
def test_a_killed_process_delays_the_others_by_a_minute_at_most(
    senders: list[Sender], killed: list[Sender], requests_max: int
) -> None:
    with TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder) / "requests", requests_max=requests_max)
        fleet.run([*senders, *killed])

    fleet.check_windows()
    assert len(fleet.sent) >= sum(sender.requests for sender in senders)
    # A killed request counts until its deadline, 120 s, and not until its answer.
    longest_s = PASSED_OVER_S + 120
    for number, one in enumerate(fleet.sent):
        assert one.sent_s <= fleet.latest_by_the_line(number) + longest_s


class Order(NamedTuple):
    """What the service or the operator orders while requests wait."""

    at_s: float
    requests: int | None  # of a pace; None: a block
    seconds: float


@pytest.mark.slow
@pytest.mark.fault("I9", "E06", "N02")
@settings(max_examples=examples(40), deadline=None)
@given(
    SENDERS,
    st.lists(
        st.builds(
            Order,
            at_s=st.floats(0, 900),
            requests=st.none() | st.integers(0, 3),
            seconds=st.floats(0, 500),
        ),
        max_size=3,
    ),
    st.integers(1, 6),
)
def test_a_block_and_a_pace_hold_for_the_whole_line(
    senders: list[Sender], orders: list[Order], requests_max: int
) -> None:
    with TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder) / "requests", requests_max=requests_max)

        def give(order: Order) -> None:
            fleet.time.wait(order.at_s)
            if order.requests is None:
                fleet.budget().block(order.seconds)
            else:
                # 1,200 is what the service allows: a pace is counted from there.
                fleet.budget().set_pace(order.requests, order.seconds)

        for order in orders:
            fleet.time.start(partial(give, order))
        fleet.run(senders)

    fleet.check_windows()
    assert len(fleet.sent) == sum(sender.requests for sender in senders)
    for order in orders:
        if order.requests is None:
            assert not [
                one
                for one in fleet.sent
                if order.at_s < one.sent_s < order.at_s + order.seconds - 1e-6
            ]
    # The end of a pace is noticed within a second, by one request sooner than by another.
    for earlier, later in pairwise(fleet.sent):
        assert earlier.asked_s <= later.asked_s or later.sent_s <= earlier.sent_s + NOTICED_S


@pytest.mark.slow
@pytest.mark.fault("I9")
def test_ten_that_send_without_end_get_as_many_each(tmp_path: Path) -> None:
    """Ten senders on one budget of 20 requests. The first 20 go to those that come first."""
    fleet = Fleet(tmp_path / "requests", requests_max=20)
    senders: list[int] = []  # of each request, in the order of sending

    def send(number: int) -> None:
        budget = fleet.budget()
        while len(senders) < 400:
            departure = budget.acquire()
            senders.append(number)
            fleet.sent.append(Sent(0, fleet.time.monotonic_s(), fleet.time.monotonic_s()))
            fleet.time.wait(0.5)
            budget.release(departure)

    for number in range(10):
        fleet.time.start(partial(send, number))
    fleet.time.run()

    fleet.check_windows()
    shares = Counter(senders[20:400])
    assert len(shares) == 10
    assert max(shares.values()) - min(shares.values()) <= 1
    # 20 windows, the first one at once: then ten more requests that were asked for by then.
    assert fleet.sent[399].sent_s == pytest.approx(19 * 300, abs=5)


def test_it_says_how_many_wait_before_it(tmp_path: Path) -> None:
    fleet, talker = Fleet(tmp_path / "requests", requests_max=1), Talker()

    def send(progress: Talker | None, begins_s: float) -> None:
        fleet.time.wait(begins_s)
        fleet.budget().acquire(progress)

    for progress, begins_s in ((None, 0.0), (None, 10.0), (None, 20.0), (talker, 30.0)):
        fleet.time.start(partial(send, progress, begins_s))
    fleet.time.run()

    assert talker.said[0].startswith("waiting 870 s, until ")
    assert talker.said[0].endswith("1 request sent in the last 300 s, 2 other requests before it")


def test_a_request_that_was_given_up_leaves_the_line(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "requests", requests_max=1)

    class GivenUpError(Exception):
        """An error while it waits."""

    class Failing(Talker):
        @override
        def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
            raise GivenUpError

    def give_up() -> None:
        budget = fleet.budget()
        budget.acquire()
        with pytest.raises(GivenUpError):
            budget.acquire(Failing())

    fleet.time.start(give_up)
    fleet.time.run()

    with closing(sqlite3.connect(tmp_path / "requests")) as rows:
        assert rows.execute("SELECT count(*) FROM waiting").fetchone() == (0,)


def test_a_file_of_an_older_version_gets_the_line(tmp_path: Path) -> None:
    """Older versions open a file that has it: they do not read that table."""
    fleet = Fleet(tmp_path / "requests", requests_max=1)
    fleet.budget()
    with closing(sqlite3.connect(tmp_path / "requests")) as rows, rows:
        rows.execute("DROP TABLE waiting")
        assert rows.execute("PRAGMA user_version").fetchone() == (2,)

    fleet.run([Sender(0, 1, 1), Sender(1, 1, 1)])

    assert [round(one.sent_s) for one in fleet.sent] == [0, 301]
