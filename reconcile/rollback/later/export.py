"""Export the later writes of a run: what others wrote to the target since, sealed as a snapshot.

Sends no write. The export is of a moment, as a snapshot of a moving source is: each vector as it
was when it was read. `current.py` says later whether something has changed since.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from migrate.errors import IndeterminateError, PreconditionError
from migrate.model.records import VectorId
from migrate.model.stamps import iso_stamp
from migrate.ports import Target
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.snapshot.manifest import SnapshotManifest
from migrate.storage.id_files import read_ids, write_ids
from migrate.storage.layout import LATER_DELETIONS
from reconcile.compare import check_same_index
from reconcile.rollback.later.entries import files_by_vector, find_later_entries
from reconcile.rollback.later.files_to_embed import FilesToEmbed, write_files_to_embed
from reconcile.rollback.later.find import (
    LaterWrites,
    find_later_writes,
    is_untouched,
    write_later_writes,
    written_runs,
)
from reconcile.rollback.later.folder import ExportFolder, find_export, open_export
from reconcile.rollback.later.known import KnownVectors
from reconcile.rollback.later.points import (
    PointMaker,
    chosen_spec,
    later_specs,
    missing_vectors,
    payload_paths,
    why_no_return,
)
from reconcile.rollback.later.reading import LaterReading
from reconcile.rollback.later.seal import (
    LaterFound,
    SealedTimes,
    deleted_vectors,
    later_points,
    seal_export,
    write_points,
)
from reconcile.rollback.report import UndoRules


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterReport:
    """The result of an export."""

    run_id: str
    path: str | None  # of the export; None: there was nothing to export
    manifest: SnapshotManifest | None
    normalised: int  # points whose values were brought to length 1
    in_namespace: int  # points whose vector is in another namespace than their payload names
    missing_vectors: tuple[str, ...]  # vector names of the collection that the points lack
    files: FilesToEmbed | None
    resumed: bool
    seconds: float


def export_later_writes(
    chain: Sequence[RunFolder],
    target: Target,
    rules: UndoRules,
    runtime: Runtime,
    *,
    tool: str = "q2v",
) -> LaterReport:
    """Read what others wrote to the target since these runs, and seal it below the newest one.

    `chain` is a run and those that it continues from, the newest first (`open_chain`). The caller
    holds the lock of the folder. After a kill, or an error, the next call resumes within an hour.
    Raises PreconditionError when the runs have written nothing, or the index is another one;
    IndeterminateError when a listed vector or key cannot be read.
    """
    started = runtime.clock.monotonic_s()
    runs = written_runs(chain)
    if not runs:
        raise PreconditionError(
            f"run {chain[0].plan.run_id} has written nothing yet: no write is later than it",
            remedy="`q2v migrate` continues the run",
        )
    run = runs[0]
    check_same_index(run, target.vectors)
    export, resumed = open_export(run, [str(one.journal.chain) for one in runs], runtime)
    manifest, files = None, None
    try:
        found = _Finding(runs, export, target, rules, runtime).find()
        # An earlier export no longer says what is there: this one takes its place, also if empty.
        if found.is_there or find_export(run) is not None:
            why = _why_not_whole(run)
            files = write_files_to_embed(run, export.folder.name, found.vectors, why=why)
            times = SealedTimes(
                started_at=export.opened_at,
                sealed_at=iso_stamp(runtime.clock.wall_s()),
                tool=tool,
            )
            manifest = seal_export(run, export.folder, found, times)
            export.discard_read()
    finally:
        export.close()
    if manifest is None:
        export.folder.clear()
    written = found.written.vectors
    return LaterReport(
        run_id=run.plan.run_id,
        path=None if manifest is None else str(export.folder),
        manifest=manifest,
        normalised=sum(one.length is not None for one in written),
        in_namespace=found.written.elsewhere,
        missing_vectors=missing_vectors(run),
        files=files,
        resumed=resumed,
        seconds=round(runtime.clock.monotonic_s() - started, 3),
    )


def _why_not_whole(run: RunFolder) -> str:
    """Why the points of an export do not return to Qdrant whole; "" when they do."""
    missing = missing_vectors(run)
    names = ", ".join(repr(name) for name in missing)
    lacks = f"the new side has no vectors {names}, which points of the collection have"
    return why_no_return(run) or (lacks if missing else "")


class _Finding:
    """Lists, reads and writes the points of one export; the manifest is not written here."""

    def __init__(
        self,
        runs: Sequence[RunFolder],
        export: ExportFolder,
        target: Target,
        rules: UndoRules,
        runtime: Runtime,
    ) -> None:
        self._runs = runs
        self._run = runs[0]
        self._export = export
        self._target = target
        self._rules = rules
        self._runtime = runtime
        self._known = KnownVectors(runs)

    def find(self) -> LaterFound:
        """Everything that is later than the runs."""
        run, runtime = self._run, self._runtime
        later = find_later_writes(self._runs, self._target, runtime)
        write_later_writes(run, later)
        untouched = is_untouched(self._runs)
        reading = LaterReading(run, self._known, self._export, self._target.vectors, runtime)
        # Rows that are not listed are read too, to prove that they are gone. After a rollback has
        # begun that would say nothing.
        reading.read_rows(frozenset() if untouched else later.unlisted)
        entries = find_later_entries(
            self._runs, self._target.kv, runtime, settle_s=self._rules.kv_settle_s
        )
        maker = PointMaker(
            run.plan.mapping,
            files_by_vector(run, entries),
            is_cosine=chosen_spec(run).distance == "Cosine",
            paths=payload_paths(run),
        )
        listed = [*later.vectors, *later.recreated]
        reading.read_added(sorted(listed, key=maker.point_id))
        absent = reading.settle(frozenset(listed), pause_s=self._rules.pause_s)
        self._check_absent(absent)
        wanted = frozenset(later.vectors) | self._foreign(later, reading)
        folder, chosen = self._export.folder, run.plan.values.vector_name
        points = later_points(run, reading, maker, wanted - frozenset(absent))
        written = write_points(folder, points, later_specs(run), chosen)
        rows = list(reading.deleted()) if untouched else self._deleted_before()
        deleted = None if rows is None else list(deleted_vectors(run, rows))
        if untouched and deleted is not None:
            write_ids(run.rollback.file(LATER_DELETIONS), (one.vector_id for one in deleted))
        return LaterFound(written=written, deleted=deleted, entries=entries)

    def _check_absent(self, absent: Sequence[VectorId]) -> None:
        """Raises IndeterminateError when ids that cannot be read are still listed."""
        if not absent:
            return
        later = find_later_writes(self._runs, self._target, self._runtime)
        listed = {*later.vectors, *later.recreated}
        unreadable = [one for one in absent if one in listed]
        if unreadable:
            raise IndeterminateError(
                f"{len(unreadable)} listed vectors cannot be read, among them '{unreadable[0]}'",
                remedy="wait some minutes, then run the same command again: it resumes",
            )

    def _foreign(self, later: LaterWrites, reading: LaterReading) -> AbstractSet[VectorId]:
        """Those of the removed ids that others wrote again; the others are left over."""
        if not later.recreated:
            return frozenset()
        recreated = frozenset(later.recreated)
        return {
            vector.id
            for vectors in reading.added()
            for vector in vectors
            if vector.id in recreated and not self._known.has(vector)
        }

    def _deleted_before(self) -> list[int] | None:
        """Rows of what was gone before the rollback began, if it has found that."""
        file = self._run.rollback.file(LATER_DELETIONS)
        if not self._run.state().rollback_opened or not file.is_there():
            return None
        names = frozenset(read_ids(file))
        return [
            row
            for batch in self._run.targets(["row", "vector_id"])
            for row, vector_id in zip(*(one.to_pylist() for one in batch.columns), strict=True)
            if vector_id in names
        ]
