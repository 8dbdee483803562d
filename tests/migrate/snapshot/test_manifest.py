"""Sealed files: whoever changes a byte is found out."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given

from migrate.errors import ArtefactDamagedError, ForeignStateError
from migrate.model.canonical import encode_canonical_json
from migrate.model.sealed_json import seal_json, unseal_json
from migrate.snapshot.manifest import (
    LATER_FORMAT,
    SNAPSHOT_FORMAT,
    FileRecord,
    LaterRecord,
    SnapshotManifest,
    decode_manifest,
    encode_manifest,
)
from tests.harness.strategies import json_objects
from tests.migrate.model.records import MANIFEST

CONTENT = encode_manifest(MANIFEST)


def unseal(content: bytes, version: int = 1) -> dict[str, object]:
    return unseal_json(content, where="m.json", format_version=version)


@given(json_objects())
def test_sealed_fields_come_back(fields: dict[str, object]) -> None:
    fields = {**fields, "format": 1}
    fields.pop("sha256", None)
    content = seal_json(fields)

    assert encode_canonical_json(fields) == encode_canonical_json(unseal(content))


def test_a_manifest_comes_back() -> None:
    assert decode_manifest(CONTENT, where="m.json") == MANIFEST


LATER = LaterRecord(
    snapshot_id="20261129T081500Z-7f4c3d-00",
    run_id="000-20261129T083000Z",
    plan_fingerprint="a" * 64,
    vector_target={"vector_index": "chunks"},
    kv_target={"kv_namespace": "0" * 32},
    index_created_on="2026-11-29T08:00:00Z",
    source_dimensions=3_072,
    dimensions=1_536,
    added=2,
    changed=1,
    deleted=None,
    kv_entries=1,
    why_not="the vector index holds fewer values",
    files=(FileRecord(name="later.parquet", rows=3, bytes=9, sha256="b" * 64),),
)


@pytest.mark.fault("L06", "G14")
def test_the_manifest_of_an_export_comes_back_and_has_a_format_of_its_own() -> None:
    """A q2v that knows the formats before it refuses it, and never takes it for a collection."""
    manifest = replace(MANIFEST, later=LATER, moving=True)
    content = encode_manifest(manifest)

    assert manifest.format == LATER_FORMAT
    assert decode_manifest(content, where="m.json") == manifest
    assert manifest.content_root != replace(MANIFEST, moving=True).content_root
    with pytest.raises(ForeignStateError, match="format version 5"):
        unseal_json(content, where="m.json", format_version=(1, 2, 3, 4))
    fields = unseal(content, LATER_FORMAT)
    for changed in ({"later": None}, {"later": {"run_id": "x"}}, {"format": 3}):
        with pytest.raises(ArtefactDamagedError, match=r"m\.json"):
            decode_manifest(seal_json({**fields, **changed}), where="m.json")


@pytest.mark.fault("G15", "X09")
@pytest.mark.parametrize("bit", range(8))
def test_any_flipped_bit_is_found(bit: int) -> None:
    """A flip in the format version itself may also say: another version."""
    for position in range(len(CONTENT)):
        flipped = bytearray(CONTENT)
        flipped[position] ^= 1 << bit
        with pytest.raises((ArtefactDamagedError, ForeignStateError), match=r"^m\.json: "):
            decode_manifest(bytes(flipped), where="m.json")


@pytest.mark.fault("G15")
def test_any_cut_is_found() -> None:
    for size in range(len(CONTENT)):
        with pytest.raises(ArtefactDamagedError, match=r"^m\.json: "):
            decode_manifest(CONTENT[:size], where="m.json")


@pytest.mark.fault("G15")
@pytest.mark.parametrize(
    "content",
    [
        CONTENT.replace(b"1e-7", b"1E-7"),
        CONTENT.replace(b":1.0,", b":1.00,").replace(b",1.0,", b",1.00,"),
        CONTENT.replace(b'"points":3,', b'"points":3,"points":3,'),
        CONTENT.replace(b",", b", "),
        CONTENT + b"\n",
        CONTENT[:-1],
        CONTENT.replace("é".encode(), b"\\u00e9"),
    ],
)
def test_the_same_values_in_other_words_are_found(content: bytes) -> None:
    assert content != CONTENT
    with pytest.raises(ArtefactDamagedError, match="its own digest"):
        decode_manifest(content, where="m.json")


@pytest.mark.fault("G14")
@pytest.mark.parametrize("version", [0, SNAPSHOT_FORMAT + 1, None, "1"])
def test_another_format_is_refused_and_not_guessed(version: object) -> None:
    with pytest.raises(ForeignStateError, match=f"format version {version!r}, this q2v reads 1"):
        unseal(seal_json({"format": version}))
    with pytest.raises(ForeignStateError, match="format version None"):
        unseal(seal_json({}))


@pytest.mark.parametrize("content", [b"", b"[]", b"1\n", b"\xff", b"null"])
def test_what_is_no_object_is_damaged(content: bytes) -> None:
    with pytest.raises(ArtefactDamagedError, match="no JSON"):
        unseal(content)


def test_without_its_digest_a_file_is_damaged() -> None:
    with pytest.raises(ArtefactDamagedError, match="its own digest"):
        unseal(encode_canonical_json({"format": 1, "a": 2}) + b"\n")


def resealed(**changed: object) -> bytes:
    """A manifest whose own digest is right and whose fields are not."""
    fields = unseal(CONTENT)
    return seal_json({**fields, **changed})


@pytest.mark.fault("X09", "X10")
@pytest.mark.parametrize(
    "changed",
    [
        {"points": 4},
        {"parts": []},
        {"set_digest": "0" * 64},
        {"content_root": None},
        {"content_root": "0" * 64},
        {"parent": "0" * 64},
        {"vectors": []},
        {"vectors": [5]},
        {"vectors": None},
        {"parts": [{"ordinal": 0}]},
        {"parts": {"0": {}}},
        {"vectors": [{"name": "", "kind": "round"}]},
        {"unknown": 1},
    ],
)
def test_a_manifest_sealed_again_around_other_parts_is_damaged(changed: dict[str, object]) -> None:
    with pytest.raises(ArtefactDamagedError, match=r"content root|missing or of another type"):
        decode_manifest(resealed(**changed), where="m.json")


def test_a_manifest_without_a_field_is_damaged() -> None:
    fields = unseal(CONTENT)
    del fields["parts"]
    with pytest.raises(ArtefactDamagedError, match="missing"):
        decode_manifest(seal_json(fields), where="m.json")


CHANGED_CONTENT = [
    replace(MANIFEST, points=4),
    replace(MANIFEST, vectors=MANIFEST.vectors[:1]),
    replace(MANIFEST, parts=MANIFEST.parts[::-1]),
    replace(MANIFEST, parts=MANIFEST.parts[:1]),
    replace(MANIFEST, parts=(MANIFEST.parts[0], replace(MANIFEST.parts[1], sha256="f" * 64))),
    replace(MANIFEST, set_digest="f" * 64),
    replace(MANIFEST, parent="f" * 64),
]


@pytest.mark.fault("I8", "X09")
@pytest.mark.parametrize("other", CHANGED_CONTENT)
def test_the_content_root_changes_with_what_was_copied(other: SnapshotManifest) -> None:
    assert MANIFEST.content_root != other.content_root


@pytest.mark.fault("I8")
def test_the_content_root_is_the_same_for_every_copy_of_the_same_points() -> None:
    later = replace(
        MANIFEST,
        snapshot_id="later",
        started_at="2027-01-01T00:00:00+00:00",
        sealed_at="2027-01-01T00:00:01+00:00",
        source={"kind": "other"},
        count_start=2,
    )

    assert MANIFEST.content_root == later.content_root
    assert hashlib.sha256(encode_manifest(later)).digest() != hashlib.sha256(CONTENT).digest()


def test_a_vector_is_found_by_its_name() -> None:
    assert MANIFEST.vectors[1] == MANIFEST.spec("colbert")
    assert MANIFEST.spec("none") is None
