"""Find later writes by id: ids and keys that others added to the target, ids that they removed.

Both stores are listed; contents are not read. A listing takes a minute per 100,000 vectors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from migrate.model.records import VectorId
from migrate.ports import Target
from migrate.run.files import open_files_without, touched_keys
from migrate.run.folder import RunFolder
from migrate.run.refused_vectors import former_of_refused, unwritten_rows
from migrate.runtime import Runtime
from migrate.storage.id_files import write_ids
from migrate.storage.layout import LATER_DELETIONS, LATER_WRITES
from migrate.tables.target_ids import ID_COLUMNS, ListedIds
from migrate.upload.listing import list_own_keys, list_vectors
from reconcile.rollback.manifest import read_existing, read_foreign_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterWrites:
    """What the listings of both stores show beside the records of a chain of runs."""

    vectors: tuple[VectorId, ...]  # no run wrote them, and they were not there before; in order
    keys: tuple[str, ...]  # the same of the KV index
    # Ids that a catch-up removed and that are listed: only their contents say whose they are.
    recreated: tuple[VectorId, ...] = ()
    unlisted: frozenset[int] = frozenset()  # rows of the newest run whose vector is not listed
    # Of these, the ids that others must have removed; None: the run or its rollback is under way.
    deleted: tuple[VectorId, ...] | None = None

    def __len__(self) -> int:
        """Number of added ids and keys together."""
        return len(self.vectors) + len(self.keys)


def written_runs(chain: Sequence[RunFolder]) -> list[RunFolder]:
    """Those runs of a chain that may have written, the newest first."""
    return [run for run in chain if run.state().pre_images is not None]


def is_untouched(chain: Sequence[RunFolder]) -> bool:
    """Whether the newest run is complete and no rollback of the chain has begun.

    Only then is a vector that is gone one that others have removed.
    """
    return chain[0].state().completed and not any(run.state().rollback_opened for run in chain)


def find_later_writes(chain: Sequence[RunFolder], target: Target, runtime: Runtime) -> LaterWrites:
    """List both stores, without the ids and keys that these runs write or their pre-images name.

    `chain` are the `written_runs`, the newest first. A change under an id or key of a run is not
    found here.
    """
    runtime.progress.say("looking for later writes")
    newest, oldest = chain[0], chain[-1]
    plan, unwritten = newest.plan, unwritten_rows(newest)
    existing = {*read_existing(oldest), *(one for run in chain for one in former_of_refused(run))}
    removed = frozenset(_removed(chain))
    with ListedIds(newest.spill) as listed:
        list_vectors(listed, target.vectors, runtime, expected=plan.vectors)
        listed.compare(newest.targets(ID_COLUMNS, excluded=unwritten))
        added = [one for one in listed.elsewhere() if one not in existing]
        missing = list(listed.missing())
    known = {*read_foreign_keys(oldest), *_removed_keys(chain), plan.writes.counter_key}
    with open_files_without(newest, unwritten) as files:
        files.add_listed_keys(list_own_keys(target.kv, plan, runtime))
        elsewhere = files.keys_elsewhere(plan.mapping.key_template, plan.mapping.group_key)
        keys = tuple(key for key in elsewhere if key not in known)
    return LaterWrites(
        vectors=tuple(one for one in added if one not in removed),
        keys=keys,
        recreated=tuple(one for one in added if one in removed),
        unlisted=frozenset(row for row, _ in missing),
        deleted=tuple(one for _, one in missing) if is_untouched(chain) else None,
    )


def _removed(chain: Sequence[RunFolder]) -> Iterator[VectorId]:
    """The ids that catch-ups remove; they may still be there."""
    for run in chain:
        if run.difference is not None:
            yield from (one.vector_id for one in run.difference.removals)


def _removed_keys(chain: Sequence[RunFolder]) -> Iterator[str]:
    for run in chain:
        touched = touched_keys(run)
        if touched is not None:
            yield from touched.removed


def write_later_writes(run: RunFolder, later: LaterWrites) -> tuple[str, str]:
    """Write later-writes.ids, vector ids before keys, and later-deletions.ids below rollback/.

    Returns the addresses of both. The second file is left as it is while deletions are not known:
    it then holds those that were found before the rollback began.
    """
    run.rollback.make()
    added, deleted = run.rollback.file(LATER_WRITES), run.rollback.file(LATER_DELETIONS)
    write_ids(added, [*later.vectors, *later.keys])
    if later.deleted is not None:
        write_ids(deleted, later.deleted)
    return str(added), str(deleted)
