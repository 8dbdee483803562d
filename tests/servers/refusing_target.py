"""Both target stores in memory: they take, refuse, and note every request; visible at once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import orjson

from migrate.errors import TargetRefusedError
from migrate.model.records import (
    Accepted,
    IndexProgress,
    KvEntry,
    MutationId,
    Vector,
    VectorId,
    VectorIndex,
)

INDEX = VectorIndex(name="memory", dimensions=4, metric="cosine", created_on="2026-11-01T00:00:00Z")


class KilledError(Exception):
    """Stands for a kill: nothing of the tool expects it."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload as it arrived."""

    ids: tuple[VectorId, ...]
    body: bytes
    taken: bool


@dataclass(slots=True)
class MemoryVectors:
    """`ports.VectorTarget` over a dict, with what it refuses."""

    bad: frozenset[VectorId] = frozenset()  # one of them refuses the whole upload
    bytes_max: int | None = None  # hidden limit of a body: 413 beyond it
    status: int = 400  # of a refused line
    code: int | None = 40023
    refuses_all: Callable[[], bool] = lambda: False  # asked once per upload
    code_for_all: int | None = 49_999
    before: Callable[[], None] = lambda: None  # each may raise: a kill on the way there ...
    after: Callable[[], None] = lambda: None  # ... or on the way back
    stored: dict[VectorId, Vector] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    fetched: set[VectorId] = field(default_factory=set)

    def identity(self) -> dict[str, str]:
        return {"host": "memory", "vector_index": INDEX.name}

    def read_index(self) -> VectorIndex | None:
        return INDEX

    def create_index(self, *, dimensions: int, metric: str) -> VectorIndex:
        raise AssertionError("nobody creates one here")

    def read_metadata_indexes(self) -> dict[str, str]:
        return {}

    def create_metadata_index(self, property_name: str, index_type: str) -> None:
        raise AssertionError("nobody creates one here")

    def find(
        self, values: Sequence[float], where: Mapping[str, str | float | bool], *, limit: int
    ) -> list[VectorId]:
        raise AssertionError("no filter is asked here")

    def read_progress(self) -> IndexProgress:
        last = MutationId(f"m{len(self.uploads)}")
        return IndexProgress(
            vector_count=len(self.stored), processed_mutation=last, processed_at=None
        )

    def upsert(self, body: Sequence[bytes]) -> Accepted:
        self.before()
        vectors = [_vector(line) for line in b"".join(body).splitlines()]
        refusal = self._refusal(b"".join(body), vectors)
        ids = tuple(vector.id for vector in vectors)
        self.uploads.append(Upload(ids, b"".join(body), refusal is None))
        if refusal is None:
            self.stored.update({vector.id: vector for vector in vectors})
        self.after()
        if refusal is not None:
            raise refusal
        return self._accepted()

    def _refusal(self, body: bytes, vectors: Sequence[Vector]) -> TargetRefusedError | None:
        if self.refuses_all():
            return _refused("not now", 400, self.code_for_all)
        if self.bytes_max is not None and len(body) > self.bytes_max:
            return _refused("the body is too large", 413, None)
        bad = [vector.id for vector in vectors if vector.id in self.bad]
        return _refused(f"no thanks: {bad[0]}", self.status, self.code) if bad else None

    def delete(self, ids: Sequence[VectorId]) -> Accepted:
        for vector_id in ids:
            self.stored.pop(vector_id, None)
        return self._accepted()

    def _accepted(self) -> Accepted:
        return Accepted(mutation_id=MutationId(f"m{len(self.uploads)}"), server_date=None)

    def fetch(self, ids: Sequence[VectorId]) -> dict[VectorId, Vector]:
        self.fetched.update(ids)
        return {vector_id: self.stored[vector_id] for vector_id in ids if vector_id in self.stored}

    def list_ids(self) -> Iterator[list[VectorId]]:
        yield list(self.stored)


def _vector(line: bytes) -> Vector:
    record = orjson.loads(line)
    return Vector(
        id=VectorId(record["id"]),
        values=np.array(record["values"], np.float32),
        namespace=None,
        metadata=record.get("metadata"),
    )


def _refused(text: str, status: int, code: int | None) -> TargetRefusedError:
    return TargetRefusedError(
        f"upsert: HTTP {status}: {text}", remedy="none", status=status, code=code
    )


@dataclass(slots=True)
class MemoryKv:
    """`ports.KvTarget` over a dict."""

    stored: dict[str, KvEntry] = field(default_factory=dict)

    def identity(self) -> dict[str, str]:
        return {"host": "memory", "kv_namespace": "memory"}

    def service_wall_s(self) -> float | None:
        return None

    def write(self, entries: Sequence[KvEntry]) -> list[str]:
        self.stored.update({entry.key: entry for entry in entries})
        return []

    def delete(self, keys: Sequence[str]) -> list[str]:
        for key in keys:
            self.stored.pop(key, None)
        return []

    def list_keys(self, prefix: str) -> Iterator[KvEntry]:
        for key, entry in sorted(self.stored.items()):
            if key.startswith(prefix):
                yield replace(entry, value=b"")

    def read(self, keys: Iterable[str]) -> dict[str, KvEntry]:
        return {key: self.stored[key] for key in keys if key in self.stored}
