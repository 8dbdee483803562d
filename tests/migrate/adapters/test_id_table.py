"""Whole-set questions, against a model that keeps everything in plain lists."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.adapters.id_table import Collision, FileGap, FileVectors, IdTable, open_database
from migrate.core.model import KvEntry, VectorId
from migrate.errors import LocalStorageError


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
                    rows=[one.row for one in some],
                    vector_ids=[one.vector_id for one in some],
                    files=[one.file for one in some],
                    positions=[one.position for one in some],
                    contents=[one.content for one in some],
                    points=[one.point for one in some],
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


@pytest.mark.fault("D05", "D12")
@given(rows())
@settings(max_examples=25)
def test_collisions_files_and_gaps(source: list[Row]) -> None:
    with table_of(source) as table:
        assert list(table.collisions()) == collisions(source)
        assert list(table.files()) == files(source)
        assert list(table.gaps()) == gaps(source)
        assert table.count_vectors() == len(source)
        assert table.count_files() == len(by_file(source))
        for file, some in by_file(source).items():
            assert table.rows_of_file(file) == [(one.row, one.point) for one in some]


@pytest.mark.fault("D05")
@given(rows())
@settings(max_examples=25)
def test_of_equal_vectors_the_first_stays_and_of_different_ones_none(source: list[Row]) -> None:
    gone = {one.row for one in collisions(source) if not one.stays}
    kept = [one for one in source if one.row not in gone]
    with table_of(source) as table:
        table.remove_collisions()

        assert table.count_vectors() == len(kept) == len({one.vector_id for one in kept})
        assert list(table.collisions()) == []
        assert list(table.files()) == files(kept)


@pytest.mark.fault("R01", "R09")
@given(rows(), st.lists(st.sampled_from(IDS)), st.integers(0, 5), st.integers(1, 10))
@settings(max_examples=25)
def test_what_is_listed_and_what_is_not(
    source: list[Row], listed: list[VectorId], first: int, count: int
) -> None:
    ours = {one.vector_id for one in source}
    seen = set(listed)
    with table_of(source) as table:
        table.add_listed([VectorId("broken walk")])
        table.clear_listed()
        table.add_listed(listed)
        table.add_listed([])

        assert table.count_listed() == len(listed)
        assert list(table.missing()) == pairs(source, ours - seen)
        assert list(table.listed_vectors()) == pairs(source, seen)
        assert list(table.elsewhere()) == sorted(
            (one for one in listed if one not in ours), key=str.encode
        )
        assert table.present_rows(first, first + count) == {
            one.row for one in source if one.vector_id in seen and first <= one.row < first + count
        }


def pairs(source: list[Row], wanted: set[VectorId]) -> list[tuple[int, VectorId]]:
    return [(one.row, one.vector_id) for one in source if one.vector_id in wanted]


@pytest.mark.fault("K08", "R09")
@given(
    rows(), st.lists(st.sampled_from(FILES[1:]).map("file:{}".format) | st.just("x"), max_size=6)
)
@settings(max_examples=25)
def test_keys_that_belong_to_none_of_our_files(source: list[Row], keys: list[str]) -> None:
    entries = [
        KvEntry(key=key, value=b"", expiration=number if number % 2 else None)
        for number, key in enumerate(keys)
    ]
    ours = {f"file:{one.file}" for one in source if one.file is not None}
    with table_of(source) as table:
        table.add_listed_keys([KvEntry(key="broken walk", value=b"", expiration=5)])
        table.clear_listed_keys()
        table.add_listed_keys(entries)

        assert list(table.keys_elsewhere("file:{file_id}", "file_id")) == sorted(
            (key for key in keys if key not in ours), key=str.encode
        )
        assert list(table.keys_expiring()) == sorted(keys[1::2], key=str.encode)


def test_a_file_goes_as_a_whole(tmp_path: Path) -> None:
    with IdTable(tmp_path / "spill") as table:
        table.add(rows=[0, 1, 2], vector_ids=IDS[:3], files=["f", "g", "f"], positions=[0, 0, 1])
        table.remove_file("f")

        assert list(table.files()) == [FileVectors("g", (IDS[1],))]
        assert table.rows_of_file("f") == []


@pytest.mark.fault("D12")
def test_a_file_of_fifty_thousand_chunks(tmp_path: Path) -> None:
    count = 50_000
    numbers = range(count)
    with IdTable(tmp_path / "spill") as table:
        table.add(
            rows=list(numbers),
            vector_ids=[VectorId(f"v{number:06d}") for number in numbers],
            files=["f"] * count,
            positions=[count - 1 - number for number in numbers],
        )
        (file,) = table.files()

        assert list(table.gaps()) == []
        assert file.vector_ids == tuple(f"v{number:06d}" for number in reversed(numbers))


@pytest.mark.fault("G04")
@pytest.mark.parametrize("memory_mb", [4, 6, 8, 12, 16, 24, 32])
def test_no_room_to_spill_is_a_failure_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_mb: int
) -> None:
    """The library has several words for it; none of them is a bug of ours."""

    def open_small(spill: Path) -> duckdb.DuckDBPyConnection:
        database = open_database(spill)
        database.execute(f"SET memory_limit = '{memory_mb}MB'")
        database.execute("SET max_temp_directory_size = '1MB'")
        return database

    monkeypatch.setattr("migrate.adapters.id_table.open_database", open_small)
    with pytest.raises(LocalStorageError) as raised, IdTable(tmp_path / "spill") as table:
        _fill(table, vectors=1_000_000)

    assert str(tmp_path / "spill") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "free some disk space" in raised.value.remedy
    assert not (tmp_path / "spill").exists()


def _fill(table: IdTable, *, vectors: int) -> None:
    for first in range(0, vectors, 2_000):
        rows = range(first, first + 2_000)
        table.add(
            rows=rows,
            vector_ids=[VectorId(f"file-{row:020d}") for row in rows],
            files=[f"file-{row // 7:020d}" for row in rows],
            positions=[row % 7 for row in rows],
        )


def test_a_statement_that_is_wrong_stays_a_bug(tmp_path: Path) -> None:
    with pytest.raises(duckdb.ProgrammingError), IdTable(tmp_path / "spill") as table:
        table._count("SELECT nonsense")  # noqa: SLF001 - no public way to be wrong
