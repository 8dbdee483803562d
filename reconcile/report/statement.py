"""The evidence of a reconcile as one in-toto statement: the files by digest, and the verdict.

A change ticket can hold this one file; whoever has the run folder checks it with `sha256sum`.
"""

from pathlib import Path

from migrate.model.canonical import encode_canonical_json
from migrate.run.drift_report import REPORT
from migrate.run.folder import PLAN, QUARANTINE, RunFolder
from migrate.snapshot.folder import MANIFEST
from migrate.storage.durable import file_sha256, write_durably
from migrate.storage.journal_lines import JOURNAL
from reconcile.report.report import PAGE, ReconcileReport

STATEMENT = "statement.json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:q2v:predicate:reconcile:1"


def write_statement(run: RunFolder, report: ReconcileReport) -> Path:
    """Write the statement beside the report, which has to be there; returns its path."""
    folder = Path(report.folder)
    path = folder / STATEMENT
    subjects = [
        run.snapshot.folder / MANIFEST,
        run.path / PLAN,
        run.path / JOURNAL,
        run.path / QUARANTINE,
        folder / REPORT,
        folder / PAGE,
    ]
    if report.rollback_manifest is not None:
        subjects.append(Path(report.rollback_manifest))
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [_subject(each, run.snapshot.folder) for each in subjects],
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(run, report),
    }
    write_durably(path, encode_canonical_json(statement) + b"\n")
    return path


def _subject(path: Path, folder: Path) -> dict[str, object]:
    """A file by its place below the snapshot's folder."""
    return {
        "name": path.relative_to(folder).as_posix(),
        "digest": {"sha256": file_sha256(path)[1]},
    }


def _predicate(run: RunFolder, report: ReconcileReport) -> dict[str, object]:
    document = report.document()
    found = ("at", "verdict", "why", "coverage", "counts", "drift", "source_drift", "quarantined")
    return {
        "tool": run.plan.tool,
        "run_id": report.run_id,
        "snapshot_id": report.snapshot_id,
        "content_root": run.snapshot.manifest.content_root,
        "plan_fingerprint": run.plan.fingerprint,
        **{name: document[name] for name in found},
        "exit_code": int(report.exit_code),
    }
