"""A window is open from its beginning until before its end, every day or once."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from q2v.fleet.windows import DAY_S, Daily, parse_window


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "now", "closes", "opens"),
    [
        ("22:00-04:00", "2026-12-01T21:59", None, "2026-12-01T22:00"),
        ("22:00-04:00", "2026-12-01T22:00", "2026-12-02T04:00", "2026-12-01T22:00"),
        ("22:00-04:00", "2026-12-02T03:59", "2026-12-02T04:00", "2026-12-02T03:59"),
        ("22:00-04:00", "2026-12-02T04:00", None, "2026-12-02T22:00"),
        ("08:00-09:30", "2026-12-01T09:00", "2026-12-01T09:30", "2026-12-01T09:00"),
        ("00:00-00:01", "2026-12-01T23:59", None, "2026-12-02T00:00"),
        ("2026-12-05T22:00Z/2026-12-06T04:00Z", "2026-12-01T00:00", None, "2026-12-05T22:00"),
        (
            "2026-12-05T23:00+01:00/2026-12-06T04:00Z",
            "2026-12-05T22:00",
            "2026-12-06T04:00",
            "2026-12-05T22:00",
        ),
        ("2026-12-05T22:00Z/2026-12-06T04:00Z", "2026-12-06T04:00", None, None),
    ],
)
def test_a_window_is_open_between_its_times(
    text: str, now: str, closes: str | None, opens: str | None
) -> None:
    window = parse_window(text)

    assert window.open_until_s(at(now)) == (None if closes is None else at(closes))
    assert window.opens_s(at(now)) == (None if opens is None else at(opens))


@given(st.integers(0, 1_439), st.integers(0, 1_439), st.integers(0, 3 * DAY_S))
def test_a_daily_window_opens_within_a_day_and_closes_after_its_length(
    first: int, end: int, now_s: int
) -> None:
    if first == end:
        return
    window = Daily(first * 60, end * 60)

    opens_s = window.opens_s(now_s)
    assert opens_s is not None
    assert now_s <= opens_s < now_s + DAY_S
    closes_s = window.open_until_s(opens_s)
    assert closes_s is not None
    assert closes_s % DAY_S == end * 60
    assert window.open_until_s(closes_s) is None


@pytest.mark.parametrize(
    "text",
    ["", "22-04", "22:00-22:00", "25:00-01:00", "2026-12-05T22:00/2026-12-06T04:00",
     "2026-12-06T04:00Z/2026-12-05T22:00Z", "2026-12-05T22:00Z"],
)  # fmt: skip
def test_any_other_text_is_no_window(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_window(text)
