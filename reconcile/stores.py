"""Read the stores in order; a resumed session skips those that it has read completely."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from migrate.ports import ContentVerifier, KvTarget, PointSource, VectorTarget
from migrate.run.drift_report import UNFILTERED
from migrate.run.files import open_files
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.snapshot.agreement import Reading
from migrate.snapshot.counting import check_counted, check_same_keys
from migrate.upload.removal import kept_removals
from reconcile.differences import Differences, Named
from reconcile.others import Others
from reconcile.report.report import (
    content_classes,
    id_classes,
    kv_classes,
    metadata_classes,
    source_classes,
)
from reconcile.sampling import choose_rows
from reconcile.scan.by_verifier import ContentReaders
from reconcile.scan.expected import Rows
from reconcile.scan.kv import KvScan, scan_kv
from reconcile.scan.metadata import (
    IndexFinding,
    MetadataScan,
    ids_to_write_again,
    scan_metadata,
)
from reconcile.scan.source import SourceScan, scan_source
from reconcile.scan.vectors import ContentScan, IdScan, scan_contents, scan_ids
from reconcile.session import Kind, integer
from reconcile.session_folder import Session

KEYS_CHANGED = "stop the writers (RUNBOOK: freeze), then run `q2v reconcile` again"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileRules:
    """How much is read, and how long a difference has to last before it is reported."""

    content_full_max: int  # runs with at most this many vectors are compared in full
    content_sample: int  # vectors compared in a larger run, chosen by `seed`
    seed: int
    pause_s: float  # between two passes over the vector index
    kv_settle_s: float  # before the second pass over a KV index that differs
    page_points: int
    requests_per_5min: int
    # Property -> type of the metadata indexes that filters use.
    metadata_indexes: Mapping[str, str] = field(default_factory=dict)
    # Member of the report: who compares with what.
    made_by: Mapping[str, str] = field(default_factory=dict)

    def is_full(self, vectors: int) -> bool:
        """Whether the contents of a run with this number of vectors are compared in full."""
        return vectors <= self.content_full_max


class Stores:
    """The source and the target stores of a run, each read and compared once per session.

    Every method returns the scan of one store. A store that an earlier process of the same session
    read completely is taken from the session's folder; any other is read, its differences are
    written to id files, and a journal entry names those files. The methods raise what the ports
    raise, and ArtefactDamagedError for an id file that has changed since.
    """

    def __init__(
        self,
        run: RunFolder,
        session: Session,
        rules: ReconcileRules,
        runtime: Runtime,
        others: Others,
    ) -> None:
        self._run = run
        self._others = others
        self._session = session
        self._rules = rules
        self._runtime = runtime

    def source(self, source: PointSource) -> SourceScan:
        """Compare the points of the source with the snapshot."""
        scan = _kept_source(self._session)
        if scan is None:
            before = source.read_collection()
            scan = scan_source(
                source,
                self._run.snapshot,
                page_points=self._rules.page_points,
                progress=self._runtime.progress,
            )
            if before.shard_keys is not None:
                check_same_keys(before, source.read_collection(), KEYS_CHANGED)
            self._check_source_count(source, scan.points)
            files = self._session.write_classes(source_classes(scan))
            self._session.note(Kind.SOURCE_READ, points=scan.points, files=files)
        return scan

    def _check_source_count(self, source: PointSource, points: int) -> None:
        """Raise PreconditionError when the source counts more points than its pages contain."""
        count = source.count_points()
        if count != points:
            check_counted(
                source,
                source.read_collection(),
                Reading(count, points),
                self._runtime,
            )

    def ids(self, target: VectorTarget) -> IdScan:
        """Compare the listed ids with the ids of the run."""
        scan = _kept_ids(self._session)
        if scan is None:
            scan = scan_ids(
                self._run,
                self._others.vectors,
                target,
                self._runtime,
                pause_s=self._rules.pause_s,
            )
            files = self._session.write_classes(id_classes(scan))
            self._session.note(
                Kind.IDS_READ, listed=scan.listed, expected=scan.expected, files=files
            )
        return scan

    def contents(
        self, target: VectorTarget, verifier: ContentVerifier | None, ids: IdScan
    ) -> ContentScan:
        """Compare the contents of the listed vectors, in full or for the sample.

        The verifier, when there is one, reads first. Continues after the last row that the session
        has noted.
        """
        plan, rows = self._run.plan, None
        if not self._rules.is_full(self._run.vectors):
            rows = choose_rows(
                plan.points,
                self._run.excluded_rows(),
                sample=self._rules.content_sample,
                seed=self._rules.seed,
            )
        scan = scan_contents(
            self._run,
            self._session,
            ContentReaders(
                target=target,
                verifier=verifier,
                requests_per_5min=self._rules.requests_per_5min,
            ),
            self._runtime,
            rows=Rows(only=rows, missing=frozenset(ids.missing)),
            pause_s=self._rules.pause_s,
        )
        self._session.write_classes(content_classes(scan))
        return scan

    def metadata(self, target: VectorTarget, ids: IdScan, contents: ContentScan) -> MetadataScan:
        """Ask filters whose answers are known, for each metadata index."""
        scan = _kept_metadata(self._session)
        if scan is None:
            left_out = frozenset([*ids.missing, *contents.mismatched, *contents.unreadable])
            scan = scan_metadata(
                self._run,
                target,
                self._rules.metadata_indexes,
                self._runtime,
                left_out=left_out,
                pause_s=self._rules.pause_s,
            )
            # A repair must not overwrite changes of other writers, so it needs a full comparison.
            known = self._rules.is_full(self._run.vectors)
            again = ids_to_write_again(self._run, left_out) if scan.drift and known else ()
            files = self._session.write_classes(metadata_classes(again))
            findings = [asdict(finding) for finding in scan.findings]
            self._session.note(Kind.METADATA_READ, findings=findings, files=files)
        return scan

    def elsewhere(self, ids: IdScan) -> int:
        """Number of vectors in the index that the run did not write and the counter counts.

        Those that were expected and are listed, and what a catch-up has kept.
        """
        kept = self._others.vectors.union(kept_removals(self._run))
        return len(kept) - ids.others_gone

    def kv(self, target: KvTarget, ids: IdScan) -> KvScan:
        """Compare the KV index and the counter with what the vectors require."""
        scan = _kept_kv(self._session)
        if scan is None:
            with open_files(self._run) as table:
                scan = scan_kv(
                    self._run,
                    self._others,
                    table,
                    target,
                    self._runtime,
                    elsewhere=self.elsewhere(ids),
                    settle_s=self._rules.kv_settle_s,
                )
            files = self._session.write_classes(kv_classes(scan))
            self._session.note(
                Kind.KV_READ,
                ids=scan.ids,
                counter=scan.counter,
                counter_expected=scan.counter_expected,
                counter_differs=list(scan.counter_differs),
                differs={key: list(what) for key, what in scan.differs.items()},
                files=files,
            )
        return scan


def _kept_source(session: Session) -> SourceScan | None:
    """The scan of the source; None when the session has not read it completely."""
    entry = session.state.source
    if entry is None:
        return None
    files = entry["files"]
    # A session that an earlier version began has no such file.
    left = isinstance(files, dict) and "source_unreadable" in files
    return SourceScan(
        points=integer(entry, "points"),
        added=tuple(session.read_class(entry, "source_added")),
        changed=tuple(session.read_class(entry, "source_changed")),
        deleted=tuple(session.read_class(entry, "source_deleted")),
        unreadable=tuple(session.read_class(entry, "source_unreadable")) if left else (),
    )


def _kept_ids(session: Session) -> IdScan | None:
    """The scan of the listing; None when the session has not read it completely."""
    entry = session.state.ids
    if entry is None:
        return None
    return IdScan(
        listed=integer(entry, "listed"),
        expected=integer(entry, "expected"),
        missing=tuple(session.read_class(entry, "missing")),
        extra=tuple(session.read_class(entry, "extra")),
        unlisted=tuple(session.read_class(entry, "unlisted")),
    )


def _kept_metadata(session: Session) -> MetadataScan | None:
    """The scan of the metadata indexes; None when the session has not read them completely."""
    entry: dict[str, Any] | None = session.state.metadata
    if entry is None:
        return None
    session.read_class(entry, UNFILTERED)  # records the checksum, which the report names
    return MetadataScan(findings=tuple(IndexFinding(**finding) for finding in entry["findings"]))


def _kept_kv(session: Session) -> KvScan | None:
    """The scan of KV index and counter; None when the session has not read them completely."""
    entry = session.state.kv
    if entry is None:
        return None
    return KvScan(
        ids=integer(entry, "ids"),
        counter=None if entry["counter"] is None else integer(entry, "counter"),
        counter_expected=integer(entry, "counter_expected"),
        counter_differs=_names(entry["counter_differs"]),
        missing=session.read_class(entry, "kv_missing"),
        extra=session.read_class(entry, "kv_extra"),
        mismatched=session.read_class(entry, "kv_mismatched"),
        unlisted=session.read_class(entry, "kv_unlisted"),
        unreadable=session.read_class(entry, "kv_unreadable"),
        foreign=session.read_class(entry, "kv_foreign"),
        differs=_named(entry["differs"]),
    )


def _named(value: object) -> Named:
    assert isinstance(value, dict), "written by `Reading.kv`"
    return {str(key): _names(what) for key, what in value.items()}


def _names(value: object) -> Differences:
    assert isinstance(value, list), "written by `Reading.kv`"
    return tuple(map(str, value))
