"""Read one store after the other; what an interrupted attempt has read whole is not read again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from migrate.ports import KvTarget, PointSource, VectorTarget
from migrate.run.drift_report import UNFILTERED
from migrate.run.files import open_files
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.snapshot.agreement import Reading as Counted
from migrate.snapshot.counting import check_counted
from reconcile.differences import Differences, Named
from reconcile.report.report import (
    content_classes,
    id_classes,
    kv_classes,
    metadata_classes,
    source_classes,
)
from reconcile.sampling import choose_rows
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
from reconcile.session_folder import Attempt


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
    # Property -> type of the metadata indexes that filters may use.
    metadata_indexes: Mapping[str, str] = field(default_factory=dict)

    def is_full(self, vectors: int) -> bool:
        """Whether every content of so many vectors is compared."""
        return vectors <= self.content_full_max


class Reading:
    """Reads one store after the other; what an earlier call has read whole is taken from disk."""

    def __init__(
        self,
        run_: RunFolder,
        attempt: Attempt,
        rules: ReconcileRules,
        runtime: Runtime,
    ) -> None:
        self._run = run_
        self._attempt = attempt
        self._rules = rules
        self._runtime = runtime

    def source(self, source: PointSource) -> SourceScan:
        """The source against the snapshot."""
        scan = _kept_source(self._attempt)
        if scan is None:
            scan = scan_source(
                source,
                self._run.snapshot,
                page_points=self._rules.page_points,
                progress=self._runtime.progress,
            )
            self._check_source_count(source, scan.points)
            files = self._attempt.write_classes(source_classes(scan))
            self._attempt.note(Kind.SOURCE_READ, points=scan.points, files=files)
        return scan

    def _check_source_count(self, source: PointSource, points: int) -> None:
        """Raises PreconditionError when the source counts points that no page shows."""
        count = source.count_points()
        if count != points:
            check_counted(
                source,
                source.read_collection(),
                Counted(count, points),
                self._runtime,
            )

    def ids(self, target: VectorTarget) -> IdScan:
        """The listed ids against the run's."""
        scan = _kept_ids(self._attempt)
        if scan is None:
            scan = scan_ids(
                self._run,
                target,
                self._runtime,
                pause_s=self._rules.pause_s,
            )
            files = self._attempt.write_classes(id_classes(scan))
            self._attempt.note(
                Kind.IDS_READ, listed=scan.listed, expected=scan.expected, files=files
            )
        return scan

    def contents(self, target: VectorTarget, ids: IdScan) -> ContentScan:
        """The contents of what is listed, all of it or the sample."""
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
            self._attempt,
            target,
            self._runtime,
            missing=frozenset(ids.missing),
            only_rows=rows,
            pause_s=self._rules.pause_s,
        )
        self._attempt.write_classes(content_classes(scan))
        return scan

    def metadata(self, target: VectorTarget, ids: IdScan, contents: ContentScan) -> MetadataScan:
        """The metadata indexes, asked by filters with known answers."""
        scan = _kept_metadata(self._attempt)
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
            # A repair keeps what others have changed, so it has to know all of that.
            known = self._rules.is_full(self._run.vectors)
            again = ids_to_write_again(self._run, left_out) if scan.drift and known else ()
            files = self._attempt.write_classes(metadata_classes(again))
            findings = [asdict(one) for one in scan.findings]
            self._attempt.note(Kind.METADATA_READ, findings=findings, files=files)
        return scan

    def kv(self, target: KvTarget) -> KvScan:
        """The KV index and the counter."""
        scan = _kept_kv(self._attempt)
        if scan is None:
            with open_files(self._run) as table:
                scan = scan_kv(
                    self._run,
                    table,
                    target,
                    self._runtime,
                    settle_s=self._rules.kv_settle_s,
                )
            files = self._attempt.write_classes(kv_classes(scan))
            self._attempt.note(
                Kind.KV_READ,
                ids=scan.ids,
                counter=scan.counter,
                counter_expected=scan.counter_expected,
                counter_differs=list(scan.counter_differs),
                differs={key: list(what) for key, what in scan.differs.items()},
                files=files,
            )
        return scan


def _kept_source(attempt: Attempt) -> SourceScan | None:
    """The source; None when it was not read to its end."""
    entry = attempt.state.source
    if entry is None:
        return None
    files = entry["files"]
    # An attempt that an earlier version began has no such file.
    left = isinstance(files, dict) and "source_unreadable" in files
    return SourceScan(
        points=integer(entry, "points"),
        added=tuple(attempt.read_class(entry, "source_added")),
        changed=tuple(attempt.read_class(entry, "source_changed")),
        deleted=tuple(attempt.read_class(entry, "source_deleted")),
        unreadable=tuple(attempt.read_class(entry, "source_unreadable")) if left else (),
    )


def _kept_ids(attempt: Attempt) -> IdScan | None:
    """The one listing that the attempt stands on."""
    entry = attempt.state.ids
    if entry is None:
        return None
    return IdScan(
        listed=integer(entry, "listed"),
        expected=integer(entry, "expected"),
        missing=tuple(attempt.read_class(entry, "missing")),
        extra=tuple(attempt.read_class(entry, "extra")),
        unlisted=tuple(attempt.read_class(entry, "unlisted")),
    )


def _kept_metadata(attempt: Attempt) -> MetadataScan | None:
    """The metadata indexes."""
    entry: dict[str, Any] | None = attempt.state.metadata
    if entry is None:
        return None
    attempt.read_class(entry, UNFILTERED)  # the report names its sum
    return MetadataScan(findings=tuple(IndexFinding(**one) for one in entry["findings"]))


def _kept_kv(attempt: Attempt) -> KvScan | None:
    """The KV index and the counter."""
    entry = attempt.state.kv
    if entry is None:
        return None
    return KvScan(
        ids=integer(entry, "ids"),
        counter=None if entry["counter"] is None else integer(entry, "counter"),
        counter_expected=integer(entry, "counter_expected"),
        counter_differs=_names(entry["counter_differs"]),
        missing=attempt.read_class(entry, "kv_missing"),
        extra=attempt.read_class(entry, "kv_extra"),
        mismatched=attempt.read_class(entry, "kv_mismatched"),
        unlisted=attempt.read_class(entry, "kv_unlisted"),
        unreadable=attempt.read_class(entry, "kv_unreadable"),
        foreign=attempt.read_class(entry, "kv_foreign"),
        differs=_named(entry["differs"]),
    )


def _named(value: object) -> Named:
    assert isinstance(value, dict), "written by `Reading.kv`"
    return {str(key): _names(what) for key, what in value.items()}


def _names(value: object) -> Differences:
    assert isinstance(value, list), "written by `Reading.kv`"
    return tuple(map(str, value))
