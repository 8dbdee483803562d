"""The entries of an export's journal, the state that they fold to, and whether it is resumed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from migrate.storage.journal_lines import Entry, check_format
from reconcile.session import IDLE_S_MAX, Moment, idle_s, integer


class Kind(StrEnum):
    """Entry types of the journal of an export; each entry has the time of both clocks."""

    OPENED = "export_opened"  # format, journals: the state of each run's journal, newest first
    RESUMED = "export_resumed"
    ROWS_READ = "rows_read"  # end_row, differing; and name, sha256 of their file if there are any
    LISTED = "ids_listed"  # name, ids, sha256: of added ids that no earlier listing has shown
    VECTORS_READ = "vectors_read"  # listing, end, absent, name, rows, sha256


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file of vectors as they were read."""

    name: str
    rows: int
    sha256: str
    absent: int = 0  # of added vectors: how many could not be read


@dataclass(slots=True)
class Listing:
    """Ids that one listing has added, in the order of their points, and how far they are read."""

    name: str
    ids: int
    sha256: str
    end: int = 0
    files: list[ReadFile] = field(default_factory=list)


@dataclass(slots=True)
class ExportState:
    """An export that is not sealed, after the last entry of its journal."""

    journals: list[str] | None = None  # None: not opened
    opened_at: Moment | None = None
    last_at: Moment | None = None
    idle_s: float = 0.0  # length of all interruptions together
    end_row: int = 0  # rows of the newest run below it were read
    differing: list[ReadFile] = field(default_factory=list)  # of these rows
    listings: list[Listing] = field(default_factory=list)

    @property
    def files(self) -> int:
        """Number of files of vectors."""
        return len(self.differing) + sum(len(one.files) for one in self.listings)


def fold_export(entries: Iterable[Entry]) -> ExportState:
    """The state after these entries. Raises ValueError for an entry that cannot be there."""
    state = ExportState()
    for entry in entries:
        apply_entry(state, entry)
    return state


def apply_entry(state: ExportState, entry: Entry) -> None:
    """Bring the state up to date with one more entry; raises as `fold_export`."""
    try:
        kind, at = Kind(str(entry["type"])), _moment(entry)
        if (kind is Kind.OPENED) != (state.journals is None):
            raise ValueError("an export is opened once, before anything else")
        _apply(state, kind, entry, at)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"an entry of the export lacks a member ({error})") from error
    state.last_at = at


def _apply(state: ExportState, kind: Kind, entry: Entry, at: Moment) -> None:
    match kind:
        case Kind.OPENED:
            check_format(entry)
            state.journals, state.opened_at = _texts(entry["journals"]), at
        case Kind.RESUMED:
            assert state.last_at is not None
            state.idle_s += idle_s(state.last_at, at)
        case Kind.ROWS_READ:
            state.end_row = integer(entry, "end_row")
            if integer(entry, "differing"):
                state.differing.append(_read_file(entry, integer(entry, "differing")))
        case Kind.LISTED:
            count, sha256 = integer(entry, "ids"), str(entry["sha256"])
            state.listings.append(Listing(str(entry["name"]), count, sha256))
        case Kind.VECTORS_READ:
            listing = state.listings[integer(entry, "listing")]
            listing.end = integer(entry, "end")
            listing.files.append(
                _read_file(entry, integer(entry, "rows"), integer(entry, "absent"))
            )


def why_not_resumed(state: ExportState, journals: Sequence[str], now: Moment) -> str | None:
    """Why this export cannot be resumed; None when it can."""
    if state.journals is None or state.last_at is None:
        return "it had read nothing"
    if state.journals != list(journals):
        return "the run was written or rolled back since"
    if state.idle_s + idle_s(state.last_at, now) > IDLE_S_MAX:
        return f"it was interrupted for more than {IDLE_S_MAX / 60:.0f} minutes"
    return None


def _read_file(entry: Entry, rows: int, absent: int = 0) -> ReadFile:
    return ReadFile(str(entry["name"]), rows, str(entry["sha256"]), absent)


def _texts(value: object) -> list[str]:
    if not isinstance(value, list):
        raise TypeError("journals is no list")
    return [str(one) for one in value]


def _moment(entry: Entry) -> Moment:
    wall_s, monotonic_s = entry["wall_s"], entry["monotonic_s"]
    if not isinstance(wall_s, int | float) or not isinstance(monotonic_s, int | float):
        raise TypeError("a time is no number")
    return Moment(float(wall_s), float(monotonic_s))
