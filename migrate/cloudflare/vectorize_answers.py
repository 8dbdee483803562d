"""Read the answers of Vectorize (docs/services.md), with one reader per operation. Pure."""

import re
from dataclasses import dataclass

import numpy as np

from migrate.cloudflare.client.api import (
    Answer,
    Refusal,
    UnusableAnswerError,
    member,
    objects_of,
    optional_member,
    result_of,
)
from migrate.cloudflare.client.codes import TOO_MANY_IDS_CODE
from migrate.model.float_text import read_float32
from migrate.model.records import (
    Accepted,
    IndexProgress,
    MutationId,
    Vector,
    VectorId,
    VectorIndex,
)
from migrate.words import counted

_IDS_MAX_IN_TEXT = re.compile(r"max id count is ([0-9]{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPage:
    """One page of a listing of the ids."""

    ids: list[VectorId]
    next_cursor: str | None  # None on the last page
    cut_off: bool  # more ids follow, but the page names no cursor
    total: int  # ids of the whole listing


def read_index(answer: Answer, name: str) -> VectorIndex:
    """The index. Raises UnusableAnswerError for an answer about another index."""
    record = result_of(answer, dict, "an index")
    config = member(record, "config", dict, "the index")
    found = member(record, "name", str, "the index")
    if found != name:
        raise UnusableAnswerError(f"about index '{found}' instead of '{name}'")
    return VectorIndex(
        name=name,
        dimensions=member(config, "dimensions", int, "the index's config"),
        metric=member(config, "metric", str, "the index's config").lower(),
        created_on=optional_member(record, "created_on", str, "the index") or "",
    )


def read_metadata_indexes(answer: Answer) -> dict[str, str]:
    """Property name -> type in lower case."""
    record = result_of(answer, dict, "metadata indexes")
    listed = optional_member(record, "metadataIndexes", list, "the metadata indexes") or []
    return {
        member(index, "propertyName", str, "a metadata index"): member(
            index, "indexType", str, "a metadata index"
        ).lower()
        for index in objects_of(listed, "the metadata indexes")
    }


def read_progress(answer: Answer) -> IndexProgress:
    """The progress of the index; every field may be missing or null."""
    record = result_of(answer, dict, "the index's progress")
    mutation = optional_member(record, "processedUpToMutation", str, "the progress")
    return IndexProgress(
        vector_count=optional_member(record, "vectorCount", int, "the progress"),
        processed_mutation=MutationId(mutation) if mutation else None,
        processed_at=optional_member(record, "processedUpToDatetime", str, "the progress"),
    )


def read_accepted(answer: Answer) -> Accepted:
    """The accepted mutation. Raises UnusableAnswerError for an answer without a mutation id."""
    record = result_of(answer, dict, "a mutation")
    mutation = member(record, "mutationId", str, "the mutation")
    if not mutation:
        raise UnusableAnswerError("with an empty 'mutationId'")
    return Accepted(mutation_id=MutationId(mutation), server_date=answer.date)


def read_vectors(answer: Answer, wanted: frozenset[VectorId]) -> dict[VectorId, Vector]:
    """The records by id, in any order, without those that do not exist."""
    found: dict[VectorId, Vector] = {}
    for record in objects_of(result_of(answer, list, "a list of vectors"), "the vectors"):
        vector = _read_vector(record)
        if vector.id not in wanted:
            raise UnusableAnswerError(f"with vector '{vector.id}', which was not asked for")
        if vector.id in found:
            raise UnusableAnswerError(f"with vector '{vector.id}' twice")
        found[vector.id] = vector
    return found


def _read_vector(record: dict[str, object]) -> Vector:
    values = member(record, "values", list, "a vector")
    try:
        doubles = np.array(values)
    except ValueError as error:  # lists among the numbers
        raise UnusableAnswerError("with values that are no numbers") from error
    # The type of the array shows that all values are numbers, without a check of each value.
    if doubles.ndim != 1 or doubles.dtype.kind not in "iuf":
        raise UnusableAnswerError("with values that are no numbers")
    # The service writes a float32 as a double or in short; both read back to the same bits.
    array = read_float32(doubles.astype(np.float64))
    if not np.isfinite(array).all():
        raise UnusableAnswerError("with values beyond float32")
    return Vector(
        id=VectorId(member(record, "id", str, "a vector")),
        values=array,
        # The service sends the default namespace as null, as "", or not at all.
        namespace=optional_member(record, "namespace", str, "a vector") or None,
        metadata=optional_member(record, "metadata", dict, "a vector"),
    )


def read_page(answer: Answer) -> ListedPage:
    """One page of ids. Raises UnusableAnswerError for a page without `isTruncated`."""
    record = result_of(answer, dict, "a page of ids")
    vectors = objects_of(member(record, "vectors", list, "the page"), "the ids")
    truncated = member(record, "isTruncated", bool, "the page")
    cursor = optional_member(record, "nextCursor", str, "the page") or None
    count = optional_member(record, "count", int, "the page")
    if count is not None and count != len(vectors):
        raise UnusableAnswerError(f"with {counted(len(vectors), 'id')} on a page of {count}")
    return ListedPage(
        ids=[VectorId(member(vector, "id", str, "an id")) for vector in vectors],
        next_cursor=cursor if truncated else None,
        cut_off=truncated and cursor is None,
        total=member(record, "totalCount", int, "the page"),
    )


def read_matches(answer: Answer, limit: int) -> list[VectorId]:
    """The ids of a query's matches. Raises UnusableAnswerError for more than `limit` ids."""
    record = result_of(answer, dict, "the matches of a query")
    matches = objects_of(member(record, "matches", list, "the query"), "the matches")
    ids = [VectorId(member(match, "id", str, "a match")) for match in matches]
    if len(ids) > limit or len(set(ids)) != len(ids):
        raise UnusableAnswerError(f"with {len(ids)} matches, {len(set(ids))} of them distinct")
    return ids


def fewer_ids(refusal: Refusal, sent: int) -> int:
    """How many ids the service takes at once; 0 when the refusal has another reason.

    This is the number in the message; without one, half of `sent`.
    """
    if refusal.code != TOO_MANY_IDS_CODE or sent <= 1:
        return 0
    named = _IDS_MAX_IN_TEXT.search(refusal.text)
    return min(int(named[1]), sent - 1) if named and int(named[1]) > 0 else sent // 2
