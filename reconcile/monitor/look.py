"""One look at the target: read both stores, relate them, and read again what differs."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from migrate.mapping.payload import encode_kv_key, read_group, read_namespace
from migrate.model.canonical import decode_json
from migrate.model.digest import digest_vector
from migrate.model.limits import FETCH_IDS_MAX, KV_READ_KEYS_MAX
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.plan.metadata_indexes import read_listed_types
from migrate.plan.request_counts import list_requests
from migrate.ports import Target
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.upload.listing import list_own_keys, walk_again
from migrate.words import counted, subject
from reconcile.monitor.table import TargetTable
from reconcile.rollback.manifest import read_existing, read_foreign_keys

LOOKS_AGAIN = 2  # after growing pauses, before a difference counts
FEW = 1_000  # up to this many differences are read one by one

Ids = tuple[str, ...]
Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRules:
    """What a look expects and how much it reads."""

    indexes: Mapping[str, str]  # metadata indexes: property -> type
    ttl_s: int | None  # KV entries may expire when it is set
    sample: int  # vectors whose contents are read
    seed: int  # of the sample
    settle_s: float  # before what differs is read again


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look has found."""

    vectors: int  # listed
    files: int  # entries of the file index
    named: int  # ids in these entries
    counter: int | None  # after the listing; None: absent or no number
    sampled: int  # vectors whose contents were read
    as_moved: int  # of these: still as the run has sent them
    findings: Mapping[str, Ids]  # class -> ids, keys or names, in order; classes without are absent


@dataclass(frozen=True, slots=True, kw_only=True)
class _Differing:
    """What does not fit together, so far."""

    dangling: Sequence[tuple[str, VectorId]] = ()  # key, id
    orphaned: Sequence[VectorId] = ()
    repeated: Sequence[VectorId] = ()
    malformed: Sequence[str] = ()  # keys

    def __len__(self) -> int:
        """Number of records."""
        return sum(map(len, (self.dangling, self.orphaned, self.repeated, self.malformed)))

    def that_were_in(self, former: "_Differing") -> "_Differing":
        """Those that differed before, too."""
        return _Differing(
            dangling=_common(self.dangling, former.dangling),
            orphaned=_common(self.orphaned, former.orphaned),
            repeated=_common(self.repeated, former.repeated),
            malformed=_common(self.malformed, former.malformed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """Both stores, read once from end to end."""

    vectors: int
    files: int
    named: int
    expiring: Ids
    counters: tuple[int | None, int | None]  # before and after
    differing: _Differing

    @property
    def is_counted(self) -> bool:
        """Whether the counter had the number of vectors at some time between its two readings."""
        before, after = self.counters
        if before is None or after is None:
            return False
        return min(before, after) <= self.vectors <= max(before, after)


def look(run: RunFolder, target: Target, rules: LookRules, runtime: Runtime) -> Look:
    """Look at the target of a run. Raises IndeterminateError when a listing cannot be completed."""
    with TargetTable(run.spill) as table:
        return _Looking(run, target, rules, runtime, table).look()


class _Looking:
    """The steps of one look."""

    def __init__(
        self,
        run: RunFolder,
        target: Target,
        rules: LookRules,
        runtime: Runtime,
        table: TargetTable,
    ) -> None:
        self._run = run
        self._target = target
        self._rules = rules
        self._runtime = runtime
        self._table = table
        self._mapping = run.plan.mapping
        self._on_metadata = self._mapping.on_metadata()
        self._has_files = bool(self._mapping.group_key)
        self._foreign = read_foreign_keys(run) | {run.plan.writes.counter_key}

    def look(self) -> Look:
        """Read everything once; what differs is read again."""
        self._table.add_exempt(self._exempt())
        reading = self._read_all()
        differing = reading.differing
        for ordinal in range(LOOKS_AGAIN):
            if not differing and reading.is_counted:
                break
            self._pause(ordinal, len(differing), is_counted=reading.is_counted)
            if len(differing) > FEW or not reading.is_counted:
                reading = self._read_all()
                differing = reading.differing.that_were_in(differing)
            else:
                differing = self._still(differing)
        sampled = self._table.sample(self._rules.sample, seed=self._rules.seed)
        as_moved, contents = self._read_sample(sampled)
        counter = f"{reading.counters[1]} for {counted(reading.vectors, 'vector')}"
        found: dict[str, Ids] = {
            "dangling": tuple(dict.fromkeys(str(one) for _, one in differing.dangling)),
            "orphaned": tuple(map(str, differing.orphaned)),
            "repeated": tuple(map(str, differing.repeated)),
            "malformed": tuple(differing.malformed),
            "expiring": reading.expiring,
            "counter": () if reading.is_counted else (counter,),
            "indexes": self._wrong_indexes(),
            "contents": contents,
        }
        return Look(
            vectors=reading.vectors,
            files=reading.files,
            named=reading.named,
            counter=reading.counters[1],
            sampled=len(sampled),
            as_moved=as_moved,
            findings={name: ids for name, ids in found.items() if ids},
        )

    def _pause(self, ordinal: int, differing: int, *, is_counted: bool) -> None:
        pause_s = self._rules.settle_s * 2**ordinal
        what = f"{subject(differing, 'record', 'differs')}" if differing else "the counter differs"
        if differing and not is_counted:
            what += ", and so does the counter"
        self._runtime.progress.say(f"{what}: looking again in {pause_s:.0f} s")
        self._runtime.clock.wait(pause_s)

    def _exempt(self) -> Iterator[list[str]]:
        """Ids without a KV entry: those of others from before the run, and those of no file."""
        yield list(read_existing(self._run))
        for batch in self._run.targets(["vector_id", "file"], excluded=self._run.refused_rows()):
            ids, files = (column.to_pylist() for column in batch.columns)
            yield [one for one, file in zip(ids, files, strict=True) if file is None]

    def _read_all(self) -> _Reading:
        before = self._counter()
        listed = self._list_keys()
        self._table.clear_named()
        malformed: list[str] = []
        named = self._table.add_named(self._entries(listed, malformed))
        self._runtime.progress.start(
            "listing vectors", total=named, unit="ids", requests=list_requests(named)
        )

        def walk() -> int:
            return self._table.add_listed(self._counted(self._target.vectors.list_ids()))

        vectors = walk_again("listing", walk, self._runtime)
        expires = () if self._rules.ttl_s is not None else listed
        return _Reading(
            vectors=vectors,
            files=len(listed),
            named=named,
            expiring=tuple(entry.key for entry in expires if entry.expiration is not None),
            counters=(before, self._counter()),
            differing=_Differing(
                dangling=list(self._table.dangling()),
                orphaned=list(self._table.orphaned()) if self._has_files else [],
                repeated=list(self._table.repeated()),
                malformed=malformed,
            ),
        )

    def _counted(self, pages: Iterable[list[VectorId]]) -> Iterator[list[VectorId]]:
        for page in pages:
            yield page
            self._runtime.progress.advance(len(page))

    def _counter(self) -> int | None:
        key = self._run.plan.writes.counter_key
        entry = self._target.kv.read([key]).get(key)
        if entry is None or not entry.value.isdigit():
            return None
        return int(entry.value)

    def _list_keys(self) -> list[KvEntry]:
        """The keys of the file index, without those that were there before the run."""
        if not self._has_files:
            return []
        listed = list_own_keys(self._target.kv, self._run.plan, self._runtime)
        return [entry for entry in listed if entry.key not in self._foreign]

    def _entries(
        self, listed: Sequence[KvEntry], malformed: list[str]
    ) -> Iterator[tuple[str, list[str]]]:
        """Key and ids of every entry; keys whose value is no list of ids go into `malformed`."""
        self._runtime.progress.start("reading the KV index", total=len(listed), unit="files")
        keys = iter(entry.key for entry in listed)
        while chunk := list(islice(keys, KV_READ_KEYS_MAX)):
            found = self._target.kv.read(chunk)
            for key in chunk:
                ids = _ids_in(found.get(key))
                if ids is None:
                    malformed.append(key)
                else:
                    yield key, ids
            self._runtime.progress.advance(len(chunk))

    def _still(self, candidates: _Differing) -> _Differing:
        """Those of a few candidates that still differ when each is read by itself."""
        dangling, orphaned = candidates.dangling, candidates.orphaned
        there = self._fetch([*(vector_id for _, vector_id in dangling), *orphaned])
        of_orphans = {one: self._key_of(there[one]) for one in orphaned if one in there}
        of_repeated = self._table.keys_of(candidates.repeated)
        keys = {
            *(key for key, _ in dangling),
            *(key for key in of_orphans.values() if key is not None),
            *of_repeated,
            *candidates.malformed,
        }
        entries = self._target.kv.read(sorted(keys))
        named = {key: _ids_in(entry) for key, entry in entries.items()}
        counts = Counter(one for key in of_repeated for one in named.get(key) or ())
        return _Differing(
            dangling=[
                (key, vector_id)
                for key, vector_id in dangling
                if vector_id in (named.get(key) or ()) and vector_id not in there
            ],
            orphaned=[
                one for one, key in of_orphans.items() if one not in (named.get(key or "") or ())
            ],
            repeated=[one for one in candidates.repeated if counts[one] > 1],
            # An entry that is gone was deleted with its file.
            malformed=[key for key in candidates.malformed if key in named and named[key] is None],
        )

    def _fetch(self, ids: Sequence[VectorId]) -> dict[VectorId, Vector]:
        found: dict[VectorId, Vector] = {}
        distinct = list(dict.fromkeys(ids))
        for start in range(0, len(distinct), FETCH_IDS_MAX):
            found |= self._target.vectors.fetch(distinct[start : start + FETCH_IDS_MAX])
        return found

    def _key_of(self, vector: Vector) -> str | None:
        """The KV key of the file that a vector's metadata names."""
        file = read_group(vector.metadata or {}, self._on_metadata)
        return None if file is None else encode_kv_key(file, self._mapping)

    def _read_sample(self, sampled: Sequence[tuple[VectorId, str | None]]) -> tuple[int, Ids]:
        """How many of the sample are as the run has sent them, and the ids that are wrong twice."""
        there = self._fetch([vector_id for vector_id, _ in sampled])
        digests = self._digests({str(vector_id) for vector_id, _ in sampled})
        as_moved = sum(
            digest_vector(vector) == digests.get(str(vector_id))
            for vector_id, vector in there.items()
        )
        keys = dict(sampled)
        wrong = [one for one, vector in there.items() if self._is_wrong(vector, keys[one])]
        if wrong:  # a read may be stale
            self._runtime.clock.wait(self._rules.settle_s)
            again = self._fetch(wrong)
            wrong = [one for one, vector in again.items() if self._is_wrong(vector, keys[one])]
        return as_moved, tuple(map(str, wrong))

    def _is_wrong(self, vector: Vector, key: str | None) -> bool:
        """Whether its values cannot be searched, or its file is not that of the entry `key`.

        Or its namespace is not the one that its metadata names. Metadata may name no file and no
        namespace: transforms have dropped or changed that field.
        """
        values = vector.values
        is_whole = len(values) == self._run.plan.values.dimensions and np.isfinite(values).all()
        names_file = key is not None and bool(self._on_metadata.group_key)
        namespace = read_namespace(vector.metadata or {}, self._on_metadata)
        is_elsewhere = namespace is not None and vector.namespace != namespace
        return not is_whole or is_elsewhere or (names_file and self._key_of(vector) != key)

    def _digests(self, ids: set[str]) -> dict[str, bytes]:
        """Id -> digest of what the run has sent, for those of these ids that it has sent."""
        found: dict[str, bytes] = {}
        for batch in self._run.targets(["vector_id", "digest"]):
            for at, vector_id in enumerate(batch.column("vector_id").to_pylist()):
                if vector_id in ids:
                    found[vector_id] = batch.column("digest")[at].as_py()
        return found

    def _wrong_indexes(self) -> Ids:
        listed = read_listed_types(
            self._target.vectors,
            self._rules.indexes,
            pause_s=self._rules.settle_s,
            clock=self._runtime.clock,
        )
        return tuple(
            f"{name}:{kind}" for name, kind in self._rules.indexes.items() if listed[name] != kind
        )


def _ids_in(entry: KvEntry | None) -> list[str] | None:
    """The ids that an entry names; None when it is absent or no list of texts."""
    if entry is None:
        return None
    try:
        ids = decode_json(entry.value)
    except ValueError:
        return None
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        return None
    return ids


def _common(found: Sequence[Item], former: Sequence[Item]) -> list[Item]:
    known = set(former)
    return [one for one in found if one in known]
