"""What every `PointSource` promises, whoever answers: one suite over all adapters.

With QDRANT_URL set it runs on that server too, in collections it makes and drops itself.
"""

import json
import math
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrate.errors import UnreadablePointError
from migrate.model.digest import digest_points
from migrate.model.records import (
    DenseColumn,
    MultiColumn,
    Page,
    PointId,
    PointIdType,
    SparseColumn,
    VectorKind,
)
from migrate.ports import PointSource
from tests.harness.tiers import examples
from tests.migrate.qdrant.sources import BACKENDS, grpc, rest
from tests.servers.qdrant_points import SparseValues, StoredCollection, StoredPoint

UINT64_MAX = 2**64 - 1
IDS: list[int | str] = [
    0,
    1,
    2,
    10,
    2**53,
    2**53 + 1,
    2**63,
    UINT64_MAX,
    "00000000-0000-0000-0000-000000000000",
    "00000000-0000-0000-0000-00000000000a",
    "0b0e6c1e-5c3e-5a3e-9c5e-2a1b3c4d5e6f",
    "7f000000-0000-4000-8000-000000000000",
    "80000000-0000-4000-8000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
]

Open = Callable[[StoredCollection], PointSource]


@pytest.fixture(params=sorted(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def open_source(backend: str, tmp_path: Path) -> Iterator[Open]:
    """Put a collection behind the adapter under test; a server must see no write."""
    with ExitStack() as stack:
        opened: list[StoredCollection] = []

        def put(collection: StoredCollection) -> PointSource:
            opened.append(collection)
            entered: AbstractContextManager[PointSource] = BACKENDS[backend](collection, tmp_path)
            return stack.enter_context(entered)

        yield put
        assert [write for collection in opened for write in collection.writes] == []


def walk(source: PointSource, *, limit: int) -> Iterator[Page]:
    """Read from the start, go on after the last id, stop at an empty answer."""
    start: PointId | None = None
    while len(page := source.read_points(start, limit=limit)):
        yield page
        start = page.ids[-1].successor()
        if start is None:
            return


def read_all(source: PointSource) -> Page:
    """The whole of a small collection."""
    return source.read_points(None, limit=1000)


def plain(points: list[StoredPoint]) -> StoredCollection:
    """A collection with one unnamed vector of two values."""
    return StoredCollection(points=points, vectors={"size": 2, "distance": "Dot"})


def payload_point(number: int, payload: dict[str, object] | None) -> StoredPoint:
    return StoredPoint(number, {"": [0.5, 0.25]}, payload)


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_a_walk_gives_every_id_of_both_kinds_in_order_once(open_source: Open, limit: int) -> None:
    points = [StoredPoint(raw, {"": [1.0, 2.0]}, {"n": str(raw)}) for raw in reversed(IDS)]

    pages = list(walk(open_source(plain(points)), limit=limit))

    assert [str(raw) for raw in IDS] == [found.text for page in pages for found in page.ids]
    assert max(len(page) for page in pages) <= limit
    read = [json.loads(payload)["n"] for page in pages for payload in page.payloads]
    assert [str(raw) for raw in IDS] == read


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_ids_alone_walk_like_points(open_source: Open, limit: int) -> None:
    source = open_source(plain([StoredPoint(raw, {"": [1.0, 2.0]}) for raw in IDS]))

    found: list[PointId] = []
    start: PointId | None = None
    while start is not None or not found:
        ids = source.read_ids(start, limit=limit)
        if not ids:
            break
        assert len(ids) <= limit
        found += ids
        start = found[-1].successor()

    assert [PointId.parse(raw) for raw in IDS] == found


def test_a_start_need_not_exist_and_crosses_from_integers_to_uuids(open_source: Open) -> None:
    source = open_source(plain([StoredPoint(raw, {"": [1.0, 2.0]}) for raw in (3, 7, IDS[10])]))

    assert source.read_ids(PointId(0, 4), limit=1)[0].text == "7"
    assert IDS[10] == source.read_points(PointId(0, 8), limit=5).ids[0].text
    assert PointIdType.UUID is source.read_ids(PointId(1, 0), limit=1)[0].id_type
    assert source.read_points(PointId(1, 2**128 - 1), limit=5).ids == ()


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_payloads_alone_walk_like_points(open_source: Open, limit: int) -> None:
    points = [
        StoredPoint(raw, {"": [1.0, 2.0]}, dict(payload or {}))
        for raw, payload in zip(IDS, [*PAYLOADS.values()] * 2, strict=False)
    ]
    source = open_source(plain(points))
    whole = read_all(source)

    pages: list[Page] = []
    start: PointId | None = None
    while len(page := source.read_payloads(start, limit=limit)):
        pages.append(page)
        start = page.ids[-1].successor()
        if start is None:
            break

    assert max(len(page) for page in pages) <= limit
    assert [one for page in pages for one in page.ids] == list(whole.ids)
    assert [one for page in pages for one in page.payloads] == list(whole.payloads)
    assert {name for page in pages for name in page.vectors} == set()


def test_the_count_is_exact(open_source: Open) -> None:
    assert (
        open_source(plain([StoredPoint(raw, {"": [1.0, 2.0]}) for raw in IDS])).count_points() == 14
    )


def test_an_empty_collection_is_read_as_empty(open_source: Open) -> None:
    source = open_source(plain([]))

    assert source.count_points() == 0
    assert list(source.read_ids(None, limit=10)) == []
    page = source.read_points(None, limit=10)
    assert len(page) == 0
    assert list(page.vectors) == [""]


PAYLOADS: dict[str, dict[str, object] | None] = {
    "none": None,
    "integer": {"n": 1},
    "double": {"n": 1.0},
    "int64": {"low": -(2**63), "high": 2**63 - 1, "unsafe": 2**53 + 1},
    "doubles": {"large": 1e300, "small": 5e-324, "tenth": 0.1, "minus": -0.0},
    "null": {"n": None, "inner": {"n": None, "list": [None]}},
    "nested": {"a": {"b": [{"c": [[], {}]}, True, False, 3, 3.5, "x"]}},
    "keys": {"": 1, "a.b": 2, "$x": 3, "ключ": 4, "z": 5, "A": 6},
    "text": {"t": 'line\nend \u2028 \u0000 \u202e 𝄞 é e\u0301 "quoted" \\'},
}


@pytest.mark.parametrize("case", sorted(PAYLOADS))
@pytest.mark.fault("D10")
def test_payloads_come_back_as_they_are(open_source: Open, case: str) -> None:
    wanted = PAYLOADS[case]

    (payload,) = read_all(open_source(plain([payload_point(1, wanted)]))).payloads

    read = json.loads(payload)
    assert (wanted or {}) == read
    # Equality alone takes 1 for 1.0 and True; the text does not.
    assert json.dumps(wanted or {}, sort_keys=True) == json.dumps(read, sort_keys=True)


def test_unsigned_64_bit_numbers_survive_or_stop_the_reading(
    open_source: Open, backend: str
) -> None:
    """The protocol of gRPC has no such number, and here is no REST that could be asked for it."""
    source = open_source(plain([payload_point(1, {"hash": {"inner": [UINT64_MAX]}})]))

    if "grpc" in backend:
        with pytest.raises(UnreadablePointError, match=r"point 1: .*'hash'.*rounded") as caught:
            read_all(source)
        assert "source.transport = rest" in caught.value.remedy
    else:
        assert read_all(source).payloads[0] == b'{"hash":{"inner":[18446744073709551615]}}'


SPECIAL_FLOATS = [
    -0.0,
    float(np.float32(0.1)),
    float(np.nextafter(np.float32(1), np.float32(2))),
    1.401298464324817e-45,  # the smallest subnormal
    1.1754943508222875e-38,  # the smallest normal
    3.4028234663852886e38,  # the largest
    16777217.0,  # not a float32: rounds to 16777216
    float(np.float32(math.pi)),
    # The one value whose shortest text is read as its neighbour, and that neighbour.
    7.038530691851209e-26,
    -7.038530691851209e-26,
    7.038531308148791e-26,
    -7.038531308148791e-26,
]


@pytest.mark.fault("S09", "F24")
def test_float32_bits_survive(open_source: Open) -> None:
    vectors: dict[str, object] = {"size": len(SPECIAL_FLOATS), "distance": "Dot"}
    collection = StoredCollection(points=[StoredPoint(1, {"": SPECIAL_FLOATS})], vectors=vectors)

    column = read_all(open_source(collection)).vectors[""]

    assert isinstance(column, DenseColumn)
    assert np.float32 == column.values.dtype
    assert np.array(SPECIAL_FLOATS, dtype=np.float32).tobytes() == column.values.tobytes()


def all_kinds() -> StoredCollection:
    """Two dense names, a multivector and a sparse one, on points that have all, some or none."""
    multi = {"comparator": "max_sim"}
    return StoredCollection(
        vectors={
            "b": {"size": 3, "distance": "Euclid"},
            "a": {"size": 2, "distance": "Dot"},
            "m": {"size": 2, "distance": "Dot", "multivector_config": multi},
        },
        sparse_vectors={"s": {}},
        points=[
            StoredPoint(
                1,
                {
                    "a": [1.0, 2.0],
                    "b": [1.5, 2.5, 3.5],
                    "m": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
                    "s": SparseValues([1, 7, 4_000_000_000], [0.1, 0.2, 0.3]),
                },
            ),
            StoredPoint(2, {"a": [3.0, 4.0], "s": SparseValues([], [])}),
            StoredPoint(3, {"m": [[9.0, 8.0]]}),
            StoredPoint(4, {}),
        ],
    )


def test_named_multi_and_sparse_vectors_come_in_their_columns(open_source: Open) -> None:
    page = read_all(open_source(all_kinds()))

    a, b, m, s = (page.vectors[name] for name in "abms")
    assert isinstance(a, DenseColumn)
    assert isinstance(b, DenseColumn)
    assert a.present.tolist() == [True, True, False, False]
    assert a.values.tolist() == [[1, 2], [3, 4], [0, 0], [0, 0]]
    assert b.present.tolist() == [True, False, False, False]
    assert b.values[0].tolist() == [1.5, 2.5, 3.5]
    assert isinstance(m, MultiColumn)
    rows = [None if row is None else row.tolist() for row in m.rows]
    assert rows == [[[1, 2], [3, 4], [5, 6]], None, [[9, 8]], None]
    assert isinstance(s, SparseColumn)
    assert s.rows[0] is not None
    indices, values = s.rows[0]
    assert indices.tolist() == [1, 7, 4_000_000_000]
    assert np.array([0.1, 0.2, 0.3], dtype=np.float32).tobytes() == values.tobytes()
    assert s.rows[1] is not None
    assert (s.rows[1][0].size, s.rows[1][1].size) == (0, 0)
    assert s.rows[2:] == (None, None)
    assert page.irregular == (None, None, None, None)


def test_an_unnamed_multivector_and_a_point_without_it(open_source: Open) -> None:
    vectors: dict[str, object] = {
        "size": 2,
        "distance": "Dot",
        "multivector_config": {"comparator": "max_sim"},
    }
    points = [
        StoredPoint(1, {"": [[1.0, 2.0], [3.0, 4.0]]}),
        StoredPoint(2),
        StoredPoint(3, {"": [[5.0, 6.0]]}),
    ]

    column = read_all(open_source(StoredCollection(points=points, vectors=vectors))).vectors[""]

    assert isinstance(column, MultiColumn)
    rows = [None if row is None else row.tolist() for row in column.rows]
    assert rows == [[[1, 2], [3, 4]], None, [[5, 6]]]


def test_a_point_without_its_unnamed_vector_is_there_and_marked(open_source: Open) -> None:
    points = [StoredPoint(1, {}, {"n": 1}), StoredPoint(2, {"": [1.0, 2.0]})]

    page = read_all(open_source(plain(points)))

    column = page.vectors[""]
    assert isinstance(column, DenseColumn)
    assert column.present.tolist() == [False, True]
    assert page.irregular == (None, None)
    assert page.payloads[0] == b'{"n":1}'


def test_the_description_names_every_vector_sorted(open_source: Open) -> None:
    collection = open_source(all_kinds()).read_collection()

    found = [(spec.name, spec.kind, spec.dimensions, spec.distance) for spec in collection.vectors]
    assert found == [
        ("a", VectorKind.DENSE, 2, "Dot"),
        ("b", VectorKind.DENSE, 3, "Euclid"),
        ("m", VectorKind.MULTI, 2, "Dot"),
        ("s", VectorKind.SPARSE, None, None),
    ]
    assert {"float32"} == {spec.datatype for spec in collection.vectors}


def test_the_datatype_is_told(open_source: Open) -> None:
    vectors: dict[str, object] = {"size": 2, "distance": "Dot", "datatype": "float16"}

    (spec,) = open_source(StoredCollection(vectors=vectors)).read_collection().vectors

    assert (spec.name, spec.dimensions, spec.datatype) == ("", 2, "float16")


def test_identity_names_place_collection_and_transport(open_source: Open, backend: str) -> None:
    collection = plain([])

    identity = open_source(collection).identity()

    assert collection.name == identity["collection"]
    assert {"edge": "embedded", "local-mode": "local mode"}.get(
        backend, backend[-4:] if backend.startswith("real") else backend[:4]
    ) == identity["transport"]


def test_closing_twice_is_harmless(open_source: Open) -> None:
    source = open_source(plain([]))

    source.close()
    source.close()


@pytest.mark.slow
def test_every_way_of_reading_gives_the_same_digests(tmp_path: Path) -> None:
    """So that a snapshot does not depend on the transport it was read over."""
    found: set[tuple[bytes, ...]] = set()
    for backend in BACKENDS.values():
        collection = all_kinds()
        collection.points[0] = replace(collection.points[0], payload={"b": [1, 1.0], "a": "é"})
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        with backend(collection, folder) as source:
            found.add(tuple(digest_points(read_all(source))))

    assert len(found) == 1


@pytest.mark.fault("S09")
@pytest.mark.parametrize("name", ["rest", "grpc-1.16", "grpc-1.19"])
@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(bits=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40))
def test_any_finite_float32_survives_the_wire(name: str, bits: list[int], tmp_path: Path) -> None:
    """Bit patterns, not decimal texts, so that every float32 is as likely as another."""
    values = [struct.unpack("<f", struct.pack("<I", pattern))[0] for pattern in bits]
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    vectors: dict[str, object] = {"size": len(finite), "distance": "Dot"}
    collection = StoredCollection(points=[StoredPoint(1, {"": finite})], vectors=vectors)
    opened = rest("1.19.0") if name == "rest" else grpc(name.removeprefix("grpc-") + ".0")

    with opened(collection, tmp_path) as source:
        column = read_all(source).vectors[""]

    assert isinstance(column, DenseColumn)
    assert np.array(finite, dtype=np.float32).tobytes() == column.values.tobytes()
