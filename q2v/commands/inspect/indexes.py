"""`q2v status` of a move over several vector indexes: how far the run into each of them is."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from migrate.model.hmac_key import SealKey
from migrate.run.drift_report import find_newest_report, journals_compared
from migrate.run.folder import REPORT_BYTES_MAX, RunFolder
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import REPORT
from migrate.words import counted
from q2v.output.following import (
    Following,
    following_here,
    following_indexes,
    newest_snapshot,
    unless_damaged,
    while_at_work,
)
from q2v.output.render import Cell, render
from q2v.output.standing import newest_run
from q2v.rules.scope import configured_scope
from q2v.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One index and its newest run. None: no run."""

    vector_index: str
    run_id: str | None = None
    path: str | None = None
    snapshot_id: str | None = None
    phase: str = "no run"
    points: int = 0  # of the snapshot, those of the other indexes too
    vectors: int = 0  # that the plan moves, those that were refused since too
    quarantined: int = 0  # by the plan
    acknowledged: int = 0
    pending: int = 0
    verdict: str | None = None  # None: not compared since the last write

    def words(self, following: Following) -> str:
        """One line for people."""
        if self.run_id is None:
            return "no run"
        parts = [self.phase, counted(self.vectors, "vector")]
        parts += [f"{self.pending:,} pending"] if self.pending else []
        parts += [f"{self.quarantined:,} left out"] if self.quarantined else []
        parts += [] if self.verdict is None else [f"compared: {self.verdict}"]
        return f"{', '.join(parts)}; {following.situation.means}"


def show_indexes(
    directory: WorkFolder, place: str, settings: Settings, key: SealKey | None, *, as_json: bool
) -> None:
    """A line for each index, their sums, and the next step of all. Reads files only.

    `place` is the whole path of --dir.
    """
    scope = configured_scope(settings)
    rows = [
        _read(newest_run(directory, scope, key, own=index), index, key)
        for index in settings.target.shards
    ]
    followings = following_indexes(directory, settings, key)
    newest = newest_snapshot(directory, settings, key)
    following = unless_damaged(
        following_here(directory, settings, key), directory, settings, newest
    )
    following = while_at_work(following, directory, settings)
    points = _points(rows)
    found = sum(row.vectors + row.quarantined for row in rows)
    document: dict[str, object] = {
        "run_id": None,
        "folder": place,
        "indexes": [
            {
                "vector_index": row.vector_index,
                "run_id": row.run_id,
                "path": row.path,
                "snapshot_id": row.snapshot_id,
                "phase": row.phase,
                "vectors": row.vectors,
                "quarantined": row.quarantined,
                "acknowledged": row.acknowledged,
                "pending": row.pending,
                "verdict": row.verdict,
                **followings[row.vector_index].document(),
            }
            for row in rows
        ],
        "points": points,
        "vectors": sum(row.vectors for row in rows),
        "quarantined": sum(row.quarantined for row in rows),
        "acknowledged": sum(row.acknowledged for row in rows),
        "adds_up": None if points is None else found == points,
        **following.document(),
    }
    cells: list[tuple[str, Cell]] = [
        ("folder", place),
        *((row.vector_index, row.words(followings[row.vector_index])) for row in rows),
        *([] if points is None else [("together", _sum(rows, found, points))]),
    ]
    render(document, cells, as_json=as_json, notes=following.notes())


def _read(folder: WorkFolder | None, index: str, key: SealKey | None) -> _Row:
    if folder is None:
        return _Row(vector_index=index)
    with closing(RunFolder(folder, Snapshot(folder.parent.parent, key), read_only=True)) as run:
        state, unchanged = run.state(), run.plan.vectors - run.plan.vectors_to_write
        acknowledged = state.vectors_acknowledged()
        return _Row(
            vector_index=index,
            run_id=run.plan.run_id,
            path=str(folder),
            snapshot_id=run.plan.snapshot_id,
            phase=state.phase,
            points=run.plan.points,
            vectors=run.plan.vectors,
            quarantined=sum(run.plan.quarantined.values()),
            acknowledged=acknowledged,
            pending=max(0, run.vectors - unchanged - acknowledged),
            verdict=_verdict(run),
        )


def _verdict(run: RunFolder) -> str | None:
    """Of the newest reconcile, if the run has written nothing since."""
    folder = None if run.state().rollback_opened else find_newest_report(run)
    if folder is None or run.journal.file.hash()[1] not in journals_compared(run, folder):
        return None
    report = folder.file(REPORT).read_json_object(bytes_max=REPORT_BYTES_MAX)
    return str(report.get("verdict"))


def _points(rows: Sequence[_Row]) -> int | None:
    """The rows of the one snapshot that every index has a run of; None where there is none."""
    snapshots = {row.snapshot_id for row in rows}
    return rows[0].points if len(snapshots) == 1 and None not in snapshots else None


def _sum(rows: Sequence[_Row], found: int, points: int) -> str:
    vectors = sum(row.vectors for row in rows)
    text = f"{counted(vectors, 'vector')} + {found - vectors:,} left out"
    if found == points:
        return f"{text} = {counted(points, 'point')} of the snapshot"
    return f"{text} = {found:,}, expected {points:,}, the points of the snapshot"
