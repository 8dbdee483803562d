"""One part of a snapshot: the same points out, the same bytes every time, any damage found."""

import gc
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import ArtefactDamagedError, ExitCode, LocalStorageError
from migrate.model.canonical import encode_canonical_json
from migrate.model.digest import digest_points
from migrate.model.pages import take_rows
from migrate.model.records import (
    DenseColumn,
    MultiColumn,
    Page,
    PointId,
    SparseColumn,
    VectorSpec,
)
from migrate.snapshot.columns import ROW_GROUP_ROWS
from migrate.snapshot.manifest import PartRecord
from migrate.snapshot.parts import read_part, write_part
from migrate.storage.durable import file_sha256
from migrate.storage.local_folder import local_file
from tests.harness.strategies import SPECS, pages
from tests.harness.tiers import examples
from tests.migrate.storage.full_disk import file_size_max

ROWS = 2 * ROW_GROUP_ROWS + 345


def whole_page(rows: int = ROWS) -> Page:
    """Points of every kind: absent vectors in all columns, empty ones, an irregular row."""
    generator = np.random.default_rng(3)
    present = generator.random(rows) < 0.9
    values = generator.standard_normal((rows, 4)).astype(np.float32)
    multi = tuple(
        None if row % 5 == 0 else generator.standard_normal((row % 4, 3)).astype(np.float32)
        for row in range(rows)
    )
    sparse = tuple(
        None
        if row % 7 == 0
        else (np.arange(row % 3, dtype=np.uint32), np.full(row % 3, 0.5, np.float32))
        for row in range(rows)
    )
    return Page(
        ids=tuple(PointId(int(row * 2 > rows), row) for row in range(rows)),
        payloads=tuple(
            encode_canonical_json({"n": row, "text": "é\n\ud800"}) for row in range(rows)
        ),
        vectors={
            "": DenseColumn(np.where(present[:, None], values, np.float32(0)), present),
            "colbert": MultiColumn(multi),
            "words.bm25": SparseColumn(sparse),
        },
        irregular=tuple(b'{"":[null]}' if row % 100 == 9 else None for row in range(rows)),
    )


def pieces(page: Page, page_points: int) -> Iterator[tuple[Page, list[bytes]]]:
    for start in range(0, len(page), page_points):
        piece = take_rows(page, start, start + page_points)
        yield piece, digest_points(piece)


def write(path: Path, page: Page, page_points: int = 1000) -> PartRecord:
    with local_file(path).open_to_write() as file:
        rows, size, sha256 = write_part(file, pieces(page, page_points), SPECS)
    return PartRecord(
        ordinal=0, rows=rows, bytes=size, sha256=sha256, first_id="first", last_id="last"
    )


def read(
    path: Path, part: PartRecord, *, with_vectors: Sequence[str] = ("", "colbert", "words.bm25")
) -> list[Page]:
    rows = read_part(local_file(path), part, SPECS, with_vectors=with_vectors, first_row=50)
    return [piece.page for piece in rows]


@pytest.mark.fault("I8")
def test_the_bytes_do_not_depend_on_the_size_of_the_pages(tmp_path: Path) -> None:
    page = whole_page()
    parts = {write(tmp_path / str(size), page, size) for size in (1, 7, 256, 1000, 10_000)}

    assert len(parts) == 1
    (part,) = parts
    assert (part.bytes, part.sha256) == file_sha256(tmp_path / "7")
    assert part.rows == ROWS


@pytest.mark.fault("S09", "I8")
@given(pages(), st.integers(1, 4))
@settings(max_examples=examples(40))
def test_every_kind_of_vector_comes_back_bit_for_bit(page: Page, page_points: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "part")
        part = write(path, page, page_points)
        found = read(path, part)

    if not len(page):
        assert found == []
        return
    (back,) = found
    assert (back.ids, back.payloads, back.irregular) == (page.ids, page.payloads, page.irregular)
    for spec in SPECS:
        assert plain(back, spec) == plain(page, spec)
    assert digest_points(back) == digest_points(page)


def plain(page: Page, spec: VectorSpec) -> list[object]:
    """A column as bytes, row by row."""
    match page.vectors[spec.name]:
        case DenseColumn(values, present):
            assert not values[~present].any()
            return [
                row.tobytes() if there else None for row, there in zip(values, present, strict=True)
            ]
        case MultiColumn(rows):
            return [None if row is None else (row.shape, row.tobytes()) for row in rows]
        case SparseColumn(pairs):
            return [
                None if pair is None else (pair[0].tobytes(), pair[1].tobytes()) for pair in pairs
            ]


def test_rows_are_numbered_and_carry_their_digests(tmp_path: Path) -> None:
    page = whole_page()
    part = write(tmp_path / "part", page)
    rows = list(
        read_part(local_file(tmp_path / "part"), part, SPECS, with_vectors=("",), first_row=50)
    )

    assert [one.first_row for one in rows] == [50, 50 + ROW_GROUP_ROWS, 50 + 2 * ROW_GROUP_ROWS]
    assert [list(one.page.vectors) for one in rows] == [[""]] * 3
    assert [digest for one in rows for digest in one.digests] == digest_points(page)
    assert read(tmp_path / "part", part, with_vectors=())[0].vectors == {}


@pytest.mark.parametrize("rows", [0, 1, ROW_GROUP_ROWS, ROW_GROUP_ROWS + 1])
@pytest.mark.fault("P05", "P06")
def test_both_sides_of_a_row_group(tmp_path: Path, rows: int) -> None:
    page = whole_page(rows)
    part = write(tmp_path / "part", page)

    found = read(tmp_path / "part", part)
    assert [point_id for one in found for point_id in one.ids] == list(page.ids)
    assert -(-rows // ROW_GROUP_ROWS) == len(found)


def test_other_tools_read_it(tmp_path: Path) -> None:
    page = whole_page(120)
    write(tmp_path / "part.parquet", page)
    query = f"""
        SELECT point_id, point_id_type, payload, irregular, vector, "vector.colbert",
               "vector.words.bm25"
        FROM '{tmp_path}/part.parquet'
    """  # noqa: S608 - our own path
    rows = duckdb.connect().execute(query).fetchall()

    assert [row[0] for row in rows] == [point_id.text for point_id in page.ids]
    assert {row[1] for row in rows} == {"uint64", "uuid"}
    assert [row[2].encode() for row in rows] == list(page.payloads)
    dense = page.vectors[""]
    assert isinstance(dense, DenseColumn)
    for row, values, present in zip(rows, dense.values, dense.present, strict=True):
        assert (row[4] is not None) == present
        assert not present or list(row[4]) == values.tolist()
    assert (rows[0][5], rows[0][6], rows[4][5]) == (None, None, [])
    schema = pq.read_schema(tmp_path / "part.parquet")
    assert schema.metadata[b"q2v.format"] == b"1"


@pytest.mark.fault("S07", "G15")
@pytest.mark.parametrize("position", [0, 3, 1000, -1, -5, -500])
@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_flipped_bit_is_found_before_the_first_row(
    tmp_path: Path, position: int, bit: int
) -> None:
    path = tmp_path / "part"
    part = write(path, whole_page(50))
    content = bytearray(path.read_bytes())
    content[position] ^= bit
    path.write_bytes(content)

    with pytest.raises(ArtefactDamagedError, match="points first to last") as caught:
        next(read_part(local_file(path), part, SPECS, with_vectors=(), first_row=0))
    assert caught.value.exit_code == ExitCode.DAMAGED


@pytest.mark.fault("S08")
def test_a_part_that_is_replaced_while_it_is_read_is_read_as_it_was_checked(tmp_path: Path) -> None:
    """Hash and parse go through one open file: what lies under the name later is not looked at."""
    path, other = tmp_path / "part", tmp_path / "other"
    part = write(path, whole_page(1_500))
    write(other, whole_page(700))
    undisturbed = [
        rows.page.ids
        for rows in read_part(local_file(path), part, SPECS, with_vectors=(), first_row=0)
    ]
    reading = read_part(local_file(path), part, SPECS, with_vectors=(), first_row=0)
    first = next(reading)

    other.replace(path)

    assert [first.page.ids, *(rows.page.ids for rows in reading)] == undisturbed
    assert len(undisturbed) == 3
    with pytest.raises(ArtefactDamagedError):
        next(read_part(local_file(path), part, SPECS, with_vectors=(), first_row=0))


@pytest.mark.fault("S07", "G16")
def test_cut_extended_and_swapped_files_are_found(tmp_path: Path) -> None:
    path = tmp_path / "part"
    part = write(path, whole_page(50))
    content = path.read_bytes()
    other = tmp_path / "other"
    write(other, whole_page(49))
    for wrong in (b"", content[:-1], content[: len(content) // 2], content + b"\0"):
        path.write_bytes(wrong)
        with pytest.raises(ArtefactDamagedError, match="not the bytes of the manifest"):
            read(path, part)
    with pytest.raises(ArtefactDamagedError, match="not the bytes of the manifest"):
        read(other, part)


@pytest.mark.fault("S07", "G16", "X09")
def test_another_sound_part_of_the_same_size_is_found(tmp_path: Path) -> None:
    """Nothing but the manifest's digest tells: its own checksums, rows and schema all fit."""
    path, other = tmp_path / "part", tmp_path / "other"
    page = whole_page(50)
    dense = page.vectors[""]
    assert isinstance(dense, DenseColumn)
    negated = replace(page, vectors={**page.vectors, "": replace(dense, values=-dense.values)})
    part, sound = write(path, page), write(other, negated)
    assert (part.rows, part.bytes) == (sound.rows, sound.bytes)
    assert len(read(other, sound)) == 1

    with pytest.raises(ArtefactDamagedError, match="not the bytes of the manifest"):
        read(other, part)


@pytest.mark.fault("X10")
def test_a_row_count_that_the_manifest_does_not_know_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "part"
    part = write(path, whole_page(50))
    wrong = PartRecord(
        ordinal=0, rows=49, bytes=part.bytes, sha256=part.sha256, first_id="1", last_id="2"
    )
    with pytest.raises(ArtefactDamagedError, match="50 rows, 49 expected"):
        read(path, wrong)


@pytest.mark.fault("G04", "S06")
def test_a_disk_that_takes_no_more_leaves_no_part(tmp_path: Path) -> None:
    page = whole_page()
    whole = write(tmp_path / "whole", page)
    for room in (0, 10, 30_000, whole.bytes - 1):
        with file_size_max(room), pytest.raises(LocalStorageError, match="writing"):
            write(tmp_path / "part", page)
        gc.collect()  # a writer that was not let go of would complain here

    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
