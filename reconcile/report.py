"""The result of a reconcile: as JSON, as id files, and as one plain page for people."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import jinja2

from migrate.adapters.disk import disk
from migrate.adapters.durable import local_io, make_folder, write_durably
from migrate.adapters.id_files import encode_id, write_ids, write_lines
from migrate.core.canonical import encode_canonical_json
from migrate.errors import ExitCode
from reconcile.diff import DriftKind
from reconcile.sampling import Coverage
from reconcile.scan_kv import KvScan
from reconcile.scan_source import SourceScan
from reconcile.scan_vectors import VectorScan

REPORT_FORMAT = 1
REPORT = "report.json"
PAGE = "report.html"
COMBINED = "combined.ids"
LISTED_ON_PAGE_MAX = 50

Verdict = Literal["equal", "drift", "indeterminate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """Everything one reconcile found. `None` counts were not read."""

    run_id: str
    snapshot_id: str
    ordinal: int  # of the reconcile within the run, from 1
    at: str  # RFC 3339
    verdict: Verdict
    why: str  # the verdict in one sentence
    coverage: Coverage
    counts: dict[str, int | None]
    drift: dict[str, int | None]
    source_drift: dict[str, int] | None  # since the snapshot; None = the source was not read
    quarantined: dict[str, int]
    unwaived: int
    files: dict[str, str]  # class of drift -> id file
    folder: str
    rollback_manifest: str | None
    rollback_sha256: str | None

    @property
    def exit_code(self) -> ExitCode:
        """13 before 4 before 3 before 0."""
        if self.verdict == "indeterminate":
            return ExitCode.INDETERMINATE
        if self.verdict == "drift":
            return ExitCode.DRIFT
        return ExitCode.QUARANTINED if self.unwaived else ExitCode.DONE

    def document(self) -> dict[str, object]:
        """The JSON document of `q2v reconcile --json`, and the content of report.json."""
        return {
            "format": REPORT_FORMAT,
            "run_id": self.run_id,
            "snapshot_id": self.snapshot_id,
            "at": self.at,
            "verdict": self.verdict,
            "why": self.why,
            "coverage": {
                "ids": "full",
                "contents": self.coverage.contents,
                "checked": self.coverage.checked,
                "bound": self.coverage.bound,
                "seed": self.coverage.seed,
            },
            "counts": self.counts,
            "drift": self.drift,
            "source_drift": self.source_drift,
            "quarantined": self.quarantined,
            "files": self.files,
            "report": str(Path(self.folder) / REPORT),
            "html": str(Path(self.folder) / PAGE),
            "rollback_manifest": self.rollback_manifest,
            "rollback_sha256": self.rollback_sha256,
            "exit_code": int(self.exit_code),
        }


def drift_counts(vectors: VectorScan | None, kv: KvScan | None) -> dict[str, int | None]:
    """The numbers of every class; None for what was not read."""
    return {
        "missing": None if vectors is None else len(vectors.missing),
        "extra": None if vectors is None else len(vectors.extra),
        "mismatched": None if vectors is None else len(vectors.mismatched),
        "unreadable": None if vectors is None else len(vectors.unreadable),
        "kv_missing": None if kv is None else len(kv.missing),
        "kv_extra": None if kv is None else len(kv.extra),
        "kv_mismatched": None if kv is None else len(kv.mismatched),
        "counter": None if kv is None else kv.counter_drift,
    }


def write_id_files(
    folder: Path, source: SourceScan | None, vectors: VectorScan | None, kv: KvScan | None
) -> dict[str, str]:
    """One file per class that was read, empty ones included, and the combined one."""
    make_folder(folder)
    classes: dict[str, Iterable[str]] = {}
    if vectors is not None:
        classes |= {
            "missing": vectors.missing,
            "extra": vectors.extra,
            "mismatched": vectors.mismatched,
            "unreadable": vectors.unreadable,
        }
        # As `rclone check --combined` does.
        write_lines(
            folder / COMBINED,
            (
                f"{kind.symbol} {encode_id(text)}"
                for kind in DriftKind
                for text in classes[kind.value]
            ),
        )
    if kv is not None:
        classes |= {
            "kv_missing": kv.missing,
            "kv_extra": kv.extra,
            "kv_mismatched": kv.mismatched,
        }
    if source is not None:
        classes |= {
            "source_added": source.added,
            "source_changed": source.changed,
            "source_deleted": source.deleted,
        }
    for name, ids in classes.items():
        write_ids(folder / f"{name}.ids", ids)
    return {name: str(folder / f"{name}.ids") for name in classes}


def write_report(report: ReconcileReport) -> None:
    """Write the page, then the JSON: a report.json stands for a whole report."""
    folder = Path(report.folder)
    write_durably(folder / PAGE, render_page(report).encode())
    write_durably(folder / REPORT, encode_canonical_json(report.document()) + b"\n")


def render_page(report: ReconcileReport) -> str:
    """The page: everything from data is escaped; no script, nothing from outside."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reconcile", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    shown = {name: _first_lines(Path(path)) for name, path in report.files.items()}
    return environment.get_template("report.html.jinja").render(
        report=report, document=report.document(), shown=shown
    )


def _first_lines(path: Path) -> list[str]:
    with local_io("reading", path), disk().open_to_read(path) as file:
        return [line.decode().rstrip("\n") for line in islice(file, LISTED_ON_PAGE_MAX)]
