"""Hypothesis strategies for the records of both sides, with the traps that real data has."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from migrate.mapping.rules import MappingRules
from migrate.model.canonical import encode_canonical_json
from migrate.model.records import (
    UINT64_MAX,
    UUID_MAX,
    DenseColumn,
    Float32Matrix,
    MultiColumn,
    Page,
    PointId,
    SparseColumn,
    VectorColumn,
    VectorKind,
    VectorSpec,
)

RULES = MappingRules(
    id_template="{file_id}_{chunk_index}",
    group_key="file_id",
    order_key="chunk_index",
    hash_key="chunk_hash",
    key_template="file:{file_id}",
    nulls="quarantine",
    truncate_field=None,
)
HASH = "0123456789abcdef" * 4

_EDGES = [0, 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30]
_TRAPS = [
    "",
    "1",
    "\x00",
    "\n",
    "\x1b[31m",
    '"',
    "\\",
    "\u0085",
    "\u2028",
    "\u202e",
    "\ud800",
    "🙂",
]


@cache
def point_ids() -> st.SearchStrategy[PointId]:
    """Integers and UUIDs, their first and last ones often."""
    integers = st.integers(0, UINT64_MAX) | st.sampled_from([0, 1, UINT64_MAX])
    uuids = st.integers(0, UUID_MAX) | st.sampled_from([0, UUID_MAX])
    return integers.map(lambda number: PointId(0, number)) | uuids.map(
        lambda number: PointId(1, number)
    )


@cache
def texts() -> st.SearchStrategy[str]:
    """Text with control characters, separators, emoji and lone surrogates."""
    wild = st.text(st.characters(categories=["L", "N", "P", "S", "Z", "Cc", "Cf", "Cs"]))
    return st.sampled_from(_TRAPS) | wild


@cache
def whole_numbers() -> st.SearchStrategy[int]:
    """Integers of any size, the limits of double, i64 and u64 often."""
    edges = st.sampled_from(_EDGES + [-edge for edge in _EDGES])
    return edges | st.integers(-(2**70), 2**70)


@cache
def scalars() -> st.SearchStrategy[object]:
    """JSON values that hold no others; 1, 1.0, "1" and true among them."""
    alike = st.sampled_from([1, 1.0, True, "1", 0, -0.0, False, None])
    floats = st.floats(allow_nan=False, allow_infinity=False)
    return alike | whole_numbers() | floats | texts()


@cache
def json_values() -> st.SearchStrategy[object]:
    """Any JSON value, nested some levels."""
    return st.recursive(
        scalars(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(), inner, max_size=4),
        max_leaves=10,
    )


@cache
def json_objects() -> st.SearchStrategy[dict[str, object]]:
    """Any JSON object."""
    return st.dictionaries(texts(), json_values(), max_size=5)


@cache
def metadata_objects() -> st.SearchStrategy[dict[str, object]]:
    """JSON objects whose integers are exact as doubles, which is all that the mapping lets pass."""
    exact = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    one = exact | st.sampled_from([True, "1", -0.0, 1.5e17, None]) | texts()
    nested = st.lists(one, max_size=4) | st.dictionaries(texts(), one, max_size=4)
    return st.dictionaries(texts(), one | nested, max_size=5)


@cache
def payloads() -> st.SearchStrategy[dict[str, object]]:
    """Payloads that are nearly what the rules ask for: each part may be right, odd or missing."""
    names = st.sampled_from(["page", "title", "a.b", "$x", 'q"', ""]) | texts()
    rest = st.dictionaries(names, json_values(), max_size=3)
    wanted = st.fixed_dictionaries(
        {},
        optional={
            "file_id": st.just("file-1") | st.text(max_size=20) | scalars(),
            "chunk_index": st.integers(0, 20) | scalars(),
            "chunk_hash": st.just(HASH) | scalars(),
            "text": st.text(max_size=40) | st.integers(0, 11_000).map("x".__mul__) | texts(),
            "nothing": st.none(),
        },
    )
    good: st.SearchStrategy[dict[str, object]] = st.just(
        {"file_id": "file-1", "chunk_index": 0, "chunk_hash": HASH}
    )
    return st.tuples(rest, good | st.just({}), wanted).map(
        lambda parts: {**parts[0], **parts[1], **parts[2]}
    )


@cache
def mapping_rules() -> st.SearchStrategy[MappingRules]:
    """Every combination of rules over the fields of `payloads`."""
    return st.builds(
        MappingRules,
        id_template=st.sampled_from(
            ["{file_id}_{chunk_index}", "{point_id}", "{page}", "{file_id}", "v-{point_id}-{text}"]
        ),
        group_key=st.sampled_from(["file_id", ""]),
        order_key=st.sampled_from(["chunk_index", ""]),
        hash_key=st.sampled_from(["chunk_hash", ""]),
        key_template=st.sampled_from(["file:{file_id}", "{file_id}"]),
        nulls=st.sampled_from(["quarantine", "leave_out"]),
        truncate_field=st.sampled_from([None, "text"]),
        namespace=st.sampled_from(["", "{text}", "t-{file_id}-{page}"]),
    )


@cache
def finite_floats() -> st.SearchStrategy[float]:
    """Every finite float32, subnormals and both zeros included."""
    return st.floats(width=32, allow_nan=False, allow_infinity=False)


@cache
def matrices(rows: int, dimensions: int) -> st.SearchStrategy[Float32Matrix]:
    """Finite float32 values, shape (rows, dimensions)."""
    return arrays(np.float32, (rows, dimensions), elements=finite_floats())


@st.composite
def dense_columns(draw: st.DrawFn, rows: int, dimensions: int) -> DenseColumn:
    """Zeros where a vector is absent, as the model promises."""
    values = draw(matrices(rows, dimensions))
    present = np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), np.bool_)
    return DenseColumn(np.where(present[:, None], values, np.float32(0)), present)


@st.composite
def multi_columns(draw: st.DrawFn, rows: int, dimensions: int) -> MultiColumn:
    """Absent, empty and filled multivectors."""
    one = st.none() | st.integers(0, 3).flatmap(lambda count: matrices(count, dimensions))
    return MultiColumn(tuple(draw(one) for _ in range(rows)))


@st.composite
def sparse_columns(draw: st.DrawFn, rows: int) -> SparseColumn:
    """Absent, empty and filled sparse vectors, indices ascending."""

    def pair(
        indices: set[int],
    ) -> tuple[np.ndarray[tuple[int], np.dtype[np.uint32]], Float32Matrix]:
        values = draw(matrices(1, len(indices)))[0]
        return np.array(sorted(indices), np.uint32), values

    one = st.none() | st.sets(st.integers(0, 2**32 - 1), max_size=4).map(pair)
    return SparseColumn(tuple(draw(one) for _ in range(rows)))


SPECS = (
    VectorSpec(name="", kind=VectorKind.DENSE, dimensions=4, distance="Cosine", datatype="float32"),
    VectorSpec(
        name="colbert", kind=VectorKind.MULTI, dimensions=3, distance="Dot", datatype="float32"
    ),
    VectorSpec(
        name="words.bm25",
        kind=VectorKind.SPARSE,
        dimensions=None,
        distance=None,
        datatype="float32",
    ),
)


@st.composite
def pages(draw: st.DrawFn, *, rows_max: int = 4, specs: Sequence[VectorSpec] = SPECS) -> Page:
    """A page with one column per vector name, ids ascending; some rows irregular."""
    ids = tuple(sorted(draw(st.sets(point_ids(), max_size=rows_max))))
    columns: dict[str, VectorColumn] = {}
    for spec in specs:
        match spec.kind:
            case VectorKind.DENSE:
                columns[spec.name] = draw(dense_columns(len(ids), spec.dimensions or 0))
            case VectorKind.MULTI:
                columns[spec.name] = draw(multi_columns(len(ids), spec.dimensions or 0))
            case VectorKind.SPARSE:
                columns[spec.name] = draw(sparse_columns(len(ids)))
    odd = st.none() | st.just(encode_canonical_json({"": [1.5, None]}))
    return Page(
        ids=ids,
        payloads=tuple(encode_canonical_json(draw(json_objects())) for _ in ids),
        vectors=columns,
        irregular=tuple(draw(odd) for _ in ids),
    )
