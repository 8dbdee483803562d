"""The query route: what may be asked, and how matches are answered."""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from sandbox.errors import (
    invalid_request,
    invalid_return_metadata,
    invalid_top_k,
    upstream,
    wrong_query_width,
)
from sandbox.filters import parse_filter
from sandbox.limits import TOP_K_DEFAULT, TOP_K_MAX, TOP_K_WITH_CONTENT_MAX
from sandbox.messages import Request, Response, success
from sandbox.metadata import selected
from sandbox.query import Match, nearest
from sandbox.values_file import as_float32, widened
from sandbox.vector_indexes import VectorIndex
from sandbox.vector_store import StoredVector, VectorStore


class QueryRoute:
    """Queries over one account's vectors."""

    def __init__(self, vectors: VectorStore) -> None:
        self._vectors = vectors

    def query(self, request: Request, name: str) -> Response:
        """The nearest vectors to one given by values or by id."""
        index = self._vectors.indexes.get(name)
        body = json_object(request)
        return_values = body.get("returnValues", False)
        return_metadata = body.get("returnMetadata", "none")
        namespace = body.get("namespace")
        if not isinstance(return_values, bool) or not isinstance(namespace, str | None):
            raise invalid_request("returnValues must be a boolean, namespace a string")
        if return_metadata not in ("none", "indexed", "all"):
            raise invalid_return_metadata()
        seq = self._vectors.state(index, "query", force_stale="stale" in request.struck)
        matches = nearest(
            self._vectors,
            index,
            self._wanted(index, body, seq),
            seq=seq,
            top_k=_top_k(body, with_content=return_values or return_metadata == "all"),
            namespace=namespace,
            conditions=parse_filter(body["filter"]) if body.get("filter") is not None else (),
        )
        indexed = {one.property for one in self._vectors.metadata_indexes(index, seq)}

        def match_object(match: Match) -> dict[str, Any]:
            members = vector_object(self._vectors, index, match.vector, values=return_values)
            metadata = members.pop("metadata", None)
            if return_metadata == "all" and metadata is not None:
                members["metadata"] = metadata
            elif return_metadata == "indexed" and match.vector.metadata is not None:
                members["metadata"] = selected(match.vector.metadata, indexed)
            return members | {"score": match.score}

        return success({"count": len(matches), "matches": [match_object(one) for one in matches]})

    def _wanted(self, index: VectorIndex, body: dict[str, Any], seq: int) -> NDArray[np.float32]:
        values, vector_id = body.get("vector"), body.get("vectorId")
        if (values is None) == (vector_id is None):
            raise invalid_request("give either vector or vectorId")
        if isinstance(vector_id, str):
            found = self._vectors.get(index, [vector_id], seq)
            for vector in found:
                return self._vectors.values_file(index).read(vector.position)
            raise upstream(40010, f'vector with id="{vector_id}" not found')  # U: code and text
        if not isinstance(values, list) or any(type(one) not in (int, float) for one in values):
            raise invalid_request("vector must be a list of numbers")
        if len(values) != index.dimensions:
            raise wrong_query_width(index.dimensions, len(values))
        row = as_float32(values)
        if not np.isfinite(row).all():
            raise invalid_request("vector must hold finite numbers")
        return row


def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises ServiceError if it is none."""
    refusal = invalid_request("expected a JSON object")
    body = request.json(refusal)
    if not isinstance(body, dict):
        raise refusal
    return body


def vector_object(
    store: VectorStore, index: VectorIndex, vector: StoredVector, *, values: bool = True
) -> dict[str, Any]:
    """A vector as reads and queries answer it, with everything it holds or without its values."""
    members: dict[str, Any] = {"id": vector.id}
    if values:
        row = store.values_file(index).read(vector.position)
        members["values"] = widened(row)
    if vector.namespace is not None:
        members["namespace"] = vector.namespace
    if vector.metadata is not None:
        members["metadata"] = orjson.Fragment(vector.metadata)
    return members


def _top_k(body: dict[str, Any], *, with_content: bool) -> int:
    top_k = body.get("topK", TOP_K_DEFAULT)
    if type(top_k) is not int or top_k < 1:
        raise invalid_top_k("top K must be a whole number of at least 1")
    if with_content and top_k > TOP_K_WITH_CONTENT_MAX:
        raise invalid_top_k(
            f"max top K is {TOP_K_WITH_CONTENT_MAX} when returning values or all metadata, "
            f"got {top_k}"
        )
    if top_k > TOP_K_MAX:
        raise invalid_top_k(f"max top K is {TOP_K_MAX}, got {top_k}")
    return top_k
