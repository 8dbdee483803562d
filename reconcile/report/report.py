"""The result of a reconcile: as a JSON document, as id files, and as a page (`reconcile.page`)."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import reconcile.page  # its names load a template engine when they are used
from migrate.errors import ExitCode
from migrate.model.sealed_json import seal_json
from migrate.run.drift_report import REPORT_FORMAT, UNFILTERED, IdSums
from migrate.run.folder import RunFolder
from migrate.storage.folder import Folder, StoredFile
from migrate.storage.id_files import encode_id, write_lines
from migrate.storage.layout import COMBINED, DIFFERS, PAGE, REPORT
from reconcile.diff import DriftKind
from reconcile.differences import Named
from reconcile.naming import first_named, write_named
from reconcile.sampling import Coverage
from reconcile.scan.kv import KvScan
from reconcile.scan.metadata import IndexFinding, MetadataScan
from reconcile.scan.source import SourceScan
from reconcile.scan.vectors import ContentScan, IdScan

Verdict = Literal["equal", "drift", "indeterminate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """Everything that one reconcile found. A count is None when its store was not read."""

    run_id: str
    snapshot_id: str
    ordinal: int  # of the reconcile within the run, from 1
    started_at: str  # RFC 3339; when the first read began
    at: str  # RFC 3339; when the last read ended
    resumed: int  # how often it was interrupted and resumed
    abandoned: tuple[str, ...]  # folder names of earlier reconciles that were never finished
    verdict: Verdict
    why: str  # the verdict in one sentence
    unread: tuple[
        str, ...
    ]  # stores that were not read completely: source, ids, contents, metadata, kv
    coverage: Coverage
    counts: dict[str, int | None]
    drift: dict[str, int | None]
    metadata_indexes: tuple[IndexFinding, ...] | None  # None = not read
    source_drift: (
        dict[str, int] | None
    )  # changes since the snapshot; None = the source was not read
    quarantined: dict[str, int]
    unwaived: int
    files: dict[str, StoredFile]  # class of drift -> id file
    differs: Named  # id or key -> names of what differs, for the first 1,000 vectors and keys
    contradicted: dict[
        str, int
    ]  # class -> number of records on which a listing and a read disagree
    id_files: IdSums  # class of drift -> number of ids, SHA-256 of the file
    folder: Folder
    rollback_manifest: str | None
    rollback_sha256: str | None
    other_runs: tuple[str, ...] = ()  # complete runs of the same folder in the same target
    shared: int = 0  # ids and keys of the run that these have written too
    # Vectors of others that the counter counts too; None: those of before the run.
    elsewhere: int | None = None
    # Tool, commit, Python, system and operator: who compared with what.
    made_by: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        """The first that applies: 13 (indeterminate), 4 (drift), 3 (quarantined points), 0."""
        if self.verdict == "indeterminate":
            return ExitCode.INDETERMINATE
        if self.verdict == "drift":
            return ExitCode.DRIFT
        return ExitCode.QUARANTINED if self.unwaived else ExitCode.DONE

    def document(self) -> dict[str, object]:
        """The JSON document of `q2v reconcile --json`; report.json holds it with its seal."""
        return {
            "format": REPORT_FORMAT,
            "run_id": self.run_id,
            "snapshot_id": self.snapshot_id,
            "ordinal": self.ordinal,
            "started_at": self.started_at,
            "at": self.at,
            "resumed": self.resumed,
            "abandoned": list(self.abandoned),
            "verdict": self.verdict,
            "why": self.why,
            "unread": list(self.unread),
            "coverage": {
                "ids": "full",
                "contents": self.coverage.contents,
                "checked": self.coverage.checked,
                "bound": self.coverage.bound,
                "seed": self.coverage.seed,
                "read_by": {"rest": self.coverage.rest, "verifier": self.coverage.verified},
                "verifier": self.coverage.verifier,
                "fell_back": self.coverage.fell_back,
            },
            "counts": self.counts,
            "drift": self.drift,
            "metadata_indexes": None
            if self.metadata_indexes is None
            else [asdict(finding) for finding in self.metadata_indexes],
            "source_drift": self.source_drift,
            "contradicted": self.contradicted,
            "differs": {name: list(what) for name, what in first_named(self.differs).items()},
            "differs_file": self.folder.address(DIFFERS),
            "quarantined": self.quarantined,
            "files": {name: str(file) for name, file in self.files.items()},
            "id_files": {name: list(sums) for name, sums in self.id_files.items()},
            "report": self.folder.address(REPORT),
            "html": self.folder.address(PAGE),
            "rollback_manifest": self.rollback_manifest,
            "rollback_sha256": self.rollback_sha256,
            **self._beside(),
            **({"made_by": dict(self.made_by)} if self.made_by else {}),
            "exit_code": int(self.exit_code),
        }

    def _beside(self) -> dict[str, object]:
        """The members about vectors of others; none where these are as before the run."""
        beside: dict[str, object] = {}
        if self.other_runs:
            beside["other_runs"] = list(self.other_runs)
        if self.shared:
            beside["shared"] = self.shared
        if self.elsewhere is not None:
            beside["elsewhere"] = self.elsewhere
        return beside


def drift_counts(
    ids: IdScan | None,
    contents: ContentScan | None,
    metadata: MetadataScan | None,
    kv: KvScan | None,
) -> dict[str, int | None]:
    """Class of drift -> number of records; None for a class whose store was not read."""
    return {
        "missing": None if ids is None else len(ids.missing),
        "extra": None if ids is None else len(ids.extra),
        "mismatched": None if contents is None else len(contents.mismatched),
        "unreadable": None if contents is None else len(contents.unreadable),
        "metadata_indexes": None if metadata is None else metadata.drift,
        "kv_missing": None if kv is None else len(kv.missing),
        "kv_extra": None if kv is None else len(kv.extra),
        "kv_mismatched": None if kv is None else len(kv.mismatched),
        "counter": None if kv is None else kv.counter_drift,
    }


def source_classes(scan: SourceScan) -> dict[str, Iterable[str]]:
    """Class -> ids, for the id files of the source."""
    return {
        "source_added": scan.added,
        "source_changed": scan.changed,
        "source_deleted": scan.deleted,
        "source_unreadable": scan.unreadable,
    }


def id_classes(scan: IdScan) -> dict[str, Iterable[str]]:
    """Class -> ids, for the id files of the listing."""
    return {"missing": scan.missing, "extra": scan.extra, "unlisted": scan.unlisted}


def content_classes(scan: ContentScan) -> dict[str, Iterable[str]]:
    """Class -> ids, for the id files of the contents."""
    return {
        "mismatched": scan.mismatched,
        "unreadable": scan.unreadable,
        "foreign": scan.foreign,
    }


def metadata_classes(again: Iterable[str]) -> dict[str, Iterable[str]]:
    """Class -> ids, for the id file of the vectors to write again for a metadata index."""
    return {UNFILTERED: again}


def kv_classes(scan: KvScan) -> dict[str, Iterable[str]]:
    """Class -> keys, for the id files of the KV index."""
    return {
        "kv_missing": scan.missing,
        "kv_extra": scan.extra,
        "kv_mismatched": scan.mismatched,
        "kv_unlisted": scan.unlisted,
        "kv_unreadable": scan.unreadable,
        "kv_foreign": scan.foreign,
    }


def write_combined(folder: Folder, ids: IdScan, contents: ContentScan, kv: KvScan | None) -> None:
    """Write combined.ids: a symbol and an id per differing vector, as `rclone check --combined`.

    A line of a KV key has `kv` after its symbol; there is none where KV was not read.
    """
    vectors = id_classes(ids) | content_classes(contents)
    keys = {} if kv is None else kv_classes(kv)
    lines = [f"{kind.symbol} {encode_id(text)}" for kind in DriftKind for text in vectors[kind]]
    lines += [
        f"{kind.symbol}kv {encode_id(key)}"
        for kind in DriftKind
        for key in keys.get(f"kv_{kind}", ())
    ]
    write_lines(folder.file(COMBINED), lines)


def write_report(run: RunFolder, report: ReconcileReport) -> str:
    """Write differs.jsonl, the page and, last, report.json; returns the SHA-256 of report.json.

    A repair reads report.json, so it is sealed: with its own digest and, with a key, an HMAC.
    """
    folder, document = report.folder, report.document()
    write_named(folder, report.differs)
    sealed = seal_json(document, run.snapshot.key)
    sha256 = hashlib.sha256(sealed).hexdigest()
    page = reconcile.page.render_page(reconcile.page.of_reconcile(run, document, folder, sha256))
    folder.file(PAGE).write(page.encode())
    return folder.file(REPORT).write(sealed)
