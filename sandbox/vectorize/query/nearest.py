"""Exact nearest neighbours over one state of a vector index."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sandbox.vectorize.indexes import VectorIndex
from sandbox.vectorize.query.filters import Condition, matches
from sandbox.vectorize.reader import SearchView, StoredVector


@dataclass(frozen=True, slots=True)
class Match:
    """One neighbour."""

    vector: StoredVector
    score: float  # cosine: larger is nearer; euclidean and (negative) dot-product: smaller


def nearest(
    view: SearchView,
    index: VectorIndex,
    wanted: NDArray[np.float32],
    *,
    seq: int,
    top_k: int,
    namespace: str | None,
    conditions: Sequence[Condition],
) -> list[Match]:
    """The `top_k` nearest vectors of the state, nearest first; equal scores by position."""
    if conditions:
        candidates = list(_filtered(view, index, seq, namespace, conditions))
        positions = np.array([one.position for one in candidates], np.int64)
        distances = _distances(view, index, wanted, positions)
        return [
            Match(candidates[place], _score(index, distances[place]))
            for place in _smallest(distances, top_k)
        ]
    keys, positions = view.positions(index, seq, namespace)
    distances = _distances(view, index, wanted, positions)
    places = _smallest(distances, top_k)
    found = view.by_row_keys(index, [keys[place] for place in places], seq)
    return [
        Match(found[int(positions[place])], _score(index, distances[place])) for place in places
    ]


def _filtered(
    view: SearchView,
    index: VectorIndex,
    seq: int,
    namespace: str | None,
    conditions: Sequence[Condition],
) -> Iterator[StoredVector]:
    indexes = {one.property: one for one in view.metadata_indexes(index, seq)}
    for vector in view.all(index, seq, order="position"):
        if namespace in {None, vector.namespace} and matches(vector, conditions, indexes):
            yield vector


def _distances(
    view: SearchView,
    index: VectorIndex,
    wanted: NDArray[np.float32],
    positions: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Smaller is nearer, in every metric."""
    distances = np.empty(len(positions))
    for places, rows in view.values.read_blocks(positions):
        if index.metric == "euclidean":
            distances[places] = np.linalg.norm(rows - wanted, axis=1)
            continue
        products = rows @ wanted
        if index.metric == "cosine":
            lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(wanted)
            products = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
        distances[places] = -products
    return distances


def _smallest(distances: NDArray[np.float64], count: int) -> list[int]:
    order: list[int] = np.argsort(distances, kind="stable")[:count].tolist()
    return order


def _score(index: VectorIndex, distance: np.float64) -> float:
    return -float(distance) if index.metric == "cosine" else float(distance)
