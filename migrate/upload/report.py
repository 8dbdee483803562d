"""The report of one call of `migrate`: the state of the run and what the call did."""

from dataclasses import dataclass

from migrate.errors import ExitCode
from migrate.plan.record import RunPlan
from migrate.run.folder import RunFolder
from migrate.run.refused_vectors import RefusedPoint, refused_points
from migrate.snapshot.folder import Snapshot
from migrate.upload.kv_index import counter_value, entries_written
from migrate.upload.rounds import kept_changes

NOTHING_TO_DO = "nothing to do: the run is complete and no reconcile report lists repairs"


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What was done in the round that a call worked on."""

    kind: str  # full, repair, retry or none
    evidence: str  # what proved that the vectors are processed
    requests: int  # sent by processes other than this one


NO_ROUND = RoundReport("none", NOTHING_TO_DO, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateReport:
    """The result of `migrate` and of `q2v migrate`."""

    run_id: str
    path: str
    snapshot_id: str
    points: int
    acknowledged: int  # points whose vector the target took and has processed
    quarantined: dict[str, int]  # reason -> points
    elsewhere: dict[str, int]  # other vector index -> points of its run
    unwaived: int
    requests: int  # of this call, retries included; the caller adds those of its own process
    mutations: int  # uploads taken, over all rounds
    refused_uploads: int  # uploads refused, over all rounds, to find bad vectors
    kv_entries: int
    counter: int
    seconds: float = 0.0
    round: str  # full, repair, retry or none: what this call worked on
    evidence: str  # what proved that the vectors are processed
    refused: tuple[RefusedPoint, ...] = ()  # the first of them
    kept: tuple[str, ...] = ()  # ids and keys that another writer has changed; not written
    forced_unknown: tuple[str, ...] = ()  # forced ids and keys that name nothing of the run
    dry_run: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """DRIFT while changes of others are kept, QUARANTINED while points are not waived."""
        if self.kept:
            return ExitCode.DRIFT
        return ExitCode.QUARANTINED if self.unwaived else ExitCode.DONE


def report_run(run: RunFolder, done: RoundReport) -> MigrateReport:
    """Build the report of a call from the run's state and what the call did."""
    state = run.state()
    return MigrateReport(
        run_id=run.plan.run_id,
        path=str(run.folder),
        snapshot_id=run.plan.snapshot_id,
        points=run.plan.points,
        acknowledged=state.vectors_acknowledged(),
        quarantined=run.quarantined_counts(),
        elsewhere=run.plan.elsewhere,
        unwaived=run.unwaived,
        requests=done.requests,
        mutations=len(state.vectors_written()),
        refused_uploads=state.vectors_refused(),
        kv_entries=entries_written(run),
        counter=counter_value(run),
        round=done.kind,
        evidence=done.evidence,
        refused=refused_points(run),
        kept=tuple(kept_changes(run)),
    )


def report_dry_run(plan: RunPlan, snapshot: Snapshot) -> MigrateReport:
    """Build the report of a dry run: the plan's counts; nothing was written."""
    return MigrateReport(
        run_id=plan.run_id,
        path=snapshot.runs.address(plan.run_id),
        snapshot_id=plan.snapshot_id,
        points=plan.points,
        acknowledged=0,
        quarantined=plan.quarantined,
        elsewhere=plan.elsewhere,
        unwaived=plan.unwaived,
        requests=0,
        mutations=0,
        refused_uploads=0,
        kv_entries=0,
        counter=0,
        round="none",
        evidence="dry run: nothing was written",
        dry_run=True,
    )
