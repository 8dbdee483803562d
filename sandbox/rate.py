"""The account's request budget: one sliding window for Vectorize and KV, then a block."""

from collections import deque

from sandbox.clock import SandboxClock
from sandbox.errors import ServiceError
from sandbox.profile import Profile


class RequestBudget:
    """Counts every request; above the limit, everything answers 429 for the block's time."""

    def __init__(self, profile: Profile, clock: SandboxClock) -> None:
        self._profile = profile
        self._clock = clock
        self._times: deque[float] = deque()
        self._blocked_until = 0.0
        self._refusals = 0

    def take(self) -> dict[str, str]:
        """Count one request; returns the answer's rate headers. Raises the 429."""
        now = self._clock.now()
        if now < self._blocked_until:
            raise self._refusal(now)
        while self._times and self._times[0] <= now - self._profile.window_s:
            self._times.popleft()
        if len(self._times) >= self._profile.requests_per_window:
            self.block()
            raise self._refusal(now)
        self._times.append(now)
        # As observed: the header does not track the five-minute budget.
        return {
            "Ratelimit": f'"default";r={self._profile.requests_per_window - 1};t=1',
            "Ratelimit-Policy": f'"default";q={self._profile.requests_per_window};'
            f"w={self._profile.window_s:.0f}",
        }

    def block(self) -> None:
        """Begin the block, as after an exceeded budget."""
        self._blocked_until = self._clock.now() + self._profile.block_s

    def _refusal(self, now: float) -> ServiceError:
        self._refusals += 1
        headers = {}
        if self._profile.retry_after:
            headers["retry-after"] = str(max(1, round(self._blocked_until - now)))
        # Both codes have been seen with the same words.
        code = 971 if self._refusals % 2 else 10429
        text = "Please wait and consider throttling your request speed"
        return ServiceError(429, code, text, headers=headers)
