"""Judge evidence: rows, the verdict, the exit code. Pure; decision 0038."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Literal

from migrate.errors import ExitCode
from migrate.words import counted

Judgement = Literal["pass", "fail", "stale", "unknown"]
AGE_MAX_S_DEFAULT = 4 * 3_600.0
OF_UNDONE = "the line `next` says what comes after a rollback"
FUTURE_S_MAX = 300.0  # clocks differ; evidence from further ahead has a wrong date


class Criterion(Enum):
    """A success criterion, in the order of the table."""

    title: str
    code: ExitCode  # of a gate in which this row is the first that fails
    do: str  # what to do when the row does not pass

    def __init__(self, title: str, code: ExitCode, do: str) -> None:
        self.title = title
        self.code = code
        self.do = do

    FREEZE = (
        "the source did not change after its last reading",
        ExitCode.PRECONDITION,
        "stop the writers (RUNBOOK: freeze); then `q2v catch-up --frozen` and `q2v reconcile`",
    )
    SNAPSHOT = (
        "the snapshots are sealed, and every byte of them is as it was sealed",
        ExitCode.DAMAGED,
        "run `q2v verify`, which names the damage; restore the file from a copy",
    )
    POINTS = (
        "every point is acknowledged, or left out for a reason that was accepted",
        ExitCode.QUARANTINED,
        "finish the run with `q2v migrate`; accept a reason with `q2v migrate --waive REASON`",
    )
    IDS = (
        "the vector index holds the ids that it should, and no others",
        ExitCode.DRIFT,
        "run `q2v status`: it says what comes next; then `q2v reconcile`",
    )
    CONTENTS = (
        "vectors that were read back are as they were sent",
        ExitCode.DRIFT,
        "run `q2v status`: it says what comes next; then `q2v reconcile`",
    )
    KV_INDEX = (
        "the KV index names the vectors of each file",
        ExitCode.DRIFT,
        "run `q2v status`: it says what comes next; then `q2v reconcile`",
    )
    COUNTER = (
        "the counter is right",
        ExitCode.DRIFT,
        "run `q2v status`: it says what comes next; then `q2v reconcile`",
    )
    FILTERS = (
        "filters on each metadata index find the vectors",
        ExitCode.DRIFT,
        "see RUNBOOK, 'Filters find nothing'; then `q2v reconcile`",
    )
    QUERIES = (
        "stored vectors find themselves, and files their chunks",
        ExitCode.DRIFT,
        "wait some minutes and run `q2v gate` again; if it lasts, `q2v reconcile --full`",
    )
    PARITY = (
        "no dimensions are cut, or enough of search was measured to be kept",
        ExitCode.DRIFT,
        "measure the cut with `q2v parity --at WIDTH --min-overlap SHARE`, the least share being "
        "your decision; or choose more dimensions; an index that fails: `q2v reconcile --full`",
    )
    ROLLBACK = (
        "a rollback is prepared, and takes a known time",
        ExitCode.DAMAGED,
        "run `q2v reconcile`, which writes the manifest; restore a damaged file from a copy",
    )
    RIGHTS = (
        "the token may read and write, and lasts until the window ends",
        ExitCode.ACCESS,
        "create a token as RUNBOOK: plan says, with an expiry after the window",
    )
    WINDOW = (
        "a rollback fits into what is left of the window",
        ExitCode.PRECONDITION,
        "run `q2v reconcile` if none has ended; name the end of the window with "
        "`q2v gate --until TIME`; if the time is up, roll back or take another evening",
    )

    @property
    def word(self) -> str:
        """The name in JSON and in the table."""
        return self.name.lower().replace("_", " ")


# Only a person can see these; none has a verdict.
OF_THE_OPERATOR = (
    "take the writers' keys to Qdrant away; q2v sees only that nothing was written",
    "deploy the Worker to a preview with the new bindings, and run its tests there",
    "sync one file through the preview, find it, and delete it again",
    "ask for the dimensions of the plan wherever text is embedded, queries too",
    "ask the preview some questions whose answers you know",
    "tell those on call how to go back: `q2v rollback` shows the commands and the time",
    "note which secrets are deleted after the week of observation, and who does it",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about one criterion."""

    criterion: Criterion
    holds: bool | None  # None: not known
    found: str  # one sentence, with numbers
    place: str  # where it lies: a file or folder, or who was asked
    at: str | None  # RFC 3339; when it was found. None: it is as the files stand now
    outdated: str = ""  # why it is about something older than what there is now


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A criterion with its evidence and verdict."""

    criterion: Criterion
    verdict: Judgement
    evidence: Evidence | None
    age_s: float | None = None
    stale: str = ""  # what makes the evidence stale
    of_undone: bool = False  # the run is rolled back, or is being

    @property
    def found(self) -> str:
        """What is known, with what makes it stale in front."""
        found = "nothing is known about it" if self.evidence is None else self.evidence.found
        return f"{self.stale}: {found}" if self.stale else found

    @property
    def do(self) -> str:
        """What to do next; empty for a row that passes.

        After a rollback one row has it: what others ask for is refused then.
        """
        if self.verdict == "pass":
            return ""
        if self.of_undone:
            return OF_UNDONE if self.criterion is Criterion.POINTS else ""
        return self.criterion.do

    @property
    def code(self) -> ExitCode:
        """The exit code of a gate in which this row is the first that fails."""
        if self.of_undone and self.criterion is Criterion.POINTS:
            return ExitCode.PRECONDITION
        return self.criterion.code

    def document(self) -> dict[str, object]:
        """For JSON and for the record."""
        evidence = self.evidence
        return {
            "criterion": self.criterion.word,
            "title": self.criterion.title,
            "verdict": self.verdict,
            "found": self.found,
            "place": None if evidence is None else evidence.place,
            "at": None if evidence is None else evidence.at,
            "age_s": self.age_s,
            "do": self.do,
        }


def judge(
    evidence: Iterable[Evidence], *, now_s: float, age_max_s: float, of_undone: bool = False
) -> list[Row]:
    """A row for every criterion, in the order of the table; without evidence it is unknown.

    `now_s` is seconds since 1970. `of_undone`: the run is rolled back, or is being.
    """
    by_criterion = {one.criterion: one for one in evidence}
    rows = (
        _row(criterion, by_criterion.get(criterion), now_s, age_max_s) for criterion in Criterion
    )
    return [replace(row, of_undone=of_undone) for row in rows]


def is_go(rows: Sequence[Row]) -> bool:
    """Whether every criterion has a row, and every row passes."""
    passed = {row.criterion for row in rows if row.verdict == "pass"}
    return passed == set(Criterion) and len(rows) == len(Criterion)


def exit_code(rows: Sequence[Row]) -> ExitCode:
    """0 for go; else the code of the first row that fails; else 13."""
    if is_go(rows):
        return ExitCode.DONE
    failed = (row.code for row in rows if row.verdict == "fail")
    return next(failed, ExitCode.INDETERMINATE)


def _row(criterion: Criterion, evidence: Evidence | None, now_s: float, age_max_s: float) -> Row:
    if evidence is None:
        return Row(criterion=criterion, verdict="unknown", evidence=None)
    age_s = None if evidence.at is None else now_s - datetime.fromisoformat(evidence.at).timestamp()
    verdict, stale = _verdict(evidence, age_s, age_max_s)
    return Row(criterion=criterion, verdict=verdict, evidence=evidence, age_s=age_s, stale=stale)


def _verdict(evidence: Evidence, age_s: float | None, age_max_s: float) -> tuple[Judgement, str]:
    """The verdict, and what makes the evidence stale."""
    if evidence.outdated:
        return "stale", evidence.outdated
    if age_s is not None and age_s < -FUTURE_S_MAX:
        return "stale", "dated in the future: the clock of this machine was set back"
    if age_s is not None and age_s > age_max_s:
        return "stale", f"older than {counted(round(age_max_s / 60), 'minute')}"
    if evidence.holds is None:
        return "unknown", ""
    return ("pass" if evidence.holds else "fail"), ""


def docs_table() -> str:
    """The table of RUNBOOK.md."""
    rows = [f"| `{one.word}` | {one.title} | {int(one.code)} | {one.do} |" for one in Criterion]
    return "\n".join(["| row | passes when | exit | if not |", "|---|---|---|---|", *rows]) + "\n"
