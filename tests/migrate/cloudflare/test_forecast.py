"""The closed form says what the limiter does, request by request."""

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.cloudflare.budget.forecast import duration_s, last_answer_s
from migrate.cloudflare.budget.window import Kind, Now, Record, RequestWindow, adopt_record

NOW_S = 1_000.0
BOOT = "boot"


def record(kind: Kind, monotonic_s: float, *, seconds: float = 0.0, count: int = 0) -> Record:
    return Record(
        kind=kind, boot=BOOT, monotonic_s=monotonic_s, wall_s=0.0, seconds=seconds, count=count
    )


@st.composite
def windows(draw: st.DrawFn) -> RequestWindow:
    """What may lie behind: more stamps than the budget, blocks, the service's words."""
    window = RequestWindow(draw(st.integers(1, 7)))
    for age_s in draw(st.lists(st.floats(0.01, 330), max_size=12)):
        window.add(record(Kind.REQUEST, NOW_S - age_s))
    for age_s, seconds in draw(st.lists(st.tuples(st.floats(0, 400), st.integers(0, 600)))):
        window.add(record(Kind.BLOCK, NOW_S - age_s, seconds=seconds))
    for age_s, seconds, count in draw(
        st.lists(st.tuples(st.floats(0.01, 90), st.integers(0, 300), st.integers(0, 9)))
    ):
        window.add(record(Kind.LEFT, NOW_S - age_s, seconds=seconds, count=count))
    if draw(st.booleans()):  # written in another boot: nothing leaves until this one is old enough
        other = Record(kind=Kind.BOOT, boot="other", monotonic_s=9.0, wall_s=0.0)
        window.add(adopt_record(other, Now(boot=BOOT, monotonic_s=NOW_S, wall_s=0.0)))
    return window


def send_all(
    window: RequestWindow, *, requests: int, request_s: float, in_flight: int = 1
) -> float:
    """Ask the limiter for each request as a client does; when is the last one answered?"""
    free_s = [NOW_S] * in_flight  # when each of the senders may send again
    last_s = now_s = NOW_S
    for _ in range(requests):
        now_s = max(now_s, heapq.heappop(free_s))
        while (wait := window.wait(now_s)).seconds > 0:
            now_s += wait.seconds
        window.add(record(Kind.REQUEST, now_s))
        last_s = now_s + request_s
        heapq.heappush(free_s, last_s)
    return last_s


@settings(max_examples=500, deadline=None)
@given(windows(), st.integers(1, 60), st.floats(0, 400))
def test_one_after_the_other_it_is_what_the_limiter_does(
    window: RequestWindow, requests: int, request_s: float
) -> None:
    found = last_answer_s(
        window.holds(NOW_S),
        requests=requests,
        requests_max=window.requests_max,
        request_s=request_s,
    )

    # Each wait is rounded up by a millisecond; one that would be shorter is none.
    expected = send_all(window, requests=requests, request_s=request_s)
    assert found == pytest.approx(expected, abs=0.002 * (1 + requests))


@settings(max_examples=300, deadline=None)
@given(windows(), st.integers(1, 60), st.floats(0, 100), st.integers(2, 6))
def test_with_several_in_flight_it_is_at_most_one_answer_off(
    window: RequestWindow, requests: int, request_s: float, in_flight: int
) -> None:
    found = last_answer_s(
        window.holds(NOW_S),
        requests=requests,
        requests_max=window.requests_max,
        request_s=request_s / in_flight,
    )

    expected = send_all(window, requests=requests, request_s=request_s, in_flight=in_flight)
    assert found == pytest.approx(expected, abs=request_s + 0.002 * (1 + requests))


@pytest.mark.parametrize(
    ("requests", "seconds"),
    [
        (0, 0.0),
        (1, 0.2),
        (900, 180.0),
        (901, 300.2),
        (1_800, 480.0),
        (1_801, 600.2),
        (5_000, 1_600.0),  # five windows, then 500 requests
        (50_000_000, 16_666_500.0 + 100.0),
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
