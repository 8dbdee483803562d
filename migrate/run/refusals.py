"""Refused uploads: which refusals concern the vectors sent, and how many are too many."""

from dataclasses import dataclass, field
from http import HTTPStatus

from migrate.cloudflare.client.codes import CODES, Concern
from migrate.mapping.statistics import QUARANTINE_MIN, quarantine_cap
from migrate.model.records import VectorId

# Fault matrix N16: only these three can be about a line of the body.
CONTENT_STATUSES = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
# They come with status 400 too, and no part of the body would fare better.
OTHER_CODES = frozenset(
    known.code for known in CODES.values() if known.concern is not Concern.CONTENT
)
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


def concerns_content(status: int, code: int | None) -> bool:
    """Whether a part of the refused body may be taken where the whole was not."""
    return status in CONTENT_STATUSES and code not in OTHER_CODES


def names_a_line(code: int | None) -> bool:
    """Whether the code itself says that a line of the body is at fault.

    Without such a code (an unknown one, none, a 413 of whatever stands in between) the same answer
    may be about the whole: a vector is then refused only on evidence (`Suspicion`).
    """
    known = CODES.get(code) if code is not None else None
    return known is not None and known.concern is Concern.CONTENT


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
