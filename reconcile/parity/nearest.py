"""Exact nearest neighbours at several widths, in one pass over the vectors. Pure.

A reduced vector is the start of the whole one, so its dot product is a partial sum of the whole
one: each block of columns is multiplied once, and every width is answered on the way. A part of the
vectors can be searched by itself, on any machine: `NestedSearch` finds what may be among the best
of all, and `MergedSearch` takes the parts together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from migrate.model.records import Float32Matrix

CHUNK_ROWS = 2_048  # vectors that are multiplied at once: 25 MB of 3,072 values
DEPTH = 100  # neighbours that are kept: as many as a query of Vectorize can find
NO_ROW = -1

_Rows = npt.NDArray[np.int64]
_Scores = npt.NDArray[np.float32]
_Positions = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best rows of each query, the best first; NO_ROW where there are no more.

    Equal scores stand in the order of the rows. Each array has the shape (queries, depth).
    """

    rows: _Rows
    scores: _Scores  # by which they are ranked
    reference: _Scores  # of the same rows at the whole width, in the metric of the source


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Vectors at the whole width that are searched for."""

    values: Float32Matrix  # shape (queries, dimensions)
    own_rows: _Rows  # the row that a query is, which it must not find; NO_ROW: it is none

    def __len__(self) -> int:
        return len(self.own_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What another search found, to be ranked by the scores of this search."""

    width: int  # at which the other one searched
    queries: _Positions  # the query of each answer
    rows: _Rows  # the row that it found; never the query's own


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that may be among the best of a query. Arrays of one length, in no order."""

    queries: npt.NDArray[np.int32]
    rows: _Rows
    scores: _Scores
    reference: _Scores


@dataclass(frozen=True, slots=True)
class PartFound:
    """What the search of a part of the vectors has found."""

    widths: dict[int, Found]
    answered: Found  # of the answers of another search


def all_widths(queries: Queries, widths: Sequence[int], answers: Answers | None) -> list[int]:
    """The widths that are searched, ascending; the last one is the whole width."""
    dimensions = queries.values.shape[1]
    found = sorted({*widths, dimensions, *([answers.width] if answers else [])})
    assert found[-1] == dimensions, "no width is beyond the vectors"
    return found


class NestedSearch:
    """Searches vectors, as they come, for the neighbours of all queries.

    At the whole width the score is the metric's: cosine, dot-product, or the negated square of the
    euclidean distance. At a smaller one it is the cosine, since reduced vectors are renormalised.
    """

    def __init__(
        self,
        queries: Queries,
        widths: Sequence[int],
        *,
        metric: str,
        depth: int = DEPTH,
        answers: Answers | None = None,
        floors: Mapping[int, _Scores] | None = None,
    ) -> None:
        """The whole width is added to `widths` when it is not among them.

        `floors`: width -> a score for each query; what is not above it need not be found.
        """
        self._queries = queries
        self._metric = metric
        self._answers = answers
        dimensions = self._dimensions = queries.values.shape[1]
        self._widths = all_widths(queries, widths, answers)
        known = floors or {}
        self._best = {width: _Best(len(queries), depth, known.get(width)) for width in self._widths}
        self._answered = _Best(len(queries), depth)
        self._norms = {
            width: np.sqrt(_squares(queries.values[:, :width])) for width in self._widths
        }
        self._held = 0  # vectors that wait until there are enough for one multiplication
        self._rows = np.empty(CHUNK_ROWS, dtype=np.int64)
        self._values = np.empty((CHUNK_ROWS, dimensions), dtype=np.float32)

    def add(self, rows: _Rows, values: Float32Matrix) -> None:
        """Search further vectors: `values` (n, dimensions); row numbers ascend over all calls."""
        start = 0
        while start < len(rows):
            taken = min(CHUNK_ROWS - self._held, len(rows) - start)
            self._rows[self._held : self._held + taken] = rows[start : start + taken]
            self._values[self._held : self._held + taken] = values[start : start + taken]
            self._held += taken
            start += taken
            if self._held == CHUNK_ROWS:
                self._search()

    def rankings(self) -> dict[int, Ranking]:
        """Width -> what was found; the last one is that of the whole width."""
        if self._held:
            self._search()
        return {width: best.ranking() for width, best in self._best.items()}

    def answered(self) -> Ranking:
        """The answers, by their scores at the width of the other search."""
        if self._held:
            self._search()
        return self._answered.ranking()

    def found(self) -> PartFound:
        """What may be among the best of all vectors, for `MergedSearch`."""
        if self._held:
            self._search()
        widths = {width: best.found() for width, best in self._best.items()}
        return PartFound(widths, self._answered.found())

    def _search(self) -> None:
        """Search the vectors that are held."""
        rows, values = self._rows[: self._held], self._values[: self._held]
        self._held = 0
        own = _find(rows, self._queries.own_rows)
        # Best rows so far, and where and how high their scores are among the new ones.
        found: list[tuple[_Best, _Positions, _Positions, _Scores]] = []
        for width, scores in self._scores(values):
            scores[own] = -np.inf
            best = self._best[width]
            found.append((best, *best.candidates(scores)))
            if self._answers is not None and width == self._answers.width:
                given, positions = _find(rows, self._answers.rows)
                queries = self._answers.queries[given]
                found.append((self._answered, queries, positions, scores[queries, positions]))
        for best, queries, positions, of_width in found:
            best.add(queries, rows[positions], of_width, scores[queries, positions])

    def _scores(self, values: Float32Matrix) -> Iterator[tuple[int, _Scores]]:
        """Each width with its scores, shape (queries, n); overwritten by the next width."""
        queries = self._queries.values
        products = np.zeros((len(queries), len(values)), dtype=np.float32)
        squares = np.zeros(len(values), dtype=np.float32)
        scores = np.empty_like(products)
        start = 0
        for width in self._widths:
            block = values[:, start:width]
            with threadpool_limits(1):
                np.matmul(queries[:, start:width], block.T, out=scores)
            products += scores
            squares += _squares(block)
            self._score(width, products, squares, scores)
            yield width, scores
            start = width

    def _score(self, width: int, products: _Scores, squares: _Scores, out: _Scores) -> None:
        norms = self._norms[width][:, None]
        is_whole = width == self._dimensions
        if is_whole and self._metric == "dot-product":
            np.copyto(out, products)
        elif is_whole and self._metric == "euclidean":
            np.multiply(products, 2, out=out)
            out -= squares
            out -= norms**2
        else:
            lengths = np.sqrt(squares)
            lengths[lengths == 0] = 1  # a vector of zeros is similar to nothing
            np.divide(products, lengths, out=out)
            out /= np.where(norms == 0, np.float32(1), norms)


class MergedSearch:
    """What the searches of all parts have found, taken in any order."""

    def __init__(
        self,
        queries: Queries,
        widths: Sequence[int],
        *,
        depth: int = DEPTH,
        answers: Answers | None = None,
    ) -> None:
        """As for `NestedSearch`."""
        wanted = all_widths(queries, widths, answers)
        self._best = {width: _Best(len(queries), depth) for width in wanted}
        self._answered = _Best(len(queries), depth)

    def floors(self, first_row: int) -> dict[int, _Scores]:
        """Width -> the score of each query that rows from `first_row` on have to exceed."""
        return {width: best.floor(first_row) for width, best in self._best.items()}

    def add(self, part: PartFound) -> None:
        """Take what was found in a part."""
        for width, found in part.widths.items():
            self._best[width].take(found)
        self._answered.take(part.answered)

    def rankings(self) -> dict[int, Ranking]:
        """Width -> what was found; the last one is that of the whole width."""
        return {width: best.ranking() for width, best in self._best.items()}

    def answered(self) -> Ranking:
        """The answers, by their scores at the width of the other search."""
        return self._answered.ranking()


class _Best:
    """The best rows of every query so far, at one width."""

    def __init__(self, count: int, depth: int, floor: _Scores | None = None) -> None:
        """What is not above the floor of its query is not kept."""
        self._depth = depth
        self._floor = np.full(count, -np.inf, dtype=np.float32) if floor is None else floor
        self._rows = np.full((count, depth), NO_ROW, dtype=np.int64)
        self._scores = np.full((count, depth), -np.inf, dtype=np.float32)
        self._reference = np.full((count, depth), -np.inf, dtype=np.float32)
        self._added: list[tuple[_Positions, _Rows, _Scores, _Scores]] = []
        self._added_count = 0

    def candidates(self, scores: _Scores) -> tuple[_Positions, _Positions, _Scores]:
        """What may be among the best: query, position, score of each."""
        width = scores.shape[1]
        least = np.maximum(self._floor, self._scores[:, -1])
        if width > self._depth and np.isneginf(least).any():
            last = width - self._depth
            lowest = np.partition(scores, last, axis=1)[:, last]
            lowest[np.isneginf(lowest)] = np.finfo(np.float32).min
            queries, positions = np.nonzero(scores >= lowest[:, None])
        else:
            queries, positions = np.nonzero(scores > least[:, None])
        return queries, positions, scores[queries, positions]

    def add(self, queries: _Positions, rows: _Rows, scores: _Scores, reference: _Scores) -> None:
        """Take candidates. They are sorted in when they are many."""
        self._added.append((queries, rows, scores, reference))
        self._added_count += len(queries)
        if self._added_count >= self._rows.size // 4:
            self._sort_in()

    def _sort_in(self) -> None:
        """Keep the best of what was kept and what was added."""
        if not self._added_count:
            return
        queries, rows, scores, reference = map(np.concatenate, zip(*self._added, strict=True))
        self._added, self._added_count = [], 0
        changed = np.unique(queries)
        of_query = np.concatenate([np.repeat(changed, self._depth), queries])
        all_rows = np.concatenate([self._rows[changed].ravel(), rows])
        all_scores = np.concatenate([self._scores[changed].ravel(), scores])
        all_reference = np.concatenate([self._reference[changed].ravel(), reference])
        # Places without a row have the lowest score.
        order = np.lexsort((all_rows, -all_scores, of_query))
        starts = np.searchsorted(of_query[order], changed)
        chosen = order[starts[:, None] + np.arange(self._depth)]
        self._rows[changed] = all_rows[chosen]
        self._scores[changed] = all_scores[chosen]
        self._reference[changed] = all_reference[chosen]

    def ranking(self) -> Ranking:
        """What is kept."""
        self._sort_in()
        return Ranking(self._rows, self._scores, self._reference)

    def found(self) -> Found:
        """What is kept and above the floor, without the places that are empty."""
        self._sort_in()
        queries, places = np.nonzero((self._rows != NO_ROW) & (self._scores > self._floor[:, None]))
        return Found(
            queries.astype(np.int32),
            self._rows[queries, places],
            self._scores[queries, places],
            self._reference[queries, places],
        )

    def take(self, found: Found) -> None:
        """Take what was found elsewhere, among other rows."""
        self.add(found.queries.astype(np.intp), found.rows, found.scores, found.reference)

    def floor(self, first_row: int) -> _Scores:
        """The score of each query that a row from `first_row` on has to exceed to be kept.

        Of equal scores the lower row is kept, so behind the last place only more will do.
        """
        self._sort_in()
        last, is_before = self._scores[:, -1], self._rows[:, -1] < first_row
        floor: _Scores = np.where(is_before, last, np.nextafter(last, np.float32(-np.inf)))
        return floor


def _find(rows: _Rows, wanted: _Rows) -> tuple[_Positions, _Positions]:
    """Which of the wanted rows are among these ascending ones, and where: (wanted, position)."""
    at = np.searchsorted(rows, wanted)
    at[at == len(rows)] = 0
    is_here = rows[at] == wanted
    return np.flatnonzero(is_here), at[is_here]


def _squares(values: Float32Matrix) -> npt.NDArray[np.float32]:
    """The squared length of each row."""
    squares: npt.NDArray[np.float32] = np.einsum("ij,ij->i", values, values)
    return squares
