"""Refused uploads: the evidence that a vector is at fault, and the limit of refusals."""

from dataclasses import dataclass, field

from migrate.model.records import VectorId
from migrate.plan.census.statistics import QUARANTINE_MIN, quarantine_cap

CANDIDATES_MAX = 10  # vectors refused one after the other, with no upload taken in between


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
    """The rows that were refused at one moment of a run."""

    rows: frozenset[int]
    unwritten: frozenset[int]  # those of `rows` that no round has written


@dataclass(frozen=True, slots=True)
class Candidate:
    """A vector that was refused alone under a code that names no line."""

    ordinal: int  # of its upload
    row: int
    end: int
    sha256: str  # of the bytes that were refused
    taken: int  # uploads taken by this process when it was refused alone
    taken_before: int  # uploads taken when an upload that held it was first refused


@dataclass(slots=True)
class RefusalEvidence:
    """Refusals under codes that name no line, as this process has seen them.

    A vector is at fault when it is refused alone, another upload is taken, and it is refused alone
    again. A service that refuses everything for a while never gives that evidence.
    """

    taken: int = 0  # uploads taken by this process
    candidates: list[Candidate] = field(default_factory=list)
    _refused: list[tuple[int, int, int]] = field(default_factory=list)  # first, end, taken then

    def note_refused(self, first: int, end: int) -> int:
        """Note that rows `first` .. `end` - 1 were refused together.

        Returns how many uploads were taken when an upload that held them was first refused.
        """
        holding = [taken for start, stop, taken in self._refused if start <= first and end <= stop]
        began = min([*holding, self.taken])
        self._refused.append((first, end, began))
        return began

    @property
    def unanswered(self) -> int:
        """Candidates refused after the last upload that was taken."""
        return sum(candidate.taken == self.taken for candidate in self.candidates)

    def is_proven(self, candidate: Candidate) -> bool:
        """Refused alone before and after another upload was taken (call after the second)."""
        return self.taken > candidate.taken

    def is_likely(self, candidate: Candidate) -> bool:
        """Another part of an upload that was refused with it was taken."""
        return self.taken > candidate.taken_before


def refusals_max(*, points: int, cap: int, quarantined: int, acknowledged: int) -> int:
    """How many vectors the target may refuse before the run stops.

    `cap` is the plan's limit for all points that are left out; the plan has left out
    `quarantined` of them. A target that takes no upload at all (for example of other dimensions)
    must be noticed before a large cap is used up: while nothing is acknowledged, 10 refusals are
    the limit, unless the operator chose the cap.
    """
    remaining = max(0, cap - quarantined)
    if acknowledged == 0 and cap == quarantine_cap(points, None):
        return min(remaining, QUARANTINE_MIN)
    return remaining
