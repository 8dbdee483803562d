"""One move over stores in memory: snapshot, plan, migrate, reconcile, roll back."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
from typing_extensions import override

from migrate.mapping.rules import MappingRules, WriteRules
from migrate.mapping.values import ValueRules
from migrate.migrate import WriteOptions, migrate
from migrate.model.digest import digest_vectors
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.ports import Target
from migrate.run.folder import RunFolder, create_run, new_run_id
from migrate.run.targets import targets_schema
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions
from migrate.storage.folder import WorkFolder
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import Entry
from migrate.upload.mapped import read_mapped
from migrate.upload.rounds import kept_changes
from migrate.upload.settle import SettleRules
from migrate.upload.share import Uploader, UploadWorker
from reconcile.compare import compare
from reconcile.report.report import ReconcileReport
from reconcile.rollback.later.export import LaterReport, export_later_writes
from reconcile.rollback.manifest import build_manifest
from reconcile.rollback.report import RollbackReport, UndoRules
from reconcile.rollback.roll_back import roll_back
from reconcile.stores import ReconcileRules
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import (
    DIMENSIONS,
    MemorySource,
    chunk_payloads,
    take_and_open,
)
from tests.harness.fakes.memory_target import Calls, MemoryKv, MemoryVectors
from tests.harness.fakes.silence import Silence
from tests.harness.paths import path_of
from tests.harness.strategies import RULES
from tests.migrate.model.records import PLAN

COUNTER = "_vector_count"
RECONCILE_RULES = ReconcileRules(
    content_full_max=10**6,
    content_sample=10,
    seed=1,
    pause_s=1,
    kv_settle_s=1,
    page_points=1000,
    requests_per_5min=900,
)
SETTLE_RULES = SettleRules(timeout_s=100, poll_s=1)
# Notes its progress often, so that a kill finds a part undone.
UNDO_RULES = UndoRules(settle=SETTLE_RULES, pause_s=1, kv_settle_s=1, note_every=7)
VALUE_RULES = ValueRules(
    vector_name="",
    source_dimensions=DIMENSIONS,
    dimensions=DIMENSIONS,
    reduce="none",
    metric="cosine",
)
Held = tuple[dict[str, tuple[bytes, str | None, dict[str, object] | None]], dict[str, KvEntry]]
Seam = Callable[[Entry], None]


class SeamJournal(JournalFile):
    """A journal that calls `seam` before and after each append; either may be the kill."""

    def __init__(self, folder: WorkFolder, seam: Seam) -> None:
        super().__init__(folder)
        self._seam = seam

    @override
    def append(self, entry: Entry) -> None:
        self._seam(entry)
        super().append(entry)
        self._seam(entry)


@dataclass
class Move:
    """A source, a target and the run between them; every call opens the run as a process would.

    `vectors.calls` and `kv.calls` record the calls to both stores and may make them fail.
    """

    folder: Path
    source: MemorySource
    vectors: MemoryVectors
    kv: MemoryKv
    clock: VirtualClock = field(default_factory=VirtualClock)
    progress: Silence = field(default_factory=Silence)
    reads_in_flight: int = 1
    uploaders: int = 1  # threads that upload
    mapping: MappingRules = RULES
    undo_rules: UndoRules = UNDO_RULES
    _snapshot: Snapshot | None = None
    _run_folder: WorkFolder | None = None

    @property
    def calls(self) -> Calls:
        """The calls to both stores."""
        assert self.vectors.calls is self.kv.calls
        return self.vectors.calls

    @property
    def run_path(self) -> Path:
        """The run's folder on the disk."""
        assert self._run_folder is not None
        return path_of(self._run_folder)

    def plan(
        self,
        snapshot: Snapshot | None = None,
        *,
        into_non_empty: bool = False,
        vectors_per_upload: int = 8,
        counter_key: str = COUNTER,
        part_points: int | None = None,
        ttl_s: int | None = None,
        quarantine_cap: int | None = None,
    ) -> None:
        """Make a run that writes every point of `snapshot`, or of one taken now.

        `quarantine_cap` None lets every point be left out. Nothing is written to the target.
        """
        options = SnapshotOptions(allow_empty=True, part_points=part_points)
        self._snapshot = snapshot or take_and_open(self.source, self.folder, options)
        manifest = self._snapshot.manifest
        assert self.vectors.index is not None
        files = {payload["file_id"] for payload in self.source.points.values()}
        plan = replace(
            PLAN,
            run_id=new_run_id(self._snapshot, 1_800_000_000.0),
            snapshot_id=manifest.snapshot_id,
            content_root=manifest.content_root,
            points=manifest.points,
            vectors=manifest.points,
            files=len(files),
            quarantined={},
            quarantine_sha256=hashlib.sha256(b"").hexdigest(),
            quarantine_cap=manifest.points if quarantine_cap is None else quarantine_cap,
            waived=(),
            changes={},
            into_non_empty=into_non_empty,
            vector_target=self.vectors.identity(),
            kv_target=self.kv.identity(),
            index=self.vectors.index,
            mapping=self.mapping,
            values=VALUE_RULES,
            writes=WriteRules(
                vectors_per_upload=vectors_per_upload,
                body_bytes=10**6,
                counter_key=counter_key,
                ttl_s=ttl_s,
            ),
        )
        targets = _targets_of(self._snapshot, plan.mapping, plan.values)
        self._run_folder = create_run(self._snapshot, plan, b"", targets)

    @contextmanager
    def opened(self) -> Iterator[RunFolder]:
        """The run as the disk has it."""
        assert self._snapshot is not None
        assert self._run_folder is not None
        run = RunFolder(self._run_folder, Snapshot(self._snapshot.folder))
        try:
            yield run
        finally:
            run.close()

    def migrate(
        self,
        seam: Seam | None = None,
        *,
        retry_refused: bool = False,
        quarantine_cap: int | None = None,
        forced: frozenset[str] = frozenset(),
    ) -> None:
        """Bring the run to its end, or to the kill that `seam` raises around an append.

        The others stand for --retry-refused, --max-quarantine and --force.
        """
        with self.opened() as run:
            if seam is not None:
                run.journal.close()
                assert self._run_folder is not None
                run.journal = SeamJournal(self._run_folder, seam)
            migrate(
                run,
                self.target(),
                WriteOptions(
                    settle=SETTLE_RULES,
                    quarantine_cap=quarantine_cap,
                    retry_refused=retry_refused,
                    forced=forced,
                ),
                self._runtime(),
                open_uploaders=self._open_uploaders,
            )

    def _open_uploaders(self, run: RunFolder) -> AbstractContextManager[Sequence[UploadWorker]]:
        """Several for a full round, as `q2v` opens processes."""
        state = run.state()
        is_full = not state.completed and len(state.rounds) <= 1
        return nullcontext(self._several(run) if self.uploaders > 1 and is_full else ())

    def _several(self, run: RunFolder) -> list[Uploader]:
        return [
            Uploader(run.snapshot, run.plan, self.vectors, excluded=run.excluded_rows())
            for _ in range(self.uploaders)
        ]

    def reconcile(
        self,
        rules: ReconcileRules = RECONCILE_RULES,
        *,
        fresh: bool = False,
        with_source: bool = True,
    ) -> ReconcileReport:
        """Compare source, snapshot and target once."""
        source = self.source if with_source else None
        with self.opened() as run:
            return compare(run, source, self.target(), rules, self._runtime(), fresh=fresh)

    def roll_back(
        self, *, forced: frozenset[str] = frozenset(), leave_later_writes: bool = False
    ) -> RollbackReport:
        """Undo the run."""
        with self.opened() as run:
            return roll_back(
                run,
                build_manifest(run, requests_per_5min=900),
                self.target(),
                self.undo_rules,
                self._runtime(),
                forced=forced,
                leave_later_writes=leave_later_writes,
            )

    def export_later(self) -> LaterReport:
        """Export what others wrote since the run."""
        with self.opened() as run:
            return export_later_writes([run], self.target(), self.undo_rules, self._runtime())

    def target(self) -> Target:
        """Both stores."""
        return Target(self.vectors, self.kv)

    def _runtime(self) -> Runtime:
        return Runtime(
            clock=self.clock, progress=self.progress, reads_in_flight=self.reads_in_flight
        )

    # --- what is there ---------------------------------------------------------------------------

    def kept(self) -> list[str]:
        """The ids and keys that a repair kept because another writer changed them."""
        with self.opened() as run:
            return kept_changes(run)

    def entries(self) -> Sequence[Entry]:
        """The entries of the run's journal."""
        with self.opened() as run:
            return run.journal.entries

    def refused(self) -> dict[int, VectorId]:
        """Row -> id of every vector that the target refused, by the journal."""
        with self.opened() as run:
            return {row: refused.vector_id for row, refused in run.state().refused.items()}

    def ids_of(self, report: ReconcileReport) -> dict[str, list[str]]:
        """Class of drift -> ids, without empty classes."""
        found = {
            name: path_of(path).read_text(encoding="utf-8").splitlines()
            for name, path in report.files.items()
        }
        return {name: ids for name, ids in found.items() if ids}

    def held(self) -> Held:
        """All records of the target, in a form that can be compared."""
        vectors = {
            str(vector_id): (vector.values.tobytes(), vector.namespace, vector.metadata)
            for vector_id, vector in self.vectors.stored.items()
        }
        return vectors, dict(self.kv.stored)

    def put(self, vector: Vector) -> None:
        """Store a vector without a call of the port."""
        self.vectors.stored[vector.id] = vector

    def vector(self, vector_id: str) -> Vector:
        """The stored vector of this id."""
        return self.vectors.stored[VectorId(vector_id)]


def snapshot_of_chunks(folder: Path, points: int) -> Snapshot:
    """A sealed snapshot of chunks, which several moves may begin with."""
    return take_and_open(MemorySource(chunk_payloads(points)), folder)


def all_ids(points: int) -> list[VectorId]:
    """The target ids of `points` chunks, by row."""
    return [VectorId(f"file-{row % 5}_{row // 5}") for row in range(points)]


def new_move(folder: Path, points: int = 45) -> Move:
    """A move of this many chunks into an empty target, before its plan."""
    calls = Calls()
    source = MemorySource(chunk_payloads(points))
    return Move(folder, source, MemoryVectors(calls=calls), MemoryKv(calls))


def planned_move(
    snapshot: Snapshot,
    vectors: MemoryVectors,
    kv: MemoryKv | None = None,
    *,
    vectors_per_upload: int = 8,
    quarantine_cap: int | None = None,
    into_non_empty: bool = False,
) -> Move:
    """A move of a snapshot of chunks, with its plan; options as in `Move.plan`."""
    source = MemorySource(chunk_payloads(snapshot.manifest.points))
    move = Move(path_of(snapshot.folder).parent, source, vectors, kv or MemoryKv())
    move.plan(
        snapshot,
        vectors_per_upload=vectors_per_upload,
        quarantine_cap=quarantine_cap,
        into_non_empty=into_non_empty,
    )
    return move


def finished_move(folder: Path, points: int = 45) -> Move:
    """A move after its migrate; no call is recorded yet."""
    move = new_move(folder, points)
    move.plan()
    move.migrate()
    move.calls.made.clear()
    return move


def _targets_of(
    snapshot: Snapshot, mapping: MappingRules, values: ValueRules
) -> Iterator[pa.Table]:
    """What a plan keeps of every row, made from the snapshot as the upload reads it."""
    schema = targets_schema(mapping)
    for rows in read_mapped(snapshot, mapping, values, frozenset()):
        digests = digest_vectors(rows.ids, rows.values, rows.metadata, rows.namespaces)
        columns = [rows.rows, rows.ids, rows.files, rows.positions, digests]
        columns += [rows.namespaces] if mapping.namespace else []
        yield pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)],
            schema=schema,
        )
