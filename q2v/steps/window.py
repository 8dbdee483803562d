"""Check whether the window holds the work, before the first write."""

from migrate.errors import PreconditionError
from migrate.plan.estimate import Estimate
from q2v.settings import Settings

_SAMPLE_MINUTES = 5.0  # what reading a sample and the KV index takes at most, one budget's window


def check_window(figures: Estimate, settings: Settings) -> None:
    """Raises PreconditionError with the arithmetic when the window is too short for the work."""
    deadline = settings.limits.deadline_s
    if deadline is not None and figures.window_minutes * 60 > deadline:
        raise PreconditionError(
            f"the window has {deadline / 60:.0f} min (limits.deadline_s), the work takes "
            f"{figures.window_minutes:.0f}: upload and settling {figures.upload_minutes:.0f}, "
            f"reconcile with {figures.contents_read:,} of {figures.vectors:,} contents "
            f"{figures.planned_reconcile_minutes:.0f}; a rollback would take "
            f"{figures.rollback_minutes:.0f}",
            remedy=_window_remedy(figures, settings),
        )


def _window_remedy(figures: Estimate, settings: Settings) -> str:
    """A sample is offered only where it would be enough."""
    sampled = figures.upload_minutes + figures.list_minutes + _SAMPLE_MINUTES
    reads_all = figures.contents_read == figures.vectors > settings.limits.content_sample
    if reads_all and sampled * 60 <= (settings.limits.deadline_s or 0):
        return (
            f"take a longer window (--deadline-s), or let reconcile read a sample: set "
            f"limits.content_full_max below {figures.vectors}"
        )
    return "take a longer window (--deadline-s), or move a smaller collection"
