"""Where a rehearsal plays: its folder, its stand-in, its settings, its clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from migrate.plan.target_shape import choose_values
from migrate.ports import Clock, Progress
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.upload.mapped import MappedRows, read_mapped
from q2v import wiring
from q2v.settings import Settings
from q2v.steps import planning
from q2v.steps.planning import Choices
from q2v.wiring import CloudflareTarget
from sandbox.server import RunningSandbox

INDEX = "rehearsal"


@dataclass(frozen=True, slots=True)
class Scene:
    """Where the rehearsal plays: its folder, its stand-in, its clock."""

    folder: Path
    sandbox: RunningSandbox
    settings: Settings
    clock: Clock
    progress: Progress
    settled_s: float  # after this long every read shows what was written
    kills: bool = False  # commands are killed some times before they come to their end

    @property
    def snapshots(self) -> Path:
        """The rehearsal's own snapshots."""
        return self.folder / "snapshots"

    @property
    def runtime(self) -> Runtime:
        """The clock and the progress, for a stage."""
        return Runtime(
            clock=self.clock,
            progress=self.progress,
            reads_in_flight=self.settings.limits.reads_in_flight,
        )

    @contextmanager
    def target(self) -> Iterator[CloudflareTarget]:
        """The stand-in behind the real adapters."""
        with wiring.open_target(
            self.settings, self.snapshots, clock=self.clock, progress=self.progress
        ) as target:
            yield target

    @property
    def namespace_id(self) -> str:
        """The stand-in's KV namespace."""
        assert self.settings.target.kv_namespace_id is not None
        return self.settings.target.kv_namespace_id

    def digest(self) -> str:
        """The whole state of the target, read behind the API."""
        return self.sandbox.store.state_digest(INDEX, self.namespace_id)


def first_rows(scene: Scene, snapshot: Snapshot) -> MappedRows:
    """Some rows in target form, to plant things beside and over them."""
    vectors = snapshot.manifest.vectors
    values = choose_values(
        vectors,
        vector_name=scene.settings.source.vector_name,
        dimensions=scene.settings.mapping.dimensions,
        reduce=scene.settings.mapping.reduce,
        allow_cast=False,
    )
    return next(
        read_mapped(
            snapshot,
            wiring.mapping_rules(scene.settings),
            values,
            _unmappable(scene, snapshot),
        )
    )


def _unmappable(scene: Scene, snapshot: Snapshot) -> frozenset[int]:
    """Rows that are left out, so that nothing is planted over them."""
    with planning.open_id_table(scene.snapshots, snapshot.manifest.points) as table:
        _, findings = planning.plan_snapshot(
            snapshot, scene.settings, Choices(), table, scene.progress
        )
    return frozenset(point.row for point in findings.quarantined_points)
