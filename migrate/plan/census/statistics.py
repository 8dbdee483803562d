"""The counts of a plan: points that move, points left out with their reason, changes."""

from collections import Counter
from dataclasses import dataclass, field

from migrate.mapping.payload import (
    Elsewhere,
    Mapped,
    Outcome,
    Quarantined,
    Reason,
    judge_point,
    map_payload,
)
from migrate.mapping.rules import MappingRules
from migrate.mapping.upload_body import encode_line
from migrate.mapping.values import ValueRules, map_values
from migrate.model.irregular import is_unreadable, payload_is_irregular, refused_why
from migrate.model.records import Float32Matrix, Page

QUARANTINE_SHARE = 0.001  # 0.1 % of the points, ...
QUARANTINE_MIN = 10  # ... at least 10, ...
QUARANTINE_MAX = 1_000  # ... at most 1,000

# Bounds of an upload line: "-1.1754944e-38," for a value; beside it id and namespace with their
# escapes, and member names.
VALUE_TEXT_BYTES_MAX = 16
LINE_REST_BYTES_MAX = 1_024
SHORTEST_LINE_REST = len('{"id":"x","values":[]}')


def quarantine_cap(points: int, setting: int | None) -> int:
    """How many points may be left out before the run stops; `setting` overrides the rule."""
    if setting is not None:
        return setting
    return min(QUARANTINE_MAX, max(QUARANTINE_MIN, int(points * QUARANTINE_SHARE)))


def shortest_line_bytes(dimensions: int) -> int:
    """The smallest size of an upload line: a digit and a comma or newline for each value."""
    return 2 * dimensions + SHORTEST_LINE_REST


@dataclass(slots=True)
class Census:
    """Running counts over the pages of a source or a snapshot."""

    points: int = 0
    bytes_saved: int = 0  # by which metadata is shorter than payloads, of points that map
    quarantined: Counter[Reason] = field(default_factory=Counter)
    elsewhere: Counter[str] = field(default_factory=Counter)  # index -> points of its run

    def merge(self, other: "Census") -> None:
        """Add the counts of other points."""
        self.points += other.points
        self.bytes_saved += other.bytes_saved
        self.quarantined.update(other.quarantined)
        self.elsewhere.update(other.elsewhere)


@dataclass(frozen=True, slots=True)
class CensusPage:
    """The outcome of one page: positions that map, and positions that cannot.

    A position in neither belongs to another vector index.
    """

    mapped: tuple[tuple[int, Mapped], ...]  # (position in the page, result)
    quarantined: tuple[tuple[int, Quarantined], ...]
    values: Float32Matrix  # shape (rows of the page, dimensions), in target form


def take_census(
    census: Census, page: Page, mapping: MappingRules, values: ValueRules, *, body_bytes: int
) -> CensusPage:
    """Map a whole page, count it, and return the outcome row by row.

    A point whose payload and values are both bad is counted once, for its payload. `body_bytes`
    is what an upload may hold: a line beyond it can never be sent.
    """
    in_target_form = map_values(page, values)
    mapped: list[tuple[int, Mapped]] = []
    quarantined: list[tuple[int, Quarantined]] = []
    for position in range(len(page)):
        outcome = _map_payload(page, position, mapping)
        if isinstance(outcome, Mapped):
            outcome = in_target_form.quarantined.get(position, outcome)
        if isinstance(outcome, Mapped):
            outcome = _line_fits(outcome, in_target_form.values[position], body_bytes)
        match outcome:
            case Mapped():
                mapped.append((position, outcome))
                census.bytes_saved += len(page.payloads[position]) - len(outcome.metadata)
            case Quarantined():
                quarantined.append((position, outcome))
                census.quarantined[outcome.reason] += 1
            case Elsewhere():
                census.elsewhere[outcome.index] += 1
    census.points += len(page)
    return CensusPage(tuple(mapped), tuple(quarantined), in_target_form.values)


def _map_payload(page: Page, position: int, mapping: MappingRules) -> Outcome:
    irregular = page.irregular[position]
    if payload_is_irregular(irregular):
        return judge_point(_irregular_payload(irregular), page.ids[position], mapping)
    key = None if page.shard_keys is None else page.shard_keys[position]
    return map_payload(page.ids[position], page.payloads[position], mapping, key)


def _irregular_payload(irregular: bytes | None) -> Quarantined:
    """Why a payload that is not in a column cannot move."""
    if is_unreadable(irregular):
        return Quarantined(
            reason=Reason.UNREADABLE, field="", detail="the source could not give this point"
        )
    why = refused_why(irregular)
    if why is not None:
        return Quarantined(
            reason=Reason.UNREPRESENTABLE,
            field="",
            detail=f"the payload holds {why}, which JSON libraries refuse",
        )
    return Quarantined(
        reason=Reason.DUPLICATE_KEY, field="", detail="the payload names a key twice"
    )


def _line_fits(outcome: Mapped, values: Float32Matrix, body_bytes: int) -> Mapped | Quarantined:
    """The outcome, unless its upload line exceeds an upload; encoded only when close to that."""
    bound = len(values) * VALUE_TEXT_BYTES_MAX + len(outcome.metadata) + LINE_REST_BYTES_MAX
    if bound <= body_bytes:
        return outcome
    size = len(encode_line(outcome.vector_id, values, outcome.metadata, outcome.namespace))
    if size <= body_bytes:
        return outcome
    return Quarantined(
        reason=Reason.UPLOAD_TOO_LARGE,
        field="",
        detail=f"{size} B encoded, an upload takes {body_bytes} B (limits.body_bytes)",
    )
