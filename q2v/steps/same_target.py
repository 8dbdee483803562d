"""Refuse to work on a run with settings that point to another target."""

from migrate.adapters.run_folder import RunFolder
from migrate.errors import ForeignStateError
from q2v.wiring import Target


def check_same_target(run: RunFolder, target: Target) -> None:
    """Raises ForeignStateError unless account, index and namespace are those of the run."""
    for name, planned, configured in (
        ("vector index", run.plan.vector_target, target.vectors.identity()),
        ("KV namespace", run.plan.kv_target, target.kv.identity()),
    ):
        if planned != configured:
            raise ForeignStateError(
                f"run {run.plan.run_id} was written to {name} {planned}, the settings name "
                f"{configured}",
                remedy="configure the target of the run, or name another run",
            )
