"""What a page is made of: documents that other commands wrote, as they were read. No I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Document = Mapping[str, Any]  # the members of a JSON document; a template asks for those it shows

ROWS_MAX = 200_000  # ids in one page: about 10 MB, which a browser opens within a second


@dataclass(frozen=True, slots=True, kw_only=True)
class IdRows:
    """The ids of one class, as lines of its id file: at most `ROWS_MAX` over all classes."""

    name: str
    total: int  # lines of the file
    lines: tuple[str, ...]  # the first of them
    place: str  # address of the file

    @property
    def left_out(self) -> int:
        """Number of ids that the page does not hold; the file does."""
        return self.total - len(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSum:
    """A file that the page was made from."""

    name: str  # path below the folder of the snapshot
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """Where the migration stands, and what comes next."""

    means: str
    text: str  # a command, or a decision with commands in backquotes
    is_command: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Everything that a page shows. None or empty: there is no such document."""

    manifest: Document | None = None  # manifest.json of the snapshot
    plan: Document | None = None  # plan.json of the run
    report: Document | None = None  # report.json of the reconcile
    quarantined: Mapping[str, int] = field(default_factory=dict)  # reason -> points left out
    rows: tuple[IdRows, ...] = ()
    foreign: frozenset[str] = frozenset()  # lines of ids that a repair keeps
    differs: Mapping[str, Sequence[str]] = field(default_factory=dict)  # line of an id -> names
    entries: Sequence[Document] = ()  # of the run's journal
    outdated: str = ""  # what the run did after that reconcile; "" for nothing
    reconciles: tuple[Document, ...] = ()  # report.json of each, the oldest first
    gate: Document | None = None
    journal_sha256: str = ""  # of the run's journal as it stands
    parity: tuple[Document, ...] = ()
    preflight: Document | None = None  # of `q2v plan --json`
    next_step: NextStep | None = None
    made_by: Document = field(default_factory=dict)  # of a page that is not a reconcile's
    payloads: Mapping[str, str] = field(default_factory=dict)  # line of an id -> payload, if asked
    files: tuple[FileSum, ...] = ()

    def is_stale(self, record: Document) -> bool:
        """Whether a record of the gate or of parity is about the run before its last write."""
        return record.get("journal_sha256") not in {None, self.journal_sha256}

    def tool(self) -> Document:
        """Who made the documents, with what; the plan names at least the version."""
        written = (self.report or {}).get("made_by") or self.made_by
        return written or {"tool": (self.plan or {}).get("tool", "unknown")}


def shared_fairly(totals: Sequence[int], most: int) -> list[int]:
    """How many of each are taken, at most `most` in all: small ones whole, large ones alike."""
    taken = [0] * len(totals)
    left, open_ones = most, sorted(range(len(totals)), key=lambda at: totals[at])
    for done, at in enumerate(open_ones):
        taken[at] = min(totals[at], left // (len(open_ones) - done))
        left -= taken[at]
    return taken


def numbers_of(mapping: object) -> Iterator[tuple[str, int]]:
    """The members of a JSON object that are whole numbers other than 0."""
    for name, count in mapping.items() if isinstance(mapping, Mapping) else ():
        if isinstance(count, int) and count:
            yield str(name), count
