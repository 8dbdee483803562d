"""Read a page that may fail because of its size, or because of one point in it.

A failed page is requested again, since the failure may be temporary. To find out whether the page
itself is the cause, one id is requested, which is the smallest request. If that succeeds and the
page fails, the page is halved. If that fails too, the server is down, and it gets the attempts of
one request.

When a page of one point fails, the next point may be the cause: the server reads it as well, to
say where the next page starts. The point is then requested by its id. Only if that fails too is
the point reported as unreadable.
"""

from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import TypeVar

from migrate.errors import MigrationError, PreconditionError, UnreadablePointError
from migrate.model.records import PointId
from migrate.qdrant.paging import PageSize
from migrate.qdrant.retry import PageRefusal, PassingFailure, PointRefusal, RetryPolicy
from migrate.words import counted

PAGE_ATTEMPTS = 2  # of a page, before a smaller one is asked for
POINT_ATTEMPTS = 3  # of one point by its id, before it is reported
LEAVE_OUT = (
    "`q2v snapshot --leave-unreadable`, or for a catch-up `q2v catch-up --leave-unreadable`, takes "
    "the rest and lists the point as unreadable"
)

Content = TypeVar("Content", bound=Sized)
Fetch = Callable[[int], tuple[Content, int]]  # number of points -> the page, bytes of the answer
FetchAlone = Callable[[PointId], Content]  # a page of this point, or of none


@dataclass(slots=True)
class _Tries:
    """The failures of one call so far."""

    suspected: bool  # larger pages have just failed, so one failure of this page is enough
    failures: int = 0  # in a row, of any request; an answer resets it
    at_this_size: int = 0
    outage_forgiven: bool = False  # the server was down once at this size
    points_max: int | None = None  # no larger page in this call

    def enough(self, failure: PassingFailure) -> bool:
        """Whether this failure makes the page suspect."""
        if failure.wait_s is not None:
            return False  # the server says when it will answer
        self.at_this_size += 1
        return self.suspected or failure.timed_out or self.at_this_size >= PAGE_ATTEMPTS

    def smaller(self, asked: int) -> None:
        """Request half of `asked` next, and never more in this call."""
        self.points_max = asked // 2
        self.at_this_size, self.outage_forgiven, self.suspected = 0, False, True


class _AloneError(Exception):
    """A page of one point failed. Holds the failure. Is caught in this module."""

    def __init__(self, point_id: PointId | None, failure: PassingFailure | PageRefusal) -> None:
        super().__init__(str(failure))
        self.point_id = point_id  # None: there is none
        self.failure = failure


class PageReader:
    """Reads pages of one kind and adapts their size."""

    def __init__(
        self,
        retry: RetryPolicy,
        probe: Callable[[PointId | None], PointId | None],
        *,
        where: str,
    ) -> None:
        """`probe` requests the first id from a start on; its result is None if there is none."""
        self._retry = retry
        self._probe = probe
        self._where = where
        self._say = retry.say

    def read(
        self,
        size: PageSize,
        wish: int,
        fetch: Fetch[Content],
        start: PointId | None,
        fetch_alone: FetchAlone[Content] | None = None,
    ) -> Content:
        """At most `wish` points from `start` on. `size` gives the page size and is updated.

        Without `fetch_alone` the pages hold ids, and no single point can be reported.

        Raises UnreadablePointError for the first point from `start` on if it cannot be read by
        its id either, and RemoteUnavailableError when the server is down.
        """
        tries = _Tries(size.shrunk)
        try:
            while True:  # ends: failures in a row are bounded, and so are the halves of a page
                asked = size.points(min(wish, tries.points_max or wish))
                try:
                    content, answer_bytes = fetch(asked)
                except PointRefusal as refusal:
                    if not refusal.position:
                        raise self._refused(refusal, start) from refusal
                    tries.points_max = refusal.position
                except PageRefusal as refusal:
                    self._refuse(size, asked, refusal, tries, start)
                except PassingFailure as failure:
                    self._fail(size, asked, failure, tries, start)
                else:
                    size.learn(len(content), answer_bytes)
                    return content
        except _AloneError as alone:
            return self._read_alone(size, alone, fetch_alone)

    def _refuse(
        self,
        size: PageSize,
        asked: int,
        refusal: PageRefusal,
        tries: _Tries,
        start: PointId | None,
    ) -> None:
        if asked == 1:
            raise _AloneError(self._ask_probe(start, tries)[0], refusal) from refusal
        if refusal.for_good:
            size.refuse(asked)
        else:
            size.halve(asked)
        tries.smaller(asked)
        self._say(f"{refusal}; asking for {counted(asked // 2, 'point')} a page")

    def _fail(
        self,
        size: PageSize,
        asked: int,
        failure: PassingFailure,
        tries: _Tries,
        start: PointId | None,
    ) -> None:
        """Wait, or halve the page. Raises when it is one point, or the server is down."""
        enough = tries.enough(failure)
        if not (enough and tries.suspected):
            tries.failures += 1
            self._retry.wait_after(failure, tries.failures)
        if not enough:
            return
        first, outage = self._ask_probe(start, tries)
        if outage and not tries.outage_forgiven:
            tries.at_this_size, tries.outage_forgiven = 0, True
        elif asked == 1:
            raise _AloneError(first, failure) from failure
        else:
            if not tries.suspected:
                self._say(f"{failure}; one id alone was answered: asking for smaller pages")
            size.halve(asked)
            tries.smaller(asked)

    def _ask_probe(self, start: PointId | None, tries: _Tries) -> tuple[PointId | None, bool]:
        """The first id, and whether the server was down before it answered."""
        outage = False
        while True:  # ends with the attempts
            try:
                first = self._probe(start)
            except PageRefusal as refusal:
                raise _nothing_left(refusal) from refusal
            except PassingFailure as failure:
                outage = True
                tries.failures += 1
                self._retry.wait_after(failure, tries.failures)
            else:
                tries.failures = 0
                return first, outage

    def _read_alone(
        self, size: PageSize, alone: _AloneError, fetch_alone: FetchAlone[Content] | None
    ) -> Content:
        """Read the point by its id, so that the server reads no other one."""
        point_id = alone.point_id
        if point_id is None or fetch_alone is None:  # there is no point to name
            raise self._not_named(alone.failure) from alone
        try:
            content = self._try_alone(point_id, fetch_alone)
        except PointRefusal as refusal:
            raise self._named(point_id, str(refusal), refusal.remedy) from refusal
        except (PassingFailure, PageRefusal) as failure:
            self._ask_probe(point_id, _Tries(suspected=True))  # raises when the server is down
            size.blame_point()
            raise self._named(point_id, str(failure), None) from failure
        if not len(content):  # it was deleted since its id was read
            raise self._not_named(alone.failure) from alone
        return content

    def _try_alone(self, point_id: PointId, fetch_alone: FetchAlone[Content]) -> Content:
        """The result of `fetch_alone` within its attempts; raises the error of the last one."""
        for attempt in range(1, POINT_ATTEMPTS):
            try:
                return fetch_alone(point_id)
            except PassingFailure as failure:
                self._retry.wait_after(failure, attempt)
        return fetch_alone(point_id)

    def _not_named(self, failure: PassingFailure | PageRefusal) -> MigrationError:
        if isinstance(failure, PageRefusal):
            return _nothing_left(failure)
        return self._retry.given_up(failure)

    def _refused(self, refusal: PointRefusal, start: PointId | None) -> MigrationError:
        """The error for the first point from `start` on, which no attempt can read."""
        first, _ = self._ask_probe(start, _Tries(suspected=True))
        if first is None:
            return _nothing_left(refusal)
        return self._named(first, str(refusal), refusal.remedy)

    def _named(self, point: PointId, why: str, remedy: str | None) -> UnreadablePointError:
        advice = remedy or "repair or delete the point in the source"
        return UnreadablePointError(
            f"point {point.text} cannot be read from {self._where}, which answers other "
            f"requests: {why}",
            remedy=f"{advice}; or leave it out: {LEAVE_OUT}",
            point_id=point.text,
            point_id_type=point.id_type.value,
        )


def _nothing_left(refusal: PageRefusal | PointRefusal) -> PreconditionError:
    return PreconditionError(
        f"{refusal}; not even one id can be read",
        remedy="raise the server's limits (strict mode, proxy) for this reader",
    )
