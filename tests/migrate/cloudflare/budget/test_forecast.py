"""The closed form says what the limiter does, request by request."""

import heapq
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.cloudflare.budget.forecast import Spent, Why, duration_s, holds, last_answer_s
from tests.harness.tiers import examples

NOW_S = 1_000.0


@dataclass(frozen=True)
class Window:
    """What takes requests from a budget of `requests_max` at NOW_S."""

    requests_max: int
    spent: list[Spent]  # the latest end first


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """What may lie behind: more requests than the budget, blocks, what the service said, a boot."""
    ends = st.floats(0.01, 300)
    spent = [Spent(NOW_S + left_s, 1, Why.REQUEST) for left_s in draw(st.lists(ends, max_size=12))]
    for left_s in draw(st.lists(st.floats(0.01, 600), max_size=2)):
        spent.append(Spent(NOW_S + left_s, 1_200, Why.BLOCK))
    for left_s, cost in draw(st.lists(st.tuples(ends, st.integers(1, 9)), max_size=2)):
        spent.append(Spent(NOW_S + left_s, cost, Why.REMAINING))
    if draw(st.booleans()):
        spent.append(Spent(NOW_S + draw(ends), 1_200, Why.BOOT))
    return Window(draw(st.integers(1, 7)), sorted(spent, reverse=True))


def send_all(window: Window, *, requests: int, request_s: float, in_flight: int = 1) -> float:
    """Send each request as soon as the budget has room for it; when is the last one answered?

    A request takes room until five minutes after its answer, as in the limiter.
    """
    spent = list(window.spent)
    free_s = [NOW_S] * in_flight  # when each of the senders may send again
    last_s = now_s = NOW_S
    for _ in range(requests):
        now_s = max(now_s, heapq.heappop(free_s))
        while sum(row.cost for row in spent if row.until_s > now_s) >= window.requests_max:
            now_s = min(row.until_s for row in spent if row.until_s > now_s)
        last_s = now_s + request_s
        spent.append(Spent(last_s + 300, 1, Why.REQUEST))
        heapq.heappush(free_s, last_s)
    return last_s


@pytest.mark.slow
@settings(max_examples=examples(500), deadline=None)
@given(windows(), st.integers(1, 60), st.floats(0, 400))
def test_one_after_the_other_it_is_what_the_limiter_does(
    window: Window, requests: int, request_s: float
) -> None:
    found = last_answer_s(
        holds(window.spent, requests_max=window.requests_max, now_s=NOW_S),
        requests=requests,
        requests_max=window.requests_max,
        request_s=request_s,
    )

    # Each wait is rounded up by a millisecond; one that would be shorter is none.
    expected = send_all(window, requests=requests, request_s=request_s)
    assert found == pytest.approx(expected, abs=0.002 * (1 + requests))


@settings(max_examples=examples(300), deadline=None)
@given(windows(), st.integers(1, 60), st.floats(0, 100), st.integers(2, 6))
def test_with_several_in_flight_it_is_at_most_one_answer_off(
    window: Window, requests: int, request_s: float, in_flight: int
) -> None:
    found = last_answer_s(
        holds(window.spent, requests_max=window.requests_max, now_s=NOW_S),
        requests=requests,
        requests_max=window.requests_max,
        request_s=request_s / in_flight,
        answer_s=request_s,
    )

    expected = send_all(window, requests=requests, request_s=request_s, in_flight=in_flight)
    assert found == pytest.approx(expected, abs=request_s + 0.002 * (1 + requests))


@pytest.mark.parametrize(
    ("requests", "seconds"),
    [
        (0, 0.0),
        (1, 0.2),
        (900, 180.0),
        (901, 300.4),  # the first is five minutes old 300 s after its answer
        (1_800, 480.2),
        (1_801, 600.6),
        (5_000, 1_601.0),  # five windows, then 500 requests
        (50_000_000, 55_555 * 300.2 + 100.0),
    ],
)
def test_a_budget_leaves_at_once_and_the_next_five_minutes_later(
    requests: int, seconds: float
) -> None:
    """By hand, at 900 requests in five minutes and 0.2 s a request."""
    found = duration_s(requests=requests, requests_max=900, request_s=0.2)

    assert found == pytest.approx(seconds, rel=1e-4)


def test_requests_slower_than_the_limiter_are_not_held_back() -> None:
    assert duration_s(requests=5_000, requests_max=900, request_s=0.5) == pytest.approx(2_500)
