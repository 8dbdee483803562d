"""The report of a rollback, and the rules for how long it waits."""

from dataclasses import dataclass, field

from migrate.run.folder import RunFolder
from migrate.upload.settle import SettleRules
from migrate.workers.repeat import doubling
from reconcile.differences import Named

PASSES_MAX = (
    4  # reads of a record that another writer seems to have changed, before it is a conflict
)
VECTORS_PER_NOTE = 1_000  # most that a kill repeats, 60 requests: 20 s at the default budget
FEW_CANDIDATES = 1_000  # up to this many are read again; their former contents are held in memory


@dataclass(slots=True, kw_only=True)
class RollbackReport:
    """What a rollback has undone, or would undo if it were executed."""

    run_id: str
    executed: bool
    already_done: bool = False
    vectors_deleted: int = 0  # to be deleted, if not executed; the next three likewise
    vectors_restored: int = 0
    kv_deleted: int = 0
    kv_restored: int = 0
    undone_before: int = 0  # vectors that an interrupted attempt has undone, of those above
    conflicts: list[str] = field(default_factory=list)  # ids and keys that others changed
    counter_kept: str = ""  # key of a counter that later writes changed; it is no conflict
    forced_unknown: tuple[str, ...] = ()  # forced ids and keys that name nothing of the run
    differs: Named = field(
        default_factory=dict
    )  # id or key -> names of what differs, for the first 1,000
    differs_file: str = ""
    later_writes: int = 0  # ids and keys written to the target since the run; they are kept
    later_writes_file: str = ""
    later_deletions: int | None = None  # ids that others removed since the run; None: not known
    later_deletions_file: str = ""
    later_export: str = ""  # address of the newest export of later writes; "" without one
    later_export_returns: bool = False  # `q2v restore --append` can write it into the collection
    files_to_embed: str = ""  # addresses of the two files that the export has written
    files_to_embed_json: str = ""
    not_exported: tuple[str, ...] = ()  # conflicts that the export does not hold
    requests: int = 0  # estimate
    minutes: float = 0.0
    manifest: str = ""
    cannot_undo: tuple[str, ...] = ()
    commands_before: tuple[tuple[str, ...], ...] = ()
    commands_after: tuple[tuple[str, ...], ...] = ()
    runs: tuple[str, ...] = ()  # all that are undone, the newest first; empty: only this one


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """What a rollback may overwrite or leave."""

    forced: frozenset[str] = frozenset()  # ids and keys that another writer changed: overwrite
    leave_later_writes: bool = False  # ids and keys that were added since the run: leave


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoScope:
    """What is known beside one run when it is undone."""

    forced: frozenset[str] = frozenset()  # as in `Consent`
    written_since: bool = False  # others are known to have added or removed vectors or keys
    older: tuple[RunFolder, ...] = ()  # the runs that this one continues from, the newest first


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRules:
    """How long to wait for writes to become visible, and before a conflict is read again."""

    settle: SettleRules
    pause_s: float  # between the first two passes over vectors; doubles after each
    kv_settle_s: float  # between the first two passes over KV keys; doubles after each
    note_every: int = VECTORS_PER_NOTE  # after these the journal says how far it is

    @property
    def conflict_wait_s(self) -> float:
        """The longest that one run waits before what others seem to have changed is a conflict.

        For the vectors that it has written, for those that it has removed, and for the KV keys.
        """
        return sum(doubling(2 * self.pause_s + self.kv_settle_s, times=PASSES_MAX - 1))
