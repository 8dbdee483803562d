"""Check before the first write whether the work fits into the window."""

from dataclasses import dataclass, replace

from migrate.errors import PreconditionError
from migrate.plan.estimate import Estimate, RequestPace, Workload, estimate
from migrate.words import counted

_SAMPLE_MINUTES = 5.0  # most that reading a sample and the KV index takes: one budget's window


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time limit of the work, and the settings that its duration depends on."""

    deadline_s: float | None  # None: no limit
    pace: RequestPace
    content_full_max: int  # a reconcile of at most this many vectors reads every content
    content_sample: int  # number of contents read above content_full_max

    def estimate(self, load: Workload, *, request_s: float | None = None) -> Estimate:
        """Requests, bytes, minutes and money; `request_s` is measured, None: as assumed."""
        pace = self.pace if request_s is None else replace(self.pace, request_s=request_s)
        full = load.vectors <= self.content_full_max
        return estimate(load, pace, contents_read=load.vectors if full else self.content_sample)

    def check(self, figures: Estimate) -> None:
        """Raises PreconditionError with the arithmetic when the work takes longer."""
        deadline = self.deadline_s
        if deadline is not None and figures.window_minutes * 60 > deadline:
            raise PreconditionError(
                f"the window has {deadline / 60:.0f} min (limits.deadline_s), the work takes "
                f"{figures.window_minutes:.0f}: upload and settling {figures.upload_minutes:.0f}, "
                f"reconcile with {figures.contents_read:,} of "
                f"{counted(figures.vectors, 'content')} "
                f"{figures.planned_reconcile_minutes:.0f}; a rollback would take "
                f"{figures.rollback_minutes:.0f}",
                remedy=self._remedy(figures),
            )

    def _remedy(self, figures: Estimate) -> str:
        """The remedy; it proposes a sample only where a sample is enough."""
        sampled = figures.upload_minutes + figures.list_minutes + _SAMPLE_MINUTES
        reads_all = figures.contents_read == figures.vectors > self.content_sample
        if reads_all and sampled * 60 <= (self.deadline_s or 0):
            return (
                f"take a longer window (--deadline-s), or let reconcile read a sample: set "
                f"limits.content_full_max below {figures.vectors}"
            )
        return "take a longer window (--deadline-s), or move a smaller collection"
