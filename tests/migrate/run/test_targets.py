"""What every moving row becomes: the same rows out as in, in whatever pieces, or an error."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import ArtefactDamagedError
from migrate.plan.record import TargetsFile
from migrate.run import targets
from migrate.run.targets import (
    TARGETS_SCHEMA,
    Selection,
    read_targets,
    write_targets,
)
from migrate.storage.durable import file_sha256
from migrate.storage.local_folder import local_file
from tests.harness.tiers import examples

COLUMNS = TARGETS_SCHEMA.names
FILE = pa.array(["f", None, "🙂", "a\x00b"], pa.string())


def table_of(rows: list[int]) -> pa.Table:
    """Some rows whose other columns follow from their number."""
    return pa.table(
        [
            pa.array(rows, pa.int64()),
            pa.array([f"vector-{row}-é" for row in rows], pa.string()),
            FILE.take(pa.array([row % len(FILE) for row in rows], pa.int64())),
            pa.array([2**53 - row for row in rows], pa.int64()),
            pa.array([row.to_bytes(32, "big") for row in rows], pa.binary(32)),
        ],
        schema=TARGETS_SCHEMA,
    )


def named(path: Path, rows: int) -> TargetsFile:
    """What a plan says of a file as it is."""
    size, sha256 = file_sha256(path)
    return TargetsFile(rows=rows, bytes=size, sha256=sha256)


def rows_read(
    path: Path, expected: TargetsFile, selection: Selection | None = None
) -> list[dict[str, object]]:
    batches = read_targets(local_file(path), expected, COLUMNS, selection or Selection())
    return [row for batch in batches for row in batch.to_pylist()]


ROWS = st.lists(st.integers(0, 60), unique=True, max_size=30).map(sorted)


@pytest.mark.fault("I5")
@given(ROWS, st.integers(1, 7), st.integers(1, 9))
@settings(max_examples=examples(40))
def test_rows_come_back_as_they_were_in_full_row_groups(
    rows: list[int], piece: int, group_rows: int
) -> None:
    pieces = [table_of(rows[start : start + piece]) for start in range(0, len(rows), piece)]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "ROW_GROUP_ROWS", group_rows)
        path = Path(folder, "targets.parquet")
        written = write_targets(local_file(path), [table_of([]), *pieces])

        assert written == named(path, len(rows))
        assert rows_read(path, written) == table_of(rows).to_pylist()
        metadata = pq.read_metadata(path)
        groups = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        assert all(rows_of == group_rows for rows_of in groups[:-1])


@given(
    ROWS,
    st.integers(0, 70),
    st.none() | st.integers(0, 70),
    st.none() | st.frozensets(st.integers(0, 60)),
    st.frozensets(st.integers(0, 60)),
)
@settings(max_examples=examples(60))
def test_of_the_rows_exactly_the_wanted_ones_come(
    rows: list[int],
    first: int,
    end: int | None,
    only: frozenset[int] | None,
    excluded: frozenset[int],
) -> None:
    wanted = [
        row
        for row in rows
        if first <= row
        and (end is None or row < end)
        and (only is None or row in only)
        and row not in excluded
    ]
    selection = Selection(first_row=first, end_row=end, only=only, excluded=excluded)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "ROW_GROUP_ROWS", 4)
        path = Path(folder, "targets.parquet")
        written = write_targets(local_file(path), [table_of(rows)])

        assert rows_read(path, written, selection) == table_of(wanted).to_pylist()


def test_row_groups_without_a_wanted_row_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handful of rows out of ten million costs the hash of the file and a few row groups."""
    monkeypatch.setattr(targets, "ROW_GROUP_ROWS", 10)
    path = tmp_path / "targets.parquet"
    written = write_targets(local_file(path), [table_of(list(range(100)))])
    read: list[int] = []
    whole = pq.ParquetFile.read_row_group

    def noting(self: pq.ParquetFile, group: int, **more: object) -> pa.Table:
        read.append(group)
        return whole(self, group, **more)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noting)
    rows_read(path, written, Selection(only=frozenset({11, 95}), first_row=5))

    assert read == [1, 9]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.fault("X10")
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (flip, "not the bytes that the plan names"),
        (lengthen, "not the bytes that the plan names"),
        (Path.unlink, "the file is missing"),
    ],
)
def test_a_file_that_is_not_the_plans_is_damage(
    tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "targets.parquet"
    written = write_targets(local_file(path), [table_of([1, 2, 3])])
    harm(path)

    with pytest.raises(ArtefactDamagedError, match=words) as raised:
        rows_read(path, written)
    assert str(path) in str(raised.value)
    assert "restore the file" in raised.value.remedy


def without_format() -> pa.Table:
    return table_of([1]).replace_schema_metadata(None)


def of_a_newer_format() -> pa.Table:
    return table_of([1]).replace_schema_metadata({"q2v.format": "2"})


def short_digest() -> pa.Table:
    at = COLUMNS.index("digest")
    return table_of([1]).set_column(at, "digest", pa.array([bytes(16)], pa.binary(16)))


@pytest.mark.fault("X10")
@pytest.mark.parametrize("trap", [without_format, of_a_newer_format, short_digest])
def test_a_file_of_another_shape_is_refused_although_its_digest_fits(
    tmp_path: Path, trap: Callable[[], pa.Table]
) -> None:
    path = tmp_path / "targets.parquet"
    pq.write_table(trap(), path, use_dictionary=False, write_statistics=["row"])
    expected = named(path, 1)

    with pytest.raises(ArtefactDamagedError, match="no file that q2v wrote"):
        rows_read(path, expected)


@pytest.mark.fault("X10")
def test_more_rows_than_the_plan_names_and_groups_without_bounds_are_damage(
    tmp_path: Path,
) -> None:
    path = tmp_path / "targets.parquet"
    written = write_targets(local_file(path), [table_of([1, 2])])
    with pytest.raises(ArtefactDamagedError, match="2 rows, 3 expected"):
        rows_read(path, replace(written, rows=3))

    pq.write_table(table_of([1]), path, use_dictionary=False, write_statistics=False)
    with pytest.raises(ArtefactDamagedError, match="without its lowest and highest row"):
        rows_read(path, named(path, 1))


def test_a_writing_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def failing() -> list[pa.Table]:
        raise RuntimeError("cut")

    def tables() -> Iterator[pa.Table]:
        yield table_of([1])
        failing()

    with pytest.raises(RuntimeError, match="cut"):
        write_targets(local_file(tmp_path / "targets.parquet"), tables())
    assert list(tmp_path.iterdir()) == []
