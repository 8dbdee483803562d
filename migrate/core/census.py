"""Count what a plan has to know: what moves, what stays behind and why, what gets changed."""

from collections import Counter
from dataclasses import dataclass, field

from migrate.core.mapping import Mapped, MappingRules, Quarantined, Reason, map_payload
from migrate.core.model import Float32Matrix, Page
from migrate.core.values import ValueRules, map_values

QUARANTINE_SHARE = 0.001  # FAULTS section 6: 0.1 % of the points, ...
QUARANTINE_MIN = 10  # ... at least 10, ...
QUARANTINE_MAX = 1_000  # ... at most 1,000


def quarantine_cap(points: int, setting: int | None) -> int:
    """How many points may stay behind before the run stops; `setting` overrides the rule."""
    if setting is not None:
        return setting
    return min(QUARANTINE_MAX, max(QUARANTINE_MIN, int(points * QUARANTINE_SHARE)))


@dataclass(slots=True)
class Census:
    """Running counts over the pages of a source or a snapshot."""

    points: int = 0
    metadata_bytes: int = 0  # of the points that map
    quarantined: Counter[Reason] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)  # "change:field" -> points


@dataclass(frozen=True, slots=True)
class CensusPage:
    """What became of one page: the positions that map, and the ones that cannot."""

    mapped: tuple[tuple[int, Mapped], ...]  # (position in the page, result)
    quarantined: tuple[tuple[int, Quarantined], ...]
    values: Float32Matrix  # shape (rows of the page, dimensions), in target form


def take_census(
    census: Census, page: Page, mapping: MappingRules, values: ValueRules
) -> CensusPage:
    """Map a whole page, count it, and say row by row what became of it.

    A point whose payload and values are both bad is counted once, for its payload.
    """
    in_target_form = map_values(page, values)
    mapped: list[tuple[int, Mapped]] = []
    quarantined: list[tuple[int, Quarantined]] = []
    for position, point_id in enumerate(page.ids):
        outcome = map_payload(point_id, page.payloads[position], mapping)
        if isinstance(outcome, Mapped) and position in in_target_form.quarantined:
            outcome = in_target_form.quarantined[position]
        match outcome:
            case Mapped():
                mapped.append((position, outcome))
                census.metadata_bytes += len(outcome.metadata)
                census.changes.update(f"{change}:{name}" for change, name in outcome.changes)
            case Quarantined():
                quarantined.append((position, outcome))
                census.quarantined[outcome.reason] += 1
    census.points += len(page)
    return CensusPage(tuple(mapped), tuple(quarantined), in_target_form.values)
