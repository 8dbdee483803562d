"""Which vectors a file store takes, and the ids of its files' chunks. Pure.

The rules are those of a move, so both stores hold what q2v would have moved.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from migrate.errors import UsageError
from migrate.file_stores.contract import FileChunk, FileVector
from migrate.mapping.agreement import check_agreement
from migrate.mapping.kv_keys import key_fault
from migrate.mapping.payload import Elsewhere, Mapped, encode_kv_key, map_payload
from migrate.mapping.rules import MappingRules, WriteRules
from migrate.mapping.value_rules import FIELD_IN_BRACES
from migrate.mapping.values import ValueRules
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.limits import EXACT_INTEGER_MAX, VECTOR_ID_BYTES_MAX
from migrate.model.records import PointId, VectorId
from migrate.plan.target_shape import METRICS
from migrate.words import counted

NUMBERS = "fiu"  # kinds of arrays: floats and integers; no text, no booleans
_NO_POINT = PointId(0, 0)  # the id of a stored chunk comes from its metadata alone
# The defaults of `q2v`, which docs/settings.md explains.
_MAPPING = MappingRules(
    id_template="{file_id}_{chunk_index}",
    group_key="file_id",
    order_key="chunk_index",
    hash_key="chunk_hash",
    key_template="file:{file_id}",
    nulls="quarantine",
    truncate_field=None,
)
_WRITES = WriteRules(
    vectors_per_upload=2_500, body_bytes=40_000_000, counter_key="_vector_count", ttl_s=None
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedVector:
    """A vector that both stores can hold."""

    id: VectorId
    chunk: FileChunk
    values: npt.NDArray[np.float32]  # shape (dimensions,), contiguous
    metadata: bytes  # canonical JSON, as the rules of the mapping make it
    namespace: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStoreRules:
    """Shape of the vectors, form of ids, keys and metadata: as in the move that filled the store.

    `mapping` and `writes` may be those of a run's plan. Raises UsageError for rules that make one
    id of two chunks, or one key of two files.
    """

    dimensions: int
    metric: str = "cosine"  # cosine, euclidean, dot-product
    mapping: MappingRules = field(default=_MAPPING)
    writes: WriteRules = field(default=_WRITES)
    index: str | None = None  # the one of several vector indexes that the store writes into

    def __post_init__(self) -> None:
        """Check the rules against each other. The store's vectors have metadata, not payloads."""
        given = self.mapping
        mapping = replace(given.on_metadata(), long_id_field=None)  # an id has to be parsed
        object.__setattr__(self, "mapping", mapping)
        check_agreement(self.mapping.by_setting, {})
        if given.namespace and not mapping.namespace:
            raise UsageError(
                f'mapping.namespace: found "{given.namespace}", expected fields that the metadata '
                "has: a rule of mapping.transform drops or changes one of them",
                remedy="keep these fields in the metadata as they are",
            )
        _id_pattern(self.mapping.id_template, self.mapping.group_key, self.mapping.order_key)
        if self.metric not in METRICS.values():
            raise UsageError(
                f"metric: found '{self.metric}', expected one of {', '.join(METRICS.values())}",
                remedy="give the metric of the vector index",
            )

    @property
    def values(self) -> ValueRules:
        """The same shape as the rules of a move have it."""
        return ValueRules(
            vector_name="",
            source_dimensions=self.dimensions,
            dimensions=self.dimensions,
            reduce="none",
            metric=self.metric,
        )

    def generate_vector_id(self, file_id: str, chunk_index: int) -> VectorId:
        """See `FileStore`."""
        fields = {self.mapping.group_key: str(file_id), self.mapping.order_key: str(chunk_index)}
        text = FIELD_IN_BRACES.sub(lambda name: fields[name[1]], self.mapping.id_template)
        size = len(text.encode(errors="surrogatepass"))
        if size > VECTOR_ID_BYTES_MAX:
            raise UsageError(
                f"vector id '{text}': {size} bytes, at most {VECTOR_ID_BYTES_MAX} are possible",
                remedy="shorten the file's id, or use another id template",
            )
        if self.parse_vector_id(text) != (file_id, chunk_index):
            raise UsageError(
                f"file {file_id!r}, chunk {chunk_index!r}: found something else than a text that "
                f"is not empty and a whole number from 0 to 2^53 - 1",
                remedy="pass the file's id and the number of its chunk",
            )
        return VectorId(text)

    def parse_vector_id(self, vector_id: str) -> FileChunk | None:
        """See `FileStore`."""
        pattern = _id_pattern(
            self.mapping.id_template, self.mapping.group_key, self.mapping.order_key
        )
        found = pattern.fullmatch(vector_id)
        if found is None or len(vector_id.encode(errors="replace")) > VECTOR_ID_BYTES_MAX:
            return None
        chunk_index = int(found["order"])
        return FileChunk(found["group"], chunk_index) if chunk_index <= EXACT_INTEGER_MAX else None

    def parse_ids(self, ids: Iterable[str]) -> dict[str, dict[VectorId, int]]:
        """File -> id -> chunk number. Raises UsageError for an id of another form."""
        found: dict[str, dict[VectorId, int]] = {}
        for vector_id in ids:
            chunk = self.parse_vector_id(vector_id)
            if chunk is None:
                raise UsageError(
                    f"vector id {vector_id!r}: expected the form {self.mapping.id_template}",
                    remedy="pass ids that generate_vector_id has made; nothing was sent",
                )
            found.setdefault(chunk.file_id, {})[VectorId(vector_id)] = chunk.chunk_index
        return found

    def check_file_id(self, file_id: str) -> None:
        """Raises UsageError for a file that has no KV key, or the key of the counter."""
        key = encode_kv_key(file_id, self.mapping)
        fault = key_fault(key) if file_id else "the file's id is empty"
        if fault is None and key == self.writes.counter_key:
            fault = "the counter has this key"
        if fault is not None:
            raise UsageError(
                f"file {file_id!r}: KV cannot hold the key {key!r}: {fault}",
                remedy="use another id for the file",
            )

    def check_vectors(self, vectors: Sequence[FileVector]) -> list[CheckedVector]:
        """The vectors in the form in which they are stored. Raises UsageError, naming the first."""
        checked: dict[VectorId, CheckedVector] = {}
        namespaces: dict[str, str | None] = {}  # by file
        for vector in vectors:
            found = self._check(vector)
            if found.id in checked:
                raise _refused(vector, "the id occurs twice in this call")
            checked[found.id] = found
            of_file = namespaces.setdefault(found.chunk.file_id, found.namespace)
            if found.namespace != of_file:
                raise _refused(
                    vector,
                    f"namespace '{found.namespace}', others of its file are in '{of_file}'",
                )
        return list(checked.values())

    def _check(self, vector: FileVector) -> CheckedVector:
        values = self._check_values(vector)
        mapped = map_payload(_NO_POINT, _encode_metadata(vector), self.mapping)
        if isinstance(mapped, Elsewhere):
            raise _refused(vector, f"its file belongs to vector index '{mapped.index}'")
        if not isinstance(mapped, Mapped):
            raise _refused(vector, f"'{mapped.field}' in the metadata: {mapped.detail}")
        if mapped.vector_id != vector.id:
            raise _refused(vector, f"its metadata makes the id '{mapped.vector_id}'")
        chunk = self.parse_vector_id(mapped.vector_id)
        if chunk is None or chunk != (mapped.group, mapped.order):
            raise _refused(vector, "its id does not name the file and the chunk")
        self.check_file_id(chunk.file_id)
        return CheckedVector(
            id=mapped.vector_id,
            chunk=chunk,
            values=values,
            metadata=mapped.metadata,
            namespace=mapped.namespace,
        )

    def _check_values(self, vector: FileVector) -> npt.NDArray[np.float32]:
        given = _as_array(vector)
        if given.dtype.kind not in NUMBERS:
            raise _refused(vector, "the values are no numbers")
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused below
            values = np.ascontiguousarray(given, dtype=np.float32)
        if values.shape != (self.dimensions,):
            found = (
                counted(values.size, "value")
                if values.ndim == 1
                else f"an array of shape ({', '.join(map(str, values.shape))})"
            )
            raise _refused(
                vector,
                f"{found}, the store takes {counted(self.dimensions, 'value')}",
                remedy=f"ask the embedding model for {counted(self.dimensions, 'dimension')}",
            )
        if not np.isfinite(values).all():
            raise _refused(vector, "NaN, infinity or a value beyond float32")
        if self.metric == "cosine" and not values.any():
            raise _refused(vector, "all values are zero, which have no direction")
        return values


def _as_array(vector: FileVector) -> npt.NDArray[Any]:
    try:
        return np.asarray(vector.values)
    except ValueError as error:  # lists of several lengths
        raise _refused(vector, f"the values are no numbers: {error}") from error


def _encode_metadata(vector: FileVector) -> bytes:
    given = dict(vector.metadata)
    try:
        text = encode_canonical_json(given)
    except ValueError as error:
        raise _refused(vector, f"the metadata is no JSON: {error}") from error
    if decode_json(text) != given:  # a date, for example, would come back as text
        raise _refused(vector, "the metadata holds a value that is no JSON value")
    return text


def _refused(
    vector: FileVector, why: str, *, remedy: str = "correct this vector, then call again"
) -> UsageError:
    return UsageError(f"vector {vector.id!r}: {why}", remedy=f"{remedy}; nothing was sent")


@lru_cache(maxsize=16)  # one template a store, asked for with every id
def _id_pattern(template: str, group_key: str, order_key: str) -> re.Pattern[str]:
    """What every id fits, with the groups `group` and `order`. Raises UsageError.

    The fields are found again because a chunk's number has only digits, and something else stands
    between it and the file's id.
    """
    texts = FIELD_IN_BRACES.split(template)
    literals, names = texts[::2], texts[1::2]
    between = literals[1] if len(literals) > 1 else ""
    if (
        not group_key
        or not order_key
        or sorted(names) != sorted([group_key, order_key])
        or not between.strip("0123456789")
    ):
        raise UsageError(
            f'id template: found "{template}", expected the fields {{{group_key}}} and '
            f"{{{order_key}}}, each once, with something other than digits between them",
            remedy="use {file_id}_{chunk_index} or similar: a file store finds the file by the id",
        )
    fields = {group_key: "(?P<group>.+)", order_key: "(?P<order>0|[1-9][0-9]*)"}
    first, last = (fields[name] for name in names)
    pieces = [re.escape(literals[0]), first, re.escape(between), last, re.escape(literals[2])]
    return re.compile("".join(pieces), re.DOTALL)


def group_by_file(vectors: Iterable[CheckedVector]) -> Mapping[str, dict[VectorId, int]]:
    """File -> id -> chunk number."""
    found: dict[str, dict[VectorId, int]] = {}
    for vector in vectors:
        found.setdefault(vector.chunk.file_id, {})[vector.id] = vector.chunk.chunk_index
    return found
