"""Refused uploads: which refusals concern the vectors sent, and how many are too many."""

from dataclasses import dataclass
from http import HTTPStatus

from migrate.core.api_codes import CODES, Concern
from migrate.core.census import QUARANTINE_MIN, quarantine_cap
from migrate.core.model import VectorId

# FAULTS N16: only these three can be about a line of the body.
CONTENT_STATUSES = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
# They come with status 400 too, and no part of the body would fare better.
OTHER_CODES = frozenset(
    known.code for known in CODES.values() if known.concern is not Concern.CONTENT
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedVector:
    """A vector that the target refused alone: it stays behind, as a quarantined point does."""

    row: int
    vector_id: VectorId
    round: int  # in a repair round its former write may have been taken
    text: str  # the target's answer, without secrets


def concerns_content(status: int, code: int | None) -> bool:
    """Whether a part of the refused body may be taken where the whole was not."""
    return status in CONTENT_STATUSES and code not in OTHER_CODES


def refusals_max(*, points: int, cap: int, quarantined: int, acknowledged: int) -> int:
    """How many vectors the target may refuse before the run stops.

    `cap` is the plan's, for all points that stay behind; `quarantined` of them did before the
    first write. A target that takes nothing at all (of another width, say) is to be found before
    a large cap is used up: as long as nothing is acknowledged, 10 refusals are enough, unless the
    operator chose the cap.
    """
    left = max(0, cap - quarantined)
    if acknowledged == 0 and cap == quarantine_cap(points, None):
        return min(left, QUARANTINE_MIN)
    return left
