"""docs/scale.md holds what `python -m benchmarks.scale` prints."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.scale.arithmetic import LARGE_BODY, Size, figures, upload_holders, verifier_s
from benchmarks.scale.command import main
from benchmarks.scale.facts import Mark, facts
from benchmarks.scale.simulated import HEAD, rows
from benchmarks.scale.stages import CASES
from benchmarks.scale.tables import SIMULATED, TABLES, WIDE, fill, kept, markdown, span, volume

PAGE = (Path(__file__).parents[3] / "docs" / "scale.md").read_text(encoding="utf-8")
QUICK = WIDE[:1]  # a million points: the others take a minute


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_page_is_the_output(name: str) -> None:
    """To change it: `.venv/bin/python -m benchmarks.scale --write`."""
    assert kept(PAGE, name) == TABLES[name]()


@pytest.mark.slow
def test_the_simulated_rows_of_the_page_are_the_output() -> None:
    """Those of a million; the larger ones are written by the same command."""
    shown = kept(PAGE, SIMULATED).splitlines()

    assert shown[: 2 + len(QUICK) * len(CASES)] == markdown(HEAD, rows(QUICK)).splitlines()
    assert len(shown) == 2 + len(WIDE) * len(CASES)


def test_every_figure_has_a_mark_and_says_where_it_comes_from() -> None:
    found = facts()

    assert len(found) > 30
    assert {one.mark for one in found} == set(Mark)
    assert [one.what for one in found if not one.source] == []


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table 'cost'"):
        fill("# A page\n", "cost", "| a |")


def test_the_command_prints_every_table() -> None:
    done = CliRunner().invoke(main, ["--tables"])

    assert done.exit_code == 0
    for table in TABLES.values():
        assert table() in done.output


def test_one_hundred_million_by_hand() -> None:
    """51,409 uploads of 40 MB: 57 whole budgets and 109 requests; 21,646 of 95 MB."""
    size = Size(100_000_000, 3_072)

    found = figures(size, 10_000)
    assert found.upload_bytes == 100_000_000 * (19_255.36 + 1_308)
    assert found.upload_requests == -(-found.upload_bytes // 40_000_000) == 57 * 900 + 109
    assert figures(size, 10_000, LARGE_BODY).upload_requests == 21_646
    # By the line: 2.056 TB at 125 MB a second.
    assert upload_holders(size, 1_000, LARGE_BODY)["the line"] == pytest.approx(16_450.7, abs=0.1)
    assert size.indexes == 5
    # 50,000 questions, 32 at once, 100 reads in six lanes: 17 reads after each other.
    assert verifier_s(size.points, streams=32) == pytest.approx(1_563 * 17 * 0.3)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(3.26, "3.3 s"), (119, "119 s"), (120, "2.0 min"), (172_800, "2.0 d")]
)
def test_durations_are_shown_in_the_unit_that_fits(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(13_596, "13.6 kB"), (1.05e9, "1.1 GB"), (1.0472e13, "10.5 TB")]
)
def test_volumes_are_shown_in_the_unit_that_fits(count: float, shown: str) -> None:
    assert volume(count) == shown
