"""The state of an unsealed snapshot: the ranges to read and the parts that are written.

The ids are counted first and cut into ranges of equal row counts. A range is an independent unit of
work: every process that reads it, in pages of any size, writes the same part.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from migrate.model.records import PointId, VectorKind, VectorSpec
from migrate.snapshot.manifest import PartRecord
from migrate.storage.journal_lines import Entry, check_format

OPENED = (
    "snapshot_opened"  # format, fingerprint, collection, starts, points, count_start, started_at
)
PART_SEALED = "part_sealed"  # the fields of PartRecord; a later one replaces
# Part files of about 64 MiB of raw data: after a kill at most that much is read again, and 1,000
# parts hold 5 million points of 3,072 dimensions.
PART_BYTES = 64 * 1024 * 1024
_PAYLOAD_BYTES_GUESS = 1024
_PART_ROWS_STEP = 1000
_PART_ROWS_MAX = 100_000


def part_rows(vectors: Iterable[VectorSpec]) -> int:
    """Rows per part: a multiple of 1,000 that depends on the collection's shape alone."""
    rows = PART_BYTES // point_bytes(vectors)
    return min(_PART_ROWS_MAX, max(_PART_ROWS_STEP, rows // _PART_ROWS_STEP * _PART_ROWS_STEP))


def point_bytes(vectors: Iterable[VectorSpec]) -> int:
    """Estimated bytes of one point: its values, and an assumed payload."""
    floats = sum(spec.dimensions or 0 for spec in vectors if spec.kind is not VectorKind.SPARSE)
    return 4 * floats + _PAYLOAD_BYTES_GUESS


@dataclass(frozen=True, slots=True)
class Range:
    """The ids of one part: `start` <= id < `stop`; None = open at that end."""

    ordinal: int
    start: PointId | None
    stop: PointId | None
    revision: int = 0  # of its part, where a part that is written again gets another name


@dataclass(slots=True)
class SnapshotState:
    """An unsealed snapshot after its last journal entry."""

    opened: Entry | None = None
    parts: dict[int, PartRecord] = field(default_factory=dict)

    def ranges(self) -> list[Range]:
        """Every range of the snapshot; together they cover all possible ids once."""
        assert self.opened is not None
        starts = self.opened["starts"]
        assert isinstance(starts, list)
        bounds: list[PointId | None] = [
            PointId.from_text(text, id_type) for text, id_type in starts[1:]
        ]
        return [
            Range(ordinal, start, stop)
            for ordinal, (start, stop) in enumerate(
                zip([None, *bounds], [*bounds, None], strict=True)
            )
        ]


def decode_part(entry: Mapping[str, object]) -> PartRecord:
    """The part of a journal entry or a record. Raises KeyError, TypeError."""
    fields: dict[str, Any] = {key: entry[key] for key in PartRecord.__slots__ if key != "revision"}
    return PartRecord(**fields, revision=int(str(entry.get("revision", 0))))


def fold_snapshot(entries: Iterable[Entry]) -> SnapshotState:
    """The state after these entries. Raises ValueError for an entry that cannot be there."""
    state = SnapshotState()
    for entry in entries:
        match entry["type"]:
            case "snapshot_opened" if state.opened is None:
                check_format(entry)
                state.opened = entry
            case "part_sealed" if state.opened is not None:
                part = decode_part(entry)
                state.parts[part.ordinal] = part
            case other:
                raise ValueError(f"a snapshot journal holds no {other!r} here")
    return state
