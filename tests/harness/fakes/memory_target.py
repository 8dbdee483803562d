"""One fake for each target port, in memory: every call counted, what is written visible at once.

`tests/migrate/cloudflare/test_target_conformance.py` holds both to the adapters over the sandbox.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from migrate.cloudflare.client.codes import DUPLICATE_INDEX_CODE, refused_error
from migrate.errors import TargetRefusedError
from migrate.mapping.metadata_indexes import indexed_value, look_up
from migrate.model.limits import DELETE_IDS_MAX, FETCH_IDS_MAX
from migrate.model.records import (
    Accepted,
    IndexProgress,
    KvEntry,
    MutationId,
    Vector,
    VectorId,
    VectorIndex,
)
from tests.harness.tiers import some_of_each

DATE = "Mon, 23 Nov 2026 12:00:00 GMT"
WRITES = frozenset({"upsert", "delete", "kv write", "kv delete"})  # calls that change something


class Calls:
    """The calls that reached the stores; `before` may raise in place of an answer."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.before: Callable[[int, str], None] = lambda number, what: None

    def note(self, what: str) -> None:
        """One more call; the first has number 0."""
        self.before(len(self.made), what)
        self.made.append(what)

    @property
    def writes(self) -> list[str]:
        """The calls that change something."""
        return [what for what in self.made if what in WRITES]


def some_calls(kinds: Sequence[str]) -> list[int]:
    """The calls that `make check` strikes, of which these are the kinds."""
    return some_of_each(kinds, lambda kind: kind in WRITES)


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload as it arrived."""

    ids: tuple[VectorId, ...]
    body: bytes
    taken: bool


@dataclass(slots=True, kw_only=True)
class Refusals:
    """Which uploads the vector index refuses, and with which answer; by default none."""

    bad: frozenset[VectorId] = frozenset()  # one of them refuses the whole upload
    bytes_max: int | None = None  # hidden limit of a body: 413 beyond it
    status: int = 400  # of an upload with a bad vector
    code: int | None = 40023
    refuses_all: Callable[[], bool] = lambda: False  # called once per upload
    code_for_all: int | None = 49_999

    def refusal(self, body: bytes, ids: Sequence[VectorId]) -> TargetRefusedError | None:
        """The error that answers this upload; None: it is taken."""
        if self.refuses_all():
            return _refused("upsert", "not now", 400, self.code_for_all)
        if self.bytes_max is not None and len(body) > self.bytes_max:
            return _refused("upsert", "the body is too large", 413, None)
        bad = [vector_id for vector_id in ids if vector_id in self.bad]
        return _refused("upsert", f"no thanks: {bad[0]}", self.status, self.code) if bad else None


def _refused(operation: str, text: str, status: int, code: int | None) -> TargetRefusedError:
    what = f"{operation}: HTTP {status}: {text}"
    return refused_error(what, remedy="none", status=status, code=code)


class MemoryVectors:
    """`ports.VectorTarget` over a dict; what is accepted is visible at once."""

    def __init__(
        self,
        refusals: Refusals | None = None,
        *,
        calls: Calls | None = None,
        dimensions: int = 4,
        page_ids: int = 7,
        stored: Mapping[VectorId, Vector] | None = None,
    ) -> None:
        """`calls` may be shared with a `MemoryKv`; `stored` is there from the beginning."""
        self.stored: dict[VectorId, Vector] = dict(stored or {})
        self.index: VectorIndex | None = _index(dimensions, "cosine")
        self.page_ids = page_ids
        self.refusals = refusals or Refusals()
        self.uploads: list[Upload] = []
        self.fetched: set[VectorId] = set()
        self.before_upload: Callable[[], None] = lambda: None  # each may raise: a kill before ...
        self.after_upload: Callable[[], None] = lambda: None  # ... or after the service acted
        self.withheld: frozenset[str] = frozenset()  # listed, and never given out
        self.left_out: frozenset[str] = frozenset()  # there, given out by id, and never listed
        self.listed_gone: set[VectorId] = set()  # ids that are listed although they are gone
        self.stale: dict[VectorId, list[Vector]] = {}  # what the next reads of an id show
        self.spelt: Callable[[Vector], Vector] = lambda vector: vector  # how a record is given out
        self.metadata_indexes: dict[str, str] = {}
        self.stale_lists: list[dict[str, str]] = []  # what the next lists of them show
        self.stale_answers: list[list[VectorId]] = []  # what the next filters find
        self.unfiltered: dict[str, set[VectorId]] = {}  # written before the index of a property
        self.also_found: dict[str, set[VectorId]] = {}  # by every filter on a property
        self.calls = calls or Calls()
        self.mutations = 0  # accepted so far

    def continue_from(self, other: "MemoryVectors") -> None:
        """Hold what another index of the same size holds, and count mutations from there."""
        self.stored = dict(other.stored)
        self.mutations = other.mutations

    def identity(self) -> dict[str, str]:
        return {"host": "memory", "vector_index": "memory"}

    def read_index(self) -> VectorIndex | None:
        return self.index

    def create_index(self, *, dimensions: int, metric: str) -> VectorIndex:
        if self.index is not None:
            raise _refused("create index", "the name is taken", 400, DUPLICATE_INDEX_CODE)
        self.index = _index(dimensions, metric)
        return self.index

    def read_metadata_indexes(self) -> dict[str, str]:
        self.calls.note("list metadata indexes")
        return self.stale_lists.pop() if self.stale_lists else dict(self.metadata_indexes)

    def create_metadata_index(self, property_name: str, index_type: str) -> None:
        """A vector that is there already is not in it until it is written again."""
        self.metadata_indexes[property_name] = index_type
        self.unfiltered[property_name] = set(self.stored)

    def find(
        self,
        values: Sequence[float],
        where: Mapping[str, str | float | bool],
        *,
        limit: int,
        namespace: str | None = None,
    ) -> list[VectorId]:
        self.calls.note("query")
        assert self.index is not None
        assert len(values) == self.index.dimensions
        if self.stale_answers:
            return self.stale_answers.pop()
        found = [
            one
            for one in self.stored.values()
            if namespace in {None, one.namespace} and self._is_found(one, where)
        ]
        found.sort(key=lambda one: -float(one.values @ np.array(values, np.float32)))
        return [one.id for one in found[:limit]]

    def _is_found(self, vector: Vector, where: Mapping[str, str | float | bool]) -> bool:
        return all(
            vector.id in self.also_found.get(name, ())
            or (
                name in self.metadata_indexes
                and vector.id not in self.unfiltered.get(name, ())
                and indexed_value(look_up(vector.metadata or {}, name), self.metadata_indexes[name])
                == wanted
            )
            for name, wanted in where.items()
        )

    def read_progress(self) -> IndexProgress:
        self.calls.note("progress")
        newest = MutationId(str(self.mutations))
        return IndexProgress(vector_count=None, processed_mutation=newest, processed_at=None)

    def upsert(self, body: Sequence[bytes]) -> Accepted:
        self.calls.note("upsert")
        self.before_upload()
        whole = b"".join(body)
        vectors = [_vector(line) for line in whole.splitlines()]
        ids = tuple(vector.id for vector in vectors)
        refusal = self.refusals.refusal(whole, ids)
        self.uploads.append(Upload(ids, whole, refusal is None))
        if refusal is None:
            self._store(vectors)
        self.after_upload()
        if refusal is not None:
            raise refusal
        return self._accepted()

    def _store(self, vectors: Sequence[Vector]) -> None:
        for earlier in self.unfiltered.values():
            earlier.difference_update(vector.id for vector in vectors)
        self.stored.update((vector.id, vector) for vector in vectors)

    def delete(self, ids: Sequence[VectorId]) -> Accepted:
        assert len(ids) <= DELETE_IDS_MAX
        self.calls.note("delete")
        for vector_id in ids:
            self.stored.pop(vector_id, None)
        return self._accepted()

    def _accepted(self) -> Accepted:
        self.mutations += 1
        return Accepted(mutation_id=MutationId(str(self.mutations)), server_date=DATE)

    def fetch(self, ids: Sequence[VectorId]) -> dict[VectorId, Vector]:
        assert len(set(ids)) == len(ids) <= FETCH_IDS_MAX
        self.calls.note("fetch")
        self.fetched.update(ids)
        shown = {one: self.stale[one].pop() for one in ids if self.stale.get(one)}
        given = [one for one in ids if one in self.stored and one not in self.withheld]
        return {one: self.spelt(self.stored[one]) for one in given} | shown

    def count_vectors(self) -> int:
        self.calls.note("count")
        return len(self.stored.keys() - self.left_out)

    def list_ids(self) -> Iterator[list[VectorId]]:
        ids = sorted((self.stored.keys() - self.left_out) | self.listed_gone, reverse=True)
        for start in range(0, max(1, len(ids)), self.page_ids):
            self.calls.note("list")
            yield ids[start : start + self.page_ids]


def _index(dimensions: int, metric: str) -> VectorIndex:
    return VectorIndex(
        name="memory", dimensions=dimensions, metric=metric, created_on="2026-11-23T00:00:00Z"
    )


def _vector(line: bytes) -> Vector:
    """A line of an upload as a reader of the index sees it."""
    fields = json.loads(line)
    return Vector(
        id=VectorId(fields["id"]),
        values=np.array(fields["values"], np.float32),
        namespace=fields.get("namespace"),
        metadata=fields.get("metadata"),
    )


class MemoryKv:
    """`ports.KvTarget` over a dict; no write is partial."""

    def __init__(self, calls: Calls | None = None) -> None:
        self.stored: dict[str, KvEntry] = {}
        self.stale: dict[str, list[KvEntry]] = {}  # what the next reads of a key show
        self.listed_gone: set[str] = set()  # keys that are listed although they are gone
        self.listed_expirations: dict[str, int | None] = {}  # as a listing shows them, not as held
        self.left_out: frozenset[str] = frozenset()  # there, can be read, and never listed
        self.withheld: frozenset[str] = frozenset()  # listed, and reads as absent
        self.calls = calls or Calls()

    def identity(self) -> dict[str, str]:
        return {"host": "memory", "kv_namespace": "memory"}

    def service_wall_s(self) -> float | None:
        return None

    def write(self, entries: Sequence[KvEntry]) -> list[str]:
        self.calls.note("kv write")
        self.stored |= {entry.key: entry for entry in entries}
        return []

    def delete(self, keys: Sequence[str]) -> list[str]:
        self.calls.note("kv delete")
        for key in keys:
            self.stored.pop(key, None)
        return []

    def list_keys(self, prefix: str) -> Iterator[KvEntry]:
        self.calls.note("kv list")
        for key in sorted(self.stored):
            if key.startswith(prefix) and key not in self.left_out:
                held = self.stored[key]
                expiration = self.listed_expirations.get(key, held.expiration)
                yield replace(held, value=b"", expiration=expiration)
        for key in sorted(self.listed_gone - self.stored.keys()):
            if key.startswith(prefix):
                yield KvEntry(key=key, value=b"")

    def read(self, keys: Iterable[str]) -> dict[str, KvEntry]:
        self.calls.note("kv read")
        wanted = [key for key in keys if key not in self.withheld]
        shown = {key: self.stale[key].pop() for key in wanted if self.stale.get(key)}
        present = [key for key in wanted if key in self.stored]
        return {key: replace(self.stored[key], expiration=None) for key in present} | shown
