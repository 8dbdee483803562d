"""Whole-set questions, against a model that keeps everything in plain lists."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.model.records import VectorId
from migrate.tables.files import FileVectors
from migrate.tables.plan_ids import Collision, FileGap, IdTable, PlannedRows
from tests.harness.tiers import examples


@dataclass(frozen=True)
class Row:
    """What `IdTable.add` takes, row by row."""

    row: int
    vector_id: VectorId
    file: str | None
    position: int
    content: bytes
    point: str


IDS = [VectorId(text) for text in ("a", "A", "é", "e\u0301", "a\x00b", "a'b", "🙂", "b", "c", "ab")]
FILES = [None, "", "f", "F", "é", "zz", "z", "🙂", "{x}", "a\x00b"]


def rows() -> st.SearchStrategy[list[Row]]:
    one = st.tuples(
        st.sampled_from(IDS),
        st.sampled_from(FILES),
        st.integers(0, 3) | st.just(2**53),
        st.sampled_from([b"x", b"y", b"\x00\xff"]),
    )
    return st.lists(one, max_size=14).map(
        lambda found: [
            Row(number, vector_id, file, position, content, f"uint64:{number}")
            for number, (vector_id, file, position, content) in enumerate(found)
        ]
    )


@contextmanager
def table_of(source: list[Row]) -> Iterator[IdTable]:
    with tempfile.TemporaryDirectory() as folder:
        with IdTable(Path(folder, "spill")) as table:
            for start in range(0, len(source), 5):
                some = source[start : start + 5]
                table.add(
                    PlannedRows(
                        rows=[one.row for one in some],
                        vector_ids=[one.vector_id for one in some],
                        files=[one.file for one in some],
                        positions=[one.position for one in some],
                        contents=[one.content for one in some],
                        points=[one.point for one in some],
                    )
                )
            yield table
        assert not Path(folder, "spill").exists()


def collisions(source: list[Row]) -> list[Collision]:
    by_id = defaultdict(list)
    for one in source:
        by_id[one.vector_id].append(one)
    return [
        Collision(
            row=one.row,
            vector_id=one.vector_id,
            point=one.point,
            first_row=by_id[one.vector_id][0].row,
            identical=len({other.content for other in by_id[one.vector_id]}) == 1,
        )
        for one in source
        if len(by_id[one.vector_id]) > 1
    ]


def by_file(source: list[Row]) -> dict[str, list[Row]]:
    found = defaultdict(list)
    for one in source:
        if one.file is not None:
            found[one.file].append(one)
    return {file: found[file] for file in sorted(found, key=str.encode)}


def files(source: list[Row]) -> list[FileVectors]:
    return [
        FileVectors(
            file,
            tuple(
                one.vector_id
                for one in sorted(some, key=lambda one: (one.position, one.vector_id.encode()))
            ),
        )
        for file, some in by_file(source).items()
    ]


def gaps(source: list[Row]) -> list[FileGap]:
    return [
        FileGap(file, len(some), min(numbers), max(numbers))
        for file, some in by_file(source).items()
        if (numbers := sorted(one.position for one in some)) != list(range(len(some)))
    ]


@pytest.mark.slow
@pytest.mark.fault("D05", "D12")
@given(rows())
@settings(max_examples=examples(25))
def test_collisions_files_and_gaps(source: list[Row]) -> None:
    with table_of(source) as table:
        assert list(table.collisions()) == collisions(source)
        assert list(table.files()) == files(source)
        assert list(table.gaps()) == gaps(source)
        assert table.count_vectors() == len(source)
        assert table.count_files() == len(by_file(source))
        for file, some in by_file(source).items():
            assert table.rows_of_file(file) == [(one.row, one.point) for one in some]


@pytest.mark.slow
@pytest.mark.fault("D05")
@given(rows())
@settings(max_examples=examples(25))
def test_of_equal_vectors_the_first_stays_and_of_different_ones_none(source: list[Row]) -> None:
    gone = {one.row for one in collisions(source) if not one.stays}
    kept = [one for one in source if one.row not in gone]
    with table_of(source) as table:
        table.remove_collisions()

        assert table.count_vectors() == len(kept) == len({one.vector_id for one in kept})
        assert list(table.collisions()) == []
        assert list(table.files()) == files(kept)


def test_a_file_goes_as_a_whole(tmp_path: Path) -> None:
    with IdTable(tmp_path / "spill") as table:
        table.add(
            PlannedRows(
                rows=[0, 1, 2], vector_ids=IDS[:3], files=["f", "g", "f"], positions=[0, 0, 1]
            )
        )
        table.remove_file("f")

        assert list(table.files()) == [FileVectors("g", (IDS[1],))]
        assert table.rows_of_file("f") == []


@pytest.mark.fault("D12")
def test_a_file_of_fifty_thousand_chunks(tmp_path: Path) -> None:
    count = 50_000
    numbers = range(count)
    with IdTable(tmp_path / "spill") as table:
        table.add(
            PlannedRows(
                rows=list(numbers),
                vector_ids=[VectorId(f"v{number:06d}") for number in numbers],
                files=["f"] * count,
                positions=[count - 1 - number for number in numbers],
            )
        )
        (file,) = table.files()

        assert list(table.gaps()) == []
        assert file.vector_ids == tuple(f"v{number:06d}" for number in reversed(numbers))


@pytest.mark.slow
@given(rows(), st.integers(1, 4))
@settings(max_examples=examples(25))
def test_what_is_left_comes_out_in_row_order(source: list[Row], export_rows: int) -> None:
    gone = {one.row for one in collisions(source) if not one.stays}
    with table_of(source) as table, pytest.MonkeyPatch.context() as patch:
        patch.setattr("migrate.tables.plan_ids._EXPORT_ROWS", export_rows)
        table.remove_collisions()
        tables = [some.drop_columns("namespace") for some in table.targets()]
        found = [row for some in tables for row in some.to_pylist()]

    assert found == [
        {
            "row": one.row,
            "vector_id": one.vector_id,
            "file": one.file,
            "position": one.position,
            "digest": one.content,
        }
        for one in source
        if one.row not in gone
    ]
