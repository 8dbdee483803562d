"""`ports.VectorTarget` by the Vectorize v2 REST interface (docs/services.md)."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus

import numpy as np
import numpy.typing as npt
import orjson

from migrate.cloudflare.client.api import (
    JSON,
    NDJSON,
    ApiRequest,
    Operation,
    Refusal,
)
from migrate.cloudflare.client.client import CloudflareHttp
from migrate.cloudflare.client.codes import DUPLICATE_INDEX_CODE, NO_INDEX_CODES, refused_error
from migrate.cloudflare.vectorize_answers import (
    ListedPage,
    fewer_ids,
    read_accepted,
    read_index,
    read_matches,
    read_metadata_indexes,
    read_page,
    read_progress,
    read_vectors,
)
from migrate.errors import IndeterminateError
from migrate.model.limits import (
    DELETE_IDS_MAX,
    FETCH_IDS_MAX,
    LIST_IDS_MAX,
    QUERY_IDS_MAX,
    UPLOAD_BYTES_MAX,
    VECTORS_PER_INDEX_MAX,
)
from migrate.model.records import (
    Accepted,
    IndexProgress,
    Vector,
    VectorId,
    VectorIndex,
)
from migrate.words import counted

READ = "Vectorize: Read"
EDIT = "Vectorize: Edit"
GET_INDEX = Operation(name="get vector index", scope=READ)
CREATE_INDEX = Operation(name="create vector index", scope=EDIT)
LIST_METADATA_INDEXES = Operation(name="list metadata indexes", scope=READ)
CREATE_METADATA_INDEX = Operation(name="create metadata index", scope=EDIT)
INFO = Operation(name="info of vector index", scope=READ)
UPSERT = Operation(name="upsert", scope=EDIT)
DELETE_BY_IDS = Operation(name="delete_by_ids", scope=EDIT)
GET_BY_IDS = Operation(name="get_by_ids", scope=READ)
QUERY = Operation(name="query", scope=READ)
LIST_VECTORS = Operation(name="list vectors", scope=READ)

# The answer to an expired cursor is not documented (docs/services.md, Vectors).
CURSOR_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
LIST_PAGES_MAX = VECTORS_PER_INDEX_MAX // 100  # ten times what a full index needs


class VectorizeTarget:
    """One vector index. Safe to use from several threads."""

    def __init__(self, http: CloudflareHttp, index_name: str) -> None:
        """Sends nothing."""
        self._http = http
        self._name = index_name
        # The service may take fewer ids than documented; its refusal then names the number.
        self._fetch_ids_max = FETCH_IDS_MAX
        self._delete_ids_max = DELETE_IDS_MAX
        self._lock = threading.Lock()  # guards both numbers

    def identity(self) -> dict[str, str]:
        """Host, account fingerprint and index name, without secrets."""
        return {**self._http.identity(), "vector_index": self._name}

    def read_index(self) -> VectorIndex | None:
        """The index; None if its error code says that it does not exist, whatever the status."""
        request = ApiRequest(operation=GET_INDEX, method="GET", path=self._path())
        outcome = self._http.exchange(request, partial(read_index, name=self._name))
        if isinstance(outcome, Refusal) and outcome.code in NO_INDEX_CODES:
            return None
        return self._http.value_of(GET_INDEX, outcome)

    def create_index(self, *, dimensions: int, metric: str) -> VectorIndex:
        """Create the index. After a lost answer, an equal existing index counts as created."""
        body = {"name": self._name, "config": {"dimensions": dimensions, "metric": metric}}
        request = ApiRequest(
            operation=CREATE_INDEX,
            method="POST",
            path=self._http.account_path("vectorize", "v2", "indexes"),
            body=[orjson.dumps(body)],
            content_type=JSON,
        )
        outcome = self._http.exchange(request, partial(read_index, name=self._name))
        if (
            isinstance(outcome, Refusal)
            and outcome.code == DUPLICATE_INDEX_CODE
            and outcome.attempts > 1
        ):
            index = self.read_index()
            if index is not None and (index.dimensions, index.metric) == (dimensions, metric):
                return index
        return self._http.value_of(CREATE_INDEX, outcome)

    def read_metadata_indexes(self) -> dict[str, str]:
        """Property name -> type in lower case; the live service answers `String`."""
        request = ApiRequest(
            operation=LIST_METADATA_INDEXES,
            method="GET",
            path=self._path("metadata_index", "list"),
        )
        return self._http.send(request, read_metadata_indexes)

    def create_metadata_index(self, property_name: str, index_type: str) -> None:
        """Request a metadata index. This is a mutation, so the index appears later."""
        body = {"propertyName": property_name, "indexType": index_type}
        self._mutate(
            CREATE_METADATA_INDEX, self._path("metadata_index", "create"), orjson.dumps(body)
        )

    def read_progress(self) -> IndexProgress:
        """The numbers that the service reports; each of them may be missing."""
        request = ApiRequest(operation=INFO, method="GET", path=self._path("info"))
        return self._http.send(request, read_progress)

    def upsert(self, body: Sequence[bytes]) -> Accepted:
        """Send one upload. The service refuses all of it for one bad line.

        A body above the upload limit is not sent; it raises TargetRefusedError with status 413.
        """
        size = sum(map(len, body))
        if size > UPLOAD_BYTES_MAX:
            raise refused_error(
                f"upsert: {size} B in one upload, the target takes {UPLOAD_BYTES_MAX}; not sent",
                remedy="set limits.body_bytes to 100000000 or less, then run `q2v migrate`",
                status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                code=None,
            )
        request = ApiRequest(
            operation=UPSERT,
            method="POST",
            path=self._path("upsert"),
            # The other value, which may be the default, drops bad lines without an error.
            query={"unparsable-behavior": "error"},
            body=body,
            content_type=NDJSON,
        )
        return self._http.send(request, read_accepted)

    def delete(self, ids: Sequence[VectorId]) -> Accepted:
        """Remove the ids, in several requests if the service takes fewer at once.

        Returns the mutation of the last request, because mutations are processed in order.
        """
        assert 0 < len(ids) <= DELETE_IDS_MAX
        accepted: Accepted | None = None
        waiting = list(ids)
        while waiting:
            some = waiting[: self._delete_ids_max]
            request = self._by_ids(DELETE_BY_IDS, "delete_by_ids", some)
            outcome = self._http.exchange(request, read_accepted)
            if isinstance(outcome, Refusal) and (fewer := fewer_ids(outcome, len(some))):
                with self._lock:
                    self._delete_ids_max = min(self._delete_ids_max, fewer)
                continue
            accepted = self._http.value_of(DELETE_BY_IDS, outcome)
            del waiting[: len(some)]
        assert accepted is not None
        return accepted

    def fetch(self, ids: Sequence[VectorId]) -> dict[VectorId, Vector]:
        """The visible records by id. An answer with an id that was not requested is not used."""
        assert len(ids) <= FETCH_IDS_MAX
        assert len(set(ids)) == len(ids)
        found: dict[VectorId, Vector] = {}
        waiting = list(ids)
        while waiting:
            some = waiting[: self._fetch_ids_max]
            request = self._by_ids(GET_BY_IDS, "get_by_ids", some)
            wanted = frozenset(some)
            outcome = self._http.exchange(request, partial(read_vectors, wanted=wanted))
            if isinstance(outcome, Refusal) and (fewer := fewer_ids(outcome, len(some))):
                # The minimum, because answers of several threads arrive in any order.
                with self._lock:
                    self._fetch_ids_max = min(self._fetch_ids_max, fewer)
                continue
            records = self._http.value_of(GET_BY_IDS, outcome)
            found.update(records)
            del waiting[: len(some)]
        return found

    def find(
        self,
        values: Sequence[float],
        where: Mapping[str, str | float | bool],
        *,
        limit: int,
        namespace: str | None = None,
    ) -> list[VectorId]:
        """Send one query. It requests ids only, which allows the largest `limit`."""
        assert 0 < limit <= QUERY_IDS_MAX
        body: dict[str, object] = {
            "vector": list(values),
            "topK": limit,
            "returnValues": False,
            "returnMetadata": "none",
        }
        if where:  # the service refuses an empty filter
            body["filter"] = dict(where)
        if namespace is not None:
            body["namespace"] = namespace
        request = ApiRequest(
            operation=QUERY,
            method="POST",
            path=self._path("query"),
            body=[orjson.dumps(body)],
            content_type=JSON,
        )
        return self._http.send(request, partial(read_matches, limit=limit))

    def count_vectors(self) -> int:
        """The total that a new listing announces. Sends one request, for a page of one id."""
        return self._list_page(None, ids_max=1).total

    def list_ids(self) -> Iterator[list[VectorId]]:
        """List all ids once. Complete only if the iterator ends without an error.

        Holds 8 bytes per id in memory, to detect an id that is listed twice.
        """
        seen: list[npt.NDArray[np.int64]] = []
        cursors: set[str] = set()
        first = page = self._list_page(None)
        for _ in range(LIST_PAGES_MAX):
            seen.append(np.fromiter(map(hash, page.ids), dtype=np.int64, count=len(page.ids)))
            if page.ids:
                yield page.ids
            if page.next_cursor is None:
                self._check_walk(np.concatenate(seen), first.total)
                return
            if page.next_cursor in cursors:
                raise self._broken_walk("it came back to an earlier page")
            cursors.add(page.next_cursor)
            page = self._list_page(page.next_cursor)
        raise self._broken_walk(f"it has no end after {LIST_PAGES_MAX} pages")

    def _list_page(self, cursor: str | None, *, ids_max: int = LIST_IDS_MAX) -> ListedPage:
        request = ApiRequest(
            operation=LIST_VECTORS,
            method="GET",
            path=self._path("list"),
            # Both are sent with every page: a cursor without a count is not specified.
            query={"count": str(ids_max)} | ({} if cursor is None else {"cursor": cursor}),
        )
        outcome = self._http.exchange(request, read_page)
        if (
            isinstance(outcome, Refusal)
            and cursor is not None
            and outcome.status in CURSOR_REFUSALS
            and outcome.code not in NO_INDEX_CODES
        ):
            error = self._http.refused(LIST_VECTORS, outcome)
            raise self._broken_walk(f"its cursor is no longer valid: {error}") from error
        page = self._http.value_of(LIST_VECTORS, outcome)
        if page.cut_off:
            raise self._broken_walk("a page is truncated and names no cursor for the next one")
        return page

    def _check_walk(self, hashes: npt.NDArray[np.int64], total: int) -> None:
        """Raise for missing or repeated ids. A hash collision counts as a repetition.

        That is expected once per million listings of a full index.
        """
        distinct = len(np.unique(hashes))
        if distinct != total or len(hashes) != total:
            raise self._broken_walk(
                f"it gave {counted(len(hashes), 'id')}, {distinct} of them distinct, and "
                f"announced {total}"
            )

    def _broken_walk(self, why: str) -> IndeterminateError:
        return IndeterminateError(
            f"the listing of vector index '{self._name}' is not complete: {why}",
            remedy="run the same command again: a fresh listing starts from its first page",
        )

    def _path(self, *segments: str) -> str:
        return self._http.account_path("vectorize", "v2", "indexes", self._name, *segments)

    def _by_ids(self, operation: Operation, segment: str, ids: Sequence[VectorId]) -> ApiRequest:
        return ApiRequest(
            operation=operation,
            method="POST",
            path=self._path(segment),
            body=[orjson.dumps({"ids": ids})],
            content_type=JSON,
        )

    def _mutate(self, operation: Operation, path: str, body: bytes) -> Accepted:
        request = ApiRequest(
            operation=operation, method="POST", path=path, body=[body], content_type=JSON
        )
        return self._http.send(request, read_accepted)
