"""The looks of a run, one journal entry each, and what they say together."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal

from migrate.errors import ForeignStateError
from migrate.run.folder import RunFolder
from migrate.storage.folder import WorkFolder
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import Entry
from migrate.storage.layout import MONITOR
from migrate.words import counted

LOOK_FORMAT = 1
DAY_S = 86_400.0
GAP_S_MAX = 26 * 3_600.0  # between two looks of a week that counts; a daily timer may be late
DAYS_WANTED = 7
_BARS = "▁▂▃▄▅▆▇█"

Verdict = Literal["consistent", "inconsistent", "indeterminate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One look as the history keeps it."""

    at: str  # RFC 3339; when it ended
    seconds: float
    verdict: Verdict
    why: str
    vectors: int | None  # None: not read
    files: int | None
    counter: int | None
    sampled: int
    as_moved: int
    findings: Mapping[str, int]  # class -> number of records

    @property
    def at_s(self) -> float:
        """Seconds since 1970."""
        return datetime.fromisoformat(self.at).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the looks say about the days after the cutover."""

    days: float  # from the first look to the last
    looks: int
    problems: tuple[str, ...]  # why the week does not count

    @property
    def is_green(self) -> bool:
        """Whether a whole week was observed, and nothing was wrong in it."""
        return self.looks > 0 and not self.problems


def monitor_folder(run: RunFolder) -> WorkFolder:
    """The folder of a run's looks."""
    return run.folder.child(MONITOR)


def read_history(run: RunFolder) -> list[Looked]:
    """All looks, oldest first.

    Raises ArtefactDamagedError when an entry was changed, ForeignStateError for the looks of
    another run and for another format.
    """
    journal = JournalFile(monitor_folder(run))
    for entry in journal.entries:
        found, expected = (
            (entry.get("run_id"), entry.get("format")),
            (run.plan.run_id, LOOK_FORMAT),
        )
        if found != expected:
            raise ForeignStateError(
                f"{journal.file}: a look of run {found[0]} in format {found[1]}, expected run "
                f"{expected[0]} and format {expected[1]}",
                remedy="move the file away, and put back the one of this run",
            )
    return [_decode(entry) for entry in journal.entries]


def append(run: RunFolder, looked: Looked) -> None:
    """Add a look; returns when it is durable."""
    folder = monitor_folder(run)
    folder.make()
    journal = JournalFile(folder)
    try:
        head = {"type": "look", "format": LOOK_FORMAT, "run_id": run.plan.run_id}
        journal.append({**head, **asdict(looked)})
    finally:
        journal.close()


def _decode(entry: Entry) -> Looked:
    """The inverse; the chain shows that the entry is as it was written."""
    members = {name: entry.get(name) for name in Looked.__dataclass_fields__}
    return Looked(**members)  # type: ignore[arg-type]  # as `append` wrote them


def observe(history: Sequence[Looked], *, now_s: float) -> Observation:
    """Whether the last week was observed and consistent.

    The looks of the last `DAYS_WANTED` days count, with gaps of at most 26 hours up to now; the
    newest look of each day has to be consistent.
    """
    if not history:
        return Observation(days=0.0, looks=0, problems=("no look was taken: run `q2v monitor`",))
    first_s, last_s = history[0].at_s, history[-1].at_s
    days = (last_s - first_s) / DAY_S
    problems = []
    if days < DAYS_WANTED:
        problems.append(f"observed for {days:.1f} of {DAYS_WANTED} days")
    since_s = max(first_s, now_s - DAYS_WANTED * DAY_S)
    times = [since_s, *(one.at_s for one in history if one.at_s >= since_s), now_s]
    gap_s = max(after - before for before, after in pairwise(times))
    if gap_s > GAP_S_MAX:
        problems.append(
            f"no look for {counted(round(gap_s / 3_600), 'hour')}, at most 26 were expected"
        )
    newest = {int(one.at_s // DAY_S): one for one in history if one.at_s >= since_s}
    problems += [
        f"the last look of {one.at[:10]} was {one.verdict}: {one.why}"
        for one in newest.values()
        if one.verdict != "consistent"
    ]
    return Observation(days=days, looks=len(history), problems=tuple(problems))


def sparkline(numbers: Sequence[int | None], *, width: int = 40) -> str:
    """The last `width` numbers as a line of bars from the smallest to the largest; None: a gap."""
    shown = list(numbers[-width:])
    known = [number for number in shown if number is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    span = max(1, high - low)
    return "".join(
        " " if number is None else _BARS[(number - low) * (len(_BARS) - 1) // span]
        for number in shown
    )
