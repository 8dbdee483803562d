"""The request limiter of one account, shared by all processes and kept across restarts.

The service counts a request when it arrives. The limiter records it before it is sent. Until a
request is answered it counts as sent just now. A request of a process that was killed before the
answer counts as sent at the latest moment at which it can have arrived.

Requests that have to wait are sent in the order in which they began to, over all processes. Each
waits until more requests are free than are before it in the line, so that wakes are no race. A
process announces when it wakes. If it does not (it was killed), its requests are passed over.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from migrate.cloudflare.budget.departures import Before, Departures, Turn, read_boot_id
from migrate.cloudflare.budget.forecast import (
    ROUNDING_S,
    Spent,
    Why,
    holds,
    last_answer_s,
    next_place_s,
)
from migrate.errors import BudgetExhaustedError, LocalStorageError, UsageError
from migrate.model.limits import (
    REQUEST_WINDOW_S,
    REQUESTS_PER_WINDOW_MAX,
    RETRY_AFTER_S_MAX,
)
from migrate.model.stamps import clock_stamp
from migrate.ports import Clock, Progress
from migrate.words import counted, minutes_in_words
from migrate.workers.ordered import raise_if_cancelled, wait_or_cancel

# Of the account's 1,200. The rest is kept for dashboards and deployments.
REQUESTS_MAX_DEFAULT = 900
QUIET_WAIT_S = 3.0  # shorter waits are not reported
WAIT_PIECE_S = 60.0  # after each piece the table is read again, in case of a new block
PACE_PIECE_S = 1.0  # of a wait that the operator may end at any time
WAKE_LATE_S = 5.0  # a process that wakes later than announced by more than this is passed over
WAIT_S_MAX = 3_600.0  # longer means that other processes take every free request
_REASONS = {
    Why.BLOCK: "the service blocked the account",
    Why.REMAINING: "the service says that the account may send no further request",
    Why.BOOT: "the machine restarted: the number of requests before that is not known",
    Why.PACE: "the operator wants no more to be sent now (`q2v pace --resume` ends this)",
    Why.REPLACED: "the file of earlier requests could not be read: it may have held a whole budget",
}


class Departure(NamedTuple):
    """A recorded request, which may now be sent."""

    row_id: int
    at_s: float  # monotonic


class _Wait(NamedTuple):
    seconds: float  # until the request may be sent
    piece_s: float  # until the tables are read again
    reason: str
    blocked_s: float  # how long the service blocks the account
    turn: Turn


class RequestBudget:
    """Allows `requests_max` requests in every sliding 300 s, over all processes of this host."""

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Clock,
        requests_max: int = REQUESTS_MAX_DEFAULT,
        boot_id: Callable[[], str] = read_boot_id,
    ) -> None:
        """`path` is one file per account, shared by all processes; None keeps it in memory.

        Raises UsageError for a maximum outside 1..1200, LocalStorageError, ForeignStateError.
        """
        if not 0 < requests_max <= REQUESTS_PER_WINDOW_MAX:
            raise UsageError(
                f"limits.requests_per_5min is {requests_max}",
                remedy=f"choose 1 to {REQUESTS_PER_WINDOW_MAX}, what one account may send",
            )
        self.taken = 0  # requests let through by this object, for reports
        self._clock = clock
        self._requests_max = requests_max
        self._table = Departures(path, clock=clock, boot=boot_id(), requests_max=requests_max)
        self._threads = threading.Lock()
        self._in_flight = 0  # sent and not answered yet
        self._holding = 0  # callers that wait in `acquire`
        self._held_since_s = self._held_s = 0.0
        self._announced_until_s = 0.0

    def acquire(self, progress: Progress | None = None, *, within_s: float = 0.0) -> Departure:
        """Wait until a request may be sent, then count it. Call once per request, retries included.

        `within_s` is the deadline of the request, in seconds: later it cannot arrive any more.
        Pass the result to `release` when the request has been answered or has failed.
        Raises BudgetExhaustedError when the service blocks the account for longer than a run
        waits, or when no request may be sent within an hour; LocalStorageError.
        """
        waited_s = 0.0
        turn = None
        try:
            while True:
                raise_if_cancelled()
                found = self._try_to_send(within_s, turn)
                if isinstance(found, Departure):
                    turn = None
                    return found
                turn = found.turn
                self._check(found, waited_s)
                if progress is not None:
                    self._announce(found, progress)
                with self._holding_back():
                    wait_or_cancel(self._clock, found.piece_s)
                waited_s += found.piece_s
                if progress is not None:
                    progress.advance(0)  # lets progress print during a long wait
        finally:
            if turn is not None:
                self._leave(turn)

    def _try_to_send(self, within_s: float, turn: Turn | None) -> Departure | _Wait:
        """Record a request if one is allowed. A request that cannot be recorded is not sent."""
        with self._threads:
            with self._table.locked() as now_s:
                self._table.drop_old(now_s)
                before = self._table.before(turn, now_s)
                if self._requests_max - self._table.used(now_s) <= before.requests:
                    return self._wait(turn, before, now_s)
                until_s = now_s + within_s + REQUEST_WINDOW_S
                row_id = self._table.add(Why.REQUEST, 1, now_s=now_s, until_s=until_s)
                if turn is not None:
                    self._table.leave(turn)
            self.taken += 1
            self._in_flight += 1
            return Departure(row_id, now_s)

    def _wait(self, turn: Turn | None, before: Before, now_s: float) -> _Wait:
        """Take or keep a place in the line: how long until the request may be sent, and why."""
        spent = self._table.spent(now_s)
        place = before.requests + 1
        wakes_s = next_place_s(spent, place=place, requests_max=self._requests_max, now_s=now_s)
        is_paced = any(row.why is Why.PACE for row in spent)
        checks_s = now_s + (PACE_PIECE_S if is_paced else WAIT_PIECE_S)
        if before.until_s is not None:  # then the request before it is renewed, or passed over
            checks_s = min(checks_s, before.until_s + ROUNDING_S)
        checks_s = min(checks_s, wakes_s)
        turn = self._table.stand(turn, now_s=now_s, until_s=checks_s + WAKE_LATE_S)
        blocks = [row.until_s - now_s for row in spent if row.why is Why.BLOCK]
        return _Wait(
            wakes_s - now_s,
            checks_s - now_s,
            self._reason(spent, before),
            max(blocks, default=0.0),
            turn,
        )

    def _reason(self, spent: list[Spent], before: Before) -> str:
        used, last = 0, None
        for row in spent:  # the latest first: which of them the next request waits for
            used += row.cost
            if used >= self._requests_max:
                last = row.why
                break
        sent = sum(row.cost for row in spent if row.why is Why.REQUEST)
        reason = f"{counted(sent, 'request')} sent in the last {REQUEST_WINDOW_S} s"
        if last is not None:
            reason = _REASONS.get(last, reason)
        if before.requests:
            reason += f", {counted(before.requests, 'other request')} before it"
        return reason

    def _leave(self, turn: Turn) -> None:
        """Give the place in the line back. If that fails, it is passed over in time."""
        with self._threads, suppress(LocalStorageError), self._table.locked():
            self._table.leave(turn)

    def release(self, departure: Departure | None = None) -> None:
        """Note that a request has been answered or has failed.

        `departure` is the result of `acquire`. The service has counted the request by now, so it
        counts for 300 s from now. If that cannot be recorded, it counts for 300 s from its
        deadline.
        """
        with self._threads:
            self._in_flight -= 1
            if departure is None:
                return
            with suppress(LocalStorageError):
                now_s = self._clock.monotonic_s()
                self._table.end_early(departure.row_id, now_s + REQUEST_WINDOW_S)

    def held_s(self) -> float:
        """Seconds so far in which at least one request had to wait in `acquire`."""
        with self._threads:
            since_s = self._clock.monotonic_s() - self._held_since_s if self._holding else 0.0
            return self._held_s + since_s

    def remaining_s(self, requests: int, request_s: float) -> float:
        """Seconds until `requests` more requests are answered, those in flight included.

        `request_s` is the time per request while the budget allows them, in seconds: with several
        in flight, the time of one divided by their number. A request in flight is expected to be
        answered as late as any other, not at its deadline. Raises LocalStorageError.
        """
        with self._threads:
            now_s = self._clock.monotonic_s()
            to_come = requests - self._in_flight
            if to_come <= 0:
                return requests * request_s
            answer_s = request_s * max(1, self._in_flight)
            spent = self._table.spent(now_s)
        expected_s = now_s + answer_s + REQUEST_WINDOW_S
        likely = [
            Spent(min(until_s, expected_s) if why is Why.REQUEST else until_s, cost, why)
            for until_s, cost, why in spent
        ]
        answered_s = last_answer_s(
            holds(sorted(likely, reverse=True), requests_max=self._requests_max, now_s=now_s),
            requests=to_come,
            requests_max=self._requests_max,
            request_s=request_s,
            answer_s=answer_s,
        )
        return answered_s - now_s

    def block(self, seconds: float) -> None:
        """Send nothing for `seconds`, in any process, because the service answered 429."""
        with self._threads, self._table.locked(durable=True) as now_s:
            until_s = now_s + seconds
            self._table.add(Why.BLOCK, REQUESTS_PER_WINDOW_MAX, now_s=now_s, until_s=until_s)

    def set_pace(self, requests: int, seconds: float) -> None:
        """Send at most `requests` in each 300 s, in any process, for `seconds`; 0 sends nothing.

        That holds whatever the budget of the other process is. Replaces what was set before; with
        no seconds it ends that.
        """
        assert requests >= 0
        cost = REQUESTS_PER_WINDOW_MAX - requests
        with self._threads, self._table.locked(durable=True) as now_s:
            self._table.drop(Why.PACE)
            if cost > 0 and seconds > 0:
                self._table.add(Why.PACE, cost, now_s=now_s, until_s=now_s + seconds)

    def pace(self) -> tuple[int, float] | None:
        """What `set_pace` has set: requests in 300 s, and for how many seconds still."""
        with self._threads:
            now_s = self._clock.monotonic_s()
            rows = [row for row in self._table.spent(now_s) if row.why is Why.PACE]
        if not rows:
            return None
        return max(0, self._requests_max - rows[0].cost), rows[0].until_s - now_s

    def note_remaining(self, remaining: int, seconds: float) -> bool:
        """Reduce the budget to `remaining` requests in `seconds`. Returns whether that is less.

        Never enlarges the budget: the service's numbers do not follow its own limit.
        """
        if remaining >= self._requests_max:
            return False
        with self._threads, self._table.locked() as now_s:
            allowed = self._requests_max - self._table.used(now_s)
            if remaining >= allowed:
                return False
            until_s = now_s + min(seconds, float(REQUEST_WINDOW_S))
            self._table.keep_all(now_s, until_s)  # else more could be sent as these rows end
            self._table.add(Why.REMAINING, allowed - remaining, now_s=now_s, until_s=until_s)
        return True

    @contextmanager
    def _holding_back(self) -> Iterator[None]:
        """Measure the time of the block. When several callers wait together, it counts once."""
        with self._threads:
            if not self._holding:
                self._held_since_s = self._clock.monotonic_s()
            self._holding += 1
        try:
            yield
        finally:
            with self._threads:
                self._holding -= 1
                if not self._holding:
                    self._held_s += self._clock.monotonic_s() - self._held_since_s

    def _announce(self, wait: _Wait, progress: Progress) -> None:
        """Report a wait in one line, once for all callers that wait for the same moment."""
        with self._threads:
            until_s = self._clock.monotonic_s() + wait.seconds
            if wait.seconds <= QUIET_WAIT_S or until_s <= self._announced_until_s + QUIET_WAIT_S:
                return
            self._announced_until_s = until_s
            end = clock_stamp(self._clock.wall_s() + wait.seconds)
        progress.say(f"waiting {wait.seconds:.0f} s, until {end} UTC: {wait.reason}")

    def _check(self, wait: _Wait, waited_s: float) -> None:
        if wait.blocked_s > RETRY_AFTER_S_MAX:
            raise BudgetExhaustedError(
                f"the service blocked the account for {wait.blocked_s:.0f} s",
                remedy="run the same command again in "
                f"{minutes_in_words(wait.blocked_s / 60)}: it resumes",
            )
        if waited_s >= WAIT_S_MAX:
            raise BudgetExhaustedError(
                f"no request could be sent for {waited_s:.0f} s: {wait.reason}",
                remedy="stop the other programs that use this account, then run the same command "
                "again",
            )
