"""When the last of many requests is answered, under a limit on every sliding five minutes.

The limit is no even pace: a whole budget leaves at once, then nothing until its first request is
five minutes old. What remains therefore takes steps of five minutes, and the time per request
counts within a step only.
"""

from collections.abc import Sequence
from typing import NamedTuple

from migrate.model.limits import REQUEST_WINDOW_S

ROUNDING_S = 0.001  # added to every wait, so that rounding never sends a moment too early


class Hold(NamedTuple):
    """One of the requests to come cannot leave before a certain time."""

    number: int  # 1 = the next request
    until_s: float  # monotonic


def last_answer_s(
    holds: Sequence[Hold],
    *,
    requests: int,
    requests_max: int,
    request_s: float,
) -> float:
    """The monotonic time at which the last of `requests` is answered.

    `holds` are those of `RequestWindow.holds`, the present moment among them; `requests_max` is
    the budget of a window. `request_s` passes between a request that may leave and its answer;
    with several in flight it is that time divided by their number, and the result at most one
    whole time off, for they are taken to leave evenly.

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
        until_s
        + (requests - number) * request_s
        + (requests - number) // requests_max * max(0.0, gained_s)
        for number, until_s in holds
        if number <= requests
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
