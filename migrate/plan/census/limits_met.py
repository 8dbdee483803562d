"""Each limit of the target with what was found: the largest, and the points that break it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from migrate.mapping.payload import Reason
from migrate.model import limits
from migrate.plan.quarantine import QuarantinedPoint

EXAMPLES_MAX = 3

_VALUES = (Reason.VECTOR_MISSING, Reason.DIM_MISMATCH, Reason.NON_FINITE, Reason.ZERO_VECTOR)
_SIZES = (
    Reason.ID_TOO_LONG,
    Reason.METADATA_TOO_LARGE,
    Reason.NAMESPACE_TOO_LONG,
    Reason.KV_KEY,
    Reason.KV_VALUE,
    Reason.UPLOAD_TOO_LARGE,
)
_IDS = (Reason.DUPLICATE, Reason.ID_CONFLICT, Reason.FILE_IN_NAMESPACES)
_READING = (Reason.UNREADABLE, Reason.UNREPRESENTABLE, Reason.DUPLICATE_KEY)
_NOT_OF_A_PLAN = (Reason.REFUSED,)  # by the target, at the upload


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitMet:
    """A limit, or a rule that every point has to keep."""

    name: str
    limit: int | None  # None: a rule without a number
    unit: str
    highest: int | None  # found among what moves; None: not measured
    broken: int  # points that are left out for it
    examples: tuple[str, ...]  # ids of some of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What of the set meets a limit."""

    quarantined: dict[str, int]  # reason -> points
    listed: Sequence[QuarantinedPoint]
    dimensions: int
    vectors: int
    namespaces: int | None  # None: no vector is in one
    id_bytes: int | None
    metadata_bytes: int | None
    body_bytes: int  # limit of one upload, a setting


def limits_met(found: Found) -> tuple[LimitMet, ...]:
    """All limits, in a fixed order; every reason for leaving a point out belongs to one of them."""
    known = {*_VALUES, *_SIZES, *_IDS, *_READING, *_NOT_OF_A_PLAN}
    fields = tuple(reason for reason in Reason if reason not in known)

    def met(
        name: str,
        reasons: Sequence[Reason] = (),
        *,
        limit: int | None = None,
        unit: str = "",
        highest: int | None = None,
    ) -> LimitMet:
        examples = [one.point_id.text for one in found.listed if one.outcome.reason in reasons]
        return LimitMet(
            name=name,
            limit=limit,
            unit=unit,
            highest=highest,
            broken=sum(found.quarantined.get(reason.value, 0) for reason in reasons),
            examples=tuple(examples[:EXAMPLES_MAX]),
        )

    id_long, metadata_large, namespace_long, key, value, upload = _SIZES
    rows = [
        met("dimensions", limit=limits.DIMENSIONS_MAX, highest=found.dimensions),
        met("vectors of an index", limit=limits.VECTORS_PER_INDEX_MAX, highest=found.vectors),
        met(
            "id of a vector",
            [id_long],
            limit=limits.VECTOR_ID_BYTES_MAX,
            unit="B",
            highest=found.id_bytes,
        ),
        met(
            "metadata of a vector",
            [metadata_large],
            limit=limits.METADATA_BYTES_MAX,
            unit="B",
            highest=found.metadata_bytes,
        ),
        met("one upload", [upload], limit=found.body_bytes, unit="B"),
        met("key of a KV entry", [key], limit=limits.KV_KEY_BYTES_MAX, unit="B"),
        met("value of a KV entry", [value], limit=limits.KV_VALUE_BYTES_MAX, unit="B"),
        met("name of a namespace", [namespace_long], limit=limits.NAMESPACE_BYTES_MAX, unit="B"),
        met("values: one vector, finite, of this width, not all zero", _VALUES),
        met("ids: one vector each, one namespace a file", _IDS),
        met("payload: the fields of the mapping, as the target takes them", fields),
        met("payload: can be read, and names no key twice", _READING),
    ]
    if found.namespaces is not None:
        row = met("namespaces", limit=limits.NAMESPACES_MAX, highest=found.namespaces)
        rows.insert(2, row)
    return tuple(rows)
