"""How sizes are spread over what moves: counts in fixed bins, lowest, highest and median. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

METADATA_BYTES = (0, 256, 512, 1_024, 2_048, 4_096, 8_192)
ID_BYTES = (0, 9, 17, 33, 49)
CHUNKS = (1, 2, 6, 21, 101, 1_001)
# Embedding models give vectors of length 1; the bins beside it show what was not normalised.
NORMS = (0.0, 0.5, 0.9, 0.99, 1.01, 1.1, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How often a size occurs. A bin reaches from its edge to the next one, which is outside."""

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    lowest: float | None = None  # None: there is nothing
    highest: float | None = None
    median: float | None = None  # the lower one of two; None also where it was not kept


def count_sizes(name: str, edges: Sequence[int], sizes: Iterable[tuple[int, int]]) -> Histogram:
    """From pairs of a size and how often it occurs, in any order.

    No size is below the first edge.
    """
    ordered = sorted(sizes)
    counts = [0] * len(edges)
    for size, times in ordered:
        counts[bisect_right(edges, size) - 1] += times
    total, seen, median = sum(counts), 0, None
    for size, times in ordered:
        seen += times
        if 2 * seen >= total:
            median = size
            break
    return Histogram(
        name=name,
        edges=tuple(edges),
        counts=tuple(counts),
        lowest=ordered[0][0] if ordered else None,
        highest=ordered[-1][0] if ordered else None,
        median=median,
    )


@dataclass(slots=True)
class NormCounts:
    """The lengths of vectors as the source has them; where pages are cut makes no difference."""

    counts: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(NORMS), dtype=np.int64)
    )
    lowest: float = float("inf")
    highest: float = 0.0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Count the rows of a matrix of finite values."""
        if not len(values):
            return
        squares = np.einsum("ij,ij->i", values, values).astype(np.float64)
        beyond = np.isinf(squares)  # of float32; such values are rare, and twice as wide here
        if beyond.any():
            large = values[beyond].astype(np.float64)
            squares[beyond] = np.einsum("ij,ij->i", large, large)
        norms = np.sqrt(squares)
        places = np.searchsorted(NORMS, norms, side="right") - 1
        self.counts += np.bincount(places, minlength=len(NORMS))
        self.lowest = min(self.lowest, float(norms.min()))
        self.highest = max(self.highest, float(norms.max()))

    def merge(self, other: "NormCounts") -> None:
        """Add the counts of other vectors."""
        self.counts += other.counts
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)

    def histogram(self) -> Histogram:
        """What was counted."""
        found = bool(self.counts.any())
        return Histogram(
            name="norm",
            edges=NORMS,
            counts=tuple(int(count) for count in self.counts),
            lowest=round(self.lowest, 6) if found else None,
            highest=round(self.highest, 6) if found else None,
        )
