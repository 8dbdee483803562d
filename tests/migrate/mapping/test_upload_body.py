"""Lines and uploads: every vector once, in order, within both limits, to the bit."""

import hashlib
import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import PreconditionError
from migrate.mapping.upload_body import (
    EncodedUpload,
    Line,
    build_upload,
    encode_line,
    encode_vector,
)
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.digest import canonical_metadata
from migrate.model.limits import PIECE_BYTES
from migrate.model.records import Float32Matrix, Vector, VectorId
from tests.harness.strategies import json_objects


def lines_of(sizes: list[int]) -> list[Line]:
    return [
        Line(row=7 + row, vector_id=VectorId(f"v{row}"), text=b"x" * (length - 1) + b"\n")
        for row, length in enumerate(sizes)
    ]


def lines() -> st.SearchStrategy[list[Line]]:
    return st.lists(st.integers(1, 30), max_size=40).map(lines_of)


def split(
    source: list[Line], *, vectors_max: int, body_bytes_max: int, wanted: int | None = None
) -> list[EncodedUpload]:
    """One upload after the other, until nothing is left."""
    left = iter(source)
    uploads: list[EncodedUpload] = []
    while True:
        built, after = build_upload(
            left,
            vectors_max=vectors_max,
            body_bytes_max=body_bytes_max,
            body_bytes_wanted=wanted,
        )
        if built is None:
            assert after is None
            return uploads
        uploads.append(built)
        left = left if after is None else itertools.chain([after], left)


def text(lines: list[Line]) -> bytes:
    return b"".join(line.text for line in lines)


def bodies(uploads: list[EncodedUpload]) -> list[bytes]:
    return [b"".join(one.body) for one in uploads]


@pytest.mark.fault("N17", "P06")
@given(lines(), st.integers(1, 5), st.integers(30, 80))
def test_uploads_hold_every_vector_once_in_order_within_both_limits(
    source: list[Line], vectors_max: int, body_bytes_max: int
) -> None:
    uploads = split(source, vectors_max=vectors_max, body_bytes_max=body_bytes_max)

    assert text(source) == b"".join(bodies(uploads))
    rows = itertools.chain(*(range(one.upload.first_row, one.upload.end_row) for one in uploads))
    assert [line.row for line in source] == list(rows)
    for one, body in zip(uploads, bodies(uploads), strict=True):
        assert 1 <= one.upload.vectors <= vectors_max
        assert len(body) == one.upload.body_bytes <= body_bytes_max


@given(lines(), st.integers(1, 5), st.integers(30, 80))
def test_an_upload_ends_only_when_the_next_line_does_not_fit(
    source: list[Line], vectors_max: int, body_bytes_max: int
) -> None:
    """So there are as few uploads as the limits allow."""
    uploads = split(source, vectors_max=vectors_max, body_bytes_max=body_bytes_max)

    for one, following in itertools.pairwise(uploads):
        full = one.upload.vectors == vectors_max
        first = next(line for line in source if line.row == following.upload.first_row)
        assert full or one.upload.body_bytes + len(first.text) > body_bytes_max


@pytest.mark.fault("P06")
@pytest.mark.parametrize(("vectors", "uploads"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_both_sides_of_the_number_of_vectors(vectors: int, uploads: int) -> None:
    found = split(lines_of([5] * vectors), vectors_max=4, body_bytes_max=1000)

    assert uploads == len(found)


@pytest.mark.fault("N17")
def test_both_sides_of_the_number_of_bytes() -> None:
    sizes = [[10, 10], [10, 11], [20]]
    found = [split(lines_of(some), vectors_max=9, body_bytes_max=20) for some in sizes]

    assert [len(uploads) for uploads in found] == [1, 2, 1]
    with pytest.raises(PreconditionError, match=r"vector 'v0' \(row 7\): 21 B .* takes 20 B"):
        split(lines_of([21]), vectors_max=9, body_bytes_max=20)


@pytest.mark.fault("P06")
def test_what_comes_before_a_line_that_is_too_long_is_sent_before_the_run_stops() -> None:
    source = lines_of([10, 21])
    built, after = build_upload(iter(source), vectors_max=9, body_bytes_max=20)

    assert built is not None
    assert (bodies([built]), after) == ([source[0].text], source[1])


@pytest.mark.fault("I8")
def test_an_upload_is_described_by_its_rows_and_its_very_bytes() -> None:
    (found,) = split(lines_of([5, 6, 7]), vectors_max=9, body_bytes_max=99)
    (other,) = split(lines_of([5, 7, 6]), vectors_max=9, body_bytes_max=99)

    upload = found.upload
    assert (upload.first_row, upload.middle_row, upload.end_row) == (7, 8, 10)
    assert (upload.vectors, upload.body_bytes, upload.vector_id) == (3, 18, "v0")
    body = b"xxxx\nxxxxx\nxxxxxx\n"
    assert upload.sha256 == hashlib.sha256(body).hexdigest() != other.upload.sha256


def test_a_body_is_in_pieces_of_whole_lines_and_of_bounded_size() -> None:
    source = lines_of([PIECE_BYTES // 3] * 10)
    (found,) = split(source, vectors_max=99, body_bytes_max=10 * PIECE_BYTES)

    assert text(source) == b"".join(found.body)
    assert all(piece.endswith(b"\n") for piece in found.body)
    assert all(len(piece) >= PIECE_BYTES for piece in found.body[:-1])
    assert all(len(piece) < 2 * PIECE_BYTES for piece in found.body)


def read_back(line: bytes) -> Float32Matrix:
    """What a service makes of the text: decimal -> double -> float32."""
    return np.array(json.loads(line)["values"], np.float64).astype(np.float32)


# The one value that its shortest text does not bring back, its neighbours, and their negatives.
TWICE_ROUNDED = [
    sign | bits for sign in (0, 1 << 31) for bits in range(0x15AE43FD - 2, 0x15AE43FD + 3)
]


@pytest.mark.fault("S09", "F24")
@given(
    st.lists(st.integers(0, 2**32 - 1) | st.sampled_from(TWICE_ROUNDED), min_size=1, max_size=64)
)
def test_every_finite_float32_survives_its_text(patterns: list[int]) -> None:
    bits = np.array(patterns, np.uint32).view(np.float32)
    values = bits[np.isfinite(bits)]
    line = encode_line(VectorId("a"), values, b"{}")
    restored = encode_vector(Vector(id=VectorId("a"), values=values, metadata=None, namespace=None))

    assert values.tobytes() == read_back(line).tobytes() == read_back(restored).tobytes()


@pytest.mark.slow
@pytest.mark.fault("S09")
def test_a_million_random_bit_patterns_survive_their_text() -> None:
    bits = np.random.default_rng(9).integers(0, 2**32, 1_000_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]

    assert values.tobytes() == read_back(encode_line(VectorId("a"), values, b"{}")).tobytes()


@pytest.mark.fault("S09", "F24")
def test_the_one_value_and_its_neighbours_survive_in_any_company() -> None:
    """Also others whose text holds the same digits."""
    alike = np.array([float(f"{digit}7.038531e-26") for digit in "123456789"], np.float32)
    bits = np.array(TWICE_ROUNDED, np.uint32).view(np.float32)
    values = np.concatenate([alike, bits, -alike])

    assert values.tobytes() == read_back(encode_line(VectorId("a"), values, b"{}")).tobytes()


@pytest.mark.fault("D10")
@given(st.text(min_size=1, max_size=9), json_objects())
def test_a_vector_is_one_line_and_its_metadata_goes_as_it_is(
    vector_id: str, metadata: dict[str, object]
) -> None:
    encoded = encode_canonical_json(metadata)
    line = encode_line(VectorId(vector_id), np.array([0.5, -1], np.float32), encoded)

    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert b'"metadata":' + encoded + b"}\n" in line
    assert {"id": vector_id, "values": [0.5, -1], "metadata": metadata} == decode_json(line)


@pytest.mark.fault("B02")
@pytest.mark.parametrize("namespace", [None, "", "team"])
@pytest.mark.parametrize("metadata", [None, {}, {"a": [1.0, "\ud800", 2**70]}])
def test_a_vector_is_put_back_as_it_was_read(
    namespace: str | None, metadata: dict[str, object] | None
) -> None:
    values = np.array([0.1, 2], np.float32)
    line = encode_vector(
        Vector(id=VectorId("a"), values=values, namespace=namespace, metadata=metadata)
    )

    record = decode_json(line)
    assert isinstance(record, dict)
    assert namespace == record.get("namespace")
    assert ("metadata" in record) == (metadata is not None)
    assert canonical_metadata(metadata) == canonical_metadata(record.get("metadata"))
    assert values.tobytes() == read_back(line).tobytes()
    assert re.fullmatch(rb"[^\n]*\n", line)


@pytest.mark.fault("N17")
@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 6), st.integers(1, 60))
def test_a_learned_size_is_kept_where_a_line_allows_it(
    sizes: list[int], vectors_max: int, wanted: int
) -> None:
    """A line beyond it goes alone; nothing is lost or moved."""
    found = split(lines_of(sizes), vectors_max=vectors_max, body_bytes_max=40, wanted=wanted)

    assert b"".join(bodies(found)) == text(lines_of(sizes))
    for one in found:
        assert one.upload.vectors == 1 or one.upload.body_bytes <= min(wanted, 40)
        assert one.upload.vectors <= vectors_max
