"""The plan, the lines and the bar tell one duration, and it is the one that comes.

Requests take their time on a clock of the test, through the real limiter; what the displays write
is read as a person reads it.
"""

import heapq
import io
import itertools
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.cloudflare.budget.budget import RequestBudget
from migrate.plan.estimate import (
    LINE_MBIT_PER_S,
    SETTLE_MINUTES,
    Estimate,
    RequestPace,
    Workload,
    estimate,
)
from migrate.ports import Limiter
from q2v.output.progress import open_progress
from q2v.output.progress.pace import Pace
from reconcile.rollback.report import VECTORS_PER_NOTE
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.silence import Silence
from tests.harness.move import new_move

OFF_MAX = 0.2  # of the whole duration
FIRST_S = 60.0  # nobody asks earlier
LINE_BYTES_PER_S = LINE_MBIT_PER_S * 1_000_000 / 8
LEFT = re.compile(r"about (?:(\d+) d ?)?(?:(\d+) h ?)?(?:(\d+) min ?)?(?:([0-9.]+) s)? left")


class Network(VirtualClock):
    """Answers arrive while somebody waits; bodies go one after the other through one line."""

    def __init__(self) -> None:
        super().__init__()
        self._answers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._line_free_s = 0.0

    def send(self, body_s: float, answer_s: float, arrived: Callable[[], None]) -> None:
        """`body_s` on the line, then `answer_s` until `arrived` is called."""
        self._line_free_s = max(self._line_free_s, self.monotonic_s()) + body_s
        answer = (self._line_free_s + answer_s, next(self._numbers), arrived)
        heapq.heappush(self._answers, answer)

    def wait_for_answer(self) -> None:
        self.wait(self._answers[0][0] - self.monotonic_s())

    @override
    def wait(self, seconds: float) -> None:
        end_s = self.monotonic_s() + seconds
        while self._answers and self._answers[0][0] <= end_s:
            at_s, _, arrived = heapq.heappop(self._answers)
            super().wait(max(0.0, at_s - self.monotonic_s()))
            arrived()
        super().wait(max(0.0, end_s - self.monotonic_s()))


class Screen(io.StringIO):
    """Keeps when something was written."""

    def __init__(self, clock: Network, *, terminal: bool) -> None:
        super().__init__()
        self._clock = clock
        self._terminal = terminal
        self.ends_s: list[tuple[float, float]] = []  # when it was told, and for when

    @override
    def isatty(self) -> bool:
        return self._terminal

    @override
    def write(self, text: str) -> int:
        if match := LEFT.search(text):
            days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
            now_s = self._clock.monotonic_s()
            left_s = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
            self.ends_s.append((now_s, now_s + left_s))
        return super().write(text)


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a piece of work."""

    units: int  # done when it is answered
    body_s: float  # on the line
    answer_s: float
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A piece of work as the stages announce it, and as it goes."""

    requests: list[Request]
    announced: int | None = None  # requests; None = as many as there are
    requests_max: int = 900
    in_flight: int = 1


def carry_out(work: Work, *, terminal: bool) -> tuple[float, list[tuple[float, float]]]:
    """Do it; returned are the seconds it took and what was shown meanwhile."""
    clock = Network()
    screen = Screen(clock, terminal=terminal)
    budget = RequestBudget(None, clock=clock, requests_max=work.requests_max)
    flying = 0
    announced = len(work.requests) if work.announced is None else work.announced
    with open_progress(screen, clock) as progress:
        progress.watch(budget)
        total = sum(request.units for request in work.requests)
        progress.start("at work", total=total, unit="vectors", requests=announced)

        def arrived(request: Request) -> None:
            nonlocal flying
            flying -= 1
            budget.release()
            progress.advance(request.units, bytes_=request.bytes)

        for request in work.requests:
            while flying >= work.in_flight:
                clock.wait_for_answer()
            budget.acquire(progress)
            flying += 1
            clock.send(request.body_s, request.answer_s, partial(arrived, request))
        while flying:
            clock.wait_for_answer()
        return clock.monotonic_s(), screen.ends_s


def shown_at_tenths(
    total_s: float, ends_s: list[tuple[float, float]]
) -> Iterator[tuple[float, float]]:
    """At each tenth of the run, after its first minute: the moment, and the end shown then."""
    for tenth in range(1, 10):
        now_s = total_s * tenth / 10
        seen = [end_s for told_s, end_s in ends_s if told_s <= now_s]
        if now_s > FIRST_S and seen:
            yield now_s, seen[-1]


def worst(total_s: float, ends_s: list[tuple[float, float]]) -> float:
    """How far off the end was shown at worst, as a share of the whole duration."""
    assert total_s > FIRST_S
    assert ends_s[0][0] < 2 * FIRST_S, "nothing was shown for long"
    return max(abs(end_s - total_s) / total_s for _, end_s in shown_at_tenths(total_s, ends_s))


def figures(
    vectors: int,
    *,
    dimensions: int = 1536,
    per_upload: int = 5_000,
    requests_max: int = 900,
    request_s: float = 0.3,
    in_flight: int = 1,
) -> Estimate:
    return estimate(
        Workload(
            vectors=vectors,
            files=0,
            dimensions=dimensions,
            metadata_bytes=500 * vectors,
            vectors_per_upload=per_upload,
            body_bytes=40_000_000,
        ),
        RequestPace(
            requests_per_5min=requests_max,
            request_s=request_s,
            uploads_in_flight=in_flight,
            reads_in_flight=in_flight,
        ),
    )


def spread(count: int, parts: int) -> list[int]:
    """`count` in `parts` whole numbers that differ by one at most."""
    return [count * (part + 1) // parts - count * part // parts for part in range(parts)]


def uneven(seconds: float, chance: random.Random) -> float:
    """Between two thirds and four thirds of it."""
    return seconds * (2 / 3 + chance.random() * 2 / 3)


def read_back(
    vectors: int,
    *,
    dimensions: int = 1536,
    request_s: float = 0.3,
    requests_max: int = 900,
    in_flight: int = 1,
) -> tuple[Work, float]:
    """Contents by id, 20 a request; and what the plan says of it, in seconds."""
    found = figures(
        vectors,
        dimensions=dimensions,
        request_s=request_s,
        requests_max=requests_max,
        in_flight=in_flight,
    )
    chance = random.Random(vectors)
    requests = [
        Request(
            units=min(20, vectors - first),
            body_s=20 * (dimensions * 21.3 + 500) / LINE_BYTES_PER_S,
            answer_s=uneven(request_s, chance),
        )
        for first in range(0, vectors, 20)
    ]
    work = Work(requests=requests, requests_max=requests_max, in_flight=in_flight)
    return work, found.content_minutes * 60


def upload(
    vectors: int,
    *,
    dimensions: int = 1536,
    per_upload: int = 5_000,
    request_s: float = 0.3,
    line_share: float = 1.0,
    in_flight: int = 1,
) -> tuple[Work, float]:
    """Uploads over a line of that share of the reference; and what the plan says, in seconds."""
    found = figures(
        vectors,
        dimensions=dimensions,
        per_upload=per_upload,
        request_s=request_s,
        in_flight=in_flight,
    )
    chance = random.Random(vectors)
    requests = [
        Request(
            units=units,
            body_s=found.upload_bytes / vectors * units / LINE_BYTES_PER_S / line_share,
            answer_s=uneven(request_s, chance),
            bytes=found.upload_bytes // found.upload_requests,
        )
        for units in spread(vectors, found.upload_requests)
    ]
    plan_s = (found.upload_minutes - SETTLE_MINUTES) * 60 - request_s  # the counter's
    return Work(requests=requests, in_flight=in_flight), plan_s


def undo(vectors: int, *, request_s: float = 0.2) -> tuple[Work, float]:
    """Five comparisons, then a deletion; the plan's figure has the listings too."""
    fetch = Request(units=20, body_s=0.0, answer_s=request_s)
    # A deletion tells no progress of its own.
    delete = Request(units=0, body_s=0.0, answer_s=request_s)
    requests = [*([fetch] * 5), delete] * (vectors // 100)
    found = figures(vectors, dimensions=32, request_s=request_s)
    share = len(requests) / found.rollback_requests
    assert 1.0 >= share > 0.95
    return Work(requests=requests), (found.rollback_minutes - SETTLE_MINUTES) * 60


CASES: dict[str, tuple[Work, float]] = {
    # Held by the limiter: bursts of 900, on both sides of a whole number of them.
    "contents: 18,000": read_back(18_000, dimensions=384),
    "contents: 18,020": read_back(18_020, dimensions=384, request_s=0.1),
    "contents: 36,000": read_back(36_000, dimensions=384, request_s=0.1),
    "contents: 50,000": read_back(50_000, dimensions=384, request_s=0.1),
    "contents: 100,000, 8 in flight": read_back(100_000, in_flight=8),
    "contents: 27,000, 4 in flight": read_back(27_000, dimensions=384, in_flight=4),
    "contents: 90,000 at 1,200": read_back(90_000, requests_max=1_200, request_s=0.05),
    # Slower than the limiter.
    "contents: 100,000": read_back(100_000),
    "contents: 60,000 at 1 s": read_back(60_000, request_s=1.0),
    # Held by the line.
    "upload: 100,000": upload(100_000),
    "upload: 500,000, 4 in flight": upload(500_000, in_flight=4),
    "upload: 1,000,000 of 384": upload(1_000_000, dimensions=384),
    # Between the two: the line in the bursts, then the limiter.
    "upload: 100,000 by 50": upload(100_000, per_upload=50, request_s=0.1),
    "upload: 120,000 of 384 by 40, 4 in flight": upload(
        120_000, dimensions=384, per_upload=40, in_flight=4
    ),
    "undo: 40,000": undo(40_000),
}


# One of each kind: held by the limiter, by the line, and with work that tells no progress.
QUICK = {"contents: 18,000", "upload: 100,000", "undo: 40,000"}
LONGEST = {"contents: 100,000, 8 in flight"}  # takes as long as all others
NAMES = [
    pytest.param(
        name,
        marks=() if name in QUICK else pytest.mark.search if name in LONGEST else pytest.mark.slow,
        id=name,
    )
    for name in CASES
]
# The bar shows what the lines show, more often.
NAMES_OF_BAR = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.search, id=name) for name in CASES
]


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_and_the_lines_tell_the_end_that_comes(name: str) -> None:
    work, plan_s = CASES[name]

    total_s, ends_s = carry_out(work, terminal=False)

    assert plan_s == pytest.approx(total_s, rel=OFF_MAX)
    assert worst(total_s, ends_s) <= OFF_MAX


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES_OF_BAR)
def test_the_bar_shows_the_end_that_comes(name: str) -> None:
    work, _ = CASES[name]

    total_s, ends_s = carry_out(work, terminal=True)

    assert worst(total_s, ends_s) <= OFF_MAX


@pytest.mark.parametrize("terminal", [False, True], ids=["lines", "bar"])
def test_a_slow_line_is_noticed(*, terminal: bool) -> None:
    """At a fifth of the plan's line the plan is wrong, and says what it assumed; the bar is not."""
    work, plan_s = upload(100_000, line_share=0.2)

    total_s, ends_s = carry_out(work, terminal=terminal)

    assert total_s > 4 * plan_s
    assert worst(total_s, ends_s) <= OFF_MAX


class Witness(Silence):
    """A display that keeps, for every piece of work, when its end was expected."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self.pieces: dict[str, list[tuple[float, float]]] = {}
        self.begun_s: dict[str, float] = {}
        self.ended_s: dict[str, float] = {}
        self._what = ""
        self._clock = clock
        self._pace = Pace(clock)

    @override
    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        now_s = self._clock.monotonic_s()
        self._what, self.pieces[what] = what, []
        self.begun_s[what] = self.ended_s[what] = now_s
        self._pace.start(total=total, requests=requests)

    @override
    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        self._pace.advance(count, bytes_=bytes_, earlier=earlier)
        now_s, left_s = self._clock.monotonic_s(), self._pace.remaining_s()
        self.ended_s[self._what] = now_s
        if left_s is not None:
            self.pieces[self._what].append((now_s, now_s + left_s))

    @override
    def watch(self, limiter: Limiter) -> None:
        self._pace.watch(limiter)

    def worst(self, what: str) -> float:
        """As `worst` above, of one piece."""
        begun_s = self.begun_s[what]
        shown = [(told_s - begun_s, end_s - begun_s) for told_s, end_s in self.pieces[what]]
        return worst(self.ended_s[what] - begun_s, shown)


POINTS, BUDGET, ANSWER_S = 2_000, 17, 3.0


@pytest.mark.slow
def test_the_stages_announce_what_their_work_takes(tmp_path: Path) -> None:
    """A whole move, reconcile and way back at a budget of 17 requests, 3 s each."""
    clock = VirtualClock()
    witness = Witness(clock)
    move = new_move(tmp_path, POINTS)
    move.clock, move.progress, move.vectors.page_ids = clock, witness, 1_000
    move.undo_rules = replace(move.undo_rules, note_every=VECTORS_PER_NOTE)
    move.plan(vectors_per_upload=20)
    budget = RequestBudget(None, clock=clock, requests_max=BUDGET)
    witness.watch(budget)

    def before(number: int, what: str) -> None:
        budget.acquire(witness)
        clock.wait(ANSWER_S)
        budget.release()

    move.calls.before = before
    took_min = {}
    for name, command in (
        ("upload", move.migrate),
        ("reconcile", move.reconcile),
        ("rollback", move.roll_back),
    ):
        clock.wait(300)
        begun_s = clock.monotonic_s()
        command()
        took_min[name] = (clock.monotonic_s() - begun_s) / 60

    for what in ("uploading", "reading vectors back", "undoing vectors"):
        assert witness.ended_s[what] - witness.begun_s[what] > 1_500
        assert witness.worst(what) <= OFF_MAX, what
    found = estimate(
        Workload(
            vectors=POINTS,
            files=5,
            dimensions=4,
            metadata_bytes=0,
            vectors_per_upload=20,
            body_bytes=10**6,
        ),
        RequestPace(requests_per_5min=BUDGET, request_s=ANSWER_S),
    )
    # The sandbox has processed at once what it took: nothing to settle.
    assert found.upload_minutes - SETTLE_MINUTES == pytest.approx(took_min["upload"], rel=OFF_MAX)
    assert found.reconcile_minutes == pytest.approx(took_min["reconcile"], rel=OFF_MAX)
    assert found.rollback_minutes - SETTLE_MINUTES == pytest.approx(
        took_min["rollback"], rel=OFF_MAX
    )
