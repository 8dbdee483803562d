"""When requests may be sent, and when the last of many is answered. Pure: seconds in, seconds out.

A budget of requests in every sliding five minutes is not an even rate. A whole budget is sent at
once, then nothing until its first request is five minutes old. The remaining time is therefore a
number of steps of five minutes, and the time per request counts only within a step.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from migrate.model.limits import REQUEST_WINDOW_S

ROUNDING_S = 0.001  # added to every wait, so that rounding never makes it too short


class Why(StrEnum):
    """The reason why requests are taken from the budget."""

    REQUEST = "request"  # one that was sent
    BLOCK = "block"  # the service blocked the account
    REMAINING = "remaining"  # the service says that fewer requests remain than we count
    BOOT = "boot"  # the machine restarted: the number of requests before that is not known
    PACE = "pace"  # the operator wants fewer to be sent for a while: `q2v pace`
    REPLACED = "replaced"  # the file could not be read: its content is not known


class Spent(NamedTuple):
    """A row of the budget: `cost` fewer requests may be sent until `until_s`."""

    until_s: float  # monotonic
    cost: int
    why: Why


class Hold(NamedTuple):
    """The time before which one of the next requests cannot be sent."""

    number: int  # 1 = the next request
    until_s: float  # monotonic
    why: Why | None = None  # None: nothing holds it back, and `until_s` is now


def holds(spent: Iterable[Spent], *, requests_max: int, now_s: float) -> list[Hold]:
    """The holds of the next requests. The first hold is the present moment.

    `spent` is ordered by `until_s`, the latest first, and holds only rows that still count.
    """
    found, used = [Hold(1, now_s)], 0
    for until_s, cost, why in spent:
        used += cost
        found.append(Hold(max(1, requests_max - used + 1), until_s + ROUNDING_S, why))
    return found


def next_place_s(spent: Sequence[Spent], *, place: int, requests_max: int, now_s: float) -> float:
    """The monotonic time at which the request at `place` of a line may be sent; 1 is the first.

    Those before it are sent as soon as they may be. `spent` is that of `holds`. A pace is assumed
    to last, or to end at its time, whichever lets the request be sent earlier.
    """
    paced = [row for row in spent if row.why is Why.PACE]
    paced_max = requests_max - sum(row.cost for row in paced)
    ways = [(spent, requests_max)]
    if paced and paced_max > 0:
        ways.append(([row for row in spent if row.why is not Why.PACE], paced_max))
    return min(
        last_answer_s(
            holds(rows, requests_max=most, now_s=now_s),
            requests=place,
            requests_max=most,
            request_s=0.0,
        )
        for rows, most in ways
    )


def last_answer_s(
    holds: Sequence[Hold],
    *,
    requests: int,
    requests_max: int,
    request_s: float,
    answer_s: float | None = None,
) -> float:
    """The monotonic time at which the last of `requests` is answered.

    `holds` is the result of the function `holds`; `requests_max` is the budget of a window.
    `answer_s` is the time between a request and its answer. `request_s` is that time divided by the
    number of requests in flight; `answer_s` is left out where it is 1. With several in flight the
    result is off by at most one `answer_s`, because the requests are assumed to be sent evenly.

    A request is sent at the latest of three moments: the end of its hold, `request_s` after the
    request before it, and a window after the answer to the request `requests_max` before it. The
    last request is therefore sent at the end of the longest path from any hold to it. The steps of
    a path are single requests and whole budgets. Where a whole budget takes longer than its single
    requests, the longest path has as many whole budgets as fit.
    """
    assert requests > 0
    assert requests_max > 0
    answer_s = request_s if answer_s is None else answer_s
    # How much longer a step of a whole budget takes than its single requests. The limiter counts a
    # request until a window after its answer.
    gained_s = answer_s + REQUEST_WINDOW_S + ROUNDING_S - requests_max * request_s
    sent_s = max(
        hold.until_s
        + (requests - hold.number) * request_s
        + (requests - hold.number) // requests_max * max(0.0, gained_s)
        for hold in holds
        if hold.number <= requests
    )
    return sent_s + request_s


def duration_s(
    *, requests: int, requests_max: int, request_s: float, answer_s: float | None = None
) -> float:
    """Seconds until the last of `requests` is answered, if none was sent in the last 5 minutes.

    `request_s` and `answer_s` are those of `last_answer_s`.
    """
    if not requests:
        return 0.0
    return last_answer_s(
        [Hold(1, 0.0)],
        requests=requests,
        requests_max=requests_max,
        request_s=request_s,
        answer_s=answer_s,
    )
