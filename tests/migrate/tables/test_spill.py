"""What does not fit in memory goes to disk, and a disk without room is a failure of its own."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from migrate.errors import LocalStorageError
from migrate.model.records import VectorId
from migrate.tables.plan_ids import IdTable, PlannedRows
from migrate.tables.spill import open_database
from migrate.tables.target_ids import ID_COLUMNS, ListedIds


@pytest.mark.slow
@pytest.mark.fault("G04")
@pytest.mark.parametrize("memory_mb", [4, 6, 8, 12, 16, 24, 32])
def test_no_room_to_spill_is_a_failure_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_mb: int
) -> None:
    """The library has several words for it; none of them is a bug of ours."""

    def open_small(spill: Path, usual_mb: int) -> duckdb.DuckDBPyConnection:
        database = open_database(spill, usual_mb)
        database.execute(f"SET memory_limit = '{memory_mb}MB'")
        database.execute("SET max_temp_directory_size = '1MB'")
        return database

    monkeypatch.setattr("migrate.tables.spill.open_database", open_small)
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
            PlannedRows(
                rows=rows,
                vector_ids=[VectorId(f"file-{row:020d}") for row in rows],
                files=[f"file-{row // 7:020d}" for row in rows],
                positions=[row % 7 for row in rows],
            )
        )


def test_a_statement_that_is_wrong_stays_a_bug(tmp_path: Path) -> None:
    with pytest.raises(duckdb.ProgrammingError), IdTable(tmp_path / "spill") as table:
        table._count("SELECT nonsense")  # noqa: SLF001 - no public way to be wrong


class Cut(BaseException):
    """What no library may swallow."""


@pytest.mark.parametrize("kind", [OSError, Cut, ValueError])
def test_an_error_of_what_passes_by_comes_out_as_it_is(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    error = kind("cut")

    def breaking() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch([pa.array([1]), pa.array(["a"])], names=list(ID_COLUMNS))
        raise error

    with ListedIds(tmp_path / "spill") as listed:
        listed.replace([[VectorId("a")]])
        with pytest.raises(kind) as raised:
            listed.compare(breaking())
        listed.compare([])

        assert raised.value is error
        assert list(listed.elsewhere()) == ["a"]
