"""What a rollback counts, and how long it waits before it believes what it reads."""

from dataclasses import dataclass, field

from migrate.upload.settle import SettleRules
from reconcile.differences import Named

LOOKS_MAX = 4  # at what reads as somebody else's change, before it counts as one
FEW_SUSPECTS = 1_000  # so many are looked at again; their former contents are held meanwhile


@dataclass(slots=True, kw_only=True)
class RollbackReport:
    """What a rollback would undo, or has undone."""

    run_id: str
    executed: bool
    already_done: bool = False
    vectors_deleted: int = 0  # or to be deleted
    vectors_restored: int = 0
    kv_deleted: int = 0
    kv_restored: int = 0
    conflicts: list[str] = field(default_factory=list)  # ids and keys that others changed
    differs: Named = field(default_factory=dict)  # what differs, of the first of them
    differs_file: str = ""
    later_writes: int = 0  # ids and keys that the target took since, left where they are
    later_writes_file: str = ""
    requests: int = 0  # estimate
    minutes: float = 0.0
    manifest: str = ""
    cannot_undo: tuple[str, ...] = ()
    commands_before: tuple[tuple[str, ...], ...] = ()
    commands_after: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRules:
    """How long to wait for what was written, and before a change by others is believed."""

    settle: SettleRules
    pause_s: float  # between two looks at vectors; doubles
    kv_settle_s: float  # between two looks at KV keys; doubles
