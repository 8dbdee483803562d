"""A source and a target in memory, with a finished move between them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from migrate.mapping.values import ValueRules
from migrate.mapping.write_rules import WriteRules
from migrate.migrate import WriteOptions, migrate
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.plan.record import NO_TARGETS, RunPlan
from migrate.ports import Target
from migrate.run.folder import RunFolder, create_run
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.folder import WorkFolder
from migrate.storage.local_folder import LocalFolder
from migrate.upload.rounds import kept_changes
from migrate.upload.settle import SettleRules
from reconcile.compare import compare
from reconcile.report.report import ReconcileReport
from reconcile.rollback.manifest import build_manifest
from reconcile.rollback.report import RollbackReport, UndoRules
from reconcile.rollback.roll_back import roll_back
from reconcile.stores import ReconcileRules
from tests.clock import VirtualClock
from tests.paths import path_of
from tests.servers.memory_source import DIMENSIONS, MemorySource, chunk_payloads
from tests.servers.memory_target import Calls, MemoryKv, MemoryVectors
from tests.silence import Silence
from tests.strategies import RULES
from tests.targets import targets_of

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
UNDO_RULES = UndoRules(settle=SETTLE_RULES, pause_s=1, kv_settle_s=1)
Held = tuple[dict[str, tuple[bytes, str | None, dict[str, object] | None]], dict[str, KvEntry]]


@dataclass
class Bench:
    """Both stores and a folder; `calls` records every call to a store and may make it fail."""

    folder: Path
    source: MemorySource
    calls: Calls
    vectors: MemoryVectors
    kv: MemoryKv
    clock: VirtualClock = field(default_factory=VirtualClock)
    progress: Silence = field(default_factory=Silence)
    reads_in_flight: int = 1
    run_folder: WorkFolder | None = None
    _snapshot: Snapshot | None = None

    def plan(
        self,
        *,
        into_non_empty: bool = False,
        vectors_per_upload: int = 10,
        counter_key: str = COUNTER,
        part_points: int | None = None,
        ttl_s: int | None = None,
    ) -> None:
        """Take the snapshot and make the plan; nothing is written to the target."""
        report = take_snapshot(
            self.source,
            LocalFolder(self.folder),
            SnapshotOptions(allow_empty=True, part_points=part_points),
            self._runtime(),
        )
        self._snapshot = Snapshot(LocalFolder(Path(report.path)))
        assert self.vectors.index is not None
        points = len(self.source.points)
        plan = RunPlan(
            run_id="000-bench",
            tool="bench",
            created_at="2026-11-23T12:00:00+00:00",
            snapshot_id=self._snapshot.manifest.snapshot_id,
            content_root=self._snapshot.manifest.content_root,
            points=points,
            vectors=points,
            files=len({payload["file_id"] for payload in self.source.points.values()}),
            quarantined={},
            quarantine_sha256=hashlib.sha256(b"").hexdigest(),
            waived=(),
            quarantine_cap=10,
            changes={},
            into_non_empty=into_non_empty,
            vector_target=self.vectors.identity(),
            kv_target=self.kv.identity(),
            index=self.vectors.index,
            mapping=RULES,
            values=ValueRules(
                vector_name="",
                source_dimensions=DIMENSIONS,
                dimensions=DIMENSIONS,
                reduce="none",
                metric="cosine",
            ),
            writes=WriteRules(
                vectors_per_upload=vectors_per_upload,
                body_bytes=10**6,
                counter_key=counter_key,
                ttl_s=ttl_s,
            ),
            targets=NO_TARGETS,
        )
        targets = targets_of(self._snapshot, plan.mapping, plan.values)
        self.run_folder = create_run(self._snapshot, plan, b"", targets)

    @contextmanager
    def opened(self) -> Iterator[RunFolder]:
        """Open the run, as a new process does."""
        assert self._snapshot is not None
        assert self.run_folder is not None
        run = RunFolder(self.run_folder, Snapshot(self._snapshot.folder))
        try:
            yield run
        finally:
            run.close()

    def apply(self, *, forced: frozenset[str] = frozenset()) -> None:
        """Move the run: pre-images, vectors, KV index, counter. Resumes an interrupted call."""
        with self.opened() as run:
            migrate(
                run,
                Target(self.vectors, self.kv),
                WriteOptions(settle=SETTLE_RULES, forced=forced),
                self._runtime(),
            )

    def _runtime(self) -> Runtime:
        return Runtime(
            clock=self.clock, progress=self.progress, reads_in_flight=self.reads_in_flight
        )

    def kept(self) -> list[str]:
        """The ids and keys that a repair kept because another writer changed them."""
        with self.opened() as run:
            return kept_changes(run)

    def reconcile(
        self,
        rules: ReconcileRules = RECONCILE_RULES,
        *,
        fresh: bool = False,
        with_source: bool = True,
    ) -> ReconcileReport:
        """Reconcile once, as a new process does."""
        with self.opened() as run:
            return compare(
                run,
                self.source if with_source else None,
                Target(self.vectors, self.kv),
                rules,
                self._runtime(),
                fresh=fresh,
            )

    def rollback(
        self, *, forced: frozenset[str] = frozenset(), leave_later_writes: bool = False
    ) -> RollbackReport:
        """Undo the run, as a new process does."""
        with self.opened() as run:
            return roll_back(
                run,
                build_manifest(run, requests_per_5min=900),
                Target(self.vectors, self.kv),
                UNDO_RULES,
                self._runtime(),
                forced=forced,
                leave_later_writes=leave_later_writes,
            )

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


def make_bench(folder: Path, points: int = 45) -> Bench:
    """A bench with a source of this many chunks, and an empty target."""
    calls = Calls()
    return Bench(
        folder=folder,
        source=MemorySource(chunk_payloads(points)),
        calls=calls,
        vectors=MemoryVectors(calls=calls, dimensions=DIMENSIONS),
        kv=MemoryKv(calls),
    )


def moved_bench(folder: Path, points: int = 45) -> Bench:
    """A bench after a complete move; no call is recorded yet."""
    bench = make_bench(folder, points)
    bench.plan()
    bench.apply()
    bench.calls.made.clear()
    return bench
