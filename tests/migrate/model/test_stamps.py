"""Stamps have one form whatever the clock says, and their order is that of their making."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.model.stamps import clock_stamp, iso_stamp, name_stamp, parse_http_date

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
