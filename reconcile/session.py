"""What the journal of one reconcile says: how far it came, and whether it may go on. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from migrate.storage.journal_lines import Entry, check_format
from reconcile.diff import DriftKind

# What was read before an interruption still counts, but not for ever: the verdict speaks of now.
# All interruptions of one attempt together may last this long.
IDLE_S_MAX = 3_600.0
CLOCK_STEP_S_MAX = 5.0  # a wall clock that was set back by more tells nothing about the age


class Kind(StrEnum):
    """Entry types of a reconcile's journal, in the order in which one writes them."""

    OPENED = "reconcile_opened"  # format, inputs
    RESUMED = "reconcile_resumed"
    SOURCE_READ = "source_read"  # points, files
    IDS_READ = "ids_read"  # listed, expected, files
    # look, end_row, checked, mismatched, unreadable, foreign, completed
    CONTENTS_READ = "contents_read"
    METADATA_READ = "metadata_read"  # findings, files
    KV_READ = "kv_read"  # ids, counter, counter_expected, counter_differs, differs, files
    CONCLUDED = "reconcile_concluded"  # verdict, report_sha256


@dataclass(frozen=True, slots=True)
class Moment:
    """When an entry was written, by both clocks."""

    wall_s: float
    monotonic_s: float  # comparable within one boot of one machine


@dataclass(slots=True)
class Look:
    """One pass over contents: the first over all that are to be read, later ones over suspects."""

    end_row: int = 0  # every row below it is done
    checked: int = 0  # vectors
    mismatched: list[int] = field(default_factory=list)  # rows
    unreadable: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)  # of the mismatched, those in a namespace
    completed: bool = False

    @property
    def suspects(self) -> dict[int, DriftKind]:
        """Row -> what seems to be wrong with it."""
        return dict.fromkeys(self.mismatched, DriftKind.MISMATCHED) | dict.fromkeys(
            self.unreadable, DriftKind.UNREADABLE
        )


@dataclass(slots=True)
class AttemptState:
    """Everything one reconcile knows about itself after its last entry."""

    inputs: str | None = None  # digest of what the attempt compares, and how
    opened_at: Moment | None = None
    last_at: Moment | None = None
    resumed: int = 0
    idle_s: float = 0.0  # over all interruptions
    source: Entry | None = None
    ids: Entry | None = None
    looks: list[Look] = field(default_factory=list)
    metadata: Entry | None = None
    kv: Entry | None = None
    concluded: bool = False


def fold_attempt(entries: Iterable[Entry]) -> AttemptState:
    """The state after these entries.

    Raises ValueError for an entry that is unknown or cannot follow the ones before it,
    ForeignStateError for another format version.
    """
    state = AttemptState()
    for entry in entries:
        apply_entry(state, entry)
    return state


def apply_entry(state: AttemptState, entry: Entry) -> None:
    """Bring the state up to one more entry. Raises as `fold_attempt`."""
    kind = Kind(str(entry["type"]))
    at = Moment(_number(entry, "wall_s"), _number(entry, "monotonic_s"))
    _apply(state, kind, entry, at)
    state.last_at = at


def _apply(state: AttemptState, kind: Kind, entry: Entry, at: Moment) -> None:
    if (kind is Kind.OPENED) != (state.inputs is None) or state.concluded:
        raise ValueError("an attempt is opened once, first, and nothing follows its conclusion")
    match kind:
        case Kind.OPENED:
            check_format(entry)
            state.inputs, state.opened_at = str(entry.get("inputs")), at
        case Kind.RESUMED:
            assert state.last_at is not None
            state.resumed += 1
            state.idle_s += idle_s(state.last_at, at)
        case Kind.CONTENTS_READ:
            _contents_read(state, entry)
        case Kind.CONCLUDED:
            state.concluded = True
        case _:
            _store_read(state, kind, entry)


def _store_read(state: AttemptState, kind: Kind, entry: Entry) -> None:
    if kind is Kind.SOURCE_READ:
        state.source = entry
    elif kind is Kind.IDS_READ:
        state.ids = entry
    elif kind is Kind.METADATA_READ:
        state.metadata = entry
    else:
        assert kind is Kind.KV_READ
        state.kv = entry


def _contents_read(state: AttemptState, entry: Entry) -> None:
    ordinal = integer(entry, "look")
    if ordinal == len(state.looks) and all(look.completed for look in state.looks):
        state.looks.append(Look())
    if state.ids is None or ordinal != len(state.looks) - 1 or state.looks[-1].completed:
        raise ValueError("contents are read after the ids, one look after the other")
    look, end_row = state.looks[-1], integer(entry, "end_row")
    if end_row < look.end_row:
        raise ValueError("a look goes through the rows once, in order")
    look.end_row = end_row
    look.checked += integer(entry, "checked")
    look.mismatched += _rows(entry, "mismatched")
    look.unreadable += _rows(entry, "unreadable")
    look.foreign += _rows(entry, "foreign")
    look.completed = entry.get("completed") is True


def why_not_resumed(state: AttemptState, inputs: str, now: Moment) -> str | None:
    """Why this attempt cannot be taken up; None when it can."""
    if state.inputs is None or state.last_at is None:
        return "it had not begun to read"
    if state.concluded:
        return "it was concluded, and its report is gone"
    if state.inputs != inputs:
        return "it compares something else: another plan, journal, coverage, seed or source"
    if state.idle_s + idle_s(state.last_at, now) > IDLE_S_MAX:
        return f"it was interrupted for more than {IDLE_S_MAX / 60:.0f} minutes"
    return None


def idle_s(last: Moment, now: Moment) -> float:
    """How long nothing happened: the longer of what both clocks say.

    The monotonic clock starts anew with the machine and then tells nothing. A wall clock that ran
    backwards makes the interruption endless: an attempt too many costs time, a stale one trust.
    """
    by_wall = now.wall_s - last.wall_s
    if by_wall < -CLOCK_STEP_S_MAX:
        return inf
    return max(0.0, by_wall, now.monotonic_s - last.monotonic_s)


def integer(entry: Entry, key: str) -> int:
    """A whole number of an entry; raises ValueError when it is none."""
    match entry.get(key):
        case int() as value if not isinstance(value, bool):
            return value
        case _:
            raise ValueError(f"journal entry without an integer {key!r}")


def _number(entry: Entry, key: str) -> float:
    match entry.get(key):
        case int() | float() as value if not isinstance(value, bool):
            return float(value)
        case _:
            raise ValueError(f"journal entry without a number {key!r}")


def _rows(entry: Entry, key: str) -> list[int]:
    match entry.get(key):
        case list() as rows if all(type(row) is int for row in rows):
            return rows
        case _:
            raise ValueError(f"journal entry without rows {key!r}")
