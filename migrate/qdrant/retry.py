"""Which failures of a Qdrant server are retried, and after which wait."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from migrate.errors import BudgetExhaustedError, RemoteUnavailableError
from migrate.model.stamps import parse_retry_after
from migrate.ports import Clock
from migrate.transport.masking import mask_secrets
from migrate.words import counted
from migrate.workers.ordered import wait_or_cancel
from migrate.workers.repeat import retry_on

Answer = TypeVar("Answer")

RETRY_AFTER_S_MAX = 600.0  # a server that asks for more ends the run; nothing is sent early
DELAY_S_FIRST = 0.5
DELAY_S_MAX = 30.0
# Qdrant refills its budget of reads per minute evenly, so a wait of some seconds is enough.
THROTTLED_DELAY_S_FIRST = 5.0
THROTTLED_DELAY_S_MAX = 60.0
QUOTED_CHARACTERS_MAX = 200


class PassingFailure(Exception):  # noqa: N818 - not an error yet: the retry decides
    """A request failed and may succeed later. Reading is idempotent, so it is sent again."""

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
        self.remedy = remedy  # the advice after the last attempt; None = the usual one
        self.wait_s = wait_s  # the time that the server asks for; always waited
        self.throttled = throttled
        self.timed_out = timed_out  # a smaller page may be answered in time


class ForeignAnswer(PassingFailure):
    """The answer came from something other than Qdrant: a proxy, an edge, a login page."""

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
            "firewall); then run the same command again: it resumes",
        )


class PageRefusal(Exception):  # noqa: N818 - answered by asking for less
    """The page is too large for the server or for our own limit; fewer points may succeed."""

    def __init__(self, what: str, *, for_good: bool = False) -> None:
        super().__init__(what)
        self.for_good = for_good  # a limit on the number of points, whatever they hold


class PointRefusal(Exception):  # noqa: N818 - answered by asking for the points before it
    """One point of a page cannot be read; the points before and after it may be readable."""

    def __init__(self, what: str, *, position: int, remedy: str | None = None) -> None:
        super().__init__(what)
        self.position = position  # in the page that was asked for
        self.remedy = remedy


class CollectionMissing(Exception):  # noqa: N818 - the source turns it into advice
    """The server does not know the collection."""


def quote_words(text: str, *, secret: str | None) -> str:
    """A server's text on one line, shortened, without control characters and without the key."""
    text = mask_secrets(text, [secret] if secret else [])
    line = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(line.split())
    return line[:QUOTED_CHARACTERS_MAX] + ("..." if len(line) > QUOTED_CHARACTERS_MAX else "")


def read_retry_after(
    text: str | None, *, date: str | None, clock: Clock, who: str = "the source"
) -> float | None:
    """Seconds to wait from a Retry-After: whole seconds, or an HTTP date.

    A date is compared with the answer's own Date, because the two clocks may differ. None when the
    header is missing, malformed, zero or past. Raises BudgetExhaustedError beyond 600 s.
    """
    seconds = parse_retry_after(text, date=date, wall_s=clock.wall_s())
    if seconds is None:
        return None
    if seconds > RETRY_AFTER_S_MAX:
        raise BudgetExhaustedError(
            f"{who} asks to wait {seconds:.0f} s; q2v waits at most {RETRY_AFTER_S_MAX:.0f} s",
            remedy="run the same command again after that time: it resumes",
        )
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Repeats a failed read, and reports why it waits."""

    clock: Clock
    attempts_max: int  # requests per call, the first one included
    jitter: random.Random
    say: Callable[[str], None]

    def call(self, fetch: Callable[[], Answer]) -> Answer:
        """Return what `fetch` returns.

        Raises RemoteUnavailableError when the last attempt failed too. Any other error of `fetch`
        is raised at once.
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
            f"{failure}; given up after {counted(self.attempts_max, 'attempt')}",
            remedy=failure.remedy
            or "check that the source is running and reachable, then run the same command again: "
            "it resumes",
        )

    def wait_after(self, failure: PassingFailure, failures: int) -> None:
        """Wait after `failures` failures in a row. Raises RemoteUnavailableError after the last."""
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
            # At least half of the interval: a request sent at once would be refused again.
            bound = min(THROTTLED_DELAY_S_MAX, THROTTLED_DELAY_S_FIRST * doubled)
            return self.jitter.uniform(bound / 2, bound)
        return self.jitter.uniform(0, min(DELAY_S_MAX, DELAY_S_FIRST * doubled))

    def _say_why(self, failure: PassingFailure, failures: int, wait_s: float) -> None:
        self.say(
            f"{failure}; waiting {wait_s:.1f} s, then attempt {failures + 1} of {self.attempts_max}"
        )
