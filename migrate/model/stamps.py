"""Time stamps for people, file names and HTTP dates. Pure: the clock is read elsewhere."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# The range of a four-digit year; a clock outside of it still gives a stamp.
_WALL_S_MIN, _WALL_S_MAX = -62_135_596_800, 253_402_300_799  # 0001-01-01, 9999-12-31
_DAY_S = 86_400.0
RETRY_AFTER_S_TOP = 86_400.0  # a longer wait is treated as 24 h
_NAME = "%Y%m%dT%H%M%SZ"


def name_stamp(wall_s: float, *, after: str = "") -> str:
    """A UTC time as it appears in folder names: 20261129T013323Z, sorted by time.

    `after` is the newest stamp in use. The result is later than it even when the clock has been
    set back: names give the order, they do not prove the time.
    """
    moment = _moment(wall_s)
    try:
        newest = datetime.strptime(after, _NAME).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return _text(moment)
    return _text(max(moment, _moment(newest + 1)))


def iso_stamp(wall_s: float) -> str:
    """A UTC moment for files and reports: 2026-11-29T01:33:23+00:00."""
    return _moment(wall_s).isoformat(timespec="seconds")


def clock_stamp(wall_s: float) -> str:
    """The time of day in UTC for messages: 01:33:23."""
    return f"{_moment(wall_s):%H:%M:%S}"


def parse_moment(text: str, *, now_s: float, past_s: float = 0.0) -> float:
    """Seconds since 1970 of an RFC 3339 time with its zone, or of the next HH:MM in UTC.

    An HH:MM that was less than `past_s` seconds ago is that one, and not the next. Raises
    ValueError for another text, and for a time without a zone.
    """
    hours, _, minutes = text.partition(":")
    if len(text) == len("HH:MM") and hours.isdigit() and minutes.isdigit():
        moment = _moment(now_s).replace(
            hour=int(hours), minute=int(minutes), second=0, microsecond=0
        )
        oldest_s, at_s = now_s - past_s, moment.timestamp()
        at_s += _DAY_S if at_s <= oldest_s else 0
        return at_s - (_DAY_S if at_s - _DAY_S > oldest_s else 0)
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found.timestamp()


def parse_http_date(text: str | None) -> float | None:
    """Seconds since 1970 of a Date header; None when it is missing or unreadable."""
    try:
        parsed = parsedate_to_datetime(text or "")
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def parse_retry_after(
    text: str | None, *, date: str | None, wall_s: float | None = None
) -> float | None:
    """Seconds to wait by a Retry-After header, > 0 and at most `RETRY_AFTER_S_TOP`.

    The header holds whole seconds or an HTTP date. A date is read against the answer's own Date
    header `date`, because the two clocks may differ; without one against `wall_s`. None when the
    header is missing, unreadable, zero, negative or past.
    """
    stripped = (text or "").strip()
    if stripped.isascii() and stripped.isdigit():
        seconds = float(stripped)
    else:
        until_s, now_s = parse_http_date(stripped), parse_http_date(date)
        now_s = wall_s if now_s is None else now_s
        if until_s is None or now_s is None:
            return None
        seconds = until_s - now_s
    return min(seconds, RETRY_AFTER_S_TOP) if seconds > 0 else None


def _moment(wall_s: float) -> datetime:
    return datetime.fromtimestamp(min(max(wall_s, _WALL_S_MIN), _WALL_S_MAX), UTC)


def _text(moment: datetime) -> str:
    # `strftime` leaves out the leading zeros of a year below 1000 on some systems.
    return f"{moment.year:04d}{moment:%m%dT%H%M%SZ}"
