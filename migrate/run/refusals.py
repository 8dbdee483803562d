"""Refused uploads: which vectors are at fault, and how many refusals are too many."""

from dataclasses import dataclass, field

from migrate.mapping.statistics import QUARANTINE_MIN, quarantine_cap
from migrate.model.records import VectorId

SUSPECTS_MAX = 10  # vectors refused one after the other, with no upload taken in between


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedVector:
    """A vector that the target refused alone: it is left out, as a quarantined point does."""

    row: int
    vector_id: VectorId
    round: int
    written: bool  # an earlier round's write of it was taken
    text: str  # the target's answer, without secrets


@dataclass(frozen=True, slots=True)
class Refusals:
    """The rows that were refused at some moment of a run."""

    rows: frozenset[int]
    unwritten: frozenset[int]  # of those: no write of them was ever taken


@dataclass(frozen=True, slots=True)
class Suspect:
    """A vector that was refused alone under a code that names no line."""

    ordinal: int  # of its upload
    row: int
    end: int
    sha256: str  # of the bytes that were refused
    taken: int  # uploads taken by this process when it was refused alone
    taken_before: int  # and when an upload that held it was first refused


@dataclass(slots=True)
class Suspicion:
    """What this process knows about refusals under codes that name no line.

    A vector is at fault when it is refused alone, another upload is taken, and it is refused alone
    again. A service that refuses everything for a while never gives that evidence.
    """

    taken: int = 0  # uploads taken by this process
    suspects: list[Suspect] = field(default_factory=list)
    _refused: list[tuple[int, int, int]] = field(default_factory=list)  # first, end, taken then

    def note_refused(self, first: int, end: int) -> int:
        """Rows `first` .. `end` - 1 were refused together; what was taken when that began."""
        holding = [taken for start, stop, taken in self._refused if start <= first and end <= stop]
        began = min([*holding, self.taken])
        self._refused.append((first, end, began))
        return began

    @property
    def unanswered(self) -> int:
        """Suspects since whose refusal no upload was taken."""
        return sum(one.taken == self.taken for one in self.suspects)

    def is_proven(self, suspect: Suspect) -> bool:
        """Refused alone before and after another upload was taken; ask when it is refused again."""
        return self.taken > suspect.taken

    def is_likely(self, suspect: Suspect) -> bool:
        """Another part of an upload that was refused with it was taken."""
        return self.taken > suspect.taken_before


def refusals_max(*, points: int, cap: int, quarantined: int, acknowledged: int) -> int:
    """How many vectors the target may refuse before the run stops.

    `cap` is the plan's, for all points that are left out; `quarantined` of them did before the
    first write. A target that takes nothing at all (of another width, say) is to be found before
    a large cap is used up: as long as nothing is acknowledged, 10 refusals are enough, unless the
    operator chose the cap.
    """
    left = max(0, cap - quarantined)
    if acknowledged == 0 and cap == quarantine_cap(points, None):
        return min(left, QUARANTINE_MIN)
    return left
