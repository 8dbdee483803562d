"""The evidence of a reconcile as one in-toto statement: the digests of its files, and the verdict.

The statement is for a change ticket. The files of the run folder can be checked against it with
`sha256sum`.
"""

from migrate.model.canonical import encode_canonical_json
from migrate.run.folder import RunFolder
from migrate.storage.folder import StoredFile
from migrate.storage.layout import (
    JOURNAL,
    MANIFEST,
    PAGE,
    PLAN,
    QUARANTINE,
    RECONCILE,
    REPORT,
    ROLLBACK,
    RUNS,
    STATEMENT,
)
from reconcile.report.report import ReconcileReport

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:q2v:predicate:reconcile:1"


def write_statement(run: RunFolder, report: ReconcileReport) -> StoredFile:
    """Write the statement beside the report, which must have been written; returns its file."""
    folder, run_place = report.folder, f"{RUNS}/{run.folder.name}"
    place = f"{run_place}/{RECONCILE}/{folder.name}"
    subjects = [
        ("", run.snapshot.folder.file(MANIFEST)),
        (run_place, run.folder.file(PLAN)),
        (run_place, run.folder.file(JOURNAL)),
        (run_place, run.folder.file(QUARANTINE)),
        (place, folder.file(REPORT)),
        (place, folder.file(PAGE)),
    ]
    if report.rollback_manifest is not None:
        subjects.append((f"{run_place}/{ROLLBACK}", run.rollback.file(MANIFEST)))
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [_subject(*each) for each in subjects],
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(run, report),
    }
    folder.file(STATEMENT).write(encode_canonical_json(statement) + b"\n")
    return folder.file(STATEMENT)


def _subject(place: str, file: StoredFile) -> dict[str, object]:
    """Name and digest of a file; `place` is its folder's path below the snapshot's, may be ""."""
    return {
        "name": f"{place}/{file.name}".lstrip("/"),
        "digest": {"sha256": file.hash()[1]},
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
