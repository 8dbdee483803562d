"""A saved plan with the name of its file, as a run is held to it."""

from dataclasses import dataclass

from migrate.mapping.rules import MappingRules, WriteRules
from migrate.model.records import VectorIndex
from migrate.plan.saved.agreement import check_index, check_points, check_target
from migrate.plan.saved.holdings import read_holdings
from migrate.plan.saved.record import PlannedPoints, SavedPlan
from migrate.ports import Target


@dataclass(frozen=True, slots=True)
class AgreedPlan:
    """What a new run has to be, and a run that has begun has to have been."""

    plan: SavedPlan
    where: str  # address of its file

    def check_target(
        self, target: Target, index: VectorIndex, mapping: MappingRules, writes: WriteRules
    ) -> None:
        """Before a point is read. Raises PreconditionError when the target has moved."""
        holds = read_holdings(target.vectors, target.kv, mapping, writes)
        check_target(self.plan.target, index, holds, self.where)

    def check_points(self, now: PlannedPoints) -> None:
        """Raises PreconditionError when other points would move, or the same ones otherwise."""
        check_points(self.plan.counts, now, self.where)

    def check_run(self, index: VectorIndex, counts: PlannedPoints) -> None:
        """Of a run that has begun. Raises PreconditionError when it is not the planned one."""
        check_index(self.plan.target, index, self.where)
        self.check_points(counts)
