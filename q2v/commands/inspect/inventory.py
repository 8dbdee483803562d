"""What lies in a folder: its snapshots, their runs, and the reconciles and gates of each run."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from migrate.errors import MigrationError
from migrate.model.hmac_key import SealKey
from migrate.run.folder import REPORT_BYTES_MAX, RunFolder, report_folders, run_folders
from migrate.snapshot.folder import Snapshot, sealed_folders, unsealed_folders
from migrate.snapshot.manifest import name_scope
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import REPORT
from reconcile.gate.record import read_newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One finished reconcile."""

    path: str
    at: str  # RFC 3339
    verdict: str
    drift: Mapping[str, int]  # class -> records; only what was found


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One run."""

    path: str
    created_at: str | None  # None: its plan cannot be read
    phase: str
    vectors: int | None = None  # that the run is about
    index: str | None = None
    gate: str | None = None  # of the newest record
    reconciles: tuple[Judged, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One snapshot."""

    path: str
    state: str  # sealed, begun, or why it cannot be read
    sealed_at: str | None = None
    collection: str | None = None  # with the filter, in words
    points: int | None = None
    bytes: int | None = None  # of its parts
    parent: str | None = None  # the snapshot that this one is a difference to
    runs: tuple[Moved, ...] = ()


def take_inventory(directory: WorkFolder, key: SealKey | None) -> list[Kept]:
    """Every snapshot of a folder, oldest first. What cannot be read says why in its place."""
    sealed = sealed_folders(directory)
    folders = sorted([*sealed, *unsealed_folders(directory)], key=str)
    return [
        _snapshot(folder, key) if folder in sealed else Kept(path=str(folder), state="begun")
        for folder in folders
    ]


def _snapshot(folder: WorkFolder, key: SealKey | None) -> Kept:
    try:
        snapshot = Snapshot(folder, key)
        manifest = snapshot.manifest
        runs = tuple(_run(one, snapshot) for one in run_folders(snapshot))
    except MigrationError as error:
        return Kept(path=str(folder), state=_why(error))
    part = "" if manifest.filter is None else f", {name_scope(manifest.filter)}"
    return Kept(
        path=str(folder),
        state="sealed",
        sealed_at=manifest.sealed_at,
        collection=f"{manifest.collection}{part}",
        points=manifest.points,
        bytes=sum(one.bytes for one in manifest.parts),
        parent=manifest.parent_id,
        runs=runs,
    )


def _run(folder: WorkFolder, snapshot: Snapshot) -> Moved:
    try:
        with closing(RunFolder(folder, snapshot, read_only=True)) as run:
            record = read_newest(run)
            return Moved(
                path=str(folder),
                created_at=run.plan.created_at,
                phase=run.state().phase,
                vectors=run.vectors,
                index=run.plan.index.name,
                gate=None if record is None else str(record.get("verdict")),
                reconciles=tuple(_reconcile(one) for one in report_folders(run, REPORT)),
            )
    except MigrationError as error:
        return Moved(path=str(folder), created_at=None, phase=_why(error))


def _reconcile(folder: WorkFolder) -> Judged:
    """As its report says; whether the report is as it was written, `q2v status` judges."""
    try:
        fields = folder.file(REPORT).read_json_object(bytes_max=REPORT_BYTES_MAX)
    except MigrationError as error:
        return Judged(path=str(folder), at="", verdict=_why(error), drift={})
    found = fields.get("drift")
    drift = found if isinstance(found, dict) else {}
    return Judged(
        path=str(folder),
        at=str(fields.get("at")),
        verdict=str(fields.get("verdict")),
        drift={name: count for name, count in drift.items() if isinstance(count, int) and count},
    )


def _why(error: MigrationError) -> str:
    return f"cannot be read: {error}"
