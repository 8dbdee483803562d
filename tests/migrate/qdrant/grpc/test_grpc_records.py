"""The fast way out of a gRPC answer gives what the slow way gives, or leaves the answer to it."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import grpc as wire

from migrate.model.records import DenseColumn, Page, VectorKind, VectorSpec
from migrate.qdrant.columns import Floats
from migrate.qdrant.grpc import records
from migrate.qdrant.grpc.packed import packed_columns, packed_scroll_response
from migrate.qdrant.grpc.records import decode_points
from tests.servers.qdrant_grpc import encode_vector, encode_vector_flat

DIMENSIONS = 3
SPECS = [
    VectorSpec(name=name, kind=VectorKind.DENSE, dimensions=3, distance="Dot", datatype="float32")
    for name in ("a", "b")
]
UNNAMED = [replace(SPECS[0], name="")]
BITS = st.integers(0, 2**32 - 1)
ROWS = st.lists(BITS, min_size=DIMENSIONS, max_size=DIMENSIONS).map(
    lambda bits: np.array(bits, np.uint32).view(np.float32)
)
POINTS = st.lists(
    st.dictionaries(st.sampled_from(["a", "b"]), ROWS), min_size=1, max_size=6
)  # name -> values of each point


def serialized(points: Sequence[dict[str, bytes]]) -> bytes:
    """A scroll answer; the vectors of each point as serialized `VectorOutput` by name."""
    answer = b""
    for number, vectors in enumerate(points):
        record = wire.RetrievedPoint(id=wire.PointId(num=number))
        record.payload["n"].integer_value = number
        named = b"".join(
            field(1, field(1, name.encode()) + field(2, vector)) for name, vector in vectors.items()
        )
        whole = record.SerializeToString() + field(4, field(2, named))
        answer += field(2, whole)
    return answer


def field(number: int, content: bytes) -> bytes:
    """A field with a length, as the protocol's encoding has it."""
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def is_fast(answer: bytes, specs: Sequence[VectorSpec] = SPECS) -> bool:
    parsed = packed_scroll_response().FromString(answer)
    return packed_columns(parsed.result, specs) is not None


def slow_page(answer: bytes, specs: Sequence[VectorSpec] = SPECS) -> Page:
    _, payloads = answer_payloads(answer)
    parsed = wire.ScrollResponse.FromString(answer)
    return records._decode_each(parsed, payloads, specs)  # noqa: SLF001 - the other way


def answer_payloads(answer: bytes) -> tuple[list[object], list[bytes]]:
    points = list(wire.ScrollResponse.FromString(answer).result)
    ids = [records._id(point) for point in points]  # noqa: SLF001 - as above
    return points, list(records._payloads(points, ids, ())[0])  # noqa: SLF001 - as above


def same(one: Page, other: Page) -> bool:
    """To the bit: NaN equals itself, -0.0 is not 0.0."""
    assert one.vectors.keys() == other.vectors.keys()
    for name, left in one.vectors.items():
        right = other.vectors[name]
        assert isinstance(left, DenseColumn)
        assert isinstance(right, DenseColumn)
        if left.values.tobytes() != right.values.tobytes() or any(left.present != right.present):
            return False
    return (one.ids, one.payloads, one.irregular) == (other.ids, other.payloads, other.irregular)


@pytest.mark.fault("S01")
@pytest.mark.parametrize("encode", [encode_vector, encode_vector_flat])
@given(POINTS)
def test_both_layouts_give_the_same_bits_either_way(
    encode: Callable[[Floats], wire.VectorOutput], points: list[dict[str, Floats]]
) -> None:
    answer = serialized(
        [{name: encode(row).SerializeToString() for name, row in one.items()} for one in points]
    )

    assert is_fast(answer)
    assert same(decode_points(answer, SPECS), slow_page(answer))


@st.composite
def unnamed_vectors(draw: st.DrawFn) -> wire.VectorsOutput:
    """What the points of a collection with one vector without name may send for it."""
    row = draw(ROWS).tolist()
    return draw(
        st.sampled_from(
            [
                wire.VectorsOutput(),
                wire.VectorsOutput(vector=encode_vector(row)),
                wire.VectorsOutput(vector=encode_vector_flat(row)),
                wire.VectorsOutput(vector=encode_vector(row[1:])),
                wire.VectorsOutput(vector=wire.VectorOutput()),
                wire.VectorsOutput(
                    vectors=wire.NamedVectorsOutput(vectors={"a": encode_vector(row)})
                ),
                wire.VectorsOutput(
                    vector=wire.VectorOutput(sparse=wire.SparseVector(values=[1], indices=[7]))
                ),
            ]
        )
    )


@given(st.lists(unnamed_vectors(), min_size=1, max_size=4))
def test_a_vector_without_name_is_read_as_the_slow_way_reads_it(
    vectors: list[wire.VectorsOutput],
) -> None:
    """Whatever is sent for it, beside whatever is sent for the points around it."""
    points = [
        wire.RetrievedPoint(id=wire.PointId(num=number), vectors=one)
        for number, one in enumerate(vectors)
    ]
    answer = wire.ScrollResponse(result=points).SerializeToString()

    assert same(decode_points(answer, UNNAMED), slow_page(answer, UNNAMED))


def test_pages_of_one_whole_vector_without_name_go_the_fast_way() -> None:
    points = [
        wire.RetrievedPoint(
            id=wire.PointId(num=number),
            vectors=wire.VectorsOutput(vector=encode_vector([0.5] * DIMENSIONS)),
        )
        for number in range(3)
    ]

    assert is_fast(wire.ScrollResponse(result=points).SerializeToString(), UNNAMED)


@pytest.mark.fault("D02")
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_payload_number_that_json_cannot_say_is_refused_with_its_point(number: float) -> None:
    """JSON writes none, so an answer with one is garbled: not null, not left out."""
    for value in (
        wire.Value(double_value=number),
        wire.Value(list_value=wire.ListValue(values=[wire.Value(double_value=number)])),
        wire.Value(struct_value=wire.Struct(fields={"a": wire.Value(double_value=number)})),
    ):
        point = wire.RetrievedPoint(id=wire.PointId(num=7), payload={"page": value})
        answer = wire.ScrollResponse(result=[point]).SerializeToString()

        with pytest.raises(ValueError, match=f"point 7: {number} in payload field 'page'"):
            decode_points(answer, UNNAMED)


@given(ROWS, st.integers(0, DIMENSIONS))
def test_values_that_come_in_two_pieces_are_put_together(row: Floats, cut: int) -> None:
    """A sender may cut a packed field anywhere between two values."""
    pieces = row.tobytes()[: 4 * cut], row.tobytes()[4 * cut :]
    dense = b"".join(field(1, piece) for piece in pieces)
    answer = serialized([{"a": b"\xaa\x06" + field(1, dense)[1:]}])

    assert is_fast(answer)
    assert same(decode_points(answer, SPECS), slow_page(answer))


@given(ROWS)
def test_values_that_come_one_by_one_are_read_the_slow_way(row: Floats) -> None:
    dense = b"".join(b"\x0d" + struct.pack("<f", value) for value in row)
    answer = serialized([{"a": b"\xaa\x06" + field(1, dense)[1:]}])

    assert not is_fast(answer)
    page = decode_points(answer, SPECS)
    column = page.vectors["a"]
    assert isinstance(column, DenseColumn)
    assert column.present.all()


@pytest.mark.parametrize(
    "vector",
    [
        wire.VectorOutput(dense=wire.DenseVector(data=[1, 2])),  # too short
        wire.VectorOutput(dense=wire.DenseVector(data=[1, 2, 3, 4])),
        wire.VectorOutput(data=[]),  # what an old server sends for no vector
        wire.VectorOutput(data=[1, 2, 3], vectors_count=1),
        wire.VectorOutput(sparse=wire.SparseVector(values=[1], indices=[7])),
        wire.VectorOutput(
            multi_dense=wire.MultiDenseVector(vectors=[wire.DenseVector(data=[1, 2, 3])])
        ),
    ],
)
def test_one_vector_of_another_kind_sends_the_page_the_slow_way(vector: wire.VectorOutput) -> None:
    good = wire.VectorOutput(dense=wire.DenseVector(data=[1, 2, 3])).SerializeToString()
    answer = serialized([{"a": good}, {"a": vector.SerializeToString(), "b": good}])

    assert not is_fast(answer)
    assert same(decode_points(answer, SPECS), slow_page(answer))


def test_a_name_that_the_collection_does_not_know_is_not_lost() -> None:
    good = wire.VectorOutput(dense=wire.DenseVector(data=[1, 2, 3])).SerializeToString()
    page = decode_points(serialized([{"a": good, "c": good}]), SPECS)

    (irregular,) = page.irregular
    assert irregular is not None
    assert b'"c":[1.0,2.0,3.0]' in irregular


def test_a_collection_with_other_kinds_of_vectors_goes_the_slow_way() -> None:
    sparse = VectorSpec(
        name="s", kind=VectorKind.SPARSE, dimensions=None, distance=None, datatype="float32"
    )

    assert not is_fast(serialized([{}]), [*SPECS, sparse])
