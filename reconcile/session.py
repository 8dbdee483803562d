"""The state of one reconcile, folded from its journal, and whether it can be resumed. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf

from migrate.storage.journal_lines import Entry, check_format
from reconcile.diff import DriftKind

# A session is resumed only if all its interruptions together lasted no longer than this. The limit
# keeps a verdict from relying on old reads.
IDLE_S_MAX = 3_600.0
CLOCK_STEP_S_MAX = 5.0  # if the wall clock was set back by more, the age is unknown


class Kind(StrEnum):
    """Entry types of a reconcile's journal, in the order in which they are written."""

    OPENED = "reconcile_opened"  # format, inputs
    RESUMED = "reconcile_resumed"
    SOURCE_READ = "source_read"  # points, files
    IDS_READ = "ids_read"  # listed, expected, files
    # look, end_row, checked, mismatched, unreadable, foreign, verified, fell_back, completed
    CONTENTS_READ = "contents_read"
    METADATA_READ = "metadata_read"  # findings, files
    KV_READ = "kv_read"  # ids, counter, counter_expected, counter_differs, differs, files
    CONCLUDED = "reconcile_concluded"  # verdict, report_sha256


@dataclass(frozen=True, slots=True)
class Moment:
    """The time of an entry, by both clocks."""

    wall_s: float
    monotonic_s: float  # comparable within one boot of one machine


@dataclass(slots=True)
class Pass:
    """One pass over vector contents: pass 0 reads all, later passes what differed before."""

    end_row: int = 0  # every row below it has been compared
    checked: int = 0  # vectors
    mismatched: list[int] = field(default_factory=list)  # rows
    unreadable: list[int] = field(default_factory=list)
    foreign: list[int] = field(default_factory=list)  # as in `ContentScan`
    verified: int = 0  # of `checked`, those whose digest a verifier proved
    fell_back: str | None = None  # why REST read the rest in place of the verifier
    completed: bool = False

    @property
    def candidates(self) -> dict[int, DriftKind]:
        """Row -> kind of difference, to be confirmed by a later pass."""
        return dict.fromkeys(self.mismatched, DriftKind.MISMATCHED) | dict.fromkeys(
            self.unreadable, DriftKind.UNREADABLE
        )


@dataclass(slots=True)
class SessionState:
    """The state of one reconcile after the last entry of its journal."""

    inputs: str | None = None  # SHA-256 of what the session compares, and how
    opened_at: Moment | None = None
    last_at: Moment | None = None
    resumed: int = 0
    idle_s: float = 0.0  # length of all interruptions together
    source: Entry | None = None
    ids: Entry | None = None
    passes: list[Pass] = field(default_factory=list)
    metadata: Entry | None = None
    kv: Entry | None = None
    concluded: bool = False


def fold_session(entries: Iterable[Entry]) -> SessionState:
    """The state after these entries.

    Raises ValueError for an entry that is unknown or cannot follow the ones before it,
    ForeignStateError for another format version.
    """
    state = SessionState()
    for entry in entries:
        apply_entry(state, entry)
    return state


def apply_entry(state: SessionState, entry: Entry) -> None:
    """Update the state by one entry, in place. Raises as `fold_session`."""
    kind = Kind(str(entry["type"]))
    at = Moment(_number(entry, "wall_s"), _number(entry, "monotonic_s"))
    _apply(state, kind, entry, at)
    state.last_at = at


def _apply(state: SessionState, kind: Kind, entry: Entry, at: Moment) -> None:
    if (kind is Kind.OPENED) != (state.inputs is None) or state.concluded:
        raise ValueError(
            "reconcile_opened must be the first entry, and no entry may follow reconcile_concluded"
        )
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


def _store_read(state: SessionState, kind: Kind, entry: Entry) -> None:
    if kind is Kind.SOURCE_READ:
        state.source = entry
    elif kind is Kind.IDS_READ:
        state.ids = entry
    elif kind is Kind.METADATA_READ:
        state.metadata = entry
    else:
        assert kind is Kind.KV_READ
        state.kv = entry


def _contents_read(state: SessionState, entry: Entry) -> None:
    ordinal = integer(entry, "look")
    if ordinal == len(state.passes) and all(earlier.completed for earlier in state.passes):
        state.passes.append(Pass())
    if state.ids is None or ordinal != len(state.passes) - 1 or state.passes[-1].completed:
        raise ValueError("contents_read must follow ids_read, and passes follow one another")
    current, end_row = state.passes[-1], integer(entry, "end_row")
    if end_row < current.end_row:
        raise ValueError("end_row is below that of the entry before")
    current.end_row = end_row
    current.checked += integer(entry, "checked")
    current.mismatched += _rows(entry, "mismatched")
    current.unreadable += _rows(entry, "unreadable")
    current.foreign += _rows(entry, "foreign")
    _read_by(current, entry)
    current.completed = entry.get("completed") is True


def _read_by(current: Pass, entry: Entry) -> None:
    """Who read the rows of the entry; an entry without these members is of REST alone."""
    if "verified" in entry:
        current.verified += integer(entry, "verified")
    reason = entry.get("fell_back")
    if isinstance(reason, str):
        current.fell_back = reason


def why_not_resumed(state: SessionState, inputs: str, now: Moment) -> str | None:
    """Why this session cannot be resumed; None when it can."""
    if state.inputs is None or state.last_at is None:
        return "it had read nothing"
    if state.concluded:
        return "it is concluded, but its report is missing"
    if state.inputs != inputs:
        return "it compares something else: another plan, journal, coverage, seed or source"
    if state.idle_s + idle_s(state.last_at, now) > IDLE_S_MAX:
        return f"it was interrupted for more than {IDLE_S_MAX / 60:.0f} minutes"
    return None


def idle_s(last: Moment, now: Moment) -> float:
    """Seconds between the two moments: the longer of the differences of both clocks.

    The monotonic clock starts at zero when the machine boots, so its difference may be negative.
    A wall clock that was set back makes the result infinite: repeating a reconcile is cheap,
    trusting a stale one is not.
    """
    by_wall = now.wall_s - last.wall_s
    if by_wall < -CLOCK_STEP_S_MAX:
        return inf
    return max(0.0, by_wall, now.monotonic_s - last.monotonic_s)


def integer(entry: Entry, key: str) -> int:
    """The integer under `key`; raises ValueError when there is none."""
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
