"""Name the points whose vectors the target refused, for the reports of several commands."""

from collections.abc import Callable

from migrate.run.refused_vectors import RefusedPoint

ADVICE = (
    "send them again: `q2v migrate --retry-refused`; accept them: `q2v migrate --waive refused`"
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
