"""A small world: a collection, the sandbox, a folder on a disk that can fail, and the tool.

Everything of the tool is real, from the stages to the HTTP client and the files on disk. Replaced
are the sockets, the clock and the disk's memory of what was fsynced. Time passes only in waits.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
from typing_extensions import override

from migrate.archive.write import ArchiveOptions, ArchiveReport, write_archive
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp
from migrate.cloudflare.kv import WorkersKvTarget
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.model.limits import FETCH_IDS_MAX
from migrate.restore.restore import RestoreOptions, RestoreReport, restore_snapshot
from migrate.run.choose.find import find_parent, find_run, find_snapshot
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import take_difference
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import SourceScope
from migrate.snapshot.take import SnapshotOptions, SnapshotReport, take_snapshot
from migrate.storage.disk import use_disk
from migrate.storage.folder_lock import FolderLock
from migrate.storage.layout import BUDGET, BUDGET_FILE, archive_name
from migrate.storage.local_folder import LocalFolder
from migrate.upload.report import MigrateReport
from q2v.commands.move.migrate import migrate_snapshot
from q2v.rules.scope import configured_index, other_index
from q2v.rules.stages import Choices, reconcile_rules, undo_rules, wanted_indexes, write_rules
from q2v.settings import Settings
from q2v.settings.sections import LimitSettings, TargetSettings
from q2v.wiring import CloudflareTarget
from reconcile.compare import compare
from reconcile.gate.criteria import AGE_MAX_S_DEFAULT
from reconcile.gate.gate import GateReport, GateRules, decide
from reconcile.monitor.history import read_history
from reconcile.monitor.look import LookRules
from reconcile.monitor.monitor import DROP_SHARE_DEFAULT, MonitorReport, monitor
from reconcile.report.report import ReconcileReport
from reconcile.reset.reset import ResetReport, ResetRules, open_chains, reset
from reconcile.rollback.chain import open_chain, roll_back_chain
from reconcile.rollback.later.export import LaterReport, export_later_writes
from reconcile.rollback.report import RollbackReport, UndoRules
from sandbox.app import ACCOUNT_ID, SandboxApp, create_app
from sandbox.exchange.request_log import RequestLog, RequestRecord
from sandbox.profile import INSTANT, Profile
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.faulty_disk import FaultyDisk
from tests.harness.fakes.kept_databases import kept_databases
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.stepped_store import SteppedStore
from tests.harness.fakes.steps import Fault, KilledError, Steps
from tests.harness.journal_files import acknowledged_uploads
from tests.harness.network import InProcessNetwork, Weather
from tests.harness.running.secrecy import assert_secret_absent
from tests.harness.running.target import DIMENSIONS, INDEX, put_former_content

TOKEN = "world-token-4b7e19c2d8f0a6935e"
BASE_URL = "http://127.0.0.1:9/client/v4"
POINTS, FILES, PART_POINTS, BATCH_VECTORS = 40, 5, 15, 12  # 3 parts, 4 uploads
TARGET = "target"  # what the sandbox keeps, in the folder of a world
RESTORED = "restored"  # the embedded store in the folder of a world
EDITED = "edited"  # in the folder of a world whose source others have changed
WINDOW_S = 86_400.0  # that is left when the gate is asked
ALLOWED = frozenset({"foreign-1", "file:elsewhere", "file-0_0"})  # the last one a run overwrites
BOOT_S = 45.0  # from a power cut until the tool can run again


class WorldClock(VirtualClock):
    """Virtual time that the sandbox shares; a reboot resets the monotonic clock."""

    def __init__(self, *, elapsed_s: float = 0.0) -> None:
        super().__init__(wall_s=1_800_000_000.0 + elapsed_s)
        self._monotonic_s = elapsed_s
        self._true_s = self._wall_s
        self.boots = 1

    @override
    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        self._true_s += seconds

    def now(self) -> float:
        """The sandbox's clock, which is right."""
        return self._true_s

    def jump_wall(self, seconds: float) -> None:
        """The operator sets this machine's clock."""
        self._wall_s += seconds

    def boot_id(self) -> str:
        """Names the running boot."""
        return f"boot-{self.boots}"

    def reboot(self) -> None:
        """The machine restarts, which takes `BOOT_S`."""
        self.wait(BOOT_S)
        self.boots += 1
        self._monotonic_s = BOOT_S


@dataclass(slots=True)
class World:
    """One life of everything; copies of its folder make other lives."""

    folder: Path
    app: SandboxApp
    log: RequestLog
    clock: WorldClock
    source: MemorySource
    settings: Settings
    namespace_id: str
    requests_max: int
    weather: Weather | None = None
    steps: Steps = field(default_factory=Steps)
    progress: Silence = field(default_factory=Silence)
    sent_at: list[float] = field(default_factory=list)  # true time of every request that left
    sent_uploads: list[str] = field(default_factory=list)  # SHA-256 of every upload that left

    @property
    def directory(self) -> LocalFolder:
        """The tool's --dir."""
        return LocalFolder(self.folder / "snapshots")

    @property
    def index(self) -> str:
        """The vector index that commands work on."""
        assert self.settings.target.vector_index is not None
        return self.settings.target.vector_index

    @property
    def own(self) -> str | None:
        """The same where it is one of several."""
        return configured_index(self.settings)

    @staticmethod
    def first_settings() -> Settings:
        """The settings of a new world."""
        return settings()

    def fill(self) -> None:
        """Make the target, and put into it what another writer has left."""
        self.app.store.create_vector_index(INDEX, DIMENSIONS, "cosine")
        put_former_content(self.app.store, self.namespace_id, ours=["file-0_0", "file-3_2"])

    @property
    def counter_key(self) -> str:
        """The KV key of the counter of the index."""
        return write_rules(self.settings).counter_key

    def each_index(self) -> Iterator[str]:
        """The vector indexes; commands work on the one that was given last."""
        yield self.index

    def files_of(self, index: str) -> int:
        """How many files the KV entries of an index have after a move."""
        assert index == self.index
        return FILES + 1  # and one of another writer

    @property
    def requests(self) -> list[RequestRecord]:
        """Everything the target was asked, oldest first."""
        return self.log.records()

    # --- what an operator does ---------------------------------------------------------------

    def snapshot(self, *, moving: bool = False) -> SnapshotReport:
        """`q2v snapshot`, with --moving or without."""
        options = SnapshotOptions(page_points=7, part_points=PART_POINTS, moving=moving)
        with FolderLock(self.directory):
            return take_snapshot(
                self.source,
                self.directory,
                options,
                self.runtime(),
            )

    def migrate(self, named: Path | None = None) -> MigrateReport:
        """`q2v migrate --into-non-empty`, of the newest snapshot or of the one at `named`."""
        snapshot = None if named is None else LocalFolder(named)
        with FolderLock(self.directory, self.own), self._target() as target:
            return migrate_snapshot(
                find_snapshot(self.directory, snapshot, None),
                target,
                self.settings,
                Choices(into_non_empty=True),
                self.runtime(),
                folder=self.directory,
            )

    def edit_source(self) -> None:
        """Others add, change and delete points; copies of the folder have the same points."""
        (self.folder / EDITED).touch()
        edit_points(self.source)

    def go_on(self) -> None:
        """The new side adds a file, changes two vectors, and deletes a file of the run."""
        store, values = self.app.store, np.zeros(DIMENSIONS, np.float32)
        values[2] = 1.0
        for number in range(25):
            metadata = {"file_id": "new", "chunk_index": number}
            store.put_vector(INDEX, f"new_{number}", values, metadata)
        for vector_id in ("file-1_3", "file-2_0"):
            store.put_vector(INDEX, vector_id, values, {"file_id": vector_id[:6], "text": "new"})
        ids = [vector_id for vector_id, *_ in store.read_vectors(INDEX)]
        for vector_id in [one for one in ids if one.startswith("file-4_")]:
            store.remove_vector(INDEX, vector_id)
        store.put_kv(self.namespace_id, "file:new", b'["new_0"]')
        store.remove_kv(self.namespace_id, "file:file-4")

    def catch_up(self, *, moving: bool = False) -> MigrateReport:
        """`q2v catch-up --frozen`, or without --frozen (`moving`)."""
        with FolderLock(self.directory), self._target() as target:
            runtime = self.runtime()
            parent = find_parent(self.directory, target, SourceScope(None, None), None)
            options = SnapshotOptions(page_points=7, part_points=PART_POINTS, moving=moving)
            report = take_difference(self.source, parent, options, runtime)
            return migrate_snapshot(
                Snapshot(LocalFolder(Path(report.path))),
                target,
                self.settings,
                Choices(),
                runtime,
                folder=self.directory,
            )

    def archive(self) -> ArchiveReport:
        """`q2v archive`."""
        with (
            FolderLock(self.directory),
            contextlib.closing(find_run(self.directory, None, None, read_only=True)) as run,
        ):
            return write_archive(
                run,
                self.directory.file(archive_name(run.plan.snapshot_id, run.plan.run_id)),
                ArchiveOptions(tool="q2v 0"),
                self.runtime(),
            )

    def reconcile(self) -> ReconcileReport:
        """`q2v reconcile`."""
        with (
            FolderLock(self.directory, self.own),
            self._target() as target,
            contextlib.closing(find_run(self.directory, None, None, own=self.own)) as run,
        ):
            rules = reconcile_rules(self.settings, run.plan, full=True, seed=1)
            return compare(
                run,
                self.source,
                target,
                rules,
                self.runtime(),
            )

    def export_later(self) -> LaterReport:
        """`q2v rollback --export-later-writes`."""
        with (
            FolderLock(self.directory, self.own),
            self._target() as target,
            contextlib.closing(find_run(self.directory, None, None, own=self.own)) as run,
            open_chain(run) as chain,
        ):
            return export_later_writes(
                chain,
                target,
                self._undo_rules(),
                self.runtime(),
            )

    def roll_back(self, *, leave_later_writes: bool = True) -> RollbackReport:
        """`q2v rollback --execute`."""
        with (
            FolderLock(self.directory, self.own),
            self._target() as target,
            contextlib.closing(find_run(self.directory, None, None, own=self.own)) as run,
            open_chain(run) as chain,
        ):
            return roll_back_chain(
                chain,
                target,
                self._undo_rules(),
                self.runtime(),
                requests_per_5min=self.requests_max,
                leave_later_writes=leave_later_writes,
            )

    def gate(self) -> GateReport:
        """`q2v gate --until` a day from now."""
        with (
            FolderLock(self.directory, self.own),
            self._target() as target,
            contextlib.closing(find_run(self.directory, None, None, own=self.own)) as run,
            open_chain(run) as chain,
        ):
            rules = GateRules(
                until_s=self.clock.wall_s() + WINDOW_S,
                age_max_s=AGE_MAX_S_DEFAULT,
                indexes=wanted_indexes(run.plan, self.settings),
                requests_per_5min=self.requests_max,
                pause_s=self.settings.limits.poll_s,
            )
            runtime = self.runtime()
            return decide(chain, (target, target.http), rules, runtime)

    def monitor(self) -> MonitorReport:
        """`q2v monitor`."""
        with (
            FolderLock(self.directory, self.own),
            self._target() as target,
            contextlib.closing(find_run(self.directory, None, None, own=self.own)) as run,
        ):
            rules = LookRules(
                indexes=wanted_indexes(run.plan, self.settings),
                ttl_s=self.settings.kv.ttl_s,
                sample=20,
                seed=len(read_history(run)),
                settle_s=self.settings.limits.kv_settle_s,
            )
            runtime = self.runtime()
            return monitor(run, target, rules, runtime, max_drop=DROP_SHARE_DEFAULT)

    def restore(self, snapshot: Snapshot | None = None, *, append: bool = False) -> RestoreReport:
        """`q2v restore` of the newest snapshot, or of this one, into the embedded store."""
        with FolderLock(self.directory):
            return restore_snapshot(
                snapshot or find_snapshot(self.directory, None, None),
                self.store(),
                RestoreOptions(append=append),
                self.runtime(),
            )

    def _undo_rules(self) -> UndoRules:
        """As the command's, but noting each read, so that a kill finds a part undone."""
        return replace(undo_rules(self.settings), note_every=FETCH_IDS_MAX)

    def runtime(self) -> Runtime:
        """What every command runs with."""
        return Runtime(clock=self.clock, progress=self.progress)

    def store(self) -> SteppedStore:
        """The embedded store that a restore writes."""
        return SteppedStore(self.folder / RESTORED, collection="again", steps=lambda: self.steps)

    def reset_target(self, allowed: frozenset[str] = ALLOWED) -> ResetReport:
        """`q2v reset-target --execute --allow` a list: one vector, its key and a key of a run."""
        with (
            FolderLock(self.directory, self.own),
            self._target() as target,
            open_chains(self.directory, target, None, own=self.own) as chains,
        ):
            return reset(
                self.directory,
                chains,
                target,
                ResetRules(
                    undo=self._undo_rules(),
                    allowed=allowed,
                    requests_per_5min=self.requests_max,
                    own=self.own,
                    other_index=other_index(self.settings),
                ),
                self.runtime(),
                execute=True,
            )

    @contextlib.contextmanager
    def _target(self) -> Iterator[CloudflareTarget]:
        """What `wiring.open_target` makes, over our network and clock."""
        budget = RequestBudget(
            self.directory.path / BUDGET / BUDGET_FILE,
            clock=self.clock,
            requests_max=self.requests_max,
            boot_id=self.clock.boot_id,
        )
        network = InProcessNetwork(
            self.app,
            self.steps,
            unsynced=lambda: self._disk.unsynced,
            sent=self._note_sent,
            weather=self.weather,
        )
        http = CloudflareHttp(
            Account(parse_base_url(BASE_URL), ACCOUNT_ID, TOKEN),
            budget=budget,
            clock=self.clock,
            jitter=lambda: 0.5,
            progress=self.progress,
            transport=network,
        )
        try:
            yield CloudflareTarget(
                VectorizeTarget(http, self.index),
                WorkersKvTarget(http, self.namespace_id),
                http,
                budget,
                True,
            )
        finally:
            http.close()

    def _note_sent(self, request: httpx.Request) -> None:
        self.sent_at.append(self.clock.now())
        if request.url.path.endswith("/upsert"):
            self.sent_uploads.append(hashlib.sha256(request.read()).hexdigest())

    # --- what the world does -----------------------------------------------------------------

    _disk: FaultyDisk = field(init=False)

    @contextlib.contextmanager
    def striking(self, fault: Fault, at: int) -> Iterator[Steps]:
        """One life of the process: `fault` strikes at step `at` (0: never).

        A kill ends the block quietly; power faults leave the disk as the next boot finds it.
        """
        self.steps = Steps(strike_at=at, fault=fault)
        self._disk = FaultyDisk(self.directory.path, self.steps)
        try:
            with use_disk(self._disk), contextlib.suppress(KilledError):
                yield self.steps
        finally:
            left_open = self._disk.close_files()
        assert not left_open or self.steps.dead, f"left open: {left_open}"
        struck = at and len(self.steps.done) >= at
        if struck and fault in {Fault.POWER_LOST, Fault.BROKEN}:
            self._disk.cut_power(reordered=False)
        if struck and fault is Fault.POWER_REORDERED:
            self._disk.cut_power(reordered=True)
        if struck and fault in {Fault.POWER_LOST, Fault.POWER_REORDERED, Fault.BROKEN}:
            self.clock.reboot()

    @contextlib.contextmanager
    def calm(self) -> Iterator[Steps]:
        """A life in which nothing strikes."""
        with self.striking(Fault.KILL, at=0) as steps:
            yield steps

    # --- what can be seen from outside -------------------------------------------------------

    def state(self) -> str:
        """Digest of everything the target holds."""
        digests = [
            self.app.store.state_digest(index, self.namespace_id) for index in self.each_index()
        ]
        return " ".join(digests)

    def content_root(self) -> str:
        """What the sealed snapshot holds."""
        return find_snapshot(self.directory, None, None).manifest.content_root

    def exports(self) -> list[Snapshot]:
        """The sealed exports of later writes."""
        manifests = sorted(self.directory.path.glob("*/runs/*/rollback/later/*/manifest.json"))
        return [Snapshot(LocalFolder(one.parent)) for one in manifests]

    def journals(self) -> list[list[bytes]]:
        """The journal of every run as it lies on disk, in the order of the runs."""
        paths = sorted(self.directory.path.glob("*/runs/*/journal.jsonl"))
        return [path.read_bytes().splitlines(keepends=True) for path in paths]

    def journal_lines(self) -> list[bytes]:
        """The newest run's journal as it lies on disk, torn tail included; empty without a run."""
        paths = sorted(self.directory.path.glob("*/runs/*/journal.jsonl"))
        return paths[-1].read_bytes().splitlines(keepends=True) if paths else []

    def acknowledged_uploads(self) -> set[str]:
        """SHA-256 of the bodies that the journal holds acks for."""
        whole = [line for line in self.journal_lines() if line.endswith(b"\n")]
        return acknowledged_uploads(whole)

    def check_rate(self) -> None:
        """I9: no sliding window of five minutes holds more requests than the budget."""
        later = self.sent_at[self.requests_max :]
        for first, last in zip(self.sent_at, later, strict=False):
            assert last - first >= 300 - 1e-3, f"{self.requests_max + 1} requests in five minutes"

    def check_secrecy(self) -> None:
        """I10: no form of the token is in a file or was shown."""
        files = [path for path in self.directory.path.rglob("*") if path.is_file()]
        assert_secret_absent(TOKEN, files, self.progress.said)


def edit_points(source: MemorySource) -> None:
    """Change one point, delete two, and add one; each file keeps some of its points."""
    numbers = sorted(source.points)
    source.points[numbers[3]] = {**source.points[numbers[3]], "text": "changed", "shift": 2}
    for number in (numbers[4], numbers[-1]):
        del source.points[number]
    added = {**source.points[numbers[0]], "chunk_index": 1_000, "text": "added"}
    source.points[numbers[0] + 1] = added


def settings() -> Settings:
    """The settings of every world."""
    return Settings(
        target=TargetSettings(vector_index=INDEX, metadata_indexes=()),
        limits=LimitSettings(
            vectors_per_upload=BATCH_VECTORS,
            poll_s=1.0,
            kv_settle_s=15.0,
            settle_timeout_s=600.0,
            reads_in_flight=1,  # no threads: the same life every time
        ),
    )


@contextlib.contextmanager
def open_world(
    folder: Path,
    *,
    points: int = POINTS,
    profile: Profile = INSTANT,
    requests_max: int = 1_200,
    clock: WorldClock | None = None,
    fault: str | None = None,
    of: type[World] = World,
) -> Iterator[World]:
    """The world that lies in `folder`; an empty one gets a target that another writer has used."""
    clock = clock or WorldClock()
    (folder / "snapshots").mkdir(exist_ok=True)
    log = RequestLog()
    app = create_app(
        folder / TARGET, profile=profile, api_token=TOKEN, clock=clock, log=log, fault=fault
    )
    with contextlib.closing(app), kept_databases():
        namespaces = app.store.kv.namespaces.select_all()
        fresh = not namespaces
        namespace_id = (
            app.store.create_kv_namespace("small-files") if fresh else namespaces[0].namespace_id
        )
        world = of(
            folder=folder,
            app=app,
            log=log,
            clock=clock,
            source=MemorySource(
                chunk_payloads(points, files=FILES), dimensions=DIMENSIONS, unit=True
            ),
            settings=of.first_settings(),
            namespace_id=namespace_id,
            requests_max=requests_max,
        )
        vectors = {"size": DIMENSIONS, "distance": "Cosine"}
        world.source.config = {
            "config": {"params": {"vectors": vectors}},
            "payload_schema": {"file_id": {"data_type": "keyword", "points": points}},
        }
        if (folder / EDITED).exists():
            edit_points(world.source)
        if fresh:
            world.fill()
        yield world
