"""Decide when the next request of an account may leave. Pure: stamps and times in, seconds out.

Ages are measured on the monotonic clock, which starts near 0 with the machine and runs on across
processes. A stamp of an earlier boot is older than this boot, so the present monotonic time is a
lower bound of its age whatever the wall clock says; a stamp is never taken for older than it is.
A power cut may have taken the last stamps with it: after one, this boot has to be as old as the
window before anything leaves.

The service counts requests as they arrive, we write them down before they leave. Until its answer a
request counts as sent just now; a process that is killed before the answer has spent it, at the
latest moment at which it can have arrived.
"""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from migrate.cloudflare.budget.forecast import ROUNDING_S, Hold
from migrate.model.limits import REQUEST_WINDOW_S

FORMAT_LINE = "q2v-requests 1"
UNKNOWN_BOOT = "-"
_SAME_DEPARTURE_S = 0.002  # the file rounds seconds to thousandths
_LINE = re.compile(
    r"(request|answer|block|left|boot) ([0-9A-Za-z-]{1,64}) "
    r"([0-9]{1,12}\.[0-9]{6}) (-?[0-9]{1,12}\.[0-9]{6}) ([0-9]{1,6}\.[0-9]{3}) ([0-9]{1,9})",
    re.ASCII,
)


class Kind(StrEnum):
    """What a record of the window says."""

    REQUEST = "request"  # one leaves; it has arrived, or never will, after `seconds`
    ANSWER = "answer"  # one that left `seconds` before has its answer, or none will come
    BLOCK = "block"  # nothing leaves for `seconds`
    LEFT = "left"  # the server said: `count` more requests within `seconds`
    BOOT = "boot"  # the file was written in this boot; of another boot: what it sent is uncertain


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of the file."""

    kind: Kind
    boot: str
    monotonic_s: float
    wall_s: float
    seconds: float = 0.0
    count: int = 0

    @property
    def lifetime_s(self) -> float:
        """How long the record matters."""
        if self.kind in {Kind.REQUEST, Kind.BOOT}:
            return float(REQUEST_WINDOW_S) + self.seconds * (self.kind is Kind.REQUEST)
        return self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """One reading of the clocks."""

    boot: str
    monotonic_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """`seconds` 0 means: go."""

    seconds: float
    reason: str = ""
    blocked: bool = False


GO = Wait(0.0)


def encode_record(record: Record) -> str:
    """One line without its end."""
    return (
        f"{record.kind} {record.boot} {record.monotonic_s:.6f} {record.wall_s:.6f} "
        f"{record.seconds:.3f} {record.count}"
    )


def decode_record(line: str, now: Now) -> Record:
    """The record of a line; a damaged line counts as a request of this very moment."""
    match = _LINE.fullmatch(line)
    if match is None:
        return Record(
            kind=Kind.REQUEST, boot=now.boot, monotonic_s=now.monotonic_s, wall_s=now.wall_s
        )
    kind, boot, monotonic_s, wall_s, seconds, count = match.groups()
    return Record(
        kind=Kind(kind),
        boot=boot,
        monotonic_s=float(monotonic_s),
        wall_s=float(wall_s),
        seconds=float(seconds),
        count=int(count),
    )


def adopt_record(record: Record, now: Now) -> Record:
    """The record as one of this boot, of the youngest age that is possible."""
    # The file holds rounded times, so a stamp of this very moment may seem to lie ahead.
    if record.boot == now.boot and record.monotonic_s <= now.monotonic_s + ROUNDING_S:
        return replace(record, monotonic_s=min(record.monotonic_s, now.monotonic_s))
    if record.kind is Kind.BOOT:
        # Everything of another boot lies before this one began, at monotonic 0.
        return replace(record, boot=now.boot, monotonic_s=0.0, seconds=float(REQUEST_WINDOW_S))
    age_s = min(max(now.wall_s - record.wall_s, 0.0), now.monotonic_s)
    return replace(record, boot=now.boot, monotonic_s=now.monotonic_s - age_s)


@dataclass(slots=True)
class RequestWindow:
    """The records that still matter, oldest first; all of the present boot."""

    requests_max: int
    requests: deque[float] = field(default_factory=deque)  # monotonic seconds, ascending
    unanswered: list[Record] = field(default_factory=list)  # they may still be on their way
    rules: list[Record] = field(default_factory=list)  # blocks and server's words

    def add(self, record: Record) -> None:
        """Take in one adopted record."""
        match record.kind:
            case Kind.REQUEST if record.seconds:
                self.unanswered.append(record)
            case Kind.REQUEST:
                self._insert(record.monotonic_s)
            case Kind.ANSWER:
                self._settle(record)
            case _:
                self.rules.append(record)

    def _insert(self, stamp: float) -> None:
        if self.requests and stamp < self.requests[-1]:
            # Adopted stamps and other processes may come late; order is what `wait` relies on.
            self.requests = deque(sorted([*self.requests, stamp]))
        else:
            self.requests.append(stamp)

    def _settle(self, answer: Record) -> None:
        """The service has counted a request by the time of its answer: that is its stamp."""
        departed_s = answer.monotonic_s - answer.seconds
        ages = [abs(request.monotonic_s - departed_s) for request in self.unanswered]
        if ages and min(ages) <= _SAME_DEPARTURE_S:
            del self.unanswered[ages.index(min(ages))]
            self._insert(answer.monotonic_s)

    def forget(self, now_s: float) -> None:
        """Drop what is too old to matter."""
        while self.requests and now_s - self.requests[0] >= REQUEST_WINDOW_S:
            self.requests.popleft()
        self.unanswered = [
            one for one in self.unanswered if now_s - one.monotonic_s < one.lifetime_s
        ]
        self.rules = [rule for rule in self.rules if now_s - rule.monotonic_s < rule.lifetime_s]

    def _stamps(self) -> Sequence[float]:
        """When each request may have reached the service at the latest, ascending.

        The service counts what arrives. A request is written down before it leaves, and arrives
        later: by its answer, or by its deadline if the process was killed in between.
        """
        if not self.unanswered:
            return self.requests
        return sorted([*self.requests, *(one.monotonic_s + one.seconds for one in self.unanswered)])

    def wait(self, now_s: float) -> Wait:
        """How long the next request has to wait from `now_s` on."""
        self.forget(now_s)
        waits = [self._wait_for_rule(rule, now_s) for rule in self.rules]
        stamps = self._stamps()
        if len(stamps) >= self.requests_max:
            oldest = stamps[len(stamps) - self.requests_max]
            seconds = REQUEST_WINDOW_S - (now_s - oldest) + ROUNDING_S
            reason = f"{len(stamps)} requests sent in the last {REQUEST_WINDOW_S} s"
            waits.append(Wait(seconds, reason))
        return max(waits, key=lambda wait: wait.seconds, default=GO)

    def holds(self, now_s: float) -> list[Hold]:
        """What the next requests have to wait for, for `forecast.last_answer_s`.

        The first is the present moment; a rule or a stamp that holds nothing back has none.
        """
        self.forget(now_s)
        holds = [Hold(1, now_s)]
        for rule in self.rules:
            if rule.kind is Kind.LEFT:
                number = max(1, self._left(rule) + 1)
                holds.append(Hold(number, rule.monotonic_s + rule.seconds + ROUNDING_S))
            else:
                holds.append(Hold(1, now_s + self._wait_for_rule(rule, now_s).seconds))
        # The budget may be smaller than it was when the stamps were made: only the last count.
        stamps = list(self._stamps())[-self.requests_max :]
        first = self.requests_max - len(stamps) + 1
        holds += [
            Hold(number, stamp + REQUEST_WINDOW_S + ROUNDING_S)
            for number, stamp in enumerate(stamps, start=first)
        ]
        return holds

    def _wait_for_rule(self, rule: Record, now_s: float) -> Wait:
        remaining_s = rule.seconds - (now_s - rule.monotonic_s) + ROUNDING_S
        if rule.kind is Kind.BOOT and not rule.seconds:
            return GO  # of this very boot
        if rule.kind is Kind.BOOT:
            return Wait(remaining_s, "the machine restarted: what it sent before is uncertain")
        if rule.kind is Kind.BLOCK:
            return Wait(remaining_s, "the service blocked the account", blocked=True)
        if self._left(rule) > 0:
            return GO
        return Wait(remaining_s, "the service says that the account may send no further request")

    def _left(self, rule: Record) -> int:
        # A request stamped at the same instant may be the one that was answered; not counting
        # on that costs at most one request.
        sent = sum(1 for stamp in self.requests if stamp > rule.monotonic_s)
        sent += sum(1 for one in self.unanswered if one.monotonic_s > rule.monotonic_s)
        return rule.count - sent

    def is_news(self, left: int, now_s: float) -> bool:
        """Whether `left` is less than what the records allow anyway."""
        self.forget(now_s)
        allowed = [self._left(rule) for rule in self.rules if rule.kind is Kind.LEFT]
        return left < min([*allowed, self.requests_max - len(self._stamps())])
