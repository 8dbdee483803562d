"""The operator may send fewer requests for a while, in every process, and end it at any time."""

from pathlib import Path

import pytest
from typing_extensions import override

from migrate.cloudflare.budget.budget import RequestBudget
from tests.harness.fakes.clock import VirtualClock
from tests.migrate.cloudflare.clients import Talker

pytestmark = pytest.mark.fault("E06")

REQUESTS_MAX = 5


def budget(path: Path, clock: VirtualClock) -> RequestBudget:
    """One of several processes' on the same file."""
    return RequestBudget(path, clock=clock, requests_max=REQUESTS_MAX)


def test_a_pause_holds_every_process_until_its_end_and_says_how_to_end_it(tmp_path: Path) -> None:
    clock, talker = VirtualClock(), Talker()
    working, asking = (budget(tmp_path / "requests", clock) for _ in range(2))
    working.acquire(talker)

    asking.set_pace(0, 600)
    begun_s = clock.monotonic_s()
    working.acquire(talker)

    assert clock.monotonic_s() - begun_s == pytest.approx(600, abs=0.1)
    (said,) = talker.said
    assert "q2v pace --resume" in said
    assert asking.pace() is None


def test_a_pause_that_is_ended_is_noticed_within_seconds(tmp_path: Path) -> None:
    class Resuming(VirtualClock):
        """The operator resumes while the process waits."""

        @override
        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            if len(self.waits) == 20:
                budget(tmp_path / "requests", self).set_pace(REQUESTS_MAX, 0)

    clock = Resuming()
    working = budget(tmp_path / "requests", clock)
    working.set_pace(0, 3_000)
    begun_s = clock.monotonic_s()

    working.acquire()

    assert clock.monotonic_s() - begun_s < 25


@pytest.mark.parametrize("allowed", range(1, REQUESTS_MAX))
def test_a_lower_pace_is_kept_in_every_window(tmp_path: Path, allowed: int) -> None:
    clock = VirtualClock()
    working = budget(tmp_path / "requests", clock)
    working.set_pace(allowed, 86_400)
    sent = []
    for _ in range(4 * allowed):
        working.release(working.acquire())
        sent.append(clock.monotonic_s())

    assert all(sum(at <= one < at + 299 for one in sent) <= allowed for at in sent)
    pace = working.pace()
    assert pace is not None
    assert pace[0] == allowed
    assert pace[1] == pytest.approx(86_400 - sent[-1], abs=1)


def test_the_time_left_counts_the_pace(tmp_path: Path) -> None:
    clock = VirtualClock()
    working = budget(tmp_path / "requests", clock)
    at_once = working.remaining_s(3, 0.1)

    working.set_pace(0, 900)

    assert at_once < 1
    assert working.remaining_s(3, 0.1) == pytest.approx(900, abs=1)


def test_the_newest_order_counts_and_more_than_the_budget_is_the_budget(tmp_path: Path) -> None:
    clock = VirtualClock()
    working = budget(tmp_path / "requests", clock)
    working.set_pace(0, 900)
    working.set_pace(2, 600)
    assert working.pace() == (2, 600)

    working.set_pace(REQUESTS_MAX + 100, 600)

    assert working.pace() is None
    for _ in range(REQUESTS_MAX):
        working.acquire()
    assert clock.waits == []


@pytest.mark.parametrize("working_max", [3, REQUESTS_MAX, 60])
@pytest.mark.parametrize("allowed", [0, 2, 4])
def test_a_pace_is_the_same_for_processes_with_other_budgets(
    tmp_path: Path, working_max: int, allowed: int
) -> None:
    clock = VirtualClock()
    asking = budget(tmp_path / "requests", clock)
    working = RequestBudget(tmp_path / "requests", clock=clock, requests_max=working_max)

    asking.set_pace(allowed, 600)
    sent = min(allowed, working_max)
    for _ in range(sent):
        working.acquire()
    assert clock.waits == [], "as many as were asked for are sent at once"
    working.acquire()

    assert clock.monotonic_s() >= 300, "and not one more"
