"""The query route: checks the request, and answers with matches."""

import contextlib
from dataclasses import dataclass
from functools import partial
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
from sandbox.exchange.answers import success
from sandbox.exchange.operation import Call
from sandbox.exchange.steps import Steps
from sandbox.limits import TOP_K_DEFAULT, TOP_K_MAX, TOP_K_WITH_CONTENT_MAX
from sandbox.vectorize.indexes import VectorIndex
from sandbox.vectorize.metadata import selected
from sandbox.vectorize.ndjson import check_id
from sandbox.vectorize.query.filters import parse_filter
from sandbox.vectorize.query.nearest import Match, nearest
from sandbox.vectorize.reader import SearchView, StoredVector
from sandbox.vectorize.store import VectorStore
from sandbox.vectorize.values_file import ValuesFile, as_float32, widened

_VALUES_AT_ONCE_MAX = 2_000_000  # 8 MB: a search among more of them runs in a thread


class QueryRoute:
    """Queries over one account's vectors."""

    def __init__(self, vectors: VectorStore) -> None:
        self._vectors = vectors

    def query(self, call: Call, name: str) -> Steps:
        """The nearest vectors to one given by values or by id; among many, found in a thread."""
        index = self._vectors.indexes.get(name)
        body = json_object(call)
        wishes = _wishes(body)
        seq = self._vectors.state(index, "query", force_stale="stale" in call.struck)
        wanted = self._wanted(index, body, seq)
        top_k = _top_k(body, with_content=wishes.values or wishes.metadata == "all")
        conditions = parse_filter(body["filter"]) if body.get("filter") is not None else ()
        indexed = {one.property for one in self._vectors.metadata_indexes(index, seq)}
        count = self._vectors.log.visible(index.index_id).vector_count
        with contextlib.closing(self._vectors.open_view(index)) as view:
            search = partial(
                nearest,
                view,
                index,
                wanted,
                seq=seq,
                top_k=top_k,
                namespace=wishes.namespace,
                conditions=conditions,
            )
            large = count * index.dimensions > _VALUES_AT_ONCE_MAX
            matches: list[Match] = (yield search) if large else search()
            found = [_match_object(view, match, wishes, indexed) for match in matches]
        return success({"count": len(found), "matches": found})

    def _wanted(self, index: VectorIndex, body: dict[str, Any], seq: int) -> NDArray[np.float32]:
        values, vector_id = body.get("vector"), body.get("vectorId")
        if (values is None) == (vector_id is None):
            raise invalid_request("give either vector or vectorId")
        if isinstance(vector_id, str):
            check_id(vector_id)
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


@dataclass(frozen=True, slots=True)
class _Wishes:
    """The members that a match contains, and the namespace to search."""

    values: bool
    metadata: str  # none, indexed, all
    namespace: str | None


def _wishes(body: dict[str, Any]) -> _Wishes:
    values = body.get("returnValues", False)
    metadata = body.get("returnMetadata", "none")
    namespace = body.get("namespace")
    if not isinstance(values, bool) or not isinstance(namespace, str | None):
        raise invalid_request("returnValues must be a boolean, namespace a string")
    if metadata not in ("none", "indexed", "all"):
        raise invalid_return_metadata()
    return _Wishes(values, metadata, namespace)


def _match_object(
    view: SearchView, match: Match, wishes: _Wishes, indexed: set[str]
) -> dict[str, Any]:
    members = vector_object(view.values if wishes.values else None, match.vector)
    metadata = members.pop("metadata", None)
    if wishes.metadata == "all" and metadata is not None:
        members["metadata"] = metadata
    elif wishes.metadata == "indexed" and match.vector.metadata is not None:
        members["metadata"] = selected(match.vector.metadata, indexed)
    return members | {"score": match.score}


def json_object(call: Call) -> dict[str, Any]:
    """The body as a JSON object. Raises ServiceError if it is none."""
    refusal = invalid_request("expected a JSON object")
    body = call.json(refusal)
    if not isinstance(body, dict):
        raise refusal
    return body


def vector_object(file: ValuesFile | None, vector: StoredVector) -> dict[str, Any]:
    """A vector as reads and queries answer it; without a file, without its values."""
    members: dict[str, Any] = {"id": vector.id}
    if file is not None:
        members["values"] = widened(file.read(vector.position))
    if vector.namespace is not None:
        members["namespace"] = vector.namespace
    if vector.metadata is not None:
        members["metadata"] = orjson.Fragment(vector.metadata)
    return members


def _top_k(body: dict[str, Any], *, with_content: bool) -> int:
    top_k = body.get("topK", TOP_K_DEFAULT)
    if type(top_k) is not int or top_k < 1:
        raise invalid_top_k("top K must be a whole number of at least 1")
    top_k_max = TOP_K_WITH_CONTENT_MAX if with_content else TOP_K_MAX
    if top_k > top_k_max:
        raise invalid_top_k(f"max top K is {top_k_max}, but got {top_k}")
    return top_k
