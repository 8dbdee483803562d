"""Which shape payloads have, by the fields that each shape has in every point; pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from migrate.mapping.shapes.known import SHAPES
from migrate.mapping.shapes.shape import Shape
from migrate.model.canonical import decode_json
from migrate.model.records import PointId

SHARE_MIN = 0.9  # of the points in a sample, for a shape to be proposed
Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SamplePoint:
    """One point of a sample."""

    id: PointId
    payload: bytes  # canonical JSON

    def fields(self) -> Fields:
        """The fields of the payload; none when it is no JSON object."""
        try:
            found = decode_json(self.payload)
        except ValueError:
            return {}
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was recognised in a sample."""

    points: int
    counts: Mapping[str, int]  # name of a shape -> points, the most frequent first
    fields: Mapping[str, int]  # name of a field at the top -> points, the most frequent first

    @property
    def shape(self) -> Shape | None:
        """The shape of nearly all points; None when there is none."""
        for name, count in self.counts.items():
            if count >= SHARE_MIN * self.points:
                return SHAPES[name]
        return None


def recognise(points: Sequence[SamplePoint]) -> Recognition:
    """Count the shapes of the points: each has the first shape in the table that fits it."""
    payloads = [point.fields() for point in points]
    shapes = Counter(
        name for name in (_first_fitting(fields) for fields in payloads) if name is not None
    )
    names = Counter(name for fields in payloads for name in fields)
    return Recognition(len(points), dict(shapes.most_common()), dict(names.most_common()))


def _first_fitting(fields: Fields) -> str | None:
    return next((shape.name for shape in SHAPES.values() if shape.fits(fields)), None)


def marks_in_words(shape: Shape) -> str:
    """The fields by which a shape is recognised."""
    return ", ".join(f"{mark.field} ({mark.kind})" for mark in shape.marks)
