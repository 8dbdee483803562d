"""Choose the run that a migrate goes on with, or refuse to."""

from dataclasses import asdict

from migrate.errors import ForeignStateError, PreconditionError
from migrate.plan.record import RunPlan
from migrate.ports import Target
from migrate.run.folder import RunFolder, run_folders
from migrate.run.next_step import Situation
from migrate.snapshot.folder import Snapshot
from q2v import wiring
from q2v.settings import Settings
from q2v.steps.planning import Choices


def choose_run(
    snapshot: Snapshot, target: Target, settings: Settings, choices: Choices
) -> RunFolder | None:
    """The run to go on with; None when a new one is due.

    A run that was rolled back, or has written nothing yet and was planned otherwise, is left
    where it is. Raises ForeignStateError for a half-written run with other decisions.
    """
    runs = run_folders(snapshot)
    if not runs:
        return None
    run = RunFolder(runs[-1], snapshot)
    state = run.state()
    if state.rollback_completed:
        return None
    if state.rollback_opened:
        raise PreconditionError(
            f"run {run.plan.run_id} is being rolled back",
            remedy=f"{Situation.ROLLING_BACK.remedy} to its end first",
        )
    different = _differences(run.plan, target, settings)
    begun = state.pre_images is not None or run.plan.into_non_empty == choices.into_non_empty
    if begun and not different:
        return run
    if state.rounds and not state.completed:
        raise ForeignStateError(
            f"run {run.plan.run_id} is half written and was planned otherwise: "
            f"{'; '.join(different)}",
            remedy="put the former settings back and finish it, or roll it back first",
        )
    return None


def _differences(plan: RunPlan, target: Target, settings: Settings) -> list[str]:
    """What was planned otherwise, with both values."""
    planned, configured = (
        {**vectors, **kv, **asdict(mapping), **asdict(writes)}
        for vectors, kv, mapping, writes in (
            (plan.vector_target, plan.kv_target, plan.mapping, plan.writes),
            (
                target.vectors.identity(),
                target.kv.identity(),
                wiring.mapping_rules(settings),
                wiring.write_rules(settings),
            ),
        )
    )
    values = plan.values
    planned |= {"vector_name": values.vector_name, "reduce": values.reduce}
    configured |= {
        "vector_name": settings.source.vector_name,
        "reduce": settings.mapping.reduce,
    }
    if settings.mapping.dimensions is not None:
        planned["dimensions"] = values.dimensions
        configured["dimensions"] = settings.mapping.dimensions
    return [
        f"{name} {planned.get(name)!r}, the settings say {configured.get(name)!r}"
        for name in sorted({*planned, *configured})
        if planned.get(name) != configured.get(name)
    ]
