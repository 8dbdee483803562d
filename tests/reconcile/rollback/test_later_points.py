"""A later vector becomes a point that Qdrant stores as it is, under an id that never varies."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.ids import point_id_of
from migrate.mapping.payload import Mapped, map_payload
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.records import PointId, Vector, VectorId
from reconcile.rollback.later.points import (
    UNIT_TOLERANCE,
    FormerPoint,
    PointMaker,
    new_point_id,
    normalised,
    returned_payload,
)
from tests.harness.fakes.memory_source import DIMENSIONS
from tests.harness.strategies import RULES


def test_a_new_vector_gets_the_point_of_the_file_store_for_ever() -> None:
    """Another one would give a vector a second point."""
    found = new_point_id(VectorId("file-1_0"), "{file_id}_{chunk_index}")

    assert found.text == point_id_of(VectorId("file-1_0")) == "e7b9bed2-cdab-5699-84a1-a43338847fea"


@pytest.mark.parametrize(
    ("vector_id", "is_kept"),
    [
        ("0", True),
        ("18446744073709551615", True),
        ("18446744073709551616", False),
        ("007", False),
        ("-1", False),
        ("6f01ba5f-2f5c-56b7-a1b7-0a4be1b23bd2", True),
        ("6F01BA5F-2F5C-56B7-A1B7-0A4BE1B23BD2", False),
        ("a_1", False),
    ],
)
def test_where_vector_ids_are_point_ids_a_new_one_is_kept(vector_id: str, is_kept: bool) -> None:
    found = new_point_id(VectorId(vector_id), "{point_id}")
    other = new_point_id(VectorId(vector_id), "{file_id}")

    assert (found.text == vector_id) is is_kept
    assert other == PointId.parse(point_id_of(VectorId(vector_id)))


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40), st.floats(1e-3, 1e3))
def test_values_are_of_length_1_as_qdrant_reads_them(values: list[float], factor: float) -> None:
    given_values = (np.array(values, np.float64) * factor).astype(np.float32)

    found, length = normalised(given_values)

    squared = float(np.dot(found, found))
    assert squared < 1.2e-7 or abs(squared - 1) <= UNIT_TOLERANCE
    if length is None:
        assert found is given_values
    else:
        assert found * np.float32(length) == pytest.approx(given_values, rel=1e-5, abs=1e-30)


def vector(metadata: dict[str, object] | None, vector_id: str = "new_0") -> Vector:
    return Vector(
        id=VectorId(vector_id),
        values=np.full(DIMENSIONS, 0.5, np.float32),
        namespace=None,
        metadata=metadata,
    )


@pytest.mark.fault("L01")
def test_the_payload_is_the_metadata_with_whole_numbers_as_integers() -> None:
    maker = PointMaker(RULES, {VectorId("none_0"): "by-the-index"}, is_cosine=False)

    point = maker.added(vector({"file_id": "a", "chunk_index": 3.0, "score": 0.5}))
    bare = maker.added(vector(None, "none_0"))
    odd = maker.added(vector({"file_id": 7}, "odd_0"))

    assert point.payload == b'{"chunk_index":3,"file_id":"a","score":0.5}'
    assert (point.file, bare.file, odd.file) == ("a", "by-the-index", None)
    assert bare.payload == b"{}"


@pytest.mark.fault("L01")
def test_fields_that_the_new_side_did_not_change_keep_their_former_value() -> None:
    """Nulls were left out and text was cut on the way; neither is lost by the way back."""
    rules = replace(RULES, nulls="leave_out", truncate_field="text")
    payload = {
        "file_id": "f",
        "chunk_index": 0,
        "chunk_hash": "a" * 64,
        "text": "x" * 20_000,
        "whole": 3.0,
        "note": None,
        "gone": "a",
    }
    former = FormerPoint(0, PointId(0, 10), encode_canonical_json(payload))
    mapped = map_payload(former.point_id, former.payload, rules)
    assert isinstance(mapped, Mapped)
    theirs = decode_json(mapped.metadata)
    assert isinstance(theirs, dict)
    assert len(theirs["text"]) < 20_000
    assert "note" not in theirs
    del theirs["gone"]

    untouched = decode_json(returned_payload({**theirs, "more": 4.0}, former, rules))
    edited = decode_json(returned_payload({**theirs, "text": "new", "note": 1}, former, rules))

    kept = {name: value for name, value in payload.items() if name != "gone"}
    assert untouched == {**kept, "more": 4}
    assert isinstance(untouched, dict)
    assert isinstance(untouched["whole"], float)
    assert edited == {**kept, "text": "new", "note": 1}
