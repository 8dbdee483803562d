"""The records of both sides: points, pages of points, vectors, KV entries.

Hot paths work on whole pages: one float32 matrix and one list of payloads per page. `PointId` and
`Vector` describe one record each and are created only where a single record is needed.
"""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import repeat
from typing import NamedTuple, NewType

import numpy as np
import numpy.typing as npt

VectorId = NewType("VectorId", str)  # 1..64 bytes of UTF-8 in the target
MutationId = NewType("MutationId", str)  # a UUID; carries no order
# A shard key of a collection with custom sharding, as JSON: `7` and `"7"` are two keys.
ShardKey = NewType("ShardKey", str)
Float32Matrix = npt.NDArray[np.float32]  # shape (rows, dimensions), C-contiguous

UINT64_MAX = 2**64 - 1
UUID_MAX = 2**128 - 1


class PointIdType(StrEnum):
    """The two kinds of id a Qdrant server accepts (docs/services.md)."""

    UINT64 = "uint64"
    UUID = "uuid"


class PointId(NamedTuple):
    """A point id in the source's own order: all integers ascending, then all UUIDs ascending.

    A tuple: several are created and compared for every point.
    """

    rank: int  # 0 for an integer, 1 for a UUID
    number: int  # u64, or the UUID's 128 bits

    @classmethod
    def parse(cls, raw: object) -> "PointId":
        """Take what a client returns: int, `uuid.UUID` or any UUID spelling.

        Raises ValueError for anything else; a bool is not an integer here.
        """
        match raw:
            case bool():
                pass
            case int() if 0 <= raw <= UINT64_MAX:
                return cls(0, raw)
            case uuid.UUID():
                return cls(1, raw.int)
            case str():
                return cls(1, uuid.UUID(raw).int)
            case _:
                pass
        raise ValueError(f"not a point id: {raw!r}; a u64 or a UUID was expected")

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> "list[PointId]":
        """Integer ids of a whole page; four times as fast as one call per id.

        Raises ValueError when an id is not a u64.
        """
        for number in (min(numbers), max(numbers)) if numbers else ():
            cls.parse(number)
        return list(map(tuple.__new__, repeat(cls), zip(repeat(0), numbers, strict=False)))

    @classmethod
    def from_text(cls, text: str, id_type: str) -> "PointId":
        """The inverse of (`text`, `id_type`), as written in a snapshot."""
        match id_type:  # compared as text: this runs for every row that is read
            case "uint64":
                return cls.parse(int(text))
            case "uuid":
                return cls.parse(text)
            case _:
                raise ValueError(f"not a type of point id: {id_type!r}")

    @property
    def id_type(self) -> PointIdType:
        """Which of the two kinds."""
        return PointIdType.UUID if self.rank else PointIdType.UINT64

    @property
    def text(self) -> str:
        """Canonical spelling: decimal, or lower-case hyphenated UUID."""
        if not self.rank:
            return str(self.number)
        digits = f"{self.number:032x}"  # slower through `uuid.UUID`
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    @property
    def wire(self) -> int | str:
        """The form the Qdrant API takes."""
        return self.text if self.rank else self.number

    def successor(self) -> "PointId | None":
        """The next possible id, None after the last one; it need not exist in the source."""
        if self.rank == 0:
            return PointId(0, self.number + 1) if self.number < UINT64_MAX else PointId(1, 0)
        return PointId(1, self.number + 1) if self.number < UUID_MAX else None


def encode_shard_key(raw: object) -> ShardKey:
    """The key that a server names: an integer or a text. Raises ValueError for anything else."""
    match raw:
        case bool():
            pass
        case str() | int() if isinstance(raw, str) or 0 <= raw <= UINT64_MAX:
            return ShardKey(json.dumps(raw, ensure_ascii=False))
        case _:
            pass
    raise ValueError(f"not a shard key: {raw!r}; a u64 or a text was expected")


def decode_shard_key(key: ShardKey) -> int | str:
    """The key in the form the Qdrant API takes. Raises ValueError for a text that is no key."""
    raw: object = json.loads(key)
    if encode_shard_key(raw) != key:
        raise ValueError(f"not a shard key: {key!r}")
    assert isinstance(raw, int | str), "it was encoded"
    return raw


def name_shard_key(key: ShardKey) -> str:
    """The key in a message: a text in quotes, an integer without."""
    raw = decode_shard_key(key)
    return f"'{raw}'" if isinstance(raw, str) else str(raw)


def order_shard_keys(keys: Iterable[ShardKey]) -> list[ShardKey]:
    """The keys, each once: all integers ascending, then all texts ascending."""
    raw = {decode_shard_key(key) for key in keys}
    ordered = sorted(raw, key=lambda one: (isinstance(one, str), one))
    return [encode_shard_key(one) for one in ordered]


class VectorKind(StrEnum):
    """The kind of vector that a vector name of a collection holds."""

    DENSE = "dense"
    MULTI = "multi"
    SPARSE = "sparse"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSpec:
    """One vector name of a collection."""

    name: str  # "" for the unnamed vector
    kind: VectorKind
    dimensions: int | None  # None for sparse
    distance: str | None  # Cosine, Euclid, Dot, Manhattan; None for sparse
    datatype: str  # float32, float16, uint8, turbo4, ...: decides what "equal" can mean


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardCount:
    """One shard of a collection that is read."""

    number: int  # as the collection numbers it, from 0
    points: int | None  # the exact count in it; None where the server does not count by shard


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardKeyCount:
    """One shard key of a collection with custom sharding."""

    key: ShardKey
    points: int  # the exact count under it


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A source collection as its server describes it."""

    name: str
    vectors: tuple[VectorSpec, ...]  # sorted by name
    config: dict[str, object]  # the server's own answer, verbatim
    server: str  # product and version, for the record
    is_name_kept: bool = True  # False: the store holds no name, `name` is what the operator typed
    warnings: tuple[str, ...] = ()  # states that make a read unsafe to trust, in words
    shards: tuple[
        ShardCount, ...
    ] = ()  # all of them, by number; empty where the source does not show them
    # Points that exist and that neither pages nor counts show, in words: while there are any, a
    # read is not the whole collection.
    hidden: tuple[str, ...] = ()
    # Why the count and the pages of this collection may disagree permanently, in words.
    suspects: tuple[str, ...] = ()
    # All shard keys, integers before texts; None: the collection has no custom sharding.
    shard_keys: tuple[ShardKeyCount, ...] | None = None


@dataclass(frozen=True, slots=True)
class DenseColumn:
    """One dense vector name over a page."""

    values: Float32Matrix  # shape (rows, dimensions); zeros where absent
    present: npt.NDArray[np.bool_]  # shape (rows,)


@dataclass(frozen=True, slots=True)
class MultiColumn:
    """One multivector name over a page."""

    rows: tuple[Float32Matrix | None, ...]  # shape (k, dimensions) each; None = absent


@dataclass(frozen=True, slots=True)
class SparseColumn:
    """One sparse vector name over a page."""

    # (indices, values) of equal length, indices ascending; None = absent, empty is not absent
    rows: tuple[tuple[npt.NDArray[np.uint32], npt.NDArray[np.float32]] | None, ...]


VectorColumn = DenseColumn | MultiColumn | SparseColumn


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some points in id order, column by column. May be empty."""

    ids: tuple[PointId, ...]
    payloads: tuple[
        bytes, ...
    ]  # canonical JSON objects (model/canonical.py), b"{}" without payload
    vectors: dict[str, VectorColumn]  # one column for every vector name of the collection
    # What the source sent and no column holds: a vector that does not fit its declared shape
    # (wrong length, null inside), a payload with a key twice. Written as model/irregular.py says;
    # None for the regular rows.
    irregular: tuple[bytes | None, ...]
    shard_keys: tuple[ShardKey, ...] | None = None  # None: the collection has no custom sharding

    def __len__(self) -> int:
        """Number of points."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One record of the target vector index."""

    id: VectorId
    values: npt.NDArray[np.float32]  # shape (dimensions,)
    namespace: str | None
    metadata: dict[str, object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KvEntry:
    """One KV pair: as it was read, or as it is to be written."""

    key: str
    value: bytes
    metadata: object | None = None  # any JSON, at most 1,024 bytes
    expiration: int | None = None  # Unix seconds; None = no expiry


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorIndex:
    """A target vector index as its service describes it."""

    name: str
    dimensions: int
    metric: str  # cosine, euclidean, dot-product
    created_on: str  # distinguishes a re-created index from the planned one


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexProgress:
    """The service's `info` of a vector index: a hint when to look, never a proof."""

    vector_count: int | None  # lags, overshoots
    processed_mutation: MutationId | None
    processed_at: str | None  # RFC 3339, up to nine fractional digits


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierState:
    """What a verifier says of itself and of one vector index that it is bound to."""

    vectors_max: int  # of one question
    dimensions: int
    processed_mutation: MutationId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verifier found among the vectors of one question.

    All vectors that are in none of the three sets were read, and have the digest that they should
    have: the answer proves it. What is in a set is not proven, and has to be read in another way.
    """

    missing: frozenset[VectorId]
    differs: frozenset[VectorId]
    unreadable: frozenset[VectorId]
    retries: int  # reads that the service refused or failed at first

    @property
    def suspects(self) -> frozenset[VectorId]:
        """All that have to be read in another way."""
        return self.missing | self.differs | self.unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The target took a write; it is not visible yet."""

    mutation_id: MutationId
    server_date: str | None  # the answer's Date header: the service's own clock
