"""The search finds what a computation by brute force finds, at every width and metric."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.parity.nearest import (
    NO_ROW,
    Answers,
    MergedSearch,
    NestedSearch,
    Queries,
    Ranking,
)

DIMENSIONS, WIDTHS = 24, (4, 8, 24)
_Vectors = npt.NDArray[np.float32]


def vectors(count: int, seed: int) -> _Vectors:
    """Vectors by chance, shape (count, DIMENSIONS)."""
    return np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)


def score(query: _Vectors, values: _Vectors, width: int, metric: str) -> npt.NDArray[np.float64]:
    """Of each vector, in double precision."""
    cut, kept = query[:width].astype(np.float64), values[:, :width].astype(np.float64)
    products = np.asarray(kept @ cut, dtype=np.float64)
    if width == DIMENSIONS and metric == "dot-product":
        return products
    if width == DIMENSIONS and metric == "euclidean":
        return np.asarray(-((kept - cut) ** 2).sum(axis=1), dtype=np.float64)
    lengths = np.linalg.norm(kept, axis=1) * float(np.linalg.norm(cut))
    return np.asarray(products / lengths, dtype=np.float64)


def check(found: Ranking, queries: Queries, values: _Vectors, width: int, metric: str) -> None:
    """Every place holds a row whose score is that of the place by brute force."""
    for at, query in enumerate(queries.values):
        expected = score(query, values, width, metric)
        others = np.delete(np.arange(len(values)), queries.own_rows[at : at + 1].clip(min=0))
        if queries.own_rows[at] == NO_ROW:
            others = np.arange(len(values))
        best = np.sort(expected[others])[::-1][: found.rows.shape[1]]
        rows = found.rows[at][found.rows[at] != NO_ROW]
        assert len(set(rows.tolist())) == len(rows) == len(best)
        assert queries.own_rows[at] not in rows
        np.testing.assert_allclose(expected[rows], best, atol=2e-5)
        np.testing.assert_allclose(found.scores[at][: len(rows)], best, atol=2e-5)
        whole = score(query, values, DIMENSIONS, metric)
        np.testing.assert_allclose(found.reference[at][: len(rows)], whole[rows], atol=2e-5)


@pytest.mark.parametrize("metric", ["cosine", "dot-product", "euclidean"])
@given(
    count=st.integers(1, 300),
    depth=st.integers(1, 40),
    piece=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_finds_what_brute_force_finds(
    metric: str, count: int, depth: int, piece: int, seed: int
) -> None:
    values = vectors(count, seed)
    strangers = vectors(3, seed + 1)
    stored = min(3, count)
    queries = Queries(
        values=np.concatenate([values[:stored], strangers]),
        own_rows=np.array([*range(stored), *[NO_ROW] * 3]),
    )
    search = NestedSearch(queries, WIDTHS, metric=metric, depth=depth)
    for start in range(0, count, piece):
        rows = np.arange(start, min(start + piece, count))
        search.add(rows, values[rows])

    rankings = search.rankings()
    assert list(rankings) == list(WIDTHS)
    for width, found in rankings.items():
        check(found, queries, values, width, metric)


def test_more_vectors_than_fit_into_one_multiplication() -> None:
    values = vectors(9_000, 1)
    queries = Queries(
        values=values[[0, 4_095, 4_096, 8_999]], own_rows=np.array([0, 4095, 4096, 8999])
    )
    search = NestedSearch(queries, WIDTHS, metric="cosine", depth=100)
    search.add(np.arange(9_000), values)

    for width, found in search.rankings().items():
        check(found, queries, values, width, "cosine")


def test_equal_vectors_stand_in_the_order_of_their_rows() -> None:
    values = np.repeat(vectors(1, 1), 6, axis=0)
    search = NestedSearch(
        Queries(values=values[:1], own_rows=np.array([2])), WIDTHS, metric="cosine", depth=4
    )
    for row in range(6):
        search.add(np.array([row]), values[:1])

    assert {tuple(found.rows[0].tolist()) for found in search.rankings().values()} == {(0, 1, 3, 4)}


def test_a_vector_of_zeros_is_similar_to_nothing() -> None:
    values = np.zeros((2, DIMENSIONS), dtype=np.float32)
    search = NestedSearch(
        Queries(values=values[:1], own_rows=np.array([NO_ROW])), (4,), metric="cosine"
    )
    search.add(np.arange(2), values)

    assert search.rankings()[4].scores[0, :2].tolist() == [0, 0]


def test_answers_of_another_search_are_ranked_by_the_scores_of_their_width() -> None:
    values = vectors(60, 1)
    queries = Queries(values=values[:2], own_rows=np.array([0, 1]))
    answers = Answers(width=4, queries=np.array([0, 0, 0, 1]), rows=np.array([59, 3, 17, 8]))
    search = NestedSearch(queries, (8,), metric="cosine", depth=5, answers=answers)
    search.add(np.arange(60), values)

    found = search.answered()
    expected = score(values[0], values, 4, "cosine")[[59, 3, 17]]
    order = np.argsort(-expected)
    assert found.rows[0].tolist() == [*np.array([59, 3, 17])[order].tolist(), NO_ROW, NO_ROW]
    np.testing.assert_allclose(found.scores[0, :3], expected[order], atol=2e-5)
    whole = score(values[0], values, DIMENSIONS, "cosine")
    np.testing.assert_allclose(found.reference[0, :3], whole[found.rows[0, :3]], atol=2e-5)
    assert found.rows[1].tolist() == [8, *[NO_ROW] * 4]
    assert list(search.rankings()) == [4, 8, DIMENSIONS]


@dataclass(frozen=True)
class Case:
    """Vectors in parts, some of them equal, and what is searched for among them."""

    values: _Vectors
    queries: Queries
    answers: Answers
    parts: list[npt.NDArray[np.int64]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 200))
    values = vectors(count, draw(st.integers(0, 2**32 - 1)))
    # Equal vectors have equal scores; the lower row comes first.
    chosen = draw(st.lists(st.integers(0, count - 1), min_size=count, max_size=count))
    values = values[np.array(chosen)]
    rows = np.arange(count)
    of_part = np.array(draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)))
    own = np.array(draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=4)))
    given = np.array(draw(st.lists(st.integers(0, count - 1), max_size=5, unique=True)), np.int64)
    return Case(
        values,
        Queries(values=values[own], own_rows=own),
        Answers(width=4, queries=np.zeros(len(given), np.intp), rows=given),
        [rows[of_part == part] for part in range(6)],
    )


def search_parts(
    case: Case, order: list[int], *, ahead: int, metric: str, depth: int
) -> MergedSearch:
    """Search the parts in an order; each knows what `ahead` parts before it have found, not more.

    A part that has waited knows less than it could: a cluster does several at once.
    """
    merged = MergedSearch(case.queries, WIDTHS, depth=depth, answers=case.answers)
    waiting: list[NestedSearch] = []
    for number in order:
        rows = case.parts[number]
        floors = merged.floors(int(rows.min(initial=len(case.values))))
        search = NestedSearch(
            case.queries, WIDTHS, metric=metric, depth=depth, answers=case.answers, floors=floors
        )
        search.add(rows, case.values[rows])
        waiting.append(search)
        if len(waiting) > ahead:
            merged.add(waiting.pop(0).found())
    for search in waiting:
        merged.add(search.found())
    return merged


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine", "dot-product", "euclidean"])
@given(
    case=cases(),
    order=st.permutations(range(6)),
    ahead=st.integers(0, 6),
    depth=st.integers(1, 40),
)
def test_parts_in_any_order_find_bit_for_bit_the_same(
    metric: str, case: Case, order: list[int], ahead: int, depth: int
) -> None:
    """With parts that know nothing of each other, in their order, as the reference."""
    first = search_parts(case, list(range(6)), ahead=6, metric=metric, depth=depth)
    other = search_parts(case, order, ahead=ahead, metric=metric, depth=depth)

    for one, two in zip(
        [*first.rankings().values(), first.answered()],
        [*other.rankings().values(), other.answered()],
        strict=True,
    ):
        np.testing.assert_array_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.scores, two.scores)
        np.testing.assert_array_equal(one.reference, two.reference)
    for width, found in first.rankings().items():
        check(found, case.queries, case.values, width, metric)
