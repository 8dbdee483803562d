"""Digests: one difference, however small, is another digest; the way there does not matter."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.model.canonical import encode_canonical_json
from migrate.model.digest import (
    SetDigest,
    canonical_metadata,
    canonical_values,
    digest_points,
    digest_vector,
    digest_vectors,
)
from migrate.model.pages import take_rows
from migrate.model.records import (
    DenseColumn,
    Float32Matrix,
    MultiColumn,
    Page,
    PointId,
    SparseColumn,
    Vector,
    VectorColumn,
    VectorId,
)
from tests.harness.strategies import matrices, metadata_objects, pages

TWICE_ROUNDED = np.array([0x15AE43FD, 0x15AE43FE], np.uint32)


FIRST = PointId(0, 1)


def point(
    column: VectorColumn,
    *,
    point_id: PointId = FIRST,
    payload: bytes = b"{}",
    irregular: bytes | None = None,
) -> Page:
    return Page(ids=(point_id,), payloads=(payload,), vectors={"": column}, irregular=(irregular,))


def dense(*values: float, present: bool = True) -> DenseColumn:
    return DenseColumn(np.array([values], np.float32), np.array([present]))


def multi(values: list[list[float]] | None) -> MultiColumn:
    return MultiColumn((None if values is None else np.array(values, np.float32).reshape(-1, 2),))


def sparse(indices: list[int], values: list[float]) -> SparseColumn:
    return SparseColumn(((np.array(indices, np.uint32), np.array(values, np.float32)),))


NO_ROWS = MultiColumn((np.zeros((0, 2), np.float32),))
BASE = point(dense(1, 2))
ALL_DIFFERENT = [
    BASE,
    point(dense(2, 1)),
    point(dense(1, np.nextafter(np.float32(2), np.float32(3)))),
    point(dense(1, 2, 0)),
    point(dense(1, 2, present=False)),
    point(dense(1, 2), payload=b'{"a":1}'),
    point(dense(1, 2), payload=b'{"a":"1"}'),
    point(dense(1, 2), payload=b'{"a":1.0}'),
    point(dense(1, 2), payload=b'{"a":true}'),
    point(dense(1, 2), payload=b'{"a":null}'),
    point(dense(1, 2), irregular=b""),
    point(dense(1, 2), irregular=b"{}"),
    point(dense(1, 2), payload=b"", irregular=b"{}"),
    point(dense(1, 2), point_id=PointId(0, 2)),
    point(dense(1, 2), point_id=PointId(1, 1)),
    replace(BASE, vectors={"a": dense(1, 2)}),
    replace(BASE, vectors={}),
    replace(BASE, vectors={"": dense(1, 2), "a": dense(1, 2, present=False)}),
    replace(BASE, vectors={"": dense(1, 2, present=False), "a": dense(1, 2)}),
    point(multi(None), point_id=PointId(0, 3)),
    point(NO_ROWS, point_id=PointId(0, 3)),
    point(multi([[1, 2]])),
    point(multi([[1, 2], [0, 0]])),
    point(MultiColumn((np.array([[1], [2]], np.float32),))),
    point(SparseColumn((None,)), point_id=PointId(0, 4)),
    point(sparse([], []), point_id=PointId(0, 4)),
    point(sparse([1, 2], [1, 2])),
    point(sparse([1, 3], [1, 2])),
    point(sparse([1, 2], [2, 1])),
]


@pytest.mark.fault("R01")
def test_every_small_variation_of_a_point_has_a_digest_of_its_own() -> None:
    digests = [digest_points(page)[0] for page in ALL_DIFFERENT]

    assert len(ALL_DIFFERENT) == len(set(digests))
    assert {32} == set(map(len, digests))


@pytest.mark.fault("R02")
def test_a_byte_that_moves_between_two_fields_shows() -> None:
    """Without length prefixes both would give the same bytes to the hash."""
    texts = ["file-12", "file-1", "2"]
    values = np.ones((1, 2), np.float32)
    one = digest_vectors([texts[0]], values, [b'{"a":"x"}'])
    other = digest_vectors([texts[1]], values, [b'{"a":"2x"}'])
    moved_in_payload = digest_points(point(dense(1, 2), payload=b'{"a":1}x', irregular=b""))
    moved_out = digest_points(point(dense(1, 2), payload=b'{"a":1}', irregular=b"x"))

    assert one != other
    assert moved_in_payload != moved_out


NAMESPACES = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@pytest.mark.fault("R02")
@given(NAMESPACES, NAMESPACES)
def test_the_namespace_is_part_of_what_a_vector_is(one: str | None, other: str | None) -> None:
    values = np.ones((2, 2), np.float32)

    digests = digest_vectors(["a", "a"], values, [b"{}", b"{}"], [one, other])

    assert (digests[0] == digests[1]) == ((one or None) == (other or None))


@given(NAMESPACES)
def test_a_vector_as_it_was_read_has_the_digest_of_what_was_sent(namespace: str | None) -> None:
    values = np.ones((1, 2), np.float32)
    read = Vector(id=VectorId("a"), values=values[0], namespace=namespace, metadata={"n": 1.0})

    assert [digest_vector(read)] == digest_vectors(["a"], values, [b'{"n":1}'], [namespace])


def test_a_vector_in_no_namespace_has_the_digest_of_former_versions() -> None:
    values = np.ones((1, 2), np.float32)

    assert digest_vectors(["a"], values, [b"{}"], [None]) == digest_vectors(["a"], values, [b"{}"])


@pytest.mark.fault("S09")
def test_both_zeros_are_one() -> None:
    pairs: list[tuple[VectorColumn, VectorColumn]] = [
        (dense(0.0, 1), dense(-0.0, 1)),
        (multi([[0.0, 1]]), multi([[-0.0, 1]])),
        (sparse([1], [0.0]), sparse([1], [-0.0])),
    ]
    for plus, minus in pairs:
        assert digest_points(point(plus)) == digest_points(point(minus))
    zeros = np.array([[0.0, 1], [-0.0, 1]], np.float32)
    first, second = digest_vectors(["a", "a"], zeros, [b"{}", b"{}"])
    assert first == second


@pytest.mark.fault("I8", "R03")
@given(pages(), st.data())
def test_the_cut_into_pages_does_not_show(page: Page, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(page)))
    apart = digest_points(take_rows(page, 0, cut)) + digest_points(take_rows(page, cut, len(page)))

    assert digest_points(page) == apart


@pytest.mark.fault("I8")
@given(pages())
def test_the_order_of_vector_names_and_the_memory_layout_do_not_show(page: Page) -> None:
    shuffled = {name: page.vectors[name] for name in reversed(list(page.vectors))}
    column = shuffled[""]
    assert isinstance(column, DenseColumn)
    shuffled[""] = DenseColumn(np.asfortranarray(column.values), column.present)

    assert digest_points(page) == digest_points(replace(page, vectors=shuffled))


@pytest.mark.fault("R01")
@given(matrices(1, 4), st.integers(0, 3), st.integers(0, 31))
def test_any_flipped_bit_of_a_value_shows_unless_the_text_cannot_tell(
    values: Float32Matrix, position: int, bit: int
) -> None:
    other = values.copy()
    other.view(np.uint32)[0, position] ^= np.uint32(1 << bit)
    digests = [digest_vectors(["a"], matrix, [b"{}"]) for matrix in (values, other)]

    same_number = float(values[0, position]) == float(other[0, position])  # 0.0 and -0.0
    same_text = canonical_values(values).tobytes() == canonical_values(other).tobytes()
    assert (digests[0] == digests[1]) == same_text
    if same_text and not same_number:
        assert set(TWICE_ROUNDED) == {
            int(matrix.view(np.uint32)[0, position]) & 0x7FFFFFFF for matrix in (values, other)
        }


@pytest.mark.fault("R02")
@given(matrices(1, 4), st.permutations(range(4)))
def test_values_that_change_places_show_although_their_sum_stays(
    values: Float32Matrix, order: list[int]
) -> None:
    plain = canonical_values(values)
    moved = plain[:, order]
    digests = [digest_vectors(["a"], matrix, [b"{}"]) for matrix in (plain, moved)]

    assert (digests[0] == digests[1]) == (plain.tobytes() == moved.tobytes())


@pytest.mark.fault("S09")
@pytest.mark.parametrize("sign", [0, 0x80000000])
def test_the_one_value_that_text_rounds_twice_counts_as_equal(sign: int) -> None:
    low, high = (TWICE_ROUNDED | np.uint32(sign)).view(np.float32).reshape(2, 1)
    below, above = np.nextafter(low, np.float32(0)), np.nextafter(high, np.float32(np.sign(high)))

    def digest(value: np.ndarray[tuple[int], np.dtype[np.float32]]) -> bytes:
        return digest_vectors(["a"], value.reshape(1, 1), [b"{}"])[0]

    assert digest(low) == digest(high)
    assert len({digest(value) for value in (below, low, high, above)}) == 3


def test_canonical_values_leaves_its_argument_alone() -> None:
    values = np.array([[-0.0, 1.5]], np.float32)
    before = values.tobytes()
    plain = canonical_values(values)

    assert before == values.tobytes()
    assert np.array([[0.0, 1.5]], np.float32).tobytes() == plain.tobytes()


@pytest.mark.fault("R01")
def test_how_a_number_was_spelt_does_not_show_but_its_type_does() -> None:
    texts = [canonical_metadata({"a": value}) for value in (1, "1", True, [1], None, 1.5, 2.0**54)]

    assert len(texts) == len(set(texts))
    assert canonical_metadata({"a": 1}) == canonical_metadata({"a": 1.0})
    assert canonical_metadata({"a": {"b": [2]}}) == canonical_metadata({"a": {"b": [2.0]}})
    assert canonical_metadata({"a": 0}) == canonical_metadata({"a": -0.0})
    assert canonical_metadata(None) == canonical_metadata({}) == b"{}"


SPELT_ALIKE = Path("tests/cases/08-spelling-of-numbers/alike.jsonl")


def spelt_alike() -> list[bytes]:
    """One JSON list per line: one number in every spelling that a service may print."""
    return (Path(__file__).parents[3] / SPELT_ALIKE).read_bytes().splitlines()


@pytest.mark.fault("F08", "R01")
@pytest.mark.parametrize("line", spelt_alike(), ids=bytes.decode)
def test_one_number_in_many_spellings_is_one_number(line: bytes) -> None:
    values = np.zeros((1, 2), np.float32)
    ours, *respelt = orjson.loads(line)
    sent = digest_vectors(
        ["a"], values, [encode_canonical_json({"n": ours, "deep": {"n": [ours]}})]
    )

    for number in respelt:
        text = canonical_metadata({"n": number, "deep": {"n": [number]}})
        assert sent == digest_vectors(["a"], values, [text])


@pytest.mark.fault("F08", "R01")
@given(st.floats(allow_nan=False, allow_infinity=False), st.data())
def test_any_double_compares_by_value_and_its_neighbour_differs(
    number: float, data: st.DataObject
) -> None:
    spellings = [number, *([int(number)] if number.is_integer() else [])]
    respelt = data.draw(st.sampled_from(spellings))
    neighbour = math.nextafter(number, data.draw(st.sampled_from([-math.inf, math.inf])))

    assert canonical_metadata({"n": number}) == canonical_metadata({"n": respelt})
    if math.isfinite(neighbour):
        assert canonical_metadata({"n": number}) != canonical_metadata({"n": neighbour})


@pytest.mark.fault("F08")
def test_a_number_beyond_all_doubles_is_compared_and_equals_nothing_of_ours() -> None:
    """A JSON reader makes infinity of 1e999, and of an integer of 400 digits as well."""
    texts = [canonical_metadata({"n": n}) for n in (np.inf, 10**400, -np.inf, -(10**400), 1e308)]

    assert texts[0] == texts[1] != texts[2] == texts[3]
    assert len(set(texts)) == 3


@given(metadata_objects())
def test_the_digest_of_metadata_does_not_depend_on_key_order(metadata: dict[str, object]) -> None:
    shuffled = dict(reversed(list(metadata.items())))
    values = np.ones((1, 2), np.float32)
    text = encode_canonical_json(metadata)

    assert canonical_metadata(metadata) == canonical_metadata(shuffled)
    assert digest_vectors(["a"], values, [text]) == digest_vectors(
        ["a"], values, [canonical_metadata(metadata)]
    )


@pytest.mark.fault("R02")
@given(st.lists(st.binary(min_size=32, max_size=32), max_size=6), st.data())
def test_a_set_digest_depends_on_members_and_order_and_not_on_pieces(
    digests: list[bytes], data: st.DataObject
) -> None:
    def of(*pieces: list[bytes]) -> str:
        whole = SetDigest()
        for piece in pieces:
            whole.add(b"".join(piece))
        assert sum(map(len, pieces)) == whole.count
        return whole.hexdigest()

    cut = data.draw(st.integers(0, len(digests)))
    shuffled = data.draw(st.permutations(digests))

    assert of(digests) == of(digests[:cut], digests[cut:])
    assert (digests == list(shuffled)) == (of(digests) == of(list(shuffled)))
    assert of(digests) != of([*digests, bytes(32)])


@pytest.mark.fault("S09")
@given(metadata_objects())
def test_metadata_that_is_canonical_but_for_its_numbers_is_digested_alike(
    metadata: dict[str, object],
) -> None:
    """Most texts need no second look: only a fraction of nothing can be spelt in two ways."""
    values = np.zeros((1, 2), np.float32)
    text = encode_canonical_json(metadata)

    assert digest_vectors(["a"], values, [text]) == digest_vectors(
        ["a"], values, [canonical_metadata(metadata)]
    )
