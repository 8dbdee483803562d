"""Read the source once more and compare it with the snapshot, point by point."""

from collections.abc import Iterator
from dataclasses import dataclass

from migrate.adapters.snapshot_folder import Snapshot
from migrate.core.digest import digest_points
from migrate.core.model import PointId
from migrate.ports import PointSource, Progress
from migrate.stages.walk import walk_points
from reconcile.diff import Drift, DriftKind, diff_sorted


@dataclass(frozen=True, slots=True)
class SourceScan:
    """What happened in the source since the snapshot."""

    points: int  # read just now
    added: tuple[str, ...]  # ids in the source that the snapshot does not hold
    changed: tuple[str, ...]
    deleted: tuple[str, ...]

    @property
    def moved(self) -> bool:
        """Whether the source is no longer what the snapshot holds."""
        return bool(self.added or self.changed or self.deleted)


def scan_source(
    source: PointSource, snapshot: Snapshot, *, page_points: int, progress: Progress
) -> SourceScan:
    """Compare every point by digest: an update in place changes no count and no id."""
    progress.start("reading the source", total=snapshot.manifest.points, unit="points")
    points = 0

    def now() -> Iterator[tuple[PointId, bytes]]:
        nonlocal points
        for page in walk_points(source, None, None, limit=page_points):
            points += len(page)
            progress.advance(len(page))
            yield from zip(page.ids, digest_points(page), strict=True)

    drift = list(diff_sorted(_snapshot_digests(snapshot), now()))
    return SourceScan(
        points=points,
        added=_texts(drift, DriftKind.EXTRA),
        changed=_texts(drift, DriftKind.MISMATCHED),
        deleted=_texts(drift, DriftKind.MISSING),
    )


def _snapshot_digests(snapshot: Snapshot) -> Iterator[tuple[PointId, bytes]]:
    for rows in snapshot.read(with_vectors=()):
        yield from zip(rows.page.ids, rows.digests, strict=True)


def _texts(drift: list[Drift[PointId]], kind: DriftKind) -> tuple[str, ...]:
    return tuple(one.key.text for one in drift if one.kind is kind)
