"""The tool as a rehearsal uses it: the operator's settings, pointed at the sandbox."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from migrate.model.stamps import iso_stamp
from migrate.plan.record import RunPlan
from migrate.plan.rules import PlanRules
from migrate.plan.target_shape import chosen_vector
from migrate.ports import ContentVerifier, PointSource, Target
from migrate.provision import ProvisionReport
from migrate.restore.restore import RestoreOptions, RestoreReport, restore_snapshot
from migrate.run.choose.find import find_parent
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import take_difference
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import SourceScope
from migrate.snapshot.take import SnapshotOptions
from migrate.storage.folder_lock import FolderLock
from migrate.storage.local_folder import LocalFolder
from migrate.upload.report import MigrateReport
from q2v import wiring
from q2v.child_settings import child_environment, encode_config
from q2v.commands.after.monitor import SAMPLE_DEFAULT
from q2v.commands.move.migrate import migrate_snapshot
from q2v.commands.prepare.provision import provision_target
from q2v.commands.prove.parity import TOP_DEFAULT
from q2v.rules.stages import TOOL, Choices, plan_rules, reconcile_rules, undo_rules, wanted_indexes
from q2v.secret_files import SecretPlace
from q2v.settings import Settings
from reconcile.compare import DEFAULT_SEED
from reconcile.gate.criteria import AGE_MAX_S_DEFAULT
from reconcile.gate.gate import GateReport, GateRules, decide
from reconcile.monitor.look import LookRules
from reconcile.monitor.monitor import DROP_SHARE_DEFAULT, MonitorReport, monitor
from reconcile.parity import record
from reconcile.parity.parity import ParityReport, measure_snapshot, rules_for
from reconcile.parity.queries import sample_stored
from reconcile.parity.tasks import file_rule
from reconcile.rollback.report import UndoRules
from reconcile.stores import ReconcileRules
from rehearsal.child_process import ChildSettings
from rehearsal.context import INDEX, CaughtUp
from rehearsal.steps import SETTLED_S
from sandbox.server import RunningSandbox

PARITY_QUERIES, PARITY_SEED = 200, 1
TOKEN_VARIABLE = "Q2V_REHEARSAL_TOKEN"  # noqa: S105 - the name of a variable
VERIFIER_KEY_VARIABLE = "Q2V_REHEARSAL_VERIFIER_KEY"


@dataclass(frozen=True, slots=True)
class RehearsedTool:
    """See `rehearsal.context.Tool`."""

    settings: Settings
    folder: Path  # of the rehearsal

    @property
    def page_points(self) -> int:
        """See Tool."""
        return self.settings.snapshot.page_points

    @property
    def readers(self) -> int:
        """See Tool."""
        return wiring.source_readers(self.settings)

    @property
    def requests_per_5min(self) -> int:
        """See Tool."""
        return self.settings.limits.requests_per_5min

    @property
    def kv_namespace_id(self) -> str:
        """See Tool."""
        assert self.settings.target.kv_namespace_id is not None
        return self.settings.target.kv_namespace_id

    @property
    def version(self) -> str:
        """See Tool."""
        return TOOL

    @property
    def _snapshots(self) -> LocalFolder:
        return LocalFolder(self.folder / "snapshots")

    def shortened(self) -> "RehearsedTool":
        """See Tool."""
        mapping = replace(self.settings.mapping, dimensions=1536, reduce="matryoshka")
        return replace(self, settings=replace(self.settings, mapping=mapping))

    def with_namespace(self, namespace_id: str) -> "RehearsedTool":
        """See Tool."""
        target = replace(self.settings.target, kv_namespace_id=namespace_id)
        return replace(self, settings=replace(self.settings, target=target))

    def plan_rules(self) -> PlanRules:
        """See Tool."""
        return plan_rules(self.settings)

    def reconcile_rules(self, plan: RunPlan) -> ReconcileRules:
        """See Tool."""
        return reconcile_rules(self.settings, plan, full=False, seed=DEFAULT_SEED)

    def undo_rules(self) -> UndoRules:
        """See Tool."""
        return undo_rules(self.settings)

    @contextmanager
    def open_source(self, runtime: Runtime) -> Iterator[PointSource]:
        """See Tool."""
        with wiring.open_source(
            self.settings, self._snapshots, clock=runtime.clock, progress=runtime.progress
        ) as source:
            yield source

    @contextmanager
    def open_target(self, runtime: Runtime) -> Iterator[Target]:
        """See Tool."""
        with wiring.open_target(
            self.settings, self._snapshots, clock=runtime.clock, progress=runtime.progress
        ) as target:
            yield target

    @contextmanager
    def open_verifier(self, url: str | None, runtime: Runtime) -> Iterator[ContentVerifier | None]:
        """See Tool."""
        key = SecretPlace(
            key="target.verifier_key",
            kind="environment",
            place=VERIFIER_KEY_VARIABLE,
            named_by=f"environment {VERIFIER_KEY_VARIABLE}",
        )
        target = replace(self.settings.target, verifier_url=url, verifier_key=key)
        settings = replace(self.settings, target=target)
        with wiring.open_verifier(
            settings, clock=runtime.clock, progress=runtime.progress
        ) as verifier:
            yield verifier

    def provision(self, runtime: Runtime) -> ProvisionReport:
        """See Tool."""
        return provision_target(self.settings, self._snapshots, Choices(), runtime)

    def migrate(
        self, snapshot: Snapshot, target: Target, runtime: Runtime, *, into_non_empty: bool
    ) -> MigrateReport:
        """See Tool."""
        assert isinstance(target, wiring.CloudflareTarget), "given by `open_target`"
        choices = Choices(into_non_empty=into_non_empty)
        with FolderLock(self._snapshots):
            return migrate_snapshot(
                snapshot, target, self.settings, choices, runtime, folder=self._snapshots
            )

    def catch_up(self, runtime: Runtime, *, frozen: bool) -> CaughtUp:
        """See Tool."""
        options = SnapshotOptions(
            page_points=self.page_points,
            readers=self.readers,
            moving=not frozen,
            tool=self.version,
        )
        with (
            self.open_source(runtime) as source,
            self.open_target(runtime) as target,
            FolderLock(self._snapshots),
        ):
            assert isinstance(target, wiring.CloudflareTarget), "given by `open_target`"
            parent = find_parent(self._snapshots, target, SourceScope(None, None), None)
            difference = take_difference(source, parent, options, runtime)
            found = Snapshot(wiring.open_folder(difference.path))
            choices = Choices(into_non_empty=True)
            moved = migrate_snapshot(
                found, target, self.settings, choices, runtime, folder=self._snapshots
            )
        return CaughtUp(difference, moved, found)

    def parity(
        self, snapshot: Snapshot, runtime: Runtime, *, width: int | None, least: float | None
    ) -> ParityReport:
        """See Tool."""
        name, mapping = self.settings.source.vector_name, self.settings.mapping
        spec = chosen_vector(snapshot.manifest.vectors, name)
        assert spec.dimensions is not None, "a dense vector was chosen"
        half = max(1, spec.dimensions // 2)
        widths = [half if width is None else width]
        rules = rules_for(
            snapshot, name, widths, top=TOP_DEFAULT, overlap_min=least, seed=PARITY_SEED
        )
        queries = sample_stored(
            snapshot,
            name,
            file_rule(mapping, None),
            frozenset(),
            sample=PARITY_QUERIES,
            seed=PARITY_SEED,
        )
        folder = record.make_folder(snapshot)
        report = measure_snapshot(snapshot, queries, rules, runtime)
        stamp = iso_stamp(runtime.clock.wall_s())
        record.keep(folder, record.document(report, snapshot, None, queries, at=stamp), snapshot)
        return report

    def gate(
        self, chain: Sequence[RunFolder], target: Target, runtime: Runtime, *, until_s: float
    ) -> GateReport:
        """See Tool."""
        assert isinstance(target, wiring.CloudflareTarget), "given by `open_target`"
        rules = GateRules(
            until_s=until_s,
            age_max_s=AGE_MAX_S_DEFAULT,
            indexes=wanted_indexes(chain[0].plan, self.settings),
            requests_per_5min=self.requests_per_5min,
            pause_s=self.settings.limits.poll_s,
        )
        return decide(chain, (target, target.http), rules, runtime)

    def look(self, run: RunFolder, target: Target, runtime: Runtime) -> MonitorReport:
        """See Tool."""
        rules = LookRules(
            indexes=wanted_indexes(run.plan, self.settings),
            ttl_s=self.settings.kv.ttl_s,
            sample=SAMPLE_DEFAULT,
            seed=1,
            settle_s=self.settings.limits.kv_settle_s,
        )
        return monitor(run, target, rules, runtime, max_drop=DROP_SHARE_DEFAULT)

    def restore(self, snapshot: Snapshot, folder: Path, runtime: Runtime) -> RestoreReport:
        """See Tool."""
        source = replace(self.settings.source, url=None, path=folder)
        with wiring.open_restore_target(
            replace(self.settings, source=source),
            snapshot,
            self._snapshots,
            clock=runtime.clock,
            progress=runtime.progress,
        ) as target:
            return restore_snapshot(snapshot, target, RestoreOptions(), runtime)

    def child_settings(self) -> ChildSettings:
        """See Tool."""
        return ChildSettings(
            self.folder / "migration.toml",
            encode_config(self.settings),
            child_environment(self.settings),
        )


def rehearsal_settings(settings: Settings, sandbox: RunningSandbox, delays: float) -> Settings:
    """The settings with the sandbox as their target, and patience for its delays."""
    target = replace(
        settings.target,
        account_id=sandbox.account_id,
        api_token=SecretPlace(
            key="target.api_token",
            kind="environment",
            place=TOKEN_VARIABLE,
            named_by="the rehearsal",
        ),
        api_base_url=sandbox.base_url,
        allow_other_host=False,
        vector_index=INDEX,
        shards=(),  # a rehearsal has one index
        kv_namespace_id=None,
    )
    limits = replace(
        settings.limits,
        requests_per_5min=1_200,
        poll_s=0.3,
        kv_settle_s=SETTLED_S * delays,
        settle_timeout_s=60.0 * delays,
        content_full_max=2**40,
        deadline_s=None,
    )
    return replace(settings, target=target, limits=limits)
