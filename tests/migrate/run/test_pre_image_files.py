"""Pre-images come back as they were: absent ones, odd metadata, values to the bit."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import ArtefactDamagedError
from migrate.model.canonical import encode_canonical_json
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.run.pre_image_files import (
    KvPreImage,
    VectorPreImage,
    read_existing_ids,
    read_kv_pre_images,
    read_vector_pre_images,
    write_existing_ids,
    write_kv_pre_images,
    write_vector_pre_images,
)
from migrate.storage.layout import part_name
from migrate.storage.local_folder import local_file
from tests.harness.strategies import finite_floats, json_objects, json_values
from tests.harness.tiers import examples

ids = st.text(min_size=1, max_size=8).map(VectorId)


@st.composite
def vector_pre_images(draw: st.DrawFn) -> list[VectorPreImage]:
    records = []
    for row in range(draw(st.integers(0, 4))):
        vector_id = draw(ids)
        former = Vector(
            id=vector_id,
            values=np.array(draw(st.lists(finite_floats(), min_size=1, max_size=4)), np.float32),
            namespace=draw(st.none() | st.text(max_size=4)),
            metadata=draw(st.none() | json_objects()),
        )
        present = draw(st.booleans())
        records.append(
            VectorPreImage(row=row, vector_id=vector_id, former=former if present else None)
        )
    return records


def comparable(record: VectorPreImage) -> tuple[object, ...]:
    former = record.former
    if former is None:
        return record.row, record.vector_id, None
    metadata = None if former.metadata is None else encode_canonical_json(former.metadata)
    values = former.values.tobytes()
    return record.row, record.vector_id, former.id, values, former.namespace, metadata


@pytest.mark.slow
@pytest.mark.fault("B01", "S09")
@given(vector_pre_images())
@settings(max_examples=examples(30))
def test_vectors_come_back(records: list[VectorPreImage]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, part_name(0))
        sha256 = write_vector_pre_images(local_file(path), records)
        found = list(read_vector_pre_images(local_file(path), sha256))

    assert list(map(comparable, found)) == list(map(comparable, records))
    assert all(one.former is None or one.former.values.dtype == np.float32 for one in found)


@st.composite
def kv_pre_images(draw: st.DrawFn) -> list[KvPreImage]:
    records = []
    for key in draw(st.lists(st.text(min_size=1, max_size=8), max_size=4)):
        former = KvEntry(
            key=key,
            value=draw(st.binary(max_size=9)),
            metadata=draw(st.none() | json_values()),
            expiration=draw(st.none() | st.integers(0, 2**40)),
        )
        records.append(
            KvPreImage(
                key=key, ours=draw(st.booleans()), former=former if draw(st.booleans()) else None
            )
        )
    return records


@pytest.mark.fault("B01")
@given(kv_pre_images())
@settings(max_examples=examples(30))
def test_kv_entries_come_back_with_metadata_and_expiry(records: list[KvPreImage]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kv")
        sha256 = write_kv_pre_images(local_file(path), records)
        found = list(read_kv_pre_images(local_file(path), sha256))

    assert [ascii(one) for one in found] == [ascii(one) for one in records_as_read(records)]


def records_as_read(records: list[KvPreImage]) -> list[KvPreImage]:
    """Key order inside metadata is not kept: JSON objects have none."""
    return [
        KvPreImage(
            key=one.key,
            ours=one.ours,
            former=None
            if one.former is None
            else KvEntry(
                key=one.key,
                value=one.former.value,
                metadata=in_key_order(one.former.metadata),
                expiration=one.former.expiration,
            ),
        )
        for one in records
    ]


def in_key_order(value: object) -> object:
    if isinstance(value, dict):
        return {key: in_key_order(value[key]) for key in sorted(value)}
    return [in_key_order(inner) for inner in value] if isinstance(value, list) else value


@given(st.lists(ids, max_size=6))
@settings(max_examples=examples(20))
def test_ids_of_others_come_back(found: list[VectorId]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "existing")
        sha256 = write_existing_ids(local_file(path), found)

        assert list(read_existing_ids(local_file(path), sha256)) == found


@pytest.mark.fault("G15", "G16", "B01")
def test_a_changed_or_missing_file_is_damage(tmp_path: Path) -> None:
    path = tmp_path / part_name(7)
    sha256 = write_existing_ids(local_file(path), [VectorId("a")])
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)

    for read in (read_existing_ids, read_vector_pre_images, read_kv_pre_images):
        with pytest.raises(ArtefactDamagedError, match="as the journal says") as changed:
            next(read(local_file(path), sha256))
        with pytest.raises(ArtefactDamagedError, match="missing") as missing:
            next(read(local_file(tmp_path / "none"), sha256))
        for caught in (changed, missing):
            assert "new snapshot" not in caught.value.remedy, "it brings no pre-image back"
            assert "from a copy" in caught.value.remedy
    assert path.name == "part-00007.parquet"
