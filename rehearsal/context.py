"""The context of a rehearsal: its folder, its sandbox, and the tool that is rehearsed."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from migrate.plan.make import check_snapshot, open_id_table
from migrate.plan.record import RunPlan
from migrate.plan.rules import PlanRules
from migrate.ports import Clock, ContentVerifier, PointSource, Target
from migrate.provision import ProvisionReport
from migrate.restore.restore import RestoreReport
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import DifferenceReport
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions
from migrate.storage.local_folder import LocalFolder
from migrate.upload.mapped import MappedRows, read_mapped
from migrate.upload.report import MigrateReport
from reconcile.gate.gate import GateReport
from reconcile.monitor.monitor import MonitorReport
from reconcile.parity.parity import ParityReport
from reconcile.rollback.report import UndoRules
from reconcile.stores import ReconcileRules
from rehearsal.child_process import ChildSettings
from sandbox.server import RunningSandbox

INDEX = "rehearsal"


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What a catch-up has sealed and moved."""

    difference: DifferenceReport
    moved: MigrateReport
    snapshot: Snapshot  # the end of the chain


class Tool(Protocol):
    """The tool with the settings of the rehearsal.

    `q2v/commands/rehearsal/rehearsed.py` provides it. It opens and writes files only below the
    rehearsal's own folder.
    """

    @property
    def page_points(self) -> int:
        """Points per page of the source."""

    @property
    def readers(self) -> int:
        """Number of readers that the source can serve at once."""

    @property
    def requests_per_5min(self) -> int:
        """Maximum number of requests per five minutes."""

    @property
    def kv_namespace_id(self) -> str:
        """The namespace that was provisioned."""

    @property
    def version(self) -> str:
        """The tool's name and version."""

    def shortened(self) -> Self:
        """A copy of the tool that cuts vectors to 1,536 values."""

    def with_namespace(self, namespace_id: str) -> Self:
        """A copy of the tool that writes into this KV namespace."""

    def plan_rules(self) -> PlanRules:
        """The rules of a plan."""

    def reconcile_rules(self, plan: RunPlan) -> ReconcileRules:
        """The rules of a reconcile of this plan."""

    def undo_rules(self) -> UndoRules:
        """The rules of a rollback."""

    def open_source(self, runtime: Runtime) -> AbstractContextManager[PointSource]:
        """The collection that is moved; read only."""

    def open_target(self, runtime: Runtime) -> AbstractContextManager[Target]:
        """The sandbox behind the real adapters."""

    def open_verifier(
        self, url: str | None, runtime: Runtime
    ) -> AbstractContextManager[ContentVerifier | None]:
        """The verifier at this address; None without one."""

    def provision(self, runtime: Runtime) -> ProvisionReport:
        """Create vector index, metadata indexes and KV namespaces."""

    def migrate(
        self, snapshot: Snapshot, target: Target, runtime: Runtime, *, into_non_empty: bool
    ) -> MigrateReport:
        """Begin or continue the run of a snapshot; `target` comes from `open_target`."""

    def catch_up(self, runtime: Runtime, *, frozen: bool) -> CaughtUp:
        """Seal what has changed in the source since the newest snapshot, and move it."""

    def parity(
        self, snapshot: Snapshot, runtime: Runtime, *, width: int | None, least: float | None
    ) -> ParityReport:
        """Measure and keep what a cut keeps of search; `width` None: half of the snapshot's."""

    def gate(
        self, chain: Sequence[RunFolder], target: Target, runtime: Runtime, *, until_s: float
    ) -> GateReport:
        """Go or no-go; `target` comes from `open_target`, `until_s` is the end of the window."""

    def look(self, run: RunFolder, target: Target, runtime: Runtime) -> MonitorReport:
        """Look once at the target, as after the cutover."""

    def restore(self, snapshot: Snapshot, folder: Path, runtime: Runtime) -> RestoreReport:
        """Write a snapshot back into an embedded store in a new folder."""

    def child_settings(self) -> ChildSettings:
        """The settings for another process."""


@dataclass(frozen=True, slots=True)
class Context:
    """Folder, sandbox and tool of a rehearsal; `runtime` has its clock and its progress."""

    folder: Path
    sandbox: RunningSandbox
    tool: Tool
    runtime: Runtime
    settled_s: float  # seconds until every read shows a write
    verifier_url: str | None = None  # of a verifier that reconcile uses
    kills: bool = False  # commands are killed several times before they may complete

    @property
    def snapshots(self) -> LocalFolder:
        """The rehearsal's own snapshots."""
        return LocalFolder(self.folder / "snapshots")

    @property
    def clock(self) -> Clock:
        """The clock of the rehearsal."""
        return self.runtime.clock

    def target(self) -> AbstractContextManager[Target]:
        """The sandbox behind the real adapters."""
        return self.tool.open_target(self.runtime)

    def verifier(self) -> AbstractContextManager[ContentVerifier | None]:
        """The verifier in front of the sandbox, when there is one."""
        return self.tool.open_verifier(self.verifier_url, self.runtime)

    @property
    def namespace_id(self) -> str:
        """The sandbox's KV namespace."""
        return self.tool.kv_namespace_id

    @property
    def snapshot_options(self) -> SnapshotOptions:
        """The options of a snapshot of a source that stands still."""
        return SnapshotOptions(
            page_points=self.tool.page_points, readers=self.tool.readers, tool=self.tool.version
        )

    def digest(self) -> str:
        """Digest of the whole state of the target, read without the API."""
        return self.sandbox.store.state_digest(INDEX, self.namespace_id)


def first_rows(context: Context, snapshot: Snapshot) -> MappedRows:
    """Some rows in target form, to plant vectors beside and over them."""
    rules = context.tool.plan_rules()
    values = rules.choose_values(snapshot.manifest.vectors)
    unmappable = _unmappable(context, snapshot, rules)
    return next(read_mapped(snapshot, rules.mapping, values, unmappable))


def _unmappable(context: Context, snapshot: Snapshot, rules: PlanRules) -> frozenset[int]:
    """Rows that do not move; nothing is planted over them."""
    with open_id_table(context.snapshots, snapshot.manifest.points) as table:
        _, findings = check_snapshot(snapshot, rules, table, context.runtime)
    return frozenset(point.row for point in findings.quarantined_points)
