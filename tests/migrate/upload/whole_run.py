"""One whole run over stores in memory, as `q2v` strings it together, with places to kill it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from typing_extensions import override

from migrate.mapping.values import ValueRules
from migrate.model.records import VectorId
from migrate.run.folder import RunFolder, create_run, new_run_id
from migrate.run.stop_conditions import StopSigns
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import Entry
from migrate.upload.kv_index import write_kv_index
from migrate.upload.pre_images import capture_pre_images
from migrate.upload.rounds import Selection, open_round, void_refusals
from migrate.upload.settle import SettleRules
from migrate.upload.share import Uploader
from migrate.upload.upload import upload_vectors
from reconcile.compare import compare
from reconcile.report.report import ReconcileReport
from reconcile.rollback.manifest import build_manifest
from reconcile.rollback.report import RollbackReport, UndoRules
from reconcile.rollback.roll_back import roll_back
from reconcile.stores import ReconcileRules
from tests.clock import VirtualClock
from tests.migrate.model.records import PLAN
from tests.servers.memory_source import MemorySource, chunk_payloads
from tests.servers.refusing_target import INDEX, MemoryKv, MemoryVectors
from tests.silence import Silence
from tests.strategies import RULES
from tests.targets import targets_of

RULES_OF_RECONCILE = ReconcileRules(
    content_full_max=1_000,
    content_sample=10,
    seed=1,
    pause_s=1,
    kv_settle_s=1,
    page_points=100,
    requests_per_5min=900,
    reads_in_flight=1,
)
SETTLE = SettleRules(timeout_s=60, poll_s=1)


class FragileJournal(JournalFile):
    """A journal that asks before and after each append; either may be the moment of a kill."""

    seam: Callable[[Entry], None] = staticmethod(lambda entry: None)

    @override
    def append(self, entry: Entry) -> None:
        self.seam(entry)
        super().append(entry)
        self.seam(entry)


def snapshot_of_chunks(folder: Path, points: int, *, files: int = 5) -> Snapshot:
    """A sealed snapshot of points 10, 20, ... in `files` files."""
    report = take_snapshot(
        MemorySource(chunk_payloads(points, files=files)),
        folder,
        SnapshotOptions(),
        clock=VirtualClock(),
        progress=Silence(),
    )
    return Snapshot(Path(report.path))


def all_ids(points: int, *, files: int = 5) -> list[VectorId]:
    """The target ids of such a snapshot, by row."""
    return [VectorId(f"file-{row % files}_{row // files}") for row in range(points)]


@dataclass(slots=True)
class WholeRun:
    """A run folder and the two stores; every call opens the folder anew, as a process would."""

    snapshot: Snapshot
    path: Path
    vectors: MemoryVectors
    kv: MemoryKv
    progress: Silence
    workers: int = 1  # threads that upload

    def open(self) -> RunFolder:
        """The run as the disk has it."""
        return RunFolder(self.path, self.snapshot)

    def migrate(
        self,
        seam: Callable[[Entry], None] = lambda entry: None,
        *,
        retry_refused: bool = False,
        cap: int | None = None,
    ) -> None:
        """Bring the run to its end, or to the kill that `seam` raises before or after an append.

        `retry_refused` and `cap` stand for --retry-refused and --max-quarantine.
        """
        run, clock = self.open(), VirtualClock()
        run.journal.close()
        journal = FragileJournal(self.path / "journal.jsonl")
        journal.seam = seam
        run.journal = journal
        try:
            capture_pre_images(
                run, self.vectors, self.kv, reads_in_flight=1, clock=clock, progress=self.progress
            )
            if retry_refused:
                void_refusals(run)
            state = run.state()
            if not (retry_refused and state.completed):
                self._write_round(run, open_round(run), clock, cap)
            if retry_refused and state.refused:
                self._write_round(run, open_round(run, retry_refused=True), clock, cap)
        finally:
            run.close()

    def _write_round(
        self, run: RunFolder, selection: Selection | None, clock: VirtualClock, cap: int | None
    ) -> None:
        if selection is None:
            return
        stop = StopSigns(run.path, clock=clock, deadline_s=None)
        several = self.workers > 1 and selection.vectors is None
        upload_vectors(
            run,
            self.vectors,
            only=selection.vectors,
            workers=self._several(run) if several else (),
            quarantine_cap=cap,
            stop=stop,
            rules=SETTLE,
            clock=clock,
            progress=self.progress,
        )
        write_kv_index(
            run, self.kv, only=selection.keys, stop=stop, clock=clock, progress=self.progress
        )

    def _several(self, run: RunFolder) -> list[Uploader]:
        return [
            Uploader(run.snapshot, run.plan, self.vectors, excluded=run.excluded_rows())
            for _ in range(self.workers)
        ]

    def reconcile(self) -> ReconcileReport:
        """Compare the stores with the run; the source is left out."""
        run = self.open()
        try:
            return compare(
                run,
                None,
                self.vectors,
                self.kv,
                RULES_OF_RECONCILE,
                clock=VirtualClock(),
                progress=self.progress,
            )
        finally:
            run.close()

    def roll_back(self) -> RollbackReport:
        """Undo the run."""
        run = self.open()
        try:
            return roll_back(
                run,
                build_manifest(run, requests_per_5min=900),
                self.vectors,
                self.kv,
                forced=frozenset(),
                rules=UndoRules(settle=SETTLE, pause_s=1, kv_settle_s=1, reads_in_flight=1),
                clock=VirtualClock(),
                progress=self.progress,
            )
        finally:
            run.close()

    def refused(self) -> dict[int, VectorId]:
        """Row -> id of every vector that is left out, as the journal tells."""
        run = self.open()
        run.close()
        return {row: one.vector_id for row, one in run.state().refused.items()}


def start_run(
    snapshot: Snapshot,
    vectors: MemoryVectors,
    kv: MemoryKv | None = None,
    *,
    files: int = 5,
    vectors_per_upload: int = 8,
    cap: int | None = None,
    into_non_empty: bool = False,
) -> WholeRun:
    """A planned run of the whole snapshot; `cap` None lets every point be left out."""
    points = snapshot.manifest.points
    plan = replace(
        PLAN,
        run_id=new_run_id(snapshot, 1_800_000_000.0),
        snapshot_id=snapshot.manifest.snapshot_id,
        content_root=snapshot.manifest.content_root,
        points=points,
        vectors=points,
        files=min(files, points),
        quarantined={},
        quarantine_sha256=hashlib.sha256(b"").hexdigest(),
        quarantine_cap=points if cap is None else cap,
        waived=(),
        changes={},
        into_non_empty=into_non_empty,
        vector_target=vectors.identity(),
        kv_target=(kv or MemoryKv()).identity(),
        index=INDEX,
        mapping=RULES,
        values=ValueRules(
            vector_name="", source_dimensions=4, dimensions=4, reduce="none", metric="cosine"
        ),
        writes=replace(PLAN.writes, vectors_per_upload=vectors_per_upload),
    )
    path = create_run(snapshot, plan, b"", targets_of(snapshot, plan.mapping, plan.values))
    return WholeRun(snapshot, path, vectors, kv or MemoryKv(), Silence())
