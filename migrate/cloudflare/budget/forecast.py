"""When requests may leave, and when the last of many is answered. Pure: seconds in, seconds out.

A budget of requests in every sliding five minutes is no even rate: a whole budget leaves at once,
then nothing until its first request is five minutes old. What remains therefore takes steps of five
minutes, and the time per request counts within a step only.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from migrate.model.limits import REQUEST_WINDOW_S

ROUNDING_S = 0.001  # added to every wait, so that rounding never sends a moment too early


class Why(StrEnum):
    """What takes requests from the budget."""

    REQUEST = "request"  # one that left
    BLOCK = "block"  # the service blocked the account
    REMAINING = "remaining"  # the service says that fewer requests remain than we count
    BOOT = "boot"  # the machine restarted: what it sent before is uncertain
    REPLACED = "replaced"  # the file could not be read: what it held is uncertain


class Spent(NamedTuple):
    """`cost` requests less may leave until `until_s`."""

    until_s: float  # monotonic
    cost: int
    why: Why


class Hold(NamedTuple):
    """One of the requests to come cannot leave before a certain time."""

    number: int  # 1 = the next request
    until_s: float  # monotonic
    why: Why | None = None  # None: nothing holds it, the time is the present


def holds(spent: Iterable[Spent], *, requests_max: int, now_s: float) -> list[Hold]:
    """What the next requests have to wait for. The first hold is the present moment.

    `spent` is ordered by `until_s`, the latest first, and holds nothing that is over.
    """
    found, used = [Hold(1, now_s)], 0
    for until_s, cost, why in spent:
        used += cost
        found.append(Hold(max(1, requests_max - used + 1), until_s + ROUNDING_S, why))
    return found


def last_answer_s(
    holds: Sequence[Hold],
    *,
    requests: int,
    requests_max: int,
    request_s: float,
) -> float:
    """The monotonic time at which the last of `requests` is answered.

    `holds` are those of `holds`; `requests_max` is the budget of a window. `request_s` passes
    between a request that may leave and its answer; with several in flight it is that time divided
    by their number. The result is then at most one whole time off, because the requests are taken
    to leave evenly.

    A request leaves when its hold has passed, `request_s` after the one before it and a window
    after the one `requests_max` before it, whichever is the latest. So the last one leaves at the
    longest way from any hold to it, in steps of one request or of a whole budget: as many of the
    latter as fit where they take longer than the requests they stand for.
    """
    assert requests > 0
    assert requests_max > 0
    # By a step of a whole budget, over the single steps that it stands for.
    gained_s = REQUEST_WINDOW_S + ROUNDING_S - requests_max * request_s
    leaves_s = max(
        hold.until_s
        + (requests - hold.number) * request_s
        + (requests - hold.number) // requests_max * max(0.0, gained_s)
        for hold in holds
        if hold.number <= requests
    )
    return leaves_s + request_s


def duration_s(*, requests: int, requests_max: int, request_s: float) -> float:
    """Seconds until the last of `requests` is answered when none left in the last five minutes."""
    if not requests:
        return 0.0
    return last_answer_s(
        [Hold(1, 0.0)],
        requests=requests,
        requests_max=requests_max,
        request_s=request_s,
    )
