"""How often a request is tried, and how long to wait in between."""

from collections.abc import Callable
from functools import partial

import tenacity

from migrate.cloudflare.client.verdict import backoff_s
from migrate.ports import Clock
from migrate.workers.ordered import wait_while_wanted


class AgainError(Exception):
    """This attempt failed in a way that another one may mend; never leaves the client."""

    def __init__(
        self,
        reason: str,
        *,
        after_s: float | None = None,
        blocked: bool = False,
        foreign: bool = False,
    ) -> None:
        super().__init__(reason)
        self.after_s = after_s  # the server's wish
        self.blocked = blocked  # the request budget does the waiting
        self.foreign = foreign  # what answered is not the service


def bounded_attempts(
    attempts_max: int,
    *,
    clock: Clock,
    jitter: Callable[[], float],
    tell: Callable[[int, BaseException], None],
) -> tenacity.Retrying:
    """Attempts as long as AgainError is raised, which is raised again after the last one.

    Waits with full jitter, or what the server wishes if that is longer. `tell` hears the number
    and the error of each attempt that is followed by another.
    """

    def wait_s(state: tenacity.RetryCallState) -> float:
        error = _error_of(state)
        if error.blocked:
            return 0.0
        return max(error.after_s or 0.0, backoff_s(state.attempt_number, jitter()))

    return tenacity.Retrying(
        stop=tenacity.stop_after_attempt(attempts_max),
        wait=wait_s,
        retry=tenacity.retry_if_exception_type(AgainError),
        before_sleep=lambda state: tell(state.attempt_number, _error_of(state)),
        sleep=partial(wait_while_wanted, clock),
        reraise=True,
    )


def _error_of(state: tenacity.RetryCallState) -> AgainError:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, AgainError)
    return error
