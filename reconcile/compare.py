"""Compare source, snapshot, vector index, KV index and counter; write down what differs.

Writes to neither store. A store that cannot be read to its end gives the verdict
"indeterminate": never a guess, and never "equal". A killed reconcile goes on where it was: what
it has read is kept in its folder, each step noted when it is durable.
"""

import hashlib
from contextlib import closing
from dataclasses import dataclass

from migrate.errors import (
    BudgetExhaustedError,
    IndeterminateError,
    MigrationError,
    PreconditionError,
    RemoteUnavailableError,
)
from migrate.model.canonical import encode_canonical_json
from migrate.model.stamps import iso_stamp
from migrate.ports import Clock, PointSource, Target, VectorTarget
from migrate.run.folder import RunFolder
from migrate.run.next_step import next_step, position_of
from migrate.runtime import Runtime
from reconcile.differences import Named
from reconcile.report.report import (
    ReconcileReport,
    Verdict,
    content_classes,
    drift_counts,
    id_classes,
    kv_classes,
    metadata_classes,
    source_classes,
    write_combined,
    write_report,
)
from reconcile.report.statement import write_statement
from reconcile.rollback.manifest import build_manifest, write_manifest
from reconcile.sampling import Coverage
from reconcile.scan.kv import KvScan
from reconcile.scan.metadata import MetadataScan
from reconcile.scan.source import SourceScan
from reconcile.scan.vectors import ContentScan, IdScan
from reconcile.session import Kind
from reconcile.session_folder import Attempt, open_attempt
from reconcile.stores import Reading, ReconcileRules

DEFAULT_SEED = 1
# Namespaces, metadata and expiry of KV entries, ids that a listing leaves out: an attempt that
# was begun without them is not gone on with.
COMPARES = 2


@dataclass(slots=True)
class _Findings:
    """What has been read so far; what stayed None was not."""

    source: SourceScan | None = None
    ids: IdScan | None = None
    contents: ContentScan | None = None
    metadata: MetadataScan | None = None
    kv: KvScan | None = None
    unread: MigrationError | None = None

    def not_read(self, *, with_source: bool) -> tuple[str, ...]:
        """What was not read to its end although it should have been."""
        wanted = {
            "source": with_source and (self.source is None or bool(self.source.unreadable)),
            "ids": self.ids is None,
            "contents": self.contents is None,
            "metadata": self.metadata is None,
            "kv": self.kv is None,
        }
        return tuple(name for name, unread in wanted.items() if unread)


def compare(
    run_: RunFolder,
    source: PointSource | None,
    target: Target,
    rules: ReconcileRules,
    runtime: Runtime,
    *,
    fresh: bool = False,
) -> ReconcileReport:
    """Read everything, compare, and write report, id files and rollback manifest.

    Continues an attempt that was interrupted less than an hour ago and compares the same
    things, unless `fresh`. `source` None leaves the source out, because the operator asked for it
    (it may be gone). Raises PreconditionError when the run is not complete or the index is
    another one.
    """
    state = run_.state()
    if not state.completed or state.rollback_opened:
        raise PreconditionError(
            f"run {run_.plan.run_id} is {state.phase}: there is nothing to compare",
            remedy=f"{next_step(position_of(state)).remedy}; or name another run",
        )
    check_same_index(run_, target.vectors)
    inputs = _inputs(run_, rules, source)
    attempt = open_attempt(run_, inputs, runtime, fresh=fresh)
    reading = Reading(run_, attempt, rules, runtime)
    with closing(attempt):
        findings = _Findings()
        try:
            if source is not None:
                findings.source = reading.source(source)
            findings.ids = reading.ids(target.vectors)
            findings.contents = reading.contents(target.vectors, findings.ids)
            findings.metadata = reading.metadata(target.vectors, findings.ids, findings.contents)
            findings.kv = reading.kv(target.kv)
        except (IndeterminateError, RemoteUnavailableError, BudgetExhaustedError) as error:
            findings.unread = error
        return _conclude(
            run_, attempt, findings, rules, with_source=source is not None, clock=runtime.clock
        )


def _inputs(run_: RunFolder, rules: ReconcileRules, source: PointSource | None) -> str:
    """Digest of what is compared, and how much of it: an attempt with others is another one."""
    inputs: dict[str, object] = {
        "plan": run_.plan.fingerprint,
        "journal": run_.journal.chain,
        "compares": COMPARES,
        "coverage": "full" if rules.is_full(run_.vectors) else [rules.content_sample, rules.seed],
        "source": None if source is None else source.identity(),
    }
    if rules.metadata_indexes:
        inputs["metadata_indexes"] = dict(rules.metadata_indexes)
    return hashlib.sha256(encode_canonical_json(inputs)).hexdigest()


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


def _conclude(
    run_: RunFolder,
    attempt: Attempt,
    findings: _Findings,
    rules: ReconcileRules,
    *,
    with_source: bool,
    clock: Clock,
) -> ReconcileReport:
    if findings.ids is not None and findings.contents is not None:
        write_combined(attempt.folder, findings.ids, findings.contents)
    manifest_path, manifest_sha256 = write_manifest(
        run_, build_manifest(run_, requests_per_5min=rules.requests_per_5min)
    )
    drift = drift_counts(findings.ids, findings.contents, findings.metadata, findings.kv)
    verdict, why = _verdict(findings, drift)
    full = rules.is_full(run_.vectors)
    classes = _classes(findings)
    report = ReconcileReport(
        run_id=run_.plan.run_id,
        snapshot_id=run_.plan.snapshot_id,
        ordinal=attempt.ordinal,
        started_at=attempt.opened_at,
        at=iso_stamp(clock.wall_s()),
        resumed=attempt.state.resumed,
        abandoned=attempt.abandoned,
        verdict=verdict,
        why=why + _left_out(run_, with_source=with_source) * (verdict == "equal"),
        unread=findings.not_read(with_source=with_source),
        coverage=Coverage(
            contents="full" if full else "sampled",
            checked=0 if findings.contents is None else findings.contents.checked,
            vectors=run_.vectors,
            seed=None if full else rules.seed,
        ),
        counts=_counts(run_, findings),
        drift=drift,
        metadata_indexes=None if findings.metadata is None else findings.metadata.findings,
        source_drift=_source_drift(findings.source),
        quarantined=run_.quarantined_counts(),
        unwaived=run_.unwaived,
        files={name: attempt.id_file(name) for name in classes},
        differs=_differs(run_, findings),
        contradicted=_contradicted(findings),
        id_files=attempt.sums(classes),
        folder=attempt.folder,
        rollback_manifest=manifest_path,
        rollback_sha256=manifest_sha256,
    )
    report_sha256 = write_report(report, run_.snapshot.key)
    attempt.note(Kind.CONCLUDED, verdict=verdict, report_sha256=report_sha256)
    write_statement(run_, report)
    return report


def _classes(findings: _Findings) -> list[str]:
    """The classes of drift that have an id file: those that were read, empty ones too."""
    return [
        *({} if findings.ids is None else id_classes(findings.ids)),
        *({} if findings.contents is None else content_classes(findings.contents)),
        *({} if findings.metadata is None else metadata_classes(())),
        *({} if findings.kv is None else kv_classes(findings.kv)),
        *({} if findings.source is None else source_classes(findings.source)),
    ]


def _verdict(findings: _Findings, drift: dict[str, int | None]) -> tuple[Verdict, str]:
    unknown = _unknown(findings)
    if unknown is not None:
        return "indeterminate", unknown
    found = {name: count for name, count in drift.items() if count}
    if findings.source is not None and findings.source.moved:
        source = findings.source
        found["source since the snapshot"] = (
            len(source.added) + len(source.changed) + len(source.deleted)
        )
    if found:
        return "drift", ", ".join(f"{name} {count}" for name, count in found.items())
    return "equal", "no drift at the stated coverage"


def _unknown(findings: _Findings) -> str | None:
    """Why there can be no verdict; None when there can."""
    if findings.unread is not None:
        return f"not everything could be read: {findings.unread}"
    assert findings.contents is not None
    if findings.contents.unreadable:
        return f"{len(findings.contents.unreadable)} listed vectors could not be read back"
    contradicted = {name: count for name, count in _contradicted(findings).items() if count}
    if contradicted:
        return _contradictions(findings, contradicted)
    if findings.source is not None and findings.source.unreadable:
        ids = findings.source.unreadable
        return f"the source does not give {len(ids)} points that the snapshot holds, first {ids[0]}"
    return None


def _contradicted(findings: _Findings) -> dict[str, int]:
    """Class -> records of which a listing says one thing and a read another."""
    ids, kv = findings.ids, findings.kv
    return {
        "unlisted": 0 if ids is None else len(ids.unlisted),
        "kv_unlisted": 0 if kv is None else len(kv.unlisted),
        "kv_unreadable": 0 if kv is None else len(kv.unreadable),
    }


def _contradictions(findings: _Findings, counts: dict[str, int]) -> str:
    """Both facts, with an example of each class."""
    assert findings.ids is not None
    assert findings.kv is not None
    facts = {
        "unlisted": ("vectors can be read by id and are not listed", findings.ids.unlisted),
        "kv_unlisted": ("KV keys can be read and are not listed", findings.kv.unlisted),
        "kv_unreadable": ("KV keys are listed and read as absent", findings.kv.unreadable),
    }
    said = [f"{counts[name]} {facts[name][0]}, among them '{facts[name][1][0]}'" for name in counts]
    return f"{'; '.join(said)}: the listing and the reads contradict each other"


def _differs(run_: RunFolder, findings: _Findings) -> Named:
    """What differs in vectors and keys; the counter under its own key."""
    contents = {} if findings.contents is None else findings.contents.differs
    kv = findings.kv
    if kv is None:
        return contents
    counter = {run_.plan.writes.counter_key: kv.counter_differs} if kv.counter_differs else {}
    return {**contents, **kv.differs, **counter}


def _left_out(run_: RunFolder, *, with_source: bool) -> str:
    """What "equal" does not cover."""
    unreadable = len(run_.snapshot.manifest.unreadable)
    return (
        "" if with_source else "; the source was left out"
    ) + f"; {unreadable} points that the source could not give are left out" * bool(unreadable)


def _source_drift(source: SourceScan | None) -> dict[str, int] | None:
    if source is None:
        return None
    return {
        "added": len(source.added),
        "changed": len(source.changed),
        "deleted": len(source.deleted),
    }


def _counts(run_: RunFolder, findings: _Findings) -> dict[str, int | None]:
    ids, kv = findings.ids, findings.kv
    return {
        "source": None if findings.source is None else findings.source.points,
        "snapshot": run_.snapshot.manifest.points,
        "expected": None if ids is None else ids.expected,
        "vector_index": None if ids is None else ids.listed,
        "kv_ids": None if kv is None else kv.ids,
        "kv_counter": None if kv is None else kv.counter,
    }
