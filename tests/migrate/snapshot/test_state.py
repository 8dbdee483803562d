"""The ranges of a snapshot cover every possible id once; its journal folds to its parts."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import ForeignStateError
from migrate.model.records import PointId, VectorKind, VectorSpec
from migrate.snapshot.begun.state import Range, fold_snapshot, part_rows
from migrate.snapshot.manifest import PartRecord
from migrate.storage.journal_lines import JOURNAL_FORMAT, Entry
from tests.harness.strategies import point_ids

PART = PartRecord(ordinal=0, rows=2, bytes=10, sha256="a" * 64, first_id="1", last_id="2")


def opened(starts: list[PointId]) -> Entry:
    return {
        "type": "snapshot_opened",
        "format": JOURNAL_FORMAT,
        "starts": [[start.text, start.id_type.value] for start in starts],
    }


def sealed(part: PartRecord) -> Entry:
    return {"type": "part_sealed", **asdict(part)}


def covers(span: Range, point_id: PointId) -> bool:
    return (span.start is None or span.start <= point_id) and (
        span.stop is None or point_id < span.stop
    )


@given(st.sets(point_ids(), max_size=6).map(sorted), st.lists(point_ids(), max_size=6))
def test_every_possible_id_lies_in_exactly_one_range(
    starts: list[PointId], others: list[PointId]
) -> None:
    ranges = fold_snapshot([opened(starts)]).ranges()

    assert max(1, len(starts)) == len(ranges)
    assert list(range(len(ranges))) == [span.ordinal for span in ranges]
    for point_id in starts + others:
        assert sum(covers(span, point_id) for span in ranges) == 1
    for span, start in zip(ranges, starts, strict=False):
        assert covers(span, start)


def test_a_part_that_is_sealed_again_replaces_the_former() -> None:
    again = replace(PART, rows=3)
    other = replace(PART, ordinal=1)
    state = fold_snapshot([opened([]), sealed(PART), sealed(other), sealed(again)])

    assert {0: again, 1: other} == state.parts


def test_an_empty_journal_is_an_unopened_snapshot() -> None:
    assert fold_snapshot([]).opened is None


@pytest.mark.fault("G14")
@pytest.mark.parametrize(
    "entries", [[sealed(PART)], [opened([]), opened([])], [opened([]), {"type": "ack"}]]
)
def test_entries_that_cannot_be_there_are_refused(entries: list[Entry]) -> None:
    with pytest.raises(ValueError, match="holds no"):
        fold_snapshot(entries)
    with pytest.raises(ForeignStateError):
        fold_snapshot([{**opened([]), "format": 99}])


def vector(dimensions: int | None, kind: VectorKind = VectorKind.DENSE) -> VectorSpec:
    return VectorSpec(name="", kind=kind, dimensions=dimensions, distance="Dot", datatype="float32")


@pytest.mark.parametrize(
    ("vectors", "rows"),
    [
        ([vector(3072)], 5_000),
        ([vector(1536)], 9_000),
        ([vector(4)], 64_000),
        ([], 65_000),
        ([vector(None, VectorKind.SPARSE)], 65_000),
        ([vector(65_536)], 1_000),
        ([vector(1536), vector(1536)], 5_000),
    ],
)
def test_rows_per_part_depend_on_the_shape_alone(vectors: list[VectorSpec], rows: int) -> None:
    assert rows == part_rows(vectors)
