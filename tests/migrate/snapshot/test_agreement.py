"""The same two numbers every time are no writer; numbers that come back are several answerers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.snapshot.agreement import Agreement, Reading, judge


@pytest.mark.fault("F01", "F10")
@pytest.mark.parametrize(
    ("readings", "shown"),
    [
        ([(85, 60)] * 4, Agreement.PERMANENT),
        ([(60, 85)] * 2, Agreement.PERMANENT),
        ([(85, 60)], Agreement.MOVING),  # one reading shows nothing yet
        ([(22, 23), (22, 22), (22, 22), (22, 22)], Agreement.MOVING),  # one point was deleted
        ([(10, 9), (12, 11), (14, 13)], Agreement.MOVING),
        ([(100, 98), (98, 98), (100, 98)], Agreement.ALTERNATING),
        ([(98, 100), (98, 98), (98, 100), (98, 98)], Agreement.ALTERNATING),
        ([(100, 98), (98, 100), (98, 100)], Agreement.MOVING),
    ],
)
def test_readings_are_judged(readings: list[tuple[int, int]], shown: Agreement) -> None:
    assert judge([Reading(*pair) for pair in readings]) is shown


@given(st.integers(0, 10**9), st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_a_source_that_only_grows_is_a_moving_one(start: int, steps: list[int]) -> None:
    readings = [Reading(start + 1, start)]
    for step in steps:
        count = readings[-1].count + step
        readings.append(Reading(count, count))

    assert judge(readings) is Agreement.MOVING
