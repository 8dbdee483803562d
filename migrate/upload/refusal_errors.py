"""Errors that stop a run for refusals: too many of them, or without evidence about the cause."""

from migrate.errors import QuarantineExceededError, TargetRefusedError
from migrate.plan.record import RunPlan
from migrate.run.journal import RunState


def too_many_refused(
    plan: RunPlan, state: RunState, *, cap: int, allowed: int
) -> QuarantineExceededError:
    """Build the error for more refused vectors than may be left out.

    `cap` limits all points left out, including those that the plan quarantined.
    """
    refused, planned = len(state.refused), sum(plan.quarantined.values())
    last = max(state.refused.values(), key=lambda vector: (vector.round, vector.row))
    return QuarantineExceededError(
        f"the target refused {refused} vectors one by one and took "
        f"{state.vectors_acknowledged()}; {allowed} may be left out here ({cap} in all, {planned} "
        f"of them by the plan); its last answer, for '{last.vector_id}': {last.text}",
        remedy="correct what the answer names, then send them again with `q2v migrate "
        f"--retry-refused`; or leave them out with `q2v migrate --max-quarantine "
        f"{planned + refused}` or more; or undo the run with `q2v rollback --execute`",
    )


def unexplained_refusals(error: TargetRefusedError, vectors: int) -> TargetRefusedError:
    """Build the error for single vectors that were refused without evidence of their fault."""
    return TargetRefusedError(
        f"{error}; {vectors} vectors were refused one by one with this answer; there is no "
        "evidence that they are at fault: no upload was taken in between",
        remedy="find the cause that the answer names, then run `q2v migrate` again: it sends them "
        "again; or leave them out with `q2v migrate --waive refused`",
        concerns=error.concerns,
        too_large=error.too_large,
        evidence=error.evidence,
    )
