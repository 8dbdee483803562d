"""What a target holds beside the vectors and entries of a run, as far as the files of --dir say.

That is what the index held before the run, and what other runs of the same folder have written to
it since: each part of a collection, such as a tenant, has a run of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from migrate.errors import MigrationError
from migrate.mapping.payload import encode_kv_key
from migrate.model.records import VectorId
from migrate.run.choose.chain import find_later_run, open_base
from migrate.run.folder import RunFolder, run_folders
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.storage.layout import RUNS
from reconcile.rollback.manifest import read_existing, read_foreign_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """Vectors and KV keys that are no drift although the run did not write them."""

    vectors: frozenset[VectorId]
    keys: frozenset[str]
    shared: frozenset[str] = frozenset()  # ids and keys of the run that others have written too
    # Id and end of the journal of the newest run of each other chain in the target, oldest first.
    runs: tuple[tuple[str, str], ...] = ()

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The other runs."""
        return tuple(run_id for run_id, _ in self.runs)


def read_others(run: RunFolder) -> Others:
    """What was there before the run, and what other complete runs of its folder have written.

    A run that is not complete, or is being rolled back, counts as another writer.
    """
    vectors, keys = set(read_existing(run)), set(read_foreign_keys(run))
    runs, by_others = [], set[str]()
    with ExitStack() as stack:
        for chain in _other_chains(run, stack):
            newest, *before = chain
            written = set(_ids_of(newest))
            vectors.difference_update(*map(_ids_of, before))  # what catch-ups have removed since
            vectors |= written
            written_keys = _keys_of(newest)
            keys |= written_keys
            by_others |= written | written_keys
            runs.append((newest.plan.run_id, newest.journal.chain))
    shared = set[str]()
    if runs:
        vectors.difference_update(_ids_of(run))
        shared = by_others.intersection(_ids_of(run)) | (by_others & _keys_of(run))
    return Others(
        vectors=frozenset(vectors),
        keys=frozenset(keys),
        shared=frozenset(shared),
        runs=tuple(runs),
    )


def _other_chains(run: RunFolder, stack: ExitStack) -> Iterator[Sequence[RunFolder]]:
    """The other chains of complete runs in the target of a run, each with its newest run first."""
    own = _links(run.snapshot)
    for folder in sealed_folders(run.snapshot.folder.parent):
        if not folder.has(RUNS):
            continue
        with suppress(MigrationError):  # a snapshot that cannot be read is no evidence
            snapshot = Snapshot(folder, run.snapshot.key)
            if not own & _links(snapshot):
                for place in run_folders(snapshot):
                    yield from _chain_of(RunFolder(place, snapshot, read_only=True), run, stack)


def _chain_of(newest: RunFolder, run: RunFolder, stack: ExitStack) -> Iterator[Sequence[RunFolder]]:
    """The chain that ends in a run, if all of it stands in the target of `run`."""
    stack.callback(newest.close)
    state = newest.state()
    stands = state.completed and not state.rollback_opened
    is_here = (newest.plan.vector_target, newest.plan.kv_target) == (
        run.plan.vector_target,
        run.plan.kv_target,
    )
    if not stands or not is_here or find_later_run(newest) is not None:
        return
    chain = [newest]
    while (base := open_base(chain[-1])) is not None:
        stack.callback(base.close)
        chain.append(base)
    yield chain


def _links(snapshot: Snapshot) -> frozenset[str]:
    """The ids of a snapshot and of those that it is a difference to."""
    return frozenset(link.manifest.snapshot_id for link in snapshot.chain)


def _ids_of(run: RunFolder) -> Iterator[VectorId]:
    """The ids of the vectors that a run has written."""
    for batch in run.targets(["vector_id"], excluded=run.refused_rows()):
        yield from map(VectorId, batch.column("vector_id").to_pylist())


def _keys_of(run: RunFolder) -> frozenset[str]:
    """The KV keys of the files of a run."""
    files: set[str | None] = set()
    for batch in run.targets(["file"], excluded=run.refused_rows()):
        files.update(batch.column("file").to_pylist())
    return frozenset(encode_kv_key(file, run.plan.mapping) for file in files if file is not None)
