"""Whether a run can be archived as final, and the verdicts on the runs of its chain.

Reads the files of the chain only, so that it gives the same answer for a folder and for the archive
of it.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from migrate.archive.record import ArchivedRun, ArchivedSnapshot, ArchivedVerdict
from migrate.errors import ArtefactDamagedError, ForeignStateError
from migrate.run.choose.chain import find_later_run
from migrate.run.drift_report import find_newest_report, journals_compared, read_report
from migrate.run.folder import REPORT_BYTES_MAX, RunFolder, report_folders, run_folders
from migrate.run.next_step import (
    Finding,
    Sealing,
    Situation,
    next_step,
    position_of,
    read_finding,
    with_index,
)
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.storage.folder import Folder
from migrate.storage.layout import REPORT, RUNS


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a run cannot be archived as final."""

    means: str  # where it stands
    remedy: str  # the next step


def find_obstacle(run: RunFolder) -> Obstacle | None:
    """Why the run is not final, with the next step; None when it can be archived as final.

    It is final when it is complete, is not rolled back, no later run or snapshot continues from it,
    its snapshot was read with the writers stopped, the newest reconcile since its last write said
    equal, and every reason for leaving out points was accepted. Of a move over several vector
    indexes that has to hold for the newest run of its snapshot into each of them. Raises
    ArtefactDamagedError.
    """
    situation = _find_situation(run)
    shards = run.plan.mapping.shards
    if situation is not None:
        return _obstacle(situation, run.plan.mapping.own_index)
    if shards is None:
        return None
    for index in shards.indexes:
        if index == shards.own:
            continue
        folders = run_folders(run.snapshot, index)
        if not folders:
            means = f"no run has moved snapshot {run.plan.snapshot_id} into vector index '{index}'"
            return Obstacle(means=means, remedy=f"run `q2v migrate --vector-index {index}`")
        with closing(RunFolder(folders[-1], run.snapshot, read_only=True)) as other:
            situation = _find_situation(other)
        if situation is not None:
            return _obstacle(situation, index)
    return None


def _obstacle(situation: Situation, index: str | None) -> Obstacle:
    """With the index that it is about, where there are several."""
    if index is None:
        return Obstacle(means=situation.means, remedy=situation.remedy)
    return Obstacle(
        means=f"vector index '{index}': {situation.means}",
        remedy=with_index(situation.remedy, index),
    )


def _find_situation(run: RunFolder) -> Situation | None:
    situation = next_step(
        replace(
            position_of(run.state()),
            newest=Sealing.SEALED if _is_continued(run.snapshot) else Sealing.NONE,
            superseded=_is_superseded(run),
            reconcile_begun=_is_reconcile_begun(run),
            finding=_read_current_finding(run),
            unwaived=run.unwaived > 0,
            moving=run.snapshot.manifest.moving,
        )
    )
    return None if situation is Situation.EQUAL else situation


def _is_continued(snapshot: Snapshot) -> bool:
    """Whether a later snapshot holds what has changed in the source since this one, or may."""
    own = snapshot.manifest.snapshot_id
    for folder in sealed_folders(snapshot.folder.parent):
        if folder.name <= own:
            continue
        try:
            if Snapshot(folder, snapshot.key).manifest.parent_id == own:
                return True
        except (ArtefactDamagedError, ForeignStateError):
            return True  # it cannot be read, so nothing says that this is the last
    return False


def _is_superseded(run: RunFolder) -> bool:
    later = [
        one
        for one in run_folders(run.snapshot, run.plan.mapping.own_index)
        if one.name > run.folder.name
    ]
    return bool(later) or find_later_run(run) is not None


def _is_reconcile_begun(run: RunFolder) -> bool:
    """Whether the newest reconcile has not ended."""
    names = [name for name in run.reconciles.names() if name.isdigit()]
    return bool(names) and not run.reconciles.child(max(names, key=int)).has_file(REPORT)


def _read_current_finding(run: RunFolder) -> Finding | None:
    """The finding of the newest reconcile; None when there is none since the run's last write."""
    folder = None if run.state().rollback_opened else find_newest_report(run)
    if folder is None or not _is_current(run, folder):
        return None
    return read_finding(read_report(run, folder).document)


def _is_current(run: RunFolder, reconcile: Folder) -> bool:
    """Whether the run has written nothing since this reconcile compared its journal."""
    return run.journal.file.hash()[1] in set(journals_compared(run, reconcile))


def describe_chain(snapshot: Snapshot) -> tuple[ArchivedSnapshot, ...]:
    """The links of a chain, the whole snapshot first."""
    return tuple(
        ArchivedSnapshot(
            snapshot_id=link.manifest.snapshot_id,
            content_root=link.manifest.content_root,
            points=link.manifest.points,
            set_digest=link.manifest.set_digest,
            moving=link.manifest.moving,
            payload_only=link.manifest.payload_only,
            filter=link.manifest.filter,
        )
        for link in snapshot.chain
    )


def describe_runs(snapshot: Snapshot) -> Iterator[ArchivedRun]:
    """All runs of a chain with their verdicts, oldest first. Raises as `RunFolder` does."""
    for link in snapshot.chain:
        for folder in run_folders(link):
            with closing(RunFolder(folder, link, read_only=True)) as run:
                yield ArchivedRun(
                    snapshot_id=link.manifest.snapshot_id,
                    run_id=run.plan.run_id,
                    fingerprint=run.plan.fingerprint,
                    phase=run.state().phase,
                    verdicts=tuple(
                        _verdict(run, one)
                        for one in report_folders(run, REPORT)
                        if one.name.isdigit()
                    ),
                )


def _verdict(run: RunFolder, folder: Folder) -> ArchivedVerdict:
    document = folder.file(REPORT).read_json_object(bytes_max=REPORT_BYTES_MAX)
    at = document.get("at")
    return ArchivedVerdict(
        ordinal=int(folder.name),
        verdict=str(document.get("verdict")),
        at=at if isinstance(at, str) else None,
        coverage=document.get("coverage"),
        current=_is_current(run, folder),
    )


def run_place(snapshot_id: str, run_id: str) -> str:
    """The folder of a run below that of the snapshots."""
    return f"{snapshot_id}/{RUNS}/{run_id}"
