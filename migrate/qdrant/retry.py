"""Which failures of a Qdrant server pass, and how long to wait for that."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from migrate.errors import BudgetExhaustedError, RemoteUnavailableError
from migrate.model.stamps import parse_retry_after
from migrate.ports import Clock
from migrate.workers.ordered import wait_or_cancel
from migrate.workers.repeat import retry_on

Answer = TypeVar("Answer")

RETRY_AFTER_S_MAX = 600.0  # a server that asks for more ends the run; nothing is sent early
DELAY_S_FIRST = 0.5
DELAY_S_MAX = 30.0
# Qdrant refills its budget of reads per minute evenly: without a stated time, whole seconds help.
THROTTLED_DELAY_S_FIRST = 5.0
THROTTLED_DELAY_S_MAX = 60.0
QUOTED_CHARACTERS_MAX = 200


class PassingFailure(Exception):  # noqa: N818 - not an error yet: the retry decides
    """One request failed in a way that may pass; reading is idempotent, so it is sent again."""

    def __init__(
        self,
        what: str,
        *,
        wait_s: float | None = None,
        throttled: bool = False,
        timed_out: bool = False,
        remedy: str | None = None,
    ) -> None:
        super().__init__(what)
        self.remedy = remedy  # what to do when it does not pass; None = the usual advice
        self.wait_s = wait_s  # the server's own wish, honoured in full
        self.throttled = throttled
        self.timed_out = timed_out  # a smaller page may be in time


class ForeignAnswer(PassingFailure):
    """Something answered in Qdrant's place: a proxy, an edge, a login page."""

    def __init__(
        self,
        what: str,
        *,
        wait_s: float | None = None,
        throttled: bool = False,
        timed_out: bool = False,
    ) -> None:
        super().__init__(
            what,
            wait_s=wait_s,
            throttled=throttled,
            timed_out=timed_out,
            remedy="check source.url, and what stands between q2v and Qdrant (proxy, login page, "
            "firewall); then run the same command again: it goes on where it stopped",
        )


class PageRefusal(Exception):  # noqa: N818 - answered by asking for less
    """The server, or our cap, will not have a page this big; fewer points may pass."""

    def __init__(self, what: str, *, for_good: bool = False) -> None:
        super().__init__(what)
        self.for_good = for_good  # a limit on the number of points, whatever they hold


class PointRefusal(Exception):  # noqa: N818 - answered by asking for the points before it
    """One point of a page cannot be read as it is; those before and after it may."""

    def __init__(self, what: str, *, position: int, remedy: str | None = None) -> None:
        super().__init__(what)
        self.position = position  # in the page that was asked for
        self.remedy = remedy


class CollectionMissing(Exception):  # noqa: N818 - the source turns it into advice
    """The server does not know the collection."""


def quote(text: str, *, secret: str | None) -> str:
    """What a server said, short, on one line, without control characters and without our key."""
    if secret:
        text = text.replace(secret, "***")
    line = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(line.split())
    return line[:QUOTED_CHARACTERS_MAX] + ("..." if len(line) > QUOTED_CHARACTERS_MAX else "")


def read_retry_after(
    text: str | None, *, date: str | None, clock: Clock, who: str = "the source"
) -> float | None:
    """Seconds to wait from a Retry-After: whole seconds, or an HTTP date.

    A date is read against the answer's own Date, because the two clocks may differ. None when
    there is none, or it is garbage, zero or past. Raises BudgetExhaustedError beyond 600 s.
    """
    seconds = parse_retry_after(text, date=date, wall_s=clock.wall_s())
    if seconds is None:
        return None
    if seconds > RETRY_AFTER_S_MAX:
        raise BudgetExhaustedError(
            f"{who} asks to wait {seconds:.0f} s; q2v waits at most {RETRY_AFTER_S_MAX:.0f} s",
            remedy="run the same command again after that time; it goes on where it stopped",
        )
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Sends a read again while its failure may pass, and says why it waits."""

    clock: Clock
    attempts_max: int  # requests per call, the first one included
    jitter: random.Random
    say: Callable[[str], None]

    def call(self, fetch: Callable[[], Answer]) -> Answer:
        """Return what `fetch` returns.

        Raises RemoteUnavailableError when the last attempt failed too; whatever else `fetch`
        raises is not repeated.
        """
        try:
            return retry_on(
                PassingFailure,
                fetch,
                attempts_max=self.attempts_max,
                wait_s=self._delay_s,
                clock=self.clock,
                before_pause=self._say_why,
            )
        except PassingFailure as failure:
            raise self.given_up(failure) from failure

    def given_up(self, failure: PassingFailure) -> RemoteUnavailableError:
        """The error after the last attempt."""
        return RemoteUnavailableError(
            f"{failure}; given up after {self.attempts_max} attempts",
            remedy=failure.remedy
            or "see that the source is up and reachable, then run the same command again: "
            "it goes on where it stopped",
        )

    def wait_after(self, failure: PassingFailure, failures: int) -> None:
        """Wait after a row of `failures`. Raises RemoteUnavailableError after the last."""
        if failures >= self.attempts_max:
            raise self.given_up(failure) from failure
        wait_s = self._delay_s(failure, failures)
        self._say_why(failure, failures, wait_s)
        wait_or_cancel(self.clock, wait_s)

    def _delay_s(self, failure: PassingFailure, failures: int) -> float:
        if failure.wait_s is not None:
            return failure.wait_s
        doubled = 2.0 ** (failures - 1)
        if failure.throttled:
            # Half is certain: a probe sent at once would only be refused again.
            bound = min(THROTTLED_DELAY_S_MAX, THROTTLED_DELAY_S_FIRST * doubled)
            return self.jitter.uniform(bound / 2, bound)
        return self.jitter.uniform(0, min(DELAY_S_MAX, DELAY_S_FIRST * doubled))

    def _say_why(self, failure: PassingFailure, failures: int, wait_s: float) -> None:
        self.say(
            f"{failure}; waiting {wait_s:.1f} s, then attempt {failures + 1} of {self.attempts_max}"
        )
