"""What a point takes on the disk is still what the arithmetic says."""

from pathlib import Path

import pytest

from benchmarks.scale import facts
from benchmarks.scale.sizes import spilled, stored

pytestmark = pytest.mark.usefixtures("real_storage")
APART_MAX = 0.05


@pytest.mark.search
@pytest.mark.parametrize("dimensions", facts.SHAPES)
def test_parts_and_targets_take_what_the_page_says(tmp_path: Path, dimensions: int) -> None:
    found = dict(stored(6_000, dimensions, tmp_path))

    assert found["parts"] == pytest.approx(facts.PART_BYTES[dimensions].value, rel=APART_MAX)
    assert found["targets.parquet"] == pytest.approx(facts.TARGETS_BYTES.value, rel=3 * APART_MAX)
    beside = found["pre-images of absent vectors"] + found["run beside both"]
    assert beside < 2 * facts.RUN_BYTES.value  # some of it does not grow with the points


@pytest.mark.search
def test_a_plan_spills_what_the_page_says(tmp_path: Path) -> None:
    """What fits into memory is not spilled; duckdb packs more or less of the rest."""
    assert spilled(20_000, tmp_path / "small") == 0
    assert spilled(1_000_000, tmp_path / "large") == pytest.approx(
        facts.SPILL_BYTES.value, rel=0.25
    )
