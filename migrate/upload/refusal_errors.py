"""How a run stops for refusals: too many of them, or some that nothing explains."""

from migrate.errors import QuarantineExceededError, TargetRefusedError
from migrate.plan.record import RunPlan
from migrate.run.journal import RunState


def too_many_refused(
    plan: RunPlan, state: RunState, *, cap: int, allowed: int
) -> QuarantineExceededError:
    """More vectors are refused than may be left out; `cap` counts those of the plan as well."""
    refused, planned = len(state.refused), sum(plan.quarantined.values())
    last = max(state.refused.values(), key=lambda vector: (vector.round, vector.row))
    return QuarantineExceededError(
        f"the target refused {refused} vectors one by one and took "
        f"{state.vectors_acknowledged()}; {allowed} may be left out here ({cap} in all, {planned} "
        f"of them by the plan); its last answer, for '{last.vector_id}': {last.text}",
        remedy="mend what the answer names, then send them again with `q2v migrate "
        f"--retry-refused`; or leave them out with `q2v migrate --max-quarantine "
        f"{planned + refused}` or more; or take back what was taken with `q2v rollback --execute`",
    )


def unexplained_refusals(error: TargetRefusedError, vectors: int) -> TargetRefusedError:
    """Vectors were refused one by one, and nothing shows that they are at fault themselves."""
    return TargetRefusedError(
        f"{error}; {vectors} vectors were refused so one by one, and nothing shows that they are "
        "at fault: no upload was taken in between",
        remedy="find out what the answer is about, then run `q2v migrate` again: it sends them "
        "again; or leave them out with `q2v migrate --waive refused`",
        concerns=error.concerns,
        too_large=error.too_large,
        evidence=error.evidence,
    )
