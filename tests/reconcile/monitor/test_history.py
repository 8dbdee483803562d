"""What the looks of the days after the cutover say together."""

from dataclasses import replace

import pytest

from migrate.model.stamps import iso_stamp
from reconcile.monitor.history import DAY_S, Looked, observe, sparkline

START_S = 1_800_000_000.0

pytestmark = pytest.mark.fault("W05")


def looks(days: float, *, every_s: float = 6 * 3_600) -> list[Looked]:
    """Consistent looks at equal distances, from the cutover on."""
    return [
        Looked(
            at=iso_stamp(START_S + number * every_s),
            seconds=3.0,
            verdict="consistent",
            why="",
            vectors=100 + number,
            files=10,
            counter=100 + number,
            sampled=5,
            as_moved=5,
            findings={},
        )
        for number in range(int(days * DAY_S / every_s) + 1)
    ]


def problems(history: list[Looked], *, days: float = 7) -> tuple[str, ...]:
    return observe(history, now_s=START_S + days * DAY_S).problems


def test_a_week_of_consistent_looks_is_green() -> None:
    assert observe(looks(7), now_s=START_S + 7 * DAY_S).is_green


def test_no_look_at_all_is_not_green() -> None:
    found = observe([], now_s=START_S)

    assert not found.is_green
    assert found.problems == ("no look was taken: run `q2v monitor`",)


def test_less_than_a_week_is_not_green() -> None:
    assert problems(looks(6), days=6) == ("observed for 6.0 of 7 days",)


def test_a_gap_of_more_than_a_day_is_not_green() -> None:
    history = looks(7)
    del history[4:10]

    (problem,) = problems(history)
    assert problem == "no look for 42 hours, at most 26 were expected"


def test_looks_that_ended_days_ago_are_not_green() -> None:
    (problem,) = problems(looks(7), days=9)
    assert problem.startswith("no look for 48 hours")


def test_an_inconsistency_that_was_mended_the_same_day_counts_no_more() -> None:
    history = looks(7)
    history[5] = replace(history[5], verdict="inconsistent", why="1 orphaned")

    assert problems(history) == ()


def test_a_day_that_ended_inconsistent_is_not_green() -> None:
    history = looks(7, every_s=DAY_S)
    history[3] = replace(history[3], verdict="inconsistent", why="1 orphaned")

    assert problems(history) == (
        f"the last look of {history[3].at[:10]} was inconsistent: 1 orphaned",
    )


@pytest.mark.parametrize(
    ("numbers", "line"),
    [
        ([], ""),
        ([None], ""),
        ([5], "▁"),
        ([0, 7], "▁█"),
        ([0, None, 7], "▁ █"),
        (list(range(8)), "▁▂▃▄▅▆▇█"),
        ([3, 3, 3], "▁▁▁"),
    ],
)
def test_a_sparkline_goes_from_the_smallest_to_the_largest(
    numbers: list[int | None], line: str
) -> None:
    assert sparkline(numbers) == line
    assert len(sparkline([1] * 100)) == 40
