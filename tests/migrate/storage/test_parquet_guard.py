"""A file whose digest is right, because somebody rewrote both, and whose content is a trap."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import ArtefactDamagedError, ExitCode, PreconditionError
from migrate.model.records import KvEntry, VectorId, VectorKind, VectorSpec
from migrate.run import pre_image_files
from migrate.run.pre_image_files import (
    KvPreImage,
    read_existing_ids,
    read_kv_pre_images,
    read_vector_pre_images,
    write_existing_ids,
    write_kv_pre_images,
)
from migrate.snapshot import parts
from migrate.snapshot.columns import RowGroup, part_schema
from migrate.snapshot.manifest import PartRecord
from migrate.snapshot.parts import PartWriter, read_digests, read_part
from migrate.storage.durable import file_sha256
from migrate.storage.folder import StoredFile
from migrate.storage.hashed_file import hash_open_file
from migrate.storage.local_folder import local_file
from migrate.storage.parquet import guard
from tests.harness.strategies import SPECS
from tests.harness.tiers import examples
from tests.migrate.snapshot.test_parts import pieces, whole_page

pytestmark = pytest.mark.fault("X10")

SPEC = VectorSpec(
    name="", kind=VectorKind.DENSE, dimensions=4, distance="Cosine", datatype="float32"
)
SCHEMA = part_schema([SPEC])
OPTIONS: dict[str, Any] = {"compression": "zstd", "use_dictionary": False}
MEMORY_MAX = 32 * 1024 * 1024  # that Arrow may take to refuse a trap


def rows(count: int, **columns: pa.Array) -> pa.Table:
    """Points of a part; any column may be replaced."""
    values = pa.array(np.zeros(4 * count, np.float32))
    whole = {
        "point_id": pa.array([str(number) for number in range(count)]),
        "point_id_type": pa.array(["uint64"] * count, pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(values, type=SCHEMA.field("vector").type),
        "payload": pa.array(["{}"] * count, pa.string()),
        "irregular": pa.nulls(count, pa.string()),
        "digest": pa.array([bytes(32)] * count, pa.binary(32)),
        **columns,
    }
    return pa.table(whole, schema=SCHEMA if not columns else None)


def record(path: Path, count: int) -> PartRecord:
    """What a manifest says that was rewritten to fit."""
    size, sha256 = file_sha256(path)
    return PartRecord(
        ordinal=0, rows=count, bytes=size, sha256=sha256, first_id="0", last_id=str(count)
    )


def read(path: Path, count: int) -> None:
    for _ in read_part(
        local_file(path), record(path, count), [SPEC], with_vectors=("",), first_row=0
    ):
        pass


@contextmanager
def little_memory() -> Iterator[None]:
    """Arrow gets by with `MEMORY_MAX`."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        yield
    finally:
        pa.set_memory_pool(before)
    assert (pool.max_memory() or 0) <= MEMORY_MAX


def refused(path: Path, count: int, why: str) -> None:
    with little_memory(), pytest.raises(ArtefactDamagedError, match=why) as caught:
        read(path, count)
    assert caught.value.exit_code == ExitCode.DAMAGED


def test_a_part_written_by_hand_in_our_shape_is_read(tmp_path: Path) -> None:
    """Otherwise the refusals below would prove nothing."""
    pq.write_table(rows(750), tmp_path / "part", row_group_size=500, **OPTIONS)

    read(tmp_path / "part", 750)


@pytest.mark.slow
def test_a_column_that_decompresses_beyond_the_cap_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Much more than the memory it is refused in, from a file of a few kB."""
    size = 2 * MEMORY_MAX // 500
    zeros = pa.py_buffer(np.zeros(500 * size, np.uint8))
    offsets = pa.py_buffer(np.arange(1001, dtype=np.int32) * np.int32(size))
    payload = pa.Array.from_buffers(pa.string(), 500, [None, offsets, zeros])
    table = rows(500, payload=payload).cast(SCHEMA)
    path = tmp_path / "part"
    pq.write_table(table, path, write_statistics=False, **OPTIONS)
    assert path.stat().st_size < MEMORY_MAX // 100
    total = pq.read_metadata(path).row_group(0).total_byte_size

    monkeypatch.setattr(guard, "GROUP_BYTES_MAX", total)
    read(path, 500)
    monkeypatch.setattr(guard, "GROUP_BYTES_MAX", total - 1)
    refused(path, 500, f"row group 0 of {total:,} B, at most {total - 1:,}")


def tampered(path: Path, change: Callable[[bytes], bytes]) -> None:
    content = path.read_bytes()
    changed = change(content)
    assert content != changed
    path.write_bytes(changed)


def zigzag(number: int) -> bytes:
    """A number as Thrift's compact protocol writes it."""
    value, found = 2 * number, b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def part_with_a_larger_page(path: Path, *, column: int) -> None:
    """A page of this column says that it takes more than the footer says."""
    pq.write_table(rows(500), path, **OPTIONS)
    chunk = pq.read_metadata(path).row_group(0).column(column)
    pages = path.read_bytes()[chunk.data_page_offset :]
    start = chunk.data_page_offset
    # A page header begins with the page's type and its two sizes.
    header = b"\x15\x00\x15"
    size = next(
        n
        for n in range(chunk.total_uncompressed_size)
        if pages.startswith(header + zigzag(n) + b"\x15")
    )
    larger = next(n for n in range(10**6, size, -1) if len(zigzag(n)) == len(zigzag(size)))
    place = start + len(header)
    tampered(path, lambda was: was[:place] + zigzag(larger) + was[place + len(zigzag(size)) :])


@pytest.mark.slow
def test_a_page_that_is_larger_than_the_footer_says_is_refused(tmp_path: Path) -> None:
    """Arrow would allocate what the page asks for."""
    path = tmp_path / "part"
    part_with_a_larger_page(path, column=0)

    refused(path, 500, r"column 'point_id' of row group 0: pages of 500 values in")
    with pytest.raises(ArtefactDamagedError, match="column 'point_id'"):
        list(read_digests(local_file(path), record(path, 500), [SPEC]))


@pytest.mark.slow
def test_the_digests_of_a_part_are_read_only_if_its_other_columns_are_as_they_should_be(
    tmp_path: Path,
) -> None:
    path = tmp_path / "part"
    part_with_a_larger_page(path, column=3)

    refused(path, 500, r"column 'payload' of row group 0: pages of 500 values in")
    with pytest.raises(ArtefactDamagedError, match="column 'payload'"):
        list(read_digests(local_file(path), record(path, 500), [SPEC]))


def test_row_counts_are_those_of_the_manifest_and_of_our_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "part"
    pq.write_table(rows(750), path, row_group_size=500, **OPTIONS)
    refused(path, 749, "750 rows, 749 expected")
    pq.write_table(rows(750), path, row_group_size=750, **OPTIONS)
    refused(path, 750, "a row group of 750 rows, at most 500")
    pq.write_table(rows(750), path, row_group_size=499, **OPTIONS)
    refused(path, 750, "not full")


def test_row_counts_that_the_footer_makes_up_are_refused(tmp_path: Path) -> None:
    """Every 500 in the footer says 8,191: of rows, of row groups, of values."""
    path = tmp_path / "part"
    pq.write_table(rows(500), path, **OPTIONS)
    length = int.from_bytes(path.read_bytes()[-8:-4], "little") + 8
    assert len(zigzag(500)) == len(zigzag(8191))
    tampered(path, lambda was: was[:-length] + was[-length:].replace(zigzag(500), zigzag(8191)))

    refused(path, 500, "8,191 rows, 500 expected")
    refused(path, 8191, "a row group of 8,191 rows, at most 500")


@pytest.mark.parametrize(
    "payload",
    [
        pa.array([None] * 10, pa.null()),
        pa.array([b"{}"] * 10, pa.binary()),
        pa.array([["{}"]] * 10),
        pa.array([{"a": {"b": [1]}}] * 10),
        pa.array(["{}"] * 10).dictionary_encode(),
        pa.array([1] * 10),
        pa.array(["{}"] * 10, pa.large_string()),
    ],
    ids=lambda array: str(array.type)[:30],
)
def test_columns_of_another_type_are_refused(tmp_path: Path, payload: pa.Array) -> None:
    pq.write_table(rows(10, payload=payload), tmp_path / "part", **OPTIONS)

    refused(tmp_path / "part", 10, "expected 'point_id' string")


@pytest.mark.parametrize(
    "table",
    [
        rows(10).rename_columns(["id", *SCHEMA.names[1:]]),
        rows(10).drop_columns(["digest"]),
        rows(10).append_column("more", pa.array([1] * 10)),
        rows(10).select(SCHEMA.names[::-1]),
        rows(10).replace_schema_metadata({}),
        rows(10).replace_schema_metadata({"q2v.format": "2"}),
    ],
    ids=["renamed", "dropped", "added", "reordered", "no format", "other format"],
)
def test_other_columns_are_refused(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "part", **OPTIONS)

    refused(tmp_path / "part", 10, "expected 'point_id' string")


class LoadedType(pa.ExtensionType):  # type: ignore[misc]  # Arrow ships no types
    """An extension type that tells when somebody loads it."""

    loaded = 0

    def __init__(self) -> None:
        super().__init__(pa.string(), "q2v.test.loaded")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(
        cls, storage_type: pa.DataType, serialized: bytes
    ) -> "LoadedType":
        cls.loaded += 1
        return cls()


def test_an_extension_type_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    pa.register_extension_type(LoadedType())
    try:
        payload = pa.ExtensionArray.from_storage(LoadedType(), pa.array(["{}"] * 10))
        pq.write_table(rows(10, payload=payload), tmp_path / "part", **OPTIONS)
        LoadedType.loaded = 0

        refused(tmp_path / "part", 10, "extension type")
        assert LoadedType.loaded == 0
        pq.read_table(tmp_path / "part")
        assert LoadedType.loaded > 0
    finally:
        pa.unregister_extension_type("q2v.test.loaded")


def test_a_dictionary_is_refused(tmp_path: Path) -> None:
    """One text of a megabyte, a thousand times, in a file of a few kB."""
    path = tmp_path / "part"
    table = rows(500, payload=pa.array(["x" * 10_000] * 500)).cast(SCHEMA)
    pq.write_table(table, path, compression="zstd", use_dictionary=["payload"])

    refused(path, 500, "column 'payload' of row group 0: encodings")


@pytest.mark.parametrize(
    "column_encoding", [{"payload": "DELTA_BYTE_ARRAY"}, {"payload": "DELTA_LENGTH_BYTE_ARRAY"}]
)
def test_encodings_that_we_do_not_write_are_refused(
    tmp_path: Path, column_encoding: dict[str, str]
) -> None:
    pq.write_table(rows(100), tmp_path / "part", column_encoding=column_encoding, **OPTIONS)

    refused(tmp_path / "part", 100, "column 'payload' of row group 0: encodings")


def test_a_list_of_endless_nulls_is_refused(tmp_path: Path) -> None:
    """Nulls within a list take no room in the file, but each takes some in memory."""
    spec = next(spec for spec in SPECS if spec.kind is VectorKind.SPARSE)
    schema = part_schema([spec])
    indices = pa.array([[None] * 100_000] * 10, pa.list_(pa.uint32()))
    values = pa.array([[None] * 100_000] * 10, pa.list_(pa.float32()))
    column = pa.StructArray.from_arrays(
        [indices, values], fields=list(schema.field(f"vector.{spec.name}").type)
    )
    columns = {**{name: rows(10).column(name) for name in SCHEMA.names}, "vector": column}
    table = pa.table(list(columns.values()), schema=schema)
    path = tmp_path / "part"
    pq.write_table(table, path, **OPTIONS)
    assert path.stat().st_size < 10_000

    with little_memory(), pytest.raises(ArtefactDamagedError, match="1,000,000 values in"):
        list(read_part(local_file(path), record(path, 10), [spec], with_vectors=(), first_row=0))


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1PAR1", b"PAR1" + b"\xff" * 4 + b"PAR1", b"x" * 100]
)
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "part").write_bytes(content)

    refused(tmp_path / "part", 10, "no file that q2v wrote")


def test_a_footer_that_is_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "part"
    pq.write_table(rows(10), path, **OPTIONS)
    length = int.from_bytes(path.read_bytes()[-8:-4], "little")

    monkeypatch.setattr(guard, "FOOTER_BYTES_MAX", length)
    read(path, 10)
    monkeypatch.setattr(guard, "FOOTER_BYTES_MAX", length - 1)
    refused(path, 10, f"a footer of {length:,} B")


WHOLE = 250


@pytest.fixture(scope="module")
def part() -> Iterator[bytes]:
    """The bytes of a part with every kind of vector."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "part")
        with local_file(path).open_to_write() as file:
            parts.write_part(file, pieces(whole_page(WHOLE), 1000), SPECS)
        yield path.read_bytes()


@given(data=st.data())
@settings(max_examples=examples(200))
def test_any_change_under_a_right_digest_is_damage_or_harmless(
    part: bytes, data: st.DataObject
) -> None:
    """No crash, no other error, no large memory: wherever the bytes were changed."""
    content = bytearray(part)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(-4000, -1) | st.integers(0, len(part) - 1))
        content[place] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "part")
        path.write_bytes(content)
        with little_memory():
            try:
                names = [spec.name for spec in SPECS]
                part_record = record(path, WHOLE)
                for _ in read_part(
                    local_file(path), part_record, SPECS, with_vectors=names, first_row=0
                ):
                    pass
            except ArtefactDamagedError as error:
                assert str(path) in str(error)  # noqa: PT017 - harmless changes raise nothing


@pytest.mark.parametrize(
    "read_back", [read_existing_ids, read_kv_pre_images, read_vector_pre_images]
)
def test_pre_image_files_are_guarded_too(
    tmp_path: Path, read_back: Callable[[StoredFile, str], Iterator[object]]
) -> None:
    path = tmp_path / "part"
    pq.write_table(rows(10), path, **OPTIONS)

    with pytest.raises(ArtefactDamagedError, match="no file that q2v wrote: columns 'point_id'"):
        next(read_back(local_file(path), file_sha256(path)[1]))


@pytest.mark.fault("S08")
def test_a_part_is_hashed_and_parsed_through_one_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever swaps the file after the hash changes what nobody reads any more."""
    path, other = tmp_path / "part", tmp_path / "other"
    pq.write_table(rows(10), path, **OPTIONS)
    pq.write_table(rows(10, payload=pa.array(['{"a":1}'] * 10)).cast(SCHEMA), other, **OPTIONS)
    honest = record(path, 10)

    def hash_then_swap(file: Any) -> tuple[int, str]:
        found = hash_open_file(file)
        other.replace(path)
        return found

    monkeypatch.setattr(parts, "hash_open_file", hash_then_swap)
    (found,) = read_part(local_file(path), honest, [SPEC], with_vectors=(), first_row=0)

    assert found.page.payloads == (b"{}",) * 10
    assert not other.exists()


@pytest.mark.fault("S08")
def test_a_pre_image_file_is_hashed_and_parsed_through_one_open_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "part", tmp_path / "other"
    sha256 = write_existing_ids(local_file(path), [VectorId("honest")])
    write_existing_ids(local_file(other), [VectorId("swapped")])

    def hash_then_swap(file: Any) -> tuple[int, str]:
        found = hash_open_file(file)
        other.replace(path)
        return found

    monkeypatch.setattr(pre_image_files, "hash_open_file", hash_then_swap)

    assert list(read_existing_ids(local_file(path), sha256)) == ["honest"]
    assert not other.exists()


@pytest.mark.parametrize(
    "change", [{"metadata": "[1]"}, {"metadata": "{"}, {"row": None}, {"vector_id": None}]
)
def test_a_pre_image_that_makes_no_sense_is_damage(
    tmp_path: Path, change: dict[str, object]
) -> None:
    honest = {
        "row": 1, "vector_id": "a", "present": True, "values": [1.0], "namespace": None,
        "metadata": "{}",
    }  # fmt: skip
    path = tmp_path / "part"
    for fields, fits in ((honest, True), ({**honest, **change}, False)):
        table = pa.Table.from_pylist([fields], pre_image_files._VECTORS)  # noqa: SLF001
        pq.write_table(table, path, **OPTIONS)
        if fits:
            assert len(list(read_vector_pre_images(local_file(path), file_sha256(path)[1]))) == 1
            continue
        with pytest.raises(ArtefactDamagedError, match="cannot be decoded"):
            list(read_vector_pre_images(local_file(path), file_sha256(path)[1]))


def test_pre_images_come_in_row_groups_that_fit_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value may have 25 MiB: 5,000 of them in one row group could not be read back."""
    monkeypatch.setattr(pre_image_files, "_GROUP_BYTES", 1000)
    records = [
        KvPreImage(key=f"k{n}", ours=True, former=KvEntry(key=f"k{n}", value=b"v" * size))
        for n, size in enumerate([400, 400, 400, 5000, 1, 1])
    ]
    path = tmp_path / "kv.parquet"
    sha256 = write_kv_pre_images(local_file(path), records)

    groups = pq.read_metadata(path)
    found = [groups.row_group(n).num_rows for n in range(groups.num_row_groups)]
    assert found == [3, 1, 2]
    assert records == list(read_kv_pre_images(local_file(path), sha256))


def test_what_could_not_be_read_back_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides of the limit of the writer, which is below that of the reader."""
    page = whole_page(10)
    with (tmp_path / "part").open("wb") as file:
        group = RowGroup(SPECS)
        group.add(page, [bytes(32)] * 10, 0)
        table_bytes = group.take().nbytes
        writer = PartWriter(file, SPECS)
        monkeypatch.setattr(parts, "_WRITTEN_GROUP_BYTES_MAX", table_bytes)
        writer.add(page, [bytes(32)] * 10)
        writer.close()
        monkeypatch.setattr(parts, "_WRITTEN_GROUP_BYTES_MAX", table_bytes - 1)
        writer = PartWriter(file, SPECS)
        writer.add(page, [bytes(32)] * 10)
        with pytest.raises(PreconditionError, match="10 points from 0 on take"):
            writer.close()
        writer.abandon()


def test_this_arrow_loads_no_types_by_itself() -> None:
    """Before 14.0.1 a file could name a pickle to be loaded (CVE-2023-47248)."""
    assert tuple(int(part) for part in pa.__version__.split(".")[:3]) >= (14, 0, 1)
