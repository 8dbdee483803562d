"""Routes of Vectorize v2: each calls the store and answers with the result."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.clock import Clock
from sandbox.errors import (
    IndexMissingError,
    index_deleted,
    invalid_request,
    old_api_version,
    refused_on_order,
    too_many_ids,
    unknown_content_type,
)
from sandbox.exchange.answers import success, timestamp
from sandbox.exchange.operation import Call, Operation, media_type
from sandbox.exchange.steps import Steps
from sandbox.limits import (
    BODY_BYTES_MAX,
    DELETE_IDS_MAX,
    GET_IDS_MAX,
    LIST_COUNT_DEFAULT,
    LIST_COUNT_MAX,
)
from sandbox.profile import Profile
from sandbox.store import SandboxStore
from sandbox.vectorize.indexes import VectorIndex
from sandbox.vectorize.ndjson import UploadParser, check_id
from sandbox.vectorize.query.routes import QueryRoute, json_object, vector_object

_PREFIX = "accounts/{account}/vectorize/v2/indexes"
_OLD_PREFIX = "accounts/{account}/vectorize/indexes"
NDJSON = "application/x-ndjson"
_COUNTS = frozenset(str(count) for count in range(1, LIST_COUNT_MAX + 1))
_TYPES = ("string", "number", "boolean")


class VectorizeRoutes:
    """One method per operation."""

    def __init__(
        self,
        store: SandboxStore,
        profile: Profile,
        clock: Clock,
        *,
        refuses_id: Callable[[str], bool],
    ) -> None:
        self._refuses_id = refuses_id
        self._vectors = store.vectors
        self._profile = profile
        self._clock = clock

    def routes(self) -> list[Operation]:
        """All operations, and the removed paths of API version 1."""
        index = _PREFIX + "/{name}"
        write, read = "vector-write", "vector-read"
        old = [_OLD_PREFIX, _OLD_PREFIX + "/{name}", _OLD_PREFIX + "/{name}/{operation}"]
        return [
            Operation("POST", _PREFIX, self.create),
            Operation("GET", _PREFIX, self.list_indexes),
            Operation("GET", index, self.get),
            Operation("DELETE", index, self.delete),
            Operation("GET", index + "/info", self.info),
            *[
                Operation("POST", index + path, answer, write, BODY_BYTES_MAX, self.open_upload)
                for path, answer in (("/insert", self.insert), ("/upsert", self.upsert))
            ],
            Operation("POST", index + "/get_by_ids", self.get_by_ids, read),
            Operation("POST", index + "/delete_by_ids", self.delete_by_ids, write),
            Operation("GET", index + "/list", self.list_vectors),
            Operation("POST", index + "/query", QueryRoute(self._vectors).query, read),
            Operation("POST", index + "/metadata_index/create", self.create_metadata_index, write),
            Operation("GET", index + "/metadata_index/list", self.list_metadata_indexes, read),
            Operation("POST", index + "/metadata_index/delete", self.delete_metadata_index, write),
            *[
                Operation(method, path, self.old_version)
                for path in old
                for method in ("GET", "POST", "PUT", "DELETE")
            ],
        ]

    # Indexes --------------------------------------------------------------------------------

    def create(self, call: Call) -> Response:
        """Create a vector index."""
        body = json_object(call)
        index = self._vectors.indexes.create(
            body.get("name"), body.get("description"), body.get("config")
        )
        return success(_index_object(index))

    def list_indexes(self, _: Call) -> Response:
        """All vector indexes."""
        return success([_index_object(index) for index in self._vectors.indexes.select_all()])

    def get(self, _: Call, name: str) -> Response:
        """One vector index."""
        try:
            return success(_index_object(self._vectors.indexes.get(name)))
        except IndexMissingError as error:
            raise error.on_lookup() from error

    def delete(self, _: Call, name: str) -> Steps:
        """Delete a vector index with its metadata indexes."""
        index = self._vectors.delete_index(name)
        while self._vectors.remove_some(index):
            yield None
        return success(None)

    def info(self, _: Call, name: str) -> Response:
        """Counts and watermark."""
        index = self._vectors.indexes.get(name)
        watermark = self._vectors.log.watermark(index.index_id)
        return success(
            {
                "dimensions": index.dimensions,
                "vectorCount": self._vectors.count(index),
                "processedUpToMutation": watermark and watermark[0],
                "processedUpToDatetime": watermark and timestamp(watermark[1], "milliseconds"),
            }
        )

    def old_version(self, _: Call, *__: str) -> Response:
        """Refuse a path of API version 1, which the service has removed."""
        raise old_api_version()

    # Vectors --------------------------------------------------------------------------------

    def insert(self, call: Call, name: str) -> Steps:
        """Add vectors; an id that exists stays as it is."""
        return self._upload(call, name, replace=False)

    def upsert(self, call: Call, name: str) -> Steps:
        """Add or replace vectors."""
        return self._upload(call, name, replace=True)

    def _upload(self, call: Call, name: str, *, replace: bool) -> Steps:
        index = self._vectors.indexes.get(name)
        if call.parameters.get("unparsable-behavior", "error") not in {"error", "discard"}:
            raise invalid_request("unparsable-behavior must be error or discard")
        parser = call.upload
        if parser is None:
            body = _ndjson(call)
            parser = self._upload_parser(call.request, index)
            for _ in parser.feed_in_steps(body):
                yield None
            index = self._vectors.indexes.get(name)
        if parser.index_id != index.index_id:  # deleted and created again while the body arrived
            raise index_deleted()
        vectors = parser.finish()
        for vector in vectors:
            if self._refuses_id(vector.id):
                raise refused_on_order(vector.id)
        mutation_id = self._vectors.write_vectors(index, vectors, replace=replace)
        return success({"mutationId": mutation_id})

    def open_upload(self, request: Request, name: str) -> UploadParser | None:
        """For a request whose body is still to come: what can read it as it comes in.

        Only for the raw form; multipart is taken apart when it is complete.
        """
        if media_type(request) != NDJSON:
            return None
        return self._upload_parser(request, self._vectors.indexes.get(name))

    def _upload_parser(self, request: Request, index: VectorIndex) -> UploadParser:
        return UploadParser(
            index.dimensions,
            index_id=index.index_id,
            discard=request.query_params.get("unparsable-behavior") == "discard",
            keep_rows=lambda rows: self._vectors.keep_rows(index, rows),
        )

    def get_by_ids(self, call: Call, name: str) -> Response:
        """Up to 20 vectors with everything they hold; absent ids are left out."""
        index = self._vectors.indexes.get(name)
        ids = _ids(call, GET_IDS_MAX)
        seq = self._vectors.state(index, "get", force_stale="stale" in call.struck)
        found = self._vectors.get(index, ids, seq)
        file = self._vectors.values_file(index)
        return success([vector_object(file, vector) for vector in found])

    def delete_by_ids(self, call: Call, name: str) -> Response:
        """Delete up to 100 vectors."""
        index = self._vectors.indexes.get(name)
        ids = _ids(call, DELETE_IDS_MAX)
        return success({"mutationId": self._vectors.delete_vectors(index, ids)})

    def list_vectors(self, call: Call, name: str) -> Response:
        """A page of ids."""
        index = self._vectors.indexes.get(name)
        given = call.parameters.get("count", str(LIST_COUNT_DEFAULT))
        count = int(given) if given in _COUNTS else 0
        if not count:
            raise invalid_request(f"count must be in the range [1, {LIST_COUNT_MAX}]")
        page = self._vectors.list_page(index, count, call.parameters.get("cursor"))
        return success(
            {
                "count": len(page.ids),
                "totalCount": page.total_count,
                "isTruncated": page.next_cursor is not None,
                "nextCursor": page.next_cursor,
                "cursorExpirationTimestamp": page.expires_at
                and timestamp(page.expires_at, "nanoseconds"),
                "vectors": [{"id": vector_id} for vector_id in page.ids],
            }
        )

    # Metadata indexes -----------------------------------------------------------------------

    def create_metadata_index(self, call: Call, name: str) -> Response:
        """Index a property of vectors written from now on."""
        index = self._vectors.indexes.get(name)
        body = json_object(call)
        kind = body.get("indexType")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise invalid_request("indexType must be one of " + ", ".join(_TYPES))
        mutation_id = self._vectors.create_metadata_index(index, _property(body), kind.lower())
        return success({"mutationId": mutation_id})

    def list_metadata_indexes(self, call: Call, name: str) -> Response:
        """The metadata indexes; at the profile's rate those of an earlier state."""
        index = self._vectors.indexes.get(name)
        purpose, stale = "metadata-indexes", "stale" in call.struck
        seq = self._vectors.state(index, purpose, force_stale=stale)
        capitalised = self._profile.capitalised_index_types
        return success(
            {
                "metadataIndexes": [
                    {
                        "propertyName": one.property,
                        "indexType": one.type.capitalize() if capitalised else one.type,
                    }
                    for one in self._vectors.metadata_indexes(index, seq)
                ]
            }
        )

    def delete_metadata_index(self, call: Call, name: str) -> Response:
        """Drop a metadata index."""
        index = self._vectors.indexes.get(name)
        name_of_property = _property(json_object(call))
        mutation_id = self._vectors.delete_metadata_index(index, name_of_property)
        return success({"mutationId": mutation_id})


def _ndjson(call: Call) -> bytes | bytearray:
    """The lines of an upload, in either of its two forms."""
    if call.content_type == NDJSON:
        return call.body
    if call.content_type == "multipart/form-data":
        refusal = invalid_request("expected multipart/form-data with a part named vectors")
        parts = call.form(refusal)
        if "vectors" not in parts:
            raise refusal
        return parts["vectors"]
    raise unknown_content_type()


def _ids(call: Call, count_max: int) -> list[str]:
    ids = json_object(call).get("ids")
    if not isinstance(ids, list) or not ids or not all(isinstance(one, str) for one in ids):
        raise invalid_request("ids must be a non-empty list of strings")
    if len(ids) > count_max:
        raise too_many_ids(len(ids), count_max)
    for vector_id in ids:
        check_id(vector_id)
    return ids


def _property(body: dict[str, Any]) -> str:
    name = body.get("propertyName")
    if not isinstance(name, str) or not all(name.split(".")) or '"' in name or name[0] == "$":
        raise invalid_request("propertyName is not a metadata key")
    return name


def _index_object(index: VectorIndex) -> dict[str, Any]:
    config: dict[str, Any] = {"dimensions": index.dimensions, "metric": index.metric}
    if index.preset is not None:
        config["preset"] = index.preset
    created_on = timestamp(index.created_at, "microseconds")
    return {
        "name": index.name,
        "description": index.description,
        "created_on": created_on,
        "modified_on": created_on,
        "config": config,
    }
