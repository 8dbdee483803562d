"""When the commands of a move may be started: every day between two times, or once. UTC. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime

DAY_S = 86_400
_DAILY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
EXPECTED = '"22:00-04:00" (UTC, every day) or "2026-12-05T22:00Z/2026-12-06T04:00Z" (once)'


@dataclass(frozen=True, slots=True)
class Daily:
    """Every day from one second of the day to another, which may be on the next day."""

    first_s: int
    end_s: int

    def open_until_s(self, now_s: float) -> float | None:
        """The end of the window that is open; None when it is closed."""
        lasts_s = (self.end_s - self.first_s) % DAY_S
        since_s = (now_s - self.first_s) % DAY_S
        return now_s + lasts_s - since_s if since_s < lasts_s else None

    def opens_s(self, now_s: float) -> float | None:
        """When it opens next, now or later."""
        if self.open_until_s(now_s) is not None:
            return now_s
        return now_s + (self.first_s - now_s) % DAY_S


@dataclass(frozen=True, slots=True)
class Once:
    """From one moment to another, in seconds since 1970."""

    first_s: float
    end_s: float

    def open_until_s(self, now_s: float) -> float | None:
        """The end of the window; None when it is not open."""
        return self.end_s if self.first_s <= now_s < self.end_s else None

    def opens_s(self, now_s: float) -> float | None:
        """When it opens, now or later; None when it is over."""
        return max(now_s, self.first_s) if now_s < self.end_s else None


Window = Daily | Once


def parse_window(text: str) -> Window:
    """Raises ValueError for a text that is no window."""
    daily = _DAILY.fullmatch(text)
    if daily is not None:
        hour, minute, end_hour, end_minute = map(int, daily.groups())
        window = Daily(hour * 3_600 + minute * 60, end_hour * 3_600 + end_minute * 60)
        if window.first_s == window.end_s:
            raise ValueError("it begins when it ends")
        return window
    first, slash, end = text.partition("/")
    if not slash:
        raise ValueError("it is neither a time of the day nor an interval")
    once = Once(_moment_s(first), _moment_s(end))
    if once.end_s <= once.first_s:
        raise ValueError("its end is not after its beginning")
    return once


def _moment_s(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} names no time zone")
    return moment.timestamp()
