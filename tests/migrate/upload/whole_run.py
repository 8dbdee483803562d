"""One whole run over stores in memory, with places to kill it."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from typing_extensions import override

from migrate.mapping.values import ValueRules
from migrate.migrate import WriteOptions, migrate
from migrate.model.records import VectorId
from migrate.ports import Target
from migrate.run.folder import RunFolder, create_run, new_run_id
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.folder import WorkFolder
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import Entry
from migrate.storage.local_folder import LocalFolder
from migrate.upload.settle import SettleRules
from migrate.upload.share import Uploader, UploadWorker
from reconcile.compare import compare
from reconcile.report.report import ReconcileReport
from reconcile.rollback.manifest import build_manifest
from reconcile.rollback.report import RollbackReport, UndoRules
from reconcile.rollback.roll_back import roll_back
from reconcile.stores import ReconcileRules
from tests.clock import VirtualClock
from tests.migrate.model.records import PLAN
from tests.servers.memory_source import MemorySource, chunk_payloads
from tests.servers.memory_target import MemoryKv, MemoryVectors
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
        LocalFolder(folder),
        SnapshotOptions(),
        Runtime(clock=VirtualClock(), progress=Silence()),
    )
    return Snapshot(LocalFolder(Path(report.path)))


def all_ids(points: int, *, files: int = 5) -> list[VectorId]:
    """The target ids of such a snapshot, by row."""
    return [VectorId(f"file-{row % files}_{row // files}") for row in range(points)]


@dataclass(slots=True)
class WholeRun:
    """A run folder and the two stores; every call opens the folder again, as a process would."""

    snapshot: Snapshot
    folder: WorkFolder
    vectors: MemoryVectors
    kv: MemoryKv
    progress: Silence
    workers: int = 1  # threads that upload

    def open(self) -> RunFolder:
        """The run as the disk has it."""
        return RunFolder(self.folder, self.snapshot)

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
        journal = FragileJournal(self.folder)
        journal.seam = seam
        run.journal = journal
        runtime = Runtime(clock=clock, progress=self.progress)
        options = WriteOptions(settle=SETTLE, quarantine_cap=cap, retry_refused=retry_refused)
        try:
            migrate(
                run,
                Target(self.vectors, self.kv),
                options,
                runtime,
                open_uploaders=self._open_uploaders,
            )
        finally:
            run.close()

    def _open_uploaders(self, run: RunFolder) -> AbstractContextManager[Sequence[UploadWorker]]:
        """Several for a full round, as `q2v` opens processes."""
        state = run.state()
        is_full = not state.completed and len(state.rounds) <= 1
        return nullcontext(self._several(run) if self.workers > 1 and is_full else ())

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
                Target(self.vectors, self.kv),
                RULES_OF_RECONCILE,
                Runtime(clock=VirtualClock(), progress=self.progress),
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
                Target(self.vectors, self.kv),
                UndoRules(settle=SETTLE, pause_s=1, kv_settle_s=1),
                Runtime(clock=VirtualClock(), progress=self.progress),
                forced=frozenset(),
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
    assert vectors.index is not None
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
        index=vectors.index,
        mapping=RULES,
        values=ValueRules(
            vector_name="", source_dimensions=4, dimensions=4, reduce="none", metric="cosine"
        ),
        writes=replace(PLAN.writes, vectors_per_upload=vectors_per_upload),
    )
    folder = create_run(snapshot, plan, b"", targets_of(snapshot, plan.mapping, plan.values))
    return WholeRun(snapshot, folder, vectors, kv or MemoryKv(), Silence())
