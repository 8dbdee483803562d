"""A file store in a Qdrant collection, of a server or embedded, through qdrant-client."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
from qdrant_client import QdrantClient, models
from typing_extensions import override

from migrate.errors import PreconditionError
from migrate.file_stores.contract import CollectionInfo, FileChunk, FileStore, FileVector
from migrate.file_stores.rules import CheckedVector, FileStoreRules, group_by_file
from migrate.mapping.field_paths import read_path
from migrate.mapping.ids import point_id_of
from migrate.mapping.payload import group_value, read_group
from migrate.model.canonical import decode_json
from migrate.model.records import VectorId
from migrate.plan.target_shape import EXACT_DATATYPE, METRICS
from migrate.qdrant.client_errors import ask_client
from migrate.qdrant.retry import CollectionMissing, RetryPolicy
from migrate.qdrant.source import ServerOptions
from migrate.runtime import Runtime

Answer = TypeVar("Answer")

PAGE_BYTES = 2_000_000  # of values and metadata; about 8 MB as JSON, a server takes 32
PAGE_POINTS_MAX = 1_000
METADATA_BYTES = 2_000  # of one vector, assumed: the text of a chunk is most of it
FLOAT32_BYTES = 4
DISTANCES = {metric: models.Distance(distance) for distance, metric in METRICS.items()}
_SCHEMAS = {
    "string": models.PayloadSchemaType.KEYWORD,
    "number": models.PayloadSchemaType.INTEGER,
}
LOCAL_INDEXES = "Payload indexes have no effect in the local Qdrant"  # a warning of the client


class QdrantFileStore(FileStore):
    """A file store in a collection.

    Points are found by file and chunk in their payload, so it does not matter which rule made the
    ids of points that are there. A chunk that is written again under another id replaces the
    former point. Writes are visible to every reader when a call returns.
    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        rules: FileStoreRules,
        runtime: Runtime,
        *,
        vector_name: str = "",
        point_id: Callable[[VectorId], int | str] = point_id_of,
    ) -> None:
        """Sends nothing; the caller closes the client.

        `vector_name` is that of the collection's named vectors, "" for the unnamed one.
        """
        self._client = client
        self._name = collection
        self._rules = rules
        self._vector_name = vector_name
        self._point_id = point_id
        options = ServerOptions()
        self._retry = RetryPolicy(
            clock=runtime.clock,
            attempts_max=options.attempts_max,
            jitter=options.jitter,
            say=runtime.progress.say,
        )
        point_bytes = rules.dimensions * FLOAT32_BYTES + METADATA_BYTES
        self._page_points = max(1, min(PAGE_POINTS_MAX, PAGE_BYTES // point_bytes))
        self._shape_checked = False

    @override
    def initialize_collection(self) -> None:
        """Create the collection, and payload indexes of the file's id and the chunk's number."""
        params = models.VectorParams(
            size=self._rules.dimensions, distance=DISTANCES[self._rules.metric]
        )
        config = {self._vector_name: params} if self._vector_name else params

        def create() -> None:
            """Ask first: the answer to an earlier attempt may have been lost."""
            if not self._client.collection_exists(self._name):
                self._client.create_collection(self._name, vectors_config=config)

        self._ask(create)
        self._check_shape()
        indexes = {
            self._rules.mapping.group_key: _SCHEMAS[self._rules.mapping.group_index_type],
            self._rules.mapping.order_key: models.PayloadSchemaType.INTEGER,
        }
        for field, schema in indexes.items():
            self._create_index(field, schema)

    @override
    def upsert_vectors(self, vectors: Sequence[FileVector], *, whole_files: bool = False) -> None:
        """The points, then one request for each file that removes what they replace."""
        checked = self._rules.check_vectors(vectors)
        if not checked:
            return
        self._check_shape()
        for first in range(0, len(checked), self._page_points):
            self._write_page(checked[first : first + self._page_points])
        for file_id, ids in group_by_file(checked).items():
            chunks = None if whole_files else list(ids.values())
            self._delete(file_id, chunks, but=ids)

    @override
    def get_vectors_by_file_id(self, file_id: str) -> list[FileVector]:
        """The points of the file, by a filter, page by page."""
        self._rules.check_file_id(file_id)
        self._check_shape()
        found: dict[VectorId, FileVector] = {}
        chunks: dict[VectorId, int] = {}
        for record in self._scroll(self._filter(file_id)):
            vector, chunk = self._read(record)
            # Two points of one chunk are what a killed upsert left: the one of our rule is newer.
            if vector.id not in found or record.id == self._point_id(vector.id):
                found[vector.id] = vector
                chunks[vector.id] = chunk.chunk_index
        return sorted(found.values(), key=lambda vector: chunks[vector.id])

    @override
    def delete_vectors_by_ids(self, ids: Sequence[str]) -> None:
        """One request for each file."""
        removed = self._rules.parse_ids(ids)
        if not removed:
            return
        self._check_shape()
        for file_id, chunks in removed.items():
            self._delete(file_id, list(chunks.values()))

    @override
    def delete_vectors_by_file_id(self, file_id: str) -> None:
        """One request, with a filter."""
        self._rules.check_file_id(file_id)
        self._check_shape()
        self._delete(file_id, None)

    @override
    def get_collection_info(self) -> CollectionInfo:
        """The collection."""
        params = self._read_params()
        return CollectionInfo(
            name=self._name,
            dimensions=params.size,
            metric=METRICS[params.distance.value],
            vectors=self._count(),
        )

    @override
    def count_vectors(self) -> int:
        """Counted by the server."""
        self._check_shape()
        return self._count()

    @override
    def generate_vector_id(self, file_id: str, chunk_index: int) -> VectorId:
        """See `FileStore`."""
        return self._rules.generate_vector_id(file_id, chunk_index)

    @override
    def parse_vector_id(self, vector_id: str) -> FileChunk | None:
        """See `FileStore`."""
        return self._rules.parse_vector_id(vector_id)

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        """The result of a call that may be repeated."""
        try:
            return self._retry.call(lambda: ask_client(call))
        except CollectionMissing as error:
            raise PreconditionError(
                f"there is no collection '{self._name}': {error}",
                remedy="call initialize_collection, or correct the name",
            ) from error

    def _check_shape(self) -> None:
        if not self._shape_checked:
            self._read_params()
            self._shape_checked = True

    def _read_params(self) -> models.VectorParams:
        """Raises PreconditionError when the collection has another shape than the rules."""
        described = self._ask(lambda: self._client.get_collection(self._name))
        found = described.config.params.vectors
        named = found if isinstance(found, dict) else {"": found}
        params = named.get(self._vector_name)
        if params is None or params.multivector_config is not None:
            raise PreconditionError(
                f"collection '{self._name}' has no single vector '{self._vector_name}' a point",
                remedy=f"set vector_name to one of its names: {', '.join(named) or 'none'}",
            )
        datatype = EXACT_DATATYPE if params.datatype is None else params.datatype.value
        shape = (params.size, METRICS.get(params.distance.value), datatype)
        expected = (self._rules.dimensions, self._rules.metric, EXACT_DATATYPE)
        if shape != expected:
            raise PreconditionError(
                f"collection '{self._name}' has (dimensions, metric, type) {shape}, the store "
                f"needs {expected}",
                remedy="use another collection, or the rules of this one",
            )
        return params

    def _create_index(self, field: str, schema: models.PayloadSchemaType) -> None:
        with warnings.catch_warnings():  # an embedded store filters without an index
            warnings.filterwarnings("ignore", message=LOCAL_INDEXES)
            self._ask(lambda: self._client.create_payload_index(self._name, field, schema))

    def _point(self, vector: CheckedVector) -> models.PointStruct:
        values = vector.values.tolist()
        payload = decode_json(vector.metadata)
        assert isinstance(payload, dict), "metadata is an object"
        return models.PointStruct(
            id=self._point_id(vector.id),
            vector={self._vector_name: values} if self._vector_name else values,
            payload=payload,
        )

    def _filter(
        self,
        file_id: str,
        chunks: Sequence[int] | None = None,
        but: Mapping[VectorId, int] | None = None,
    ) -> models.Filter:
        """Points of the file: of these chunks (None: of all), but not those that hold `but`."""
        keys = self._rules.mapping
        must: list[models.Condition] = [
            models.FieldCondition(
                key=keys.group_key, match=models.MatchValue(value=group_value(file_id, keys))
            )
        ]
        if chunks is not None:
            match = models.MatchAny(any=list(chunks))
            must.append(models.FieldCondition(key=keys.order_key, match=match))
        kept: list[models.ExtendedPointId] = [self._point_id(one) for one in but or ()]
        must_not: list[models.Condition] = [models.HasIdCondition(has_id=kept)] if kept else []
        return models.Filter(must=must, must_not=must_not or None)

    def _delete(
        self,
        file_id: str,
        chunks: Sequence[int] | None,
        but: Mapping[VectorId, int] | None = None,
    ) -> None:
        selector = models.FilterSelector(filter=self._filter(file_id, chunks, but))
        self._ask(lambda: self._client.delete(self._name, selector, wait=True))

    def _write_page(self, vectors: Sequence[CheckedVector]) -> None:
        points = [self._point(one) for one in vectors]
        self._ask(lambda: self._client.upsert(self._name, points, wait=True))

    def _scroll(self, wanted: models.Filter) -> Iterator[models.Record]:
        start: models.ExtendedPointId | None = None
        while True:
            records, start = self._read_page(wanted, start)
            yield from records
            if start is None:
                return

    def _read_page(
        self, wanted: models.Filter, start: models.ExtendedPointId | None
    ) -> tuple[list[models.Record], models.ExtendedPointId | None]:
        return self._ask(
            lambda: self._client.scroll(
                self._name,
                scroll_filter=wanted,
                limit=self._page_points,
                offset=start,
                with_payload=True,
                with_vectors=True,
            )
        )

    def _read(self, record: models.Record) -> tuple[FileVector, FileChunk]:
        """Raises PreconditionError for a point that no file store would have written."""
        payload = record.payload or {}
        file_id = read_group(payload, self._rules.mapping)
        chunk_index = read_path(payload, self._rules.mapping.order_key)
        found = record.vector
        values = found.get(self._vector_name) if isinstance(found, dict) else found
        if file_id is None or type(chunk_index) is not int or values is None:
            raise PreconditionError(
                f"point {record.id} of file {file_id!r} has no number of a chunk, or no vector "
                f"'{self._vector_name}'",
                remedy="remove the point, or write the file again with whole_files",
            )
        vector = FileVector(
            id=self._rules.generate_vector_id(file_id, chunk_index),
            values=np.array(values, dtype=np.float32),
            metadata=payload,
        )
        return vector, FileChunk(file_id, chunk_index)

    def _count(self) -> int:
        return self._ask(lambda: self._client.count(self._name, exact=True)).count
