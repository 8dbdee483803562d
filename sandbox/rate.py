"""The token's request budget: one sliding window for both products, then a lockout."""

import math
from collections import deque

from sandbox.clock import Clock
from sandbox.errors import throttled
from sandbox.profile import Profile


class RequestBudget:
    """Counts requests; above the limit every one is refused until the lockout ends.

    The counts are in memory only; a restart clears them.
    """

    def __init__(self, profile: Profile, clock: Clock) -> None:
        self._profile = profile
        self._clock = clock
        self._taken: deque[float] = deque()  # times of the requests inside the window
        self._locked_until = -math.inf
        self._refused = 0

    def take(self) -> None:
        """Count one request. Raises ServiceError 429 when there is no budget for it."""
        now = self._clock.now()
        if now >= self._locked_until:
            while self._taken and self._taken[0] <= now - self._profile.budget_window_s:
                self._taken.popleft()
            if len(self._taken) < self._profile.requests_per_5min:
                self._taken.append(now)
                return
            self.lock_out()
        headers = {}
        if self._profile.retry_after_header:
            headers["retry-after"] = str(math.ceil(self._locked_until - now))
        self._refused += 1
        raise throttled(971 if self._refused % 2 else 10429, headers=headers)

    def lock_out(self) -> None:
        """Begin the lockout now. The window starts empty after it."""
        self._locked_until = self._clock.now() + self._profile.lockout_s
        self._taken.clear()

    def headers(self) -> dict[str, str]:
        """The rate headers as they were seen live: they do not track the five-minute budget."""
        limit = self._profile.requests_per_5min
        return {
            "ratelimit": f'"default";r={max(0, limit - 1)};t=1',
            "ratelimit-policy": f'"default";q={limit};w={self._profile.budget_window_s:.0f}',
        }
