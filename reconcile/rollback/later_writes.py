"""Find what the new side has taken since the run: a rollback cannot carry it back into Qdrant."""

from dataclasses import dataclass

from migrate.errors import PreconditionError
from migrate.mapping.kv_entries import key_prefix
from migrate.ports import Target
from migrate.run.files import open_files_without
from migrate.run.folder import RunFolder
from migrate.run.refused import unwritten_rows
from migrate.runtime import Runtime
from migrate.storage.id_files import write_ids
from migrate.storage.layout import LATER_WRITES
from migrate.tables.target_ids import ID_COLUMNS, ListedIds
from migrate.upload.listing import list_keys, list_vectors
from reconcile.rollback.manifest import read_existing, read_foreign_keys

_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class LaterWrites:
    """Ids and keys that the run has not written and that were not there before it."""

    vectors: tuple[str, ...]
    keys: tuple[str, ...]

    def __len__(self) -> int:
        """Both together."""
        return len(self.vectors) + len(self.keys)


def find_later_writes(run: RunFolder, target: Target, runtime: Runtime) -> LaterWrites:
    """List both stores and take away what the run writes and what its pre-images name.

    Lists, and reads no content: a minute per 100,000 vectors. What somebody changed under an id
    of ours is found later, when each is compared, and kept as a conflict.
    """
    runtime.progress.say("looking for later writes")
    plan, existing = run.plan, frozenset(read_existing(run))
    known = read_foreign_keys(run) | {plan.writes.counter_key}
    unwritten = unwritten_rows(run)
    with ListedIds(run.spill) as listed:
        list_vectors(listed, target.vectors, runtime, expected=plan.vectors)
        listed.compare(run.targets(ID_COLUMNS, excluded=unwritten))
        vectors = tuple(one for one in listed.elsewhere() if one not in existing)
    with open_files_without(run, unwritten) as files:
        keys = list_keys(target.kv, key_prefix(plan.mapping), runtime)
        files.add_listed_keys(keys)
        elsewhere = files.keys_elsewhere(plan.mapping.key_template, plan.mapping.group_key)
        return LaterWrites(vectors, tuple(key for key in elsewhere if key not in known))


def write_later_writes(run: RunFolder, later: LaterWrites) -> str:
    """Write rollback/later-writes.ids, vectors first; returns its address."""
    file = run.rollback.file(LATER_WRITES)
    write_ids(file, [*later.vectors, *later.keys])
    return str(file)


def check_consent(later: LaterWrites, path: str, *, consent: bool) -> None:
    """Raises PreconditionError for later writes that nobody has agreed to leave behind."""
    if not later or consent:
        return
    named = ", ".join(f"'{one}'" for one in [*later.vectors, *later.keys][:_NAMED_MAX])
    raise PreconditionError(
        f"the target took {len(later.vectors)} vectors and {len(later.keys)} KV keys since the "
        f"run that neither the run wrote nor were there before, among them {named}; a rollback "
        "does not carry them back into Qdrant",
        remedy=f"bring what is in {path} into Qdrant (sync those files again), then pass "
        "--leave-later-writes: they stay in the target; nothing has been sent",
    )
