"""The points that are left out, one line each in quarantine.jsonl. Pure."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from heapq import heappush, heappushpop
from operator import itemgetter

from migrate.mapping.payload import Quarantined, Reason
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.records import PointId
from migrate.model.sealed_json import damaged


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedPoint:
    """One line of quarantine.jsonl: a point that is left out, and why."""

    row: int  # 0-based number in the snapshot
    point_id: PointId
    outcome: Quarantined


class FirstQuarantined:
    """Of the points that are added, in whatever order, those with the lowest rows."""

    def __init__(self, points_max: int) -> None:
        self._points_max = points_max
        self._heap: list[tuple[int, QuarantinedPoint]] = []  # the highest row first

    def add(self, point: QuarantinedPoint) -> None:
        """Keep the point while it is one of the first; no two points have one row."""
        entry = (-point.row, point)
        if len(self._heap) < self._points_max:
            heappush(self._heap, entry)
        else:
            heappushpop(self._heap, entry)

    def merge(self, other: "FirstQuarantined") -> None:
        """Add the points of other rows."""
        for point in other.points():
            self.add(point)

    def points(self) -> list[QuarantinedPoint]:
        """By row."""
        return [point for _, point in sorted(self._heap, key=itemgetter(0), reverse=True)]


def encode_quarantine(points: Iterable[QuarantinedPoint]) -> bytes:
    """The content of quarantine.jsonl: one object per point, in row order."""
    lines = [
        encode_canonical_json(
            {
                "row": point.row,
                "point_id": point.point_id.text,
                "point_id_type": point.point_id.id_type.value,
                **asdict(point.outcome),
            }
        )
        for point in sorted(points, key=lambda point: point.row)
    ]
    return b"".join(line + b"\n" for line in lines)


def decode_quarantined(line: bytes, *, where: str) -> QuarantinedPoint:
    """The point in one line of the file; raises ArtefactDamagedError for any other line."""
    try:
        return _quarantined(decode_json(line))
    except ValueError as error:
        raise damaged(where, "a line is no quarantined point") from error


def _quarantined(fields: object) -> QuarantinedPoint:
    match fields:
        case {
            "row": int() as row,
            "point_id": str() as text,
            "point_id_type": str() as id_type,
            "reason": str() as reason,
            "field": str() as field,
            "detail": str() as detail,
        }:
            outcome = Quarantined(reason=Reason(reason), field=field, detail=detail)
            return QuarantinedPoint(
                row=row, point_id=PointId.from_text(text, id_type), outcome=outcome
            )
        case _:
            raise ValueError("a field is missing or of another type")
