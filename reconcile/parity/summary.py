"""What the measures of all queries say together: means, intervals, the worst. Pure and seeded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reconcile.parity.measures import Measures

RESAMPLES = 2_000  # of the bootstrap: the ends of a 95 % interval then vary by less than 0.002
WORST = 5  # queries and files that are named
_CONFIDENCE = (2.5, 97.5)  # percentiles: 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measure over all queries."""

    mean: float
    low: float  # of the 95 % bootstrap interval of the mean
    high: float
    tenth: float  # percentile: nine of ten queries are at least as good

    def in_words(self) -> str:
        """For people."""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A query, or all queries of a file, with the overlap found there."""

    name: str
    overlap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How much of the source's answers is kept, over all queries."""

    queries: int
    overlap: Figure
    same_first: Figure
    rank_biased: Figure
    contained: Figure
    worst_queries: tuple[Named, ...]  # the worst first; only those below 1
    worst_files: tuple[Named, ...]


def summarise(
    measures: Measures, names: Sequence[str], files: Sequence[str | None], *, seed: int
) -> Kept:
    """Figures over all queries, of which there is at least one.

    `names` and `files` are those of each query; a query of no file has None.
    """
    assert len(names), "without a query nothing was measured"
    chance = np.random.default_rng(seed)
    drawn = chance.integers(len(names), size=(RESAMPLES, len(names)))
    return Kept(
        queries=len(names),
        overlap=_figure(measures.overlap, drawn),
        same_first=_figure(measures.same_first, drawn),
        rank_biased=_figure(measures.rank_biased, drawn),
        contained=_figure(measures.contained, drawn),
        worst_queries=_worst(dict(zip(names, measures.overlap.tolist(), strict=True))),
        worst_files=_worst(_by_file(files, measures.overlap.tolist())),
    )


def _figure(numbers: npt.NDArray[np.float64], drawn: npt.NDArray[np.int64]) -> Figure:
    means = numbers[drawn].mean(axis=1)
    low, high = np.percentile(means, _CONFIDENCE)
    return Figure(
        mean=float(numbers.mean()),
        low=float(low),
        high=float(high),
        tenth=float(np.percentile(numbers, 10)),
    )


def _by_file(files: Sequence[str | None], overlaps: Sequence[float]) -> dict[str, float]:
    """File -> mean overlap of its queries."""
    of_file: dict[str, list[float]] = {}
    for file, overlap in zip(files, overlaps, strict=True):
        if file is not None:
            of_file.setdefault(file, []).append(overlap)
    return {file: sum(found) / len(found) for file, found in of_file.items()}


def _worst(overlaps: dict[str, float]) -> tuple[Named, ...]:
    below = [Named(name=name, overlap=overlap) for name, overlap in overlaps.items() if overlap < 1]
    return tuple(sorted(below, key=lambda one: (one.overlap, one.name))[:WORST])
