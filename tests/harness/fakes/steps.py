"""Number every touch of the outside world, and strike at one of them."""

from dataclasses import dataclass, field
from enum import StrEnum

from tests.harness.tiers import alike


class KilledError(BaseException):
    """The process is gone. No `except Exception` stops it, and `finally` blocks have no effect."""


class Kind(StrEnum):
    """What a step does; a file is named by its path, a request by method and path."""

    READ = "read"
    CREATE = "create"
    WRITE = "write"
    TRUNCATE = "truncate"
    SYNC = "sync"
    REPLACE = "replace"
    REMOVE = "remove"
    MAKE_FOLDER = "make folder"
    SYNC_FOLDER = "sync folder"
    SEND = "send"


class Fault(StrEnum):
    """What can happen at a step.

    "Kill after step k" is "kill before step k + 1": nothing lies between the two.
    """

    KILL = "kill"
    TORN_ONE = "torn write: one byte, then a kill"
    TORN_HALF = "torn write: one half, then a kill"
    TORN_ALMOST = "torn write: all but a byte, then a kill"
    POWER_LOST = "power cut: nothing that was not fsynced is left"
    POWER_REORDERED = "power cut: names are left, contents that were not fsynced are not"
    FULL_ONCE = "no space, once"
    FULL_FOR_EVER = "no space, until the operator makes some"
    BROKEN = "I/O error, and what was not durable is lost"


TORN = {Fault.TORN_ONE, Fault.TORN_HALF, Fault.TORN_ALMOST}
POWER = {Fault.POWER_LOST, Fault.POWER_REORDERED}
NO_SPACE = {Fault.FULL_ONCE, Fault.FULL_FOR_EVER}
_GROWS = {Kind.CREATE, Kind.WRITE, Kind.MAKE_FOLDER, Kind.SYNC, Kind.REPLACE}
JOURNAL = "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Step:
    """One touch of the world."""

    kind: Kind
    name: str
    unsynced: bool  # something on the disk is not durable at this moment

    @property
    def place(self) -> str:
        """What it writes or asks for: the request, the journal, or the folder of any other file.

        Empty where one function does the same for every file: it makes folders, and it creates,
        reads, syncs, replaces and removes files.
        """
        if self.kind not in {Kind.WRITE, Kind.SEND}:
            return ""
        like = alike(self.name)
        is_file = self.kind is Kind.WRITE and not like.endswith(JOURNAL)
        return like.rpartition("/")[0] if is_file else like

    def takes(self, fault: Fault) -> bool:
        """Whether the fault can strike here and differs from the others."""
        if fault is Fault.BROKEN:
            return self.kind is not Kind.SEND
        if self.kind is Kind.READ:
            return False
        if fault in TORN:
            return self.kind is Kind.WRITE
        if fault in POWER:
            return self.unsynced
        if fault in NO_SPACE:
            return self.kind in _GROWS
        return True


@dataclass(slots=True)
class Steps:
    """Counts from 1; `strike_at` 0 never strikes."""

    strike_at: int = 0
    fault: Fault = Fault.KILL
    done: list[Step] = field(default_factory=list)
    dead: bool = False

    def pass_(self, kind: Kind, name: str, *, unsynced: bool) -> Fault | None:
        """The fault that strikes at this step. Raises KilledError for a kill, and ever after."""
        if self.dead:
            raise KilledError
        self.done.append(Step(kind, name, unsynced))
        if len(self.done) != self.strike_at:
            return None
        if self.fault is Fault.KILL or self.fault in POWER:
            self.die()
        return self.fault

    def die(self) -> None:
        """From here on nothing has any effect."""
        self.dead = True
        raise KilledError
