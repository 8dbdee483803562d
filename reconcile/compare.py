"""Compare source, snapshot, vector index, KV index and counter; write down what differs.

Writes to neither store. A store that cannot be read completely gives the verdict "indeterminate",
never "equal". A reconcile that was killed can be resumed: its folder holds what it has read, and
its journal gets an entry for each step that is durable.
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
from migrate.ports import Clock, ContentVerifier, PointSource, Target, VectorTarget
from migrate.run.choose.matching import check_scope
from migrate.run.folder import RunFolder
from migrate.run.next_step import flags_again, next_step, position_of
from migrate.run.refused_vectors import former_of_refused
from migrate.runtime import Runtime
from migrate.snapshot.manifest import SnapshotManifest
from migrate.words import counted
from reconcile.differences import Named
from reconcile.others import Others, read_others
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
from reconcile.session_folder import Session, open_session
from reconcile.stores import ReconcileRules, Stores

# A run keeps to the index that its plan names, so the new one gets a run of its own.
_AFTER_A_DELETION = (
    "`q2v provision` creates one where there is none; then `q2v rollback --execute` ends this run, "
    "and `q2v migrate` moves the snapshot again, as a new run"
)
DEFAULT_SEED = 1
# Version of what is compared. 2 added namespaces, metadata and expiry of KV entries, and ids that a
# listing leaves out; 3 the vectors of others that are gone, for the counter. A session of another
# version is not resumed.
COMPARES = 3


@dataclass(slots=True)
class _Findings:
    """The scans so far; None for a store that has not been read."""

    others: Others
    source: SourceScan | None = None
    ids: IdScan | None = None
    elsewhere: int = 0  # vectors of others that the counter counts; known with `ids`
    contents: ContentScan | None = None
    metadata: MetadataScan | None = None
    kv: KvScan | None = None
    unread: MigrationError | None = None

    def counted_elsewhere(self, run: RunFolder) -> int | None:
        """Vectors of others for the counter of a repair; None: those that it counts anyway."""
        if self.ids is None or not (self.others.runs or self.ids.others_gone):
            return None
        return self.elsewhere - len(former_of_refused(run))

    def not_read(self, *, with_source: bool) -> tuple[str, ...]:
        """The stores that had to be read and were not read completely, in reading order."""
        wanted = {
            "source": with_source and (self.source is None or bool(self.source.unreadable)),
            "ids": self.ids is None,
            "contents": self.contents is None,
            "metadata": self.metadata is None,
            "kv": self.kv is None,
        }
        return tuple(name for name, unread in wanted.items() if unread)


def compare(
    run: RunFolder,
    source: PointSource | None,
    target: Target,
    rules: ReconcileRules,
    runtime: Runtime,
    *,
    fresh: bool = False,
    verifier: ContentVerifier | None = None,
) -> ReconcileReport:
    """Read all stores, compare them, and write report, id files and rollback manifest.

    Resumes the newest session if it compares the same things and was interrupted for less than an
    hour, unless `fresh`. A `verifier` compares contents as far as it can be used. With `source`
    None the source is not read, for example because it no longer exists. Raises PreconditionError
    when the run is not complete or the index is not the one that the plan names, ForeignStateError
    for a source of another part of the collection than the snapshot's.
    """
    state = run.state()
    if not state.completed or state.rollback_opened:
        situation = next_step(position_of(state))
        flags = flags_again(situation, state, into_non_empty=run.plan.into_non_empty)
        raise PreconditionError(
            f"run {run.plan.run_id} is {state.phase}: there is nothing to compare",
            remedy=f"{situation.remedy_with(flags)}; or name another run",
        )
    if source is not None:
        check_scope(run.snapshot, source.identity().get("filter"))
    check_same_index(run, target.vectors)
    others = read_others(run)
    inputs = _inputs(run, rules, source, others)
    session = open_session(run, inputs, runtime, fresh=fresh)
    stores = Stores(run, session, rules, runtime, others)
    with closing(session):
        findings = _Findings(others)
        try:
            if source is not None:
                findings.source = stores.source(source)
            findings.ids = stores.ids(target.vectors)
            findings.contents = stores.contents(target.vectors, verifier, findings.ids)
            findings.metadata = stores.metadata(target.vectors, findings.ids, findings.contents)
            findings.elsewhere = stores.elsewhere(findings.ids)
            findings.kv = stores.kv(target.kv, findings.ids)
        except (IndeterminateError, RemoteUnavailableError, BudgetExhaustedError) as error:
            findings.unread = error
        coverage = _coverage(run, rules, findings.contents, verifier)
        return _conclude(
            run,
            session,
            findings,
            rules,
            coverage=coverage,
            with_source=source is not None,
            clock=runtime.clock,
        )


def _inputs(
    run: RunFolder, rules: ReconcileRules, source: PointSource | None, others: Others
) -> str:
    """SHA-256 over what decides what is compared; a session with another is not resumed."""
    inputs: dict[str, object] = {
        "plan": run.plan.fingerprint,
        "journal": run.journal.chain,
        "compares": COMPARES,
        "coverage": "full" if rules.is_full(run.vectors) else [rules.content_sample, rules.seed],
        "source": None if source is None else source.identity(),
    }
    if rules.metadata_indexes:
        inputs["metadata_indexes"] = dict(rules.metadata_indexes)
    if others.runs:
        inputs["other_runs"] = list(others.runs)
    return hashlib.sha256(encode_canonical_json(inputs)).hexdigest()


def check_same_index(run: RunFolder, target: VectorTarget) -> None:
    """Raise PreconditionError when the index is gone or was created again since the plan."""
    index = target.read_index()
    if index is None:
        raise PreconditionError(
            f"vector index '{run.plan.index.name}' no longer exists",
            remedy=_AFTER_A_DELETION,
        )
    if index != run.plan.index:
        raise PreconditionError(
            f"vector index '{index.name}' is not the one that the plan names: created "
            f"{index.created_on}, planned with {run.plan.index.created_on}",
            remedy=f"the former index was deleted with everything in it: {_AFTER_A_DELETION}",
        )


def _conclude(
    run: RunFolder,
    session: Session,
    findings: _Findings,
    rules: ReconcileRules,
    *,
    coverage: Coverage,
    with_source: bool,
    clock: Clock,
) -> ReconcileReport:
    if findings.ids is not None and findings.contents is not None:
        write_combined(session.folder, findings.ids, findings.contents, findings.kv)
    manifest_path, manifest_sha256 = write_manifest(
        run, build_manifest(run, requests_per_5min=rules.requests_per_5min)
    )
    drift = drift_counts(findings.ids, findings.contents, findings.metadata, findings.kv)
    verdict, why = _verdict(findings, drift, run.snapshot.manifest)
    classes = _classes(findings)
    report = ReconcileReport(
        run_id=run.plan.run_id,
        snapshot_id=run.plan.snapshot_id,
        ordinal=session.ordinal,
        started_at=session.opened_at,
        at=iso_stamp(clock.wall_s()),
        resumed=session.state.resumed,
        abandoned=session.abandoned,
        verdict=verdict,
        why=why + _left_out(run, with_source=with_source) * (verdict == "equal"),
        unread=findings.not_read(with_source=with_source),
        coverage=coverage,
        counts=_counts(run, findings),
        drift=drift,
        metadata_indexes=None if findings.metadata is None else findings.metadata.findings,
        source_drift=_source_drift(findings.source),
        quarantined=run.quarantined_counts(),
        unwaived=run.unwaived,
        files={name: session.id_file(name) for name in classes},
        differs=_differs(run, findings),
        contradicted=_contradicted(findings),
        id_files=session.sums(classes),
        folder=session.folder,
        rollback_manifest=manifest_path,
        rollback_sha256=manifest_sha256,
        other_runs=findings.others.run_ids,
        shared=len(findings.others.shared),
        elsewhere=findings.counted_elsewhere(run),
        made_by=rules.made_by,
    )
    report_sha256 = write_report(run, report)
    session.note(Kind.CONCLUDED, verdict=verdict, report_sha256=report_sha256)
    write_statement(run, report)
    return report


def _coverage(
    run: RunFolder,
    rules: ReconcileRules,
    contents: ContentScan | None,
    verifier: ContentVerifier | None,
) -> Coverage:
    full = rules.is_full(run.vectors)
    return Coverage(
        contents="full" if full else "sampled",
        checked=0 if contents is None else contents.checked,
        vectors=run.vectors,
        seed=None if full else rules.seed,
        verified=0 if contents is None else contents.verified,
        verifier=None if verifier is None else verifier.address(),
        fell_back=None if contents is None else contents.fell_back,
    )


def _classes(findings: _Findings) -> list[str]:
    """The classes of drift with an id file: all classes of the stores that were read."""
    return [
        *({} if findings.ids is None else id_classes(findings.ids)),
        *({} if findings.contents is None else content_classes(findings.contents)),
        *({} if findings.metadata is None else metadata_classes(())),
        *({} if findings.kv is None else kv_classes(findings.kv)),
        *({} if findings.source is None else source_classes(findings.source)),
    ]


_SOURCE_DRIFT = "source since the snapshot"
_UNREAD_VECTORS = (
    "; the snapshot was read with --payload-only, which does not find a vector that changed under "
    "an unchanged payload: run `q2v catch-up --frozen` without it"
)
_READ_IN_FULL = (
    "; the catch-up did not read the vectors of unchanged payloads again (--payload-only), this "
    "reconcile read the source in full"
)


def _verdict(
    findings: _Findings, drift: dict[str, int | None], manifest: SnapshotManifest
) -> tuple[Verdict, str]:
    unknown = _unknown(findings)
    if unknown is not None:
        return "indeterminate", unknown
    found = {name: count for name, count in drift.items() if count}
    if findings.source is not None and findings.source.moved:
        source = findings.source
        found[_SOURCE_DRIFT] = len(source.added) + len(source.changed) + len(source.deleted)
    if found:
        why = ", ".join(f"{name} {count}" for name, count in found.items())
        return "drift", why + _UNREAD_VECTORS * (manifest.payload_only and _SOURCE_DRIFT in found)
    if manifest.moving:
        return "indeterminate", (
            "no drift, but the snapshot was read while others wrote to the source and proves "
            "nothing: stop them, then run `q2v catch-up --frozen`"
        )
    if manifest.payload_only and findings.source is None:
        return "indeterminate", (
            "no drift, but the snapshot was read by `q2v catch-up --payload-only` and this "
            "reconcile left the source out: vectors of unchanged payloads were compared "
            "with nothing"
        )
    return "equal", "no drift at the stated coverage" + _READ_IN_FULL * manifest.payload_only


def _unknown(findings: _Findings) -> str | None:
    """Why the verdict is indeterminate; None when it is not."""
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
        return (
            f"the source did not return {counted(len(ids), 'point')} that the snapshot "
            f"holds, first {ids[0]}"
        )
    return None


def _contradicted(findings: _Findings) -> dict[str, int]:
    """Class -> number of records on which a listing and a read contradict each other."""
    ids, kv = findings.ids, findings.kv
    return {
        "unlisted": 0 if ids is None else len(ids.unlisted),
        "kv_unlisted": 0 if kv is None else len(kv.unlisted),
        "kv_unreadable": 0 if kv is None else len(kv.unreadable),
    }


def _contradictions(findings: _Findings, counts: dict[str, int]) -> str:
    """The contradictions as text: per class its number of records and one example."""
    assert findings.ids is not None
    assert findings.kv is not None
    facts = {
        "unlisted": ("vectors can be read by id and are not listed", findings.ids.unlisted),
        "kv_unlisted": ("KV keys can be read and are not listed", findings.kv.unlisted),
        "kv_unreadable": ("KV keys are listed and read as absent", findings.kv.unreadable),
    }
    said = [f"{counts[name]} {facts[name][0]}, among them '{facts[name][1][0]}'" for name in counts]
    return f"{'; '.join(said)}: the listing and the reads contradict each other"


def _differs(run: RunFolder, findings: _Findings) -> Named:
    """Vector id or KV key -> names of what differs, the counter included."""
    contents = {} if findings.contents is None else findings.contents.differs
    kv = findings.kv
    if kv is None:
        return contents
    counter = {run.plan.writes.counter_key: kv.counter_differs} if kv.counter_differs else {}
    return {**contents, **kv.differs, **counter}


def _left_out(run: RunFolder, *, with_source: bool) -> str:
    """Text that names what a verdict "equal" does not cover; empty if it covers everything."""
    unreadable = len(run.snapshot.manifest.unreadable)
    return (
        "" if with_source else "; the source was left out"
    ) + f"; left out: {counted(unreadable, 'point')} that the source could not return" * bool(
        unreadable
    )


def _source_drift(source: SourceScan | None) -> dict[str, int] | None:
    if source is None:
        return None
    return {
        "added": len(source.added),
        "changed": len(source.changed),
        "deleted": len(source.deleted),
    }


def _counts(run: RunFolder, findings: _Findings) -> dict[str, int | None]:
    ids, kv = findings.ids, findings.kv
    return {
        "source": None if findings.source is None else findings.source.points,
        "snapshot": run.snapshot.manifest.points,
        **({} if run.plan.mapping.shards is None else {"elsewhere": run.plan.points_elsewhere}),
        "expected": None if ids is None else ids.expected,
        "vector_index": None if ids is None else ids.listed,
        "kv_ids": None if kv is None else kv.ids,
        "kv_counter": None if kv is None else kv.counter,
    }
