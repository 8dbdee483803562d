"""Derive the next step of a migration from its position. Pure, and the only place that decides it.

Every command that prints `next:` calls `next_step`; RUNBOOK.md holds the same table. A step is a
command that changes the position, or a decision of the operator. No sequence of commands that all
end with exit code 0 leads in a circle: `tests/migrate/run/test_next_step.py` tests every position.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum

from migrate.run.journal import RunState

# The classes of drift that a repair writes; all others need a decision of the operator.
REPAIR = "repair"  # the kind of a round
REPAIRED = ("missing", "mismatched", "kv_missing", "kv_mismatched", "counter")


class Sealing(StrEnum):
    """The state of a snapshot."""

    NONE = "none"
    BEGUN = "begun"
    SEALED = "sealed"


class Reached(StrEnum):
    """The state of a run."""

    BEGUN = "begun"  # planned, or half written
    COMPLETE = "complete"
    ROLLING_BACK = "rolling back"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of the newest reconcile, if nothing was written since."""

    verdict: str  # equal | drift | indeterminate
    source_moved: bool = False  # the source differs from the snapshot
    repairable: bool = False  # something that the run wrote is missing or different
    filters_need_full: bool = False  # a repair for filters needs a reconcile of all contents
    shared: bool = False  # another run of the folder has written some of the ids that differ
    indexes: frozenset[tuple[str, str]] | None = None  # property, type; None: not in the report


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The position of a migration, read from its files."""

    newest: Sealing = Sealing.NONE  # the newest snapshot, if it is newer than that of the run
    run: Reached | None = None  # None: no run
    provisioned: bool | None = None  # None: the target was not read
    configured: bool = True  # the settings name a source, or there is a file of settings
    superseded: bool = False  # a newer run of the same collection exists
    conflicts: bool = False  # the rollback kept what others had changed
    reconcile_begun: bool = False  # a reconcile was interrupted after the last write
    finding: Finding | None = None  # None: not compared since the last write
    index_added: bool = False  # a metadata index is not in the newest reconcile, or newer
    repaired: bool = False  # the run's last write was a repair
    unwaived: bool = False  # points are left out for a reason that was not accepted
    moving: bool = False  # the run's snapshot was read while others wrote
    go: bool = False  # the newest gate said go, and the run has not written since


class Situation(Enum):
    """A kind of position with the next command and its reason; no command: a decision."""

    words: tuple[str, ...]
    means: str
    advice: str  # text of a decision; "" where a command follows

    def __init__(self, command: str, means: str, advice: str = "") -> None:
        self.words = tuple(command.split())
        self.means = means
        self.advice = advice

    NOT_CONFIGURED = "init", "no settings name a source yet"
    NO_SNAPSHOT = "snapshot", "this folder holds no snapshot of the points that are to move"
    NOT_PROVISIONED = "provision", "the vector index, a metadata index or the namespace is missing"
    SNAPSHOT_BEGUN = (
        "snapshot",
        "the newest snapshot is not sealed (to give it up, delete its folder)",
    )
    SNAPSHOT_SEALED = "migrate", "the newest snapshot is sealed and no run has moved it"
    RUN_BEGUN = "migrate", "the run is not complete"
    MOVING = (
        "",
        "the run is complete, and its snapshot was read while others wrote to the source",
        "`q2v catch-up` moves what has changed since, as often as you like; then stop the writers "
        "(RUNBOOK: freeze) and run `q2v catch-up --frozen`",
    )
    LEFT_OUT = (
        "",
        "the run is complete, and points are left out for reasons that were not accepted",
        "decide on them first: `q2v status` names the reasons, quarantine.jsonl beside the plan "
        "the points; accept a reason with `q2v migrate --waive REASON`, or mend the points in the "
        "source and run `q2v catch-up --frozen`; `q2v reconcile` compares the others meanwhile",
    )
    WRITTEN = "reconcile", "the run is complete and was not compared since its last write"
    RECONCILE_BEGUN = "reconcile", "a reconcile was interrupted"
    INDEX_ADDED = "reconcile", "a metadata index was added after the newest reconcile"
    INDETERMINATE = "reconcile", "the newest reconcile could not read everything"
    DRIFT = "migrate", "something that the run wrote is missing or different; a repair writes it"
    FILTERS = (
        "reconcile --full",
        "filters do not find vectors, and the report compared a sample of the contents: a repair "
        "writes all vectors, so every content has to be compared first",
    )
    DRIFT_AGAIN = (
        "",
        "a repair did not last: the reconcile after it found drift again",
        "find what else writes to the target and take its token away; then `q2v migrate` repairs",
    )
    SHARED = (
        "",
        "vectors or files of the run differ, and another run of this folder has written the same "
        "ids",
        "if their points went to the other part, run `q2v catch-up --frozen` for this one; if two "
        "points have one id, put what tells the parts apart into mapping.id_template, and move "
        "them again into a fresh index; `q2v migrate` writes the ids of this run again, and takes "
        "them from the other run",
    )
    SOURCE_MOVED = (
        "",
        "the source is not what the snapshot holds: it was written to, or it is another source",
        "check source.url and source.collection; then stop the writers and run "
        "`q2v catch-up --frozen`, which moves what has changed",
    )
    OTHERS = (
        "",
        "the target holds ids or keys that the run did not write, or that others have changed",
        "read the report's id files; remove what is not wanted, then `q2v reconcile`; or overwrite "
        "what FILE names with `q2v migrate --force FILE`; or accept it",
    )
    QUARANTINED = (
        "",
        "everything else is equal, and points are left out for reasons that were not accepted",
        "accept a reason with `q2v migrate --waive REASON`, then `q2v reconcile`; or mend the "
        "points in the source and start with a new snapshot",
    )
    EQUAL = (
        "",
        "what was compared is equal, at the coverage that the report states",
        "run `q2v gate --until TIME`, TIME being the end of the window: it shows what speaks for "
        "the cutover and what does not (RUNBOOK: gate)",
    )
    GO = (
        "",
        "the newest gate says go",
        "the cutover is your decision (RUNBOOK: cutover); after it run `q2v monitor` every hour, "
        "or take the way back, which begins with `q2v rollback`",
    )
    ROLLING_BACK = "rollback --execute", "a rollback was begun and is not complete"
    CONFLICTS = (
        "",
        "the run is rolled back; what others had changed was kept",
        "read rollback/conflicts.ids of each run of the chain; `q2v rollback --execute --force "
        "FILE` puts back what FILE names; `q2v migrate --into-non-empty` moves the snapshot "
        "again, as a new run",
    )
    ROLLED_BACK = (
        "",
        "the run is rolled back",
        "`q2v migrate` moves the snapshot again, as a new run",
    )
    SUPERSEDED = "status", "a newer run of the same collection exists"

    @property
    def decides(self) -> bool:
        """Whether the operator has to decide something."""
        return not self.words

    def advice_with(self, flags: Sequence[str], unwaived: Sequence[str] = ()) -> str:
        """The decision; its `q2v migrate` has these flags of an earlier run (`flags_again`).

        `unwaived` are the reasons that the advice asks to accept.
        """
        command = f"`{' '.join(['q2v', 'migrate', *flags])}`"
        return self.advice.replace("`q2v migrate`", command).replace(
            "REASON", " --waive ".join(unwaived) or "REASON"
        )

    @property
    def remedy(self) -> str:
        """The step as the remedy of an error."""
        return self.remedy_with(())

    def remedy_with(self, flags: Sequence[str]) -> str:
        """As `remedy`, with `flags` as `advice_with`."""
        return self.advice_with(flags) or f"run `{' '.join(['q2v', *self.words, *flags])}`"

    @property
    def text(self) -> str:
        """The command without the folder, or the decision."""
        return self.advice or f"q2v {' '.join(self.words)}"


def next_step(position: Position) -> Situation:
    """The situation of this position; it holds the next step."""
    if position.run is Reached.ROLLING_BACK:
        return Situation.ROLLING_BACK
    if position.run is not None and position.superseded:
        return Situation.SUPERSEDED
    if position.run is Reached.BEGUN:
        return Situation.RUN_BEGUN
    if position.run is None or position.newest is not Sealing.NONE:
        return _before_a_run(position)
    if position.run is Reached.ROLLED_BACK:
        return Situation.CONFLICTS if position.conflicts else Situation.ROLLED_BACK
    return Situation.MOVING if position.moving else _after_a_run(position)


# How far an index is. At these its next step waits until the other vector indexes are as far:
# readers move to all of them at once.
_REACHED = {
    Situation.NO_SNAPSHOT: 1,
    Situation.SNAPSHOT_BEGUN: 1,
    Situation.SNAPSHOT_SEALED: 1,
    Situation.MOVING: 2,
    Situation.WRITTEN: 3,
    Situation.EQUAL: 4,
    Situation.GO: 5,
}
_NOT_MOVED = frozenset(
    {
        Situation.NOT_CONFIGURED,
        Situation.NO_SNAPSHOT,
        Situation.NOT_PROVISIONED,
        Situation.SNAPSHOT_BEGUN,
        Situation.SNAPSHOT_SEALED,
        Situation.RUN_BEGUN,
        Situation.ROLLING_BACK,
        Situation.CONFLICTS,
        Situation.ROLLED_BACK,
        Situation.SUPERSEDED,
    }
)


# A command of one index, with its words.
_OF_AN_INDEX = re.compile(r"`(q2v (?:migrate|catch-up|reconcile|gate|monitor|rollback)\b[^`]*)`")


def choose_index(situations: Mapping[str, Situation], own: str | None = None) -> str:
    """Which of several vector indexes has the next step; `situations` are not empty, by index.

    `own`: the index of the command, which comes first unless it waits for those that are less far.
    """
    if own is not None and situations[own] not in _REACHED:
        return own
    return min(situations, key=lambda index: (_reached(situations[index]), index != own))


def _reached(situation: Situation) -> int:
    if situation is Situation.NOT_PROVISIONED:
        return 0
    is_moved = situation not in _NOT_MOVED
    return _REACHED.get(situation, _REACHED[Situation.WRITTEN] if is_moved else 1)


def is_standing(situation: Situation) -> bool:
    """Whether the run has moved its points and is not rolled back."""
    return situation is Situation.RUN_BEGUN or situation not in _NOT_MOVED


def with_index(advice: str, index: str) -> str:
    """Advice whose commands, in backquotes, name one of several vector indexes."""
    return _OF_AN_INDEX.sub(rf"`\1 --vector-index {index}`", advice)


def flags_again(situation: Situation, state: RunState, *, into_non_empty: bool) -> list[str]:
    """The flags of a run's first `q2v migrate` that the next one needs too.

    `into_non_empty`: the run was allowed to write into an index or a namespace that was not empty.
    It is asked again until the run has read what they held, and after a rollback, which has put
    the former contents back.
    """
    is_unread = situation is Situation.RUN_BEGUN and state.pre_images is None
    is_asked = is_unread or situation is Situation.ROLLED_BACK
    return ["--into-non-empty"] if into_non_empty and is_asked else []


def position_of(state: RunState) -> Position:
    """The part of a position that follows from a run's journal."""
    if state.rollback_opened:
        reached = Reached.ROLLED_BACK if state.rollback_completed else Reached.ROLLING_BACK
    else:
        reached = Reached.COMPLETE if state.completed else Reached.BEGUN
    return Position(
        run=reached,
        conflicts=state.rollback_conflicts > 0,
        repaired=bool(state.rounds) and state.rounds[-1].kind == REPAIR,
    )


def _before_a_run(position: Position) -> Situation:
    if position.provisioned is False:
        return Situation.NOT_PROVISIONED
    if position.newest is Sealing.NONE and position.run is None and not position.configured:
        return Situation.NOT_CONFIGURED
    return {
        Sealing.NONE: Situation.NO_SNAPSHOT,
        Sealing.BEGUN: Situation.SNAPSHOT_BEGUN,
        Sealing.SEALED: Situation.SNAPSHOT_SEALED,
    }[position.newest]


def _after_a_run(position: Position) -> Situation:
    finding = position.finding
    if position.reconcile_begun:
        return Situation.RECONCILE_BEGUN
    if finding is None:
        return Situation.LEFT_OUT if position.unwaived else Situation.WRITTEN
    if finding.verdict == "indeterminate":
        return Situation.INDETERMINATE
    if finding.verdict == "equal":
        return _of_equal(position)
    return _of_drift(finding, repaired=position.repaired)


def _of_equal(position: Position) -> Situation:
    if position.index_added:
        return Situation.INDEX_ADDED
    if position.unwaived:
        return Situation.QUARANTINED
    return Situation.GO if position.go else Situation.EQUAL


def _of_drift(finding: Finding, *, repaired: bool) -> Situation:
    if finding.source_moved:
        return Situation.SOURCE_MOVED
    if finding.filters_need_full:
        return Situation.FILTERS
    if not finding.repairable:
        return Situation.OTHERS
    if finding.shared:
        return Situation.SHARED
    return Situation.DRIFT_AGAIN if repaired else Situation.DRIFT


def read_finding(report: Mapping[str, object]) -> Finding | None:
    """The finding of a report.json; None when it is not a report."""
    match report:
        case {"verdict": str() as verdict, "drift": dict() as drift}:
            moved = report.get("source_drift")
            unfiltered = _ids(report.get("id_files"), ("unfiltered",))
            return Finding(
                verdict=verdict,
                source_moved=isinstance(moved, dict) and any(moved.values()),
                repairable=_count(drift, REPAIRED) + unfiltered > _kept(report.get("id_files")),
                shared=_is_count(report.get("shared"))
                and _count(drift, ("mismatched", "kv_mismatched")) > 0,
                filters_need_full=bool(drift.get("metadata_indexes")) and not unfiltered,
                indexes=_indexes(report.get("metadata_indexes")),
            )
        case _:
            return None


def _indexes(found: object) -> frozenset[tuple[str, str]] | None:
    """The metadata indexes of a report; None when the report does not have them."""
    if not isinstance(found, list):
        return None
    both = (
        (index.get("name"), index.get("declared")) for index in found if isinstance(index, dict)
    )
    return frozenset(
        (name, kind) for name, kind in both if isinstance(name, str) and isinstance(kind, str)
    )


def _is_count(found: object) -> bool:
    return isinstance(found, int) and found > 0


def _count(drift: Mapping[str, object], classes: tuple[str, ...]) -> int:
    counts = (drift.get(name) for name in classes)
    return sum(count for count in counts if isinstance(count, int))


def _kept(id_files: object) -> int:
    """Number of drifted ids that only another writer can have changed: a repair keeps them."""
    return _ids(id_files, ("foreign", "kv_foreign"))


def _ids(id_files: object, classes: tuple[str, ...]) -> int:
    """Number of ids in the files of these classes."""
    files = id_files if isinstance(id_files, dict) else {}
    sums = (files.get(name) for name in classes)
    return sum(
        record[0] for record in sums if isinstance(record, list) and isinstance(record[0], int)
    )


def runbook_table() -> str:
    """The lines of RUNBOOK.md's table, which a test compares."""
    rows = [f"| {each.means} | {each.advice or f'`{each.text}`'} |" for each in Situation]
    return "\n".join(["| where it stands | what comes next |", "|---|---|", *rows]) + "\n"
