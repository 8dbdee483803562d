"""A listing against the run's own ids, against a model of plain sets."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.model.records import VectorId
from migrate.tables.target_ids import ID_COLUMNS, ListedIds
from tests.harness.tiers import examples
from tests.migrate.tables.test_plan_ids import IDS

OURS = st.lists(st.sampled_from(IDS), unique=True)
PAGES = st.lists(st.lists(st.sampled_from(IDS), max_size=3), max_size=5)


def batches(ours: list[VectorId]) -> Iterator[pa.RecordBatch]:
    """Row 10 n for the n-th id, two at a time."""
    for start in range(0, len(ours), 2):
        some = ours[start : start + 2]
        rows = pa.array([10 * (start + at) for at in range(len(some))], pa.int64())
        yield pa.record_batch([rows, pa.array(some, pa.string())], names=list(ID_COLUMNS))


@pytest.mark.slow
@pytest.mark.fault("R01", "R09")
@given(OURS, PAGES, st.integers(1, 4))
@settings(max_examples=examples(25))
def test_what_is_listed_and_what_is_not(
    ours: list[VectorId], pages: list[list[VectorId]], insert_ids: int
) -> None:
    rows = {vector_id: 10 * number for number, vector_id in enumerate(ours)}
    listing = [vector_id for page in pages for vector_id in page]
    others = sorted((one for one in listing if one not in rows), key=str.encode)
    with (
        tempfile.TemporaryDirectory() as folder,
        ListedIds(Path(folder, "spill")) as listed,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("migrate.tables.target_ids._INSERT_IDS", insert_ids)
        listed.replace([[VectorId("of a former walk")]])

        assert listed.replace(pages) == len(listing)
        listed.compare(batches(ours))
        assert list(listed.missing()) == [
            (rows[one], one) for one in ours if one not in set(listing)
        ]
        assert list(listed.elsewhere()) == others
        listed.match(batches(ours))
        assert list(listed.present()) == sorted((rows[one], one) for one in listing if one in rows)
        assert list(listed.elsewhere()) == others
        assert listed.present_rows(10, 30) == {rows[one] for one in ours[1:3] if one in listing}


def test_a_walk_that_breaks_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    def broken() -> Iterator[list[VectorId]]:
        yield [VectorId(f"broken-{number}") for number in range(60_000)]
        raise RuntimeError("the walk broke")

    with ListedIds(tmp_path / "spill") as listed:
        with pytest.raises(RuntimeError):
            listed.replace(broken())
        listed.replace([[VectorId("a")]])
        listed.compare(batches([VectorId("a")]))

        assert list(listed.elsewhere()) == []
