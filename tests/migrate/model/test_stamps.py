"""Stamps have one form whatever the clock says, and their order is that of their making."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.model.stamps import (
    clock_stamp,
    iso_stamp,
    name_stamp,
    parse_http_date,
    parse_moment,
)

CLOCKS = st.floats(-1e15, 1e15)


@given(CLOCKS)
def test_every_clock_gives_stamps_of_one_form(wall_s: float) -> None:
    assert len(name_stamp(wall_s)) == len("20261129T013323Z")
    assert len(iso_stamp(wall_s)) == len("2026-11-29T01:33:23+00:00")
    assert len(clock_stamp(wall_s)) == len("01:33:23")


@given(CLOCKS, CLOCKS.filter(lambda wall_s: wall_s < 2e11))
def test_a_later_name_sorts_after_the_newest_in_use(now_s: float, newest_s: float) -> None:
    newest = name_stamp(newest_s)

    assert name_stamp(now_s, after=newest) > newest


def test_stamps_are_utc() -> None:
    assert name_stamp(0) == "19700101T000000Z"
    assert iso_stamp(0.9) == "1970-01-01T00:00:00+00:00"
    assert name_stamp(0, after="not a stamp") == "19700101T000000Z"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:00:10 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:00:10 -0000", 10.0),
        (None, None),
        ("tomorrow", None),
        ("Thu, 01 Jan 99999 00:00:10 GMT", None),
    ],
)
def test_the_date_of_a_header(header: str | None, seconds: float | None) -> None:
    assert parse_http_date(header) == seconds


HOUR_S = 3_600.0
EVENING_S = 20 * HOUR_S  # 20:00 on the first of January 1970


@pytest.mark.parametrize(
    ("typed", "past_s", "hours"),
    [
        ("23:30", 0.0, 23.5),
        ("19:00", 0.0, 43.0),
        ("20:00", 0.0, 44.0),
        ("23:30", 6 * HOUR_S, 23.5),
        ("19:00", 6 * HOUR_S, 19.0),
        ("20:00", 6 * HOUR_S, 20.0),
        ("14:01", 6 * HOUR_S, 14 + 1 / 60),
        ("14:00", 6 * HOUR_S, 38.0),
        ("02:00", 6 * HOUR_S, 26.0),
        ("1970-01-01T19:00+00:00", 0.0, 19.0),
    ],
)
def test_a_time_of_day_is_the_next_one_unless_it_has_just_passed(
    typed: str, past_s: float, hours: float
) -> None:
    assert parse_moment(typed, now_s=EVENING_S, past_s=past_s) == pytest.approx(hours * HOUR_S)


def test_a_time_of_day_before_midnight_has_just_passed_after_it() -> None:
    now_s = 24 * HOUR_S + 60  # one minute after midnight

    assert parse_moment("23:30", now_s=now_s, past_s=6 * HOUR_S) == 23.5 * HOUR_S
    assert parse_moment("00:30", now_s=now_s, past_s=6 * HOUR_S) == 24.5 * HOUR_S
