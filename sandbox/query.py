"""Exact nearest neighbours over the visible vectors, in flat memory."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from sandbox.errors import upstream
from sandbox.limits import TOP_K_MAX, TOP_K_WITH_CONTENT_MAX
from sandbox.metadata import check_filter, matches
from sandbox.vector_store import Index, StoredVector, VectorStore

TOP_K_DEFAULT = 5
RETURN_METADATA = {"none", "indexed", "all"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A checked query."""

    vector: npt.NDArray[np.float64]
    top_k: int
    namespace: str | None
    conditions: dict[str, dict[str, object]] | None
    return_values: bool
    return_metadata: str


def parse_query(store: VectorStore, index: Index, document: object, seq: int) -> Query:
    """The query of a request body. Raises what the service answers."""
    if not isinstance(document, dict):
        raise upstream(40026, "expected an object")
    return_values = bool(document.get("returnValues", False))
    return_metadata = document.get("returnMetadata", "none")
    if not isinstance(return_metadata, str) or return_metadata not in RETURN_METADATA:
        raise upstream(40026, "returnMetadata: expected value none, indexed or all")
    return Query(
        vector=_vector(store, index, document, seq),
        top_k=_top_k(document.get("topK", TOP_K_DEFAULT), return_values, return_metadata),
        namespace=document.get("namespace"),
        conditions=check_filter(document.get("filter")),
        return_values=return_values,
        return_metadata=return_metadata,
    )


def _top_k(top_k: object, return_values: bool, return_metadata: str) -> int:
    content = return_values or return_metadata == "all"
    most = TOP_K_WITH_CONTENT_MAX if content else TOP_K_MAX
    if isinstance(top_k, bool) or not isinstance(top_k, int) or not 1 <= top_k <= most:
        raise upstream(40025, f"max top K is {most}, got {top_k}")
    return top_k


def _vector(
    store: VectorStore, index: Index, document: dict[str, object], seq: int
) -> npt.NDArray[np.float64]:
    if "vectorId" in document:
        found = store.get(index, [str(document["vectorId"])], seq)
        if not found:
            raise upstream(40030, "vector id not found")
        return np.frombuffer(found[0].values, "<f4").astype(np.float64)
    values = document.get("vector")
    if not isinstance(values, list) or not all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    ):
        raise upstream(40026, "vector: expected a list of numbers")
    if len(values) != index.dimensions:
        raise upstream(
            40006,
            f"invalid query vector, expected {index.dimensions} dimensions, got {len(values)}",
        )
    return np.array(values, np.float64)


def run_query(store: VectorStore, index: Index, query: Query, seq: int) -> dict[str, object]:
    """The nearest vectors, nearest first."""
    indexed = {name: since for name, _, since in store.metadata_indexes(index)}
    best: list[tuple[float, str, StoredVector]] = []
    for chunk in store.scan(index, seq):
        kept = [vector for vector in chunk if _admitted(vector, query, indexed)]
        if kept:
            nearness = _nearness(kept, query.vector, index.metric)
            best += [(near, one.id, one) for near, one in zip(nearness, kept, strict=True)]
            best = heapq.nlargest(query.top_k, best, key=lambda item: (item[0], item[1]))
    found = [_match(near, one, query, index.metric, indexed) for near, _, one in best]
    return {"count": len(found), "matches": found}


def _admitted(vector: StoredVector, query: Query, indexed: dict[str, int]) -> bool:
    """Namespace and filter; a vector older than a metadata index is not in it."""
    if query.namespace is not None and vector.namespace != query.namespace:
        return False
    if query.conditions is None:
        return True
    if any(vector.seq < indexed.get(name, vector.seq + 1) for name in query.conditions):
        return False
    return matches(_metadata(vector), query.conditions)


def _metadata(vector: StoredVector) -> dict[str, object]:
    return {} if vector.metadata is None else dict(orjson.loads(vector.metadata))


def _nearness(
    vectors: Sequence[StoredVector], query: npt.NDArray[np.float64], metric: str
) -> Iterable[float]:
    """Larger is nearer, whatever the metric."""
    matrix = np.frombuffer(b"".join(vector.values for vector in vectors), "<f4")
    matrix64 = matrix.reshape(len(vectors), -1).astype(np.float64)
    if metric == "euclidean":
        return [float(x) for x in -np.linalg.norm(matrix64 - query, axis=1)]
    dots = matrix64 @ query
    if metric == "cosine":
        lengths = np.linalg.norm(matrix64, axis=1) * np.linalg.norm(query)
        dots = np.divide(dots, lengths, out=np.zeros_like(dots), where=lengths > 0)
    return [float(x) for x in dots]


def _match(
    near: float, vector: StoredVector, query: Query, metric: str, indexed: dict[str, int]
) -> dict[str, object]:
    # Distances and the (documented as negative) dot product are smaller when nearer.
    score = near if metric == "cosine" else -near
    found: dict[str, object] = {"id": vector.id, "score": score}
    if vector.namespace is not None:
        found["namespace"] = vector.namespace
    if query.return_values:
        found["values"] = wide_values(vector.values)
    if query.return_metadata != "none":
        metadata = _metadata(vector)
        if query.return_metadata == "indexed":
            metadata = {name: value for name, value in metadata.items() if name in indexed}
        found["metadata"] = metadata
    return found


def wide_values(values: bytes) -> list[float]:
    """float32 written as a double: 58.8 comes back as 58.79999923706055."""
    return [float(x) for x in np.frombuffer(values, "<f4").astype(np.float64)]
