"""Find ids and keys added to the target since the run; a rollback does not copy them to Qdrant."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from migrate.errors import PreconditionError
from migrate.mapping.kv_entries import key_prefix
from migrate.ports import Target
from migrate.run.files import open_files_without, touched_keys
from migrate.run.folder import RunFolder
from migrate.run.refused_vectors import unwritten_rows
from migrate.runtime import Runtime
from migrate.storage.id_files import write_ids
from migrate.storage.layout import LATER_WRITES
from migrate.tables.target_ids import ID_COLUMNS, ListedIds
from migrate.upload.listing import list_keys, list_vectors
from reconcile.rollback.manifest import read_existing, read_foreign_keys

_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class LaterWrites:
    """Ids and keys that the run did not write and that did not exist before it."""

    vectors: tuple[str, ...]
    keys: tuple[str, ...]

    def __len__(self) -> int:
        """Number of ids and keys together."""
        return len(self.vectors) + len(self.keys)


def find_later_writes(
    run: RunFolder, target: Target, runtime: Runtime, *, kept: AbstractSet[str]
) -> LaterWrites:
    """List both stores, without the ids and keys that the run writes or its pre-images name.

    `kept` are conflicts of later runs of the chain: they have been reported.

    Reads no content; takes a minute per 100,000 vectors. A change under an id or key of the run is
    not found here: the rollback compares each record and keeps such a change as a conflict.
    """
    runtime.progress.say("looking for later writes")
    plan, existing = run.plan, {*read_existing(run), *_removed(run), *kept}
    touched = touched_keys(run)
    known = {
        *kept,
        *read_foreign_keys(run),
        *(() if touched is None else touched.removed),
        plan.writes.counter_key,
    }
    unwritten = unwritten_rows(run)
    with ListedIds(run.spill) as listed:
        list_vectors(listed, target.vectors, runtime, expected=plan.vectors)
        listed.compare(run.targets(ID_COLUMNS, excluded=unwritten))
        vectors = tuple(id_ for id_ in listed.elsewhere() if id_ not in existing)
    with open_files_without(run, unwritten) as files:
        keys = list_keys(target.kv, key_prefix(plan.mapping), runtime)
        files.add_listed_keys(keys)
        elsewhere = files.keys_elsewhere(plan.mapping.key_template, plan.mapping.group_key)
        return LaterWrites(vectors, tuple(key for key in elsewhere if key not in known))


def _removed(run: RunFolder) -> Iterator[str]:
    """The ids that a catch-up removes; they may still be there."""
    if run.difference is not None:
        yield from (one.vector_id for one in run.difference.removals)


def write_later_writes(run: RunFolder, later: LaterWrites) -> str:
    """Write rollback/later-writes.ids, vector ids before keys; returns the file's address."""
    file = run.rollback.file(LATER_WRITES)
    write_ids(file, [*later.vectors, *later.keys])
    return str(file)


def check_consent(later: LaterWrites, path: str, *, consent: bool) -> None:
    """Raise PreconditionError if there are later writes and `consent` is false."""
    if not later or consent:
        return
    named = ", ".join(f"'{name}'" for name in [*later.vectors, *later.keys][:_NAMED_MAX])
    raise PreconditionError(
        f"other writers added {len(later.vectors)} vectors and {len(later.keys)} KV keys to the "
        f"target since the run, among them {named}; a rollback does not copy them to Qdrant",
        remedy=f"write the records that {path} lists to Qdrant (sync their files again), then pass "
        "--leave-later-writes, which keeps them in the target; nothing has been changed",
    )
