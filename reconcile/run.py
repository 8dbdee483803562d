"""Compare source, snapshot, vector index, KV index and counter; write down what differs.

Writes to neither store. A store that cannot be read to its end gives the verdict
"indeterminate": never a guess, and never "equal".
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from migrate.adapters.id_table import IdTable
from migrate.adapters.run_folder import RECONCILE, RunFolder
from migrate.errors import (
    BudgetExhaustedError,
    IndeterminateError,
    MigrationError,
    PreconditionError,
    RemoteUnavailableError,
)
from migrate.ports import Clock, KvTarget, PointSource, Progress, VectorTarget
from migrate.stages.mapped import fill_id_table
from reconcile.report import (
    ReconcileReport,
    Verdict,
    drift_counts,
    write_id_files,
    write_report,
)
from reconcile.rollback_manifest import build_manifest, write_manifest
from reconcile.sampling import Coverage, choose_rows
from reconcile.scan_kv import KvScan, scan_kv
from reconcile.scan_source import SourceScan, scan_source
from reconcile.scan_vectors import VectorScan, scan_contents, scan_ids
from reconcile.statement import write_statement

DEFAULT_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRules:
    """How much is read, and how long a difference has to last before it counts."""

    content_full_max: int  # up to this many vectors every content is compared
    content_sample: int  # beyond it, this many, chosen by `seed`
    seed: int
    pause_s: float  # between two looks at the vector index
    kv_settle_s: float  # before a difference in KV is looked at again
    page_points: int
    requests_per_5min: int


@dataclass(slots=True)
class _Findings:
    """What has been read so far; what stayed None was not."""

    source: SourceScan | None = None
    vectors: VectorScan | None = None
    kv: KvScan | None = None
    unread: MigrationError | None = None


def run(
    run_: RunFolder,
    source: PointSource | None,
    vector_target: VectorTarget,
    kv_target: KvTarget,
    rules: ReconcileRules,
    *,
    clock: Clock,
    progress: Progress,
) -> ReconcileReport:
    """Read everything, compare, and write report, id files and rollback manifest.

    `source` None leaves the source out, because the operator asked for it (it may be gone).
    Raises PreconditionError when the run is not complete or the index is another one.
    """
    if not run_.state().completed:
        raise PreconditionError(
            f"run {run_.plan.run_id} is {run_.state().phase}: there is nothing to compare yet",
            remedy="run `q2v migrate` to its end first",
        )
    if run_.state().rollback_opened:
        raise PreconditionError(
            f"run {run_.plan.run_id} is {run_.state().phase}: there is nothing left to compare",
            remedy="run `q2v migrate` for a new run, or name another one",
        )
    check_same_index(run_, vector_target)
    coverage, only_rows = _coverage(run_, rules)
    findings = _Findings()
    try:
        if source is not None:
            findings.source = scan_source(
                source, run_.snapshot, page_points=rules.page_points, progress=progress
            )
        _read_target(
            run_,
            vector_target,
            kv_target,
            findings,
            only_rows=only_rows,
            rules=rules,
            clock=clock,
            progress=progress,
        )
    except (IndeterminateError, RemoteUnavailableError, BudgetExhaustedError) as error:
        findings.unread = error
    return _conclude(run_, findings, coverage, rules, with_source=source is not None, clock=clock)


def check_same_index(run_: RunFolder, target: VectorTarget) -> None:
    """Raises PreconditionError when the index is gone or was created anew since the plan."""
    index = target.read_index()
    if index is None:
        raise PreconditionError(
            f"vector index '{run_.plan.index.name}' does not exist any more",
            remedy="provision a fresh index and migrate into it",
        )
    if index != run_.plan.index:
        raise PreconditionError(
            f"vector index '{index.name}' is not the one of the plan: created {index.created_on}, "
            f"planned with {run_.plan.index.created_on}",
            remedy="everything written to the former index is void: start a new run",
        )


def _coverage(run_: RunFolder, rules: ReconcileRules) -> tuple[Coverage, frozenset[int] | None]:
    vectors = run_.plan.vectors
    if vectors <= rules.content_full_max:
        return Coverage(contents="full", checked=0, vectors=vectors, seed=None), None
    rows = choose_rows(
        run_.plan.points, run_.excluded_rows(), sample=rules.content_sample, seed=rules.seed
    )
    return Coverage(contents="sampled", checked=0, vectors=vectors, seed=rules.seed), rows


def _read_target(
    run_: RunFolder,
    vector_target: VectorTarget,
    kv_target: KvTarget,
    findings: _Findings,
    *,
    only_rows: frozenset[int] | None,
    rules: ReconcileRules,
    clock: Clock,
    progress: Progress,
) -> None:
    with IdTable(run_.spill) as table:
        fill_id_table(table, run_.snapshot, run_.plan.mapping, run_.excluded_rows())
        vectors = scan_ids(
            run_, table, vector_target, pause_s=rules.pause_s, clock=clock, progress=progress
        )
        scan_contents(
            run_,
            vectors,
            vector_target,
            only_rows=only_rows,
            pause_s=rules.pause_s,
            clock=clock,
            progress=progress,
        )
        findings.vectors = vectors
        findings.kv = scan_kv(
            run_, table, kv_target, settle_s=rules.kv_settle_s, clock=clock, progress=progress
        )


def _conclude(
    run_: RunFolder,
    findings: _Findings,
    coverage: Coverage,
    rules: ReconcileRules,
    *,
    with_source: bool,
    clock: Clock,
) -> ReconcileReport:
    ordinal, folder = _next_folder(run_)
    files = write_id_files(folder, findings.source, findings.vectors, findings.kv)
    manifest_path, manifest_sha256 = write_manifest(
        run_, build_manifest(run_, requests_per_5min=rules.requests_per_5min)
    )
    drift = drift_counts(findings.vectors, findings.kv)
    verdict, why = _verdict(findings, drift)
    report = ReconcileReport(
        run_id=run_.plan.run_id,
        snapshot_id=run_.plan.snapshot_id,
        ordinal=ordinal,
        at=datetime.fromtimestamp(clock.wall_s(), UTC).isoformat(timespec="seconds"),
        verdict=verdict,
        why=why if with_source or verdict != "equal" else f"{why}; the source was left out",
        coverage=Coverage(
            contents=coverage.contents,
            checked=0 if findings.vectors is None else findings.vectors.checked,
            vectors=coverage.vectors,
            seed=coverage.seed,
        ),
        counts=_counts(run_, findings),
        drift=drift,
        source_drift=_source_drift(findings.source),
        quarantined=run_.plan.quarantined,
        unwaived=run_.plan.unwaived,
        files=files,
        folder=str(folder),
        rollback_manifest=manifest_path,
        rollback_sha256=manifest_sha256,
    )
    write_report(report)
    write_statement(run_, report)
    return report


def _next_folder(run_: RunFolder) -> tuple[int, Path]:
    done = [int(path.name) for path in (run_.path / RECONCILE).glob("[0-9]*")]
    ordinal = max(done, default=0) + 1
    return ordinal, run_.path / RECONCILE / f"{ordinal:03d}"


def _verdict(findings: _Findings, drift: dict[str, int | None]) -> tuple[Verdict, str]:
    if findings.unread is not None:
        return "indeterminate", f"not everything could be read: {findings.unread}"
    assert findings.vectors is not None
    if findings.vectors.unreadable:
        count = len(findings.vectors.unreadable)
        return "indeterminate", f"{count} listed vectors could not be read back"
    found = {name: count for name, count in drift.items() if count}
    if findings.source is not None and findings.source.moved:
        source = findings.source
        found["source since the snapshot"] = (
            len(source.added) + len(source.changed) + len(source.deleted)
        )
    if found:
        return "drift", ", ".join(f"{name} {count}" for name, count in found.items())
    return "equal", "no drift at the stated coverage"


def _source_drift(source: SourceScan | None) -> dict[str, int] | None:
    if source is None:
        return None
    return {
        "added": len(source.added),
        "changed": len(source.changed),
        "deleted": len(source.deleted),
    }


def _counts(run_: RunFolder, findings: _Findings) -> dict[str, int | None]:
    vectors, kv = findings.vectors, findings.kv
    return {
        "source": None if findings.source is None else findings.source.points,
        "snapshot": run_.snapshot.manifest.points,
        "expected": None if vectors is None else vectors.expected,
        "vector_index": None if vectors is None else vectors.listed,
        "kv_ids": None if kv is None else kv.ids,
        "kv_counter": None if kv is None else kv.counter,
    }
