"""Contents that are no later writes: what a chain of runs wrote, and what was there before it."""

from collections import defaultdict
from collections.abc import Sequence

from migrate.model.digest import digest_vector
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.run.folder import RunFolder
from migrate.run.refused_vectors import read_pre_images
from migrate.upload.removal import read_removed
from reconcile.differences import entry_differences
from reconcile.rollback.kv import our_entries
from reconcile.rollback.manifest import read_kv


class KnownVectors:
    """The contents of vectors that are known beside those of the newest run."""

    def __init__(self, chain: Sequence[RunFolder]) -> None:
        """Reads the pre-images of `chain`; holds a digest for each vector that was there before."""
        self._digests: defaultdict[VectorId, set[bytes]] = defaultdict(set)
        for run in chain:
            for record in read_pre_images(run):
                if record.former is not None:
                    self._digests[record.vector_id].add(digest_vector(record.former))
            for record, digest in read_removed(run):
                self._digests[record.vector_id].add(digest)

    def has(self, vector: Vector, ours: bytes | None = None) -> bool:
        """Whether a run left this content, or found it; `ours`: the newest run's digest of it."""
        digest = digest_vector(vector)
        return digest == ours or digest in self._digests.get(vector.id, ())


class KnownEntries:
    """The KV entries of files that a chain of runs wrote, or found under its keys."""

    def __init__(self, chain: Sequence[RunFolder]) -> None:
        self._entries: defaultdict[str, list[KvEntry]] = defaultdict(list)
        counter_key = chain[0].plan.writes.counter_key
        written: list[frozenset[str]] = []
        for run in chain:
            ours = our_entries(run)
            written.append(frozenset(ours.keys() - {counter_key}))
            for key, entries in ours.items():
                self._entries[key] += entries
            for record in read_kv(run):
                if record.former is not None:
                    self._entries[record.key].append(record.former)
        self._entries.pop(counter_key, None)
        self.written = written[0]  # keys of files of the newest run

    def names(self, key: str) -> bool:
        """Whether a run wrote this key, or found an entry under it."""
        return key in self._entries

    def has(self, entry: KvEntry) -> bool:
        """Whether a run left this entry, or found it."""
        known = self._entries.get(entry.key, ())
        return any(not entry_differences(one, entry) for one in known)
