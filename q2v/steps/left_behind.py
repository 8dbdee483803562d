"""Name the points whose vectors the target refused, for the reports of several commands."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from migrate.run.folder import RunFolder

REFUSED_SHOWN_MAX = 20
ADVICE = (
    "send them again: `q2v migrate --retry-refused`; accept them: `q2v migrate --waive refused`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPoint:
    """A point that is left out because the target refused its vector."""

    row: int
    point_id: str
    vector_id: str
    answer: str  # the target's, without secrets


def refused_points(run: RunFolder) -> tuple[RefusedPoint, ...]:
    """The first of them, by row; the journal holds all."""
    vectors = run.state().refused
    return tuple(
        RefusedPoint(
            row=point.row,
            point_id=point.point_id.text,
            vector_id=vectors[point.row].vector_id,
            answer=point.outcome.detail,
        )
        for point in islice(run.refused(), REFUSED_SHOWN_MAX)
    )


def refusal_notes(points: tuple[RefusedPoint, ...], advise: Callable[[str], str]) -> list[str]:
    """One line for people about each, and what can be done about them.

    `advise` completes the commands of an advice.
    """
    if not points:
        return []
    lines = [
        f"refused: point {point.point_id} (row {point.row}, vector '{point.vector_id}'): "
        f"{point.answer}"
        for point in points
    ]
    return [*lines, advise(ADVICE)]
