"""Read over REST what gRPC cannot carry: numbers beyond 2^63, nesting of more than 32 levels.

gRPC has no unsigned integers in payloads. The server sends 18446744073709551615 and
1.8446744073709552e19 as the same double; REST sends them differently. The protobuf library refuses
a message of more than 100 levels, and every level of a payload takes three (`grpc/deep.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from migrate.errors import (
    AccessError,
    PreconditionError,
    RemoteUnavailableError,
    UnreadablePointError,
    UsageError,
)
from migrate.model.irregular import with_payload_of
from migrate.model.records import Page, PointId, VectorSpec
from migrate.ports import Clock
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.page_reader import POINT_ATTEMPTS
from migrate.qdrant.rest.source import RestTransport
from migrate.qdrant.retry import (
    CollectionMissing,
    PageRefusal,
    PassingFailure,
    PointRefusal,
    RetryPolicy,
)
from migrate.qdrant.source import ServerOptions

NAMED_MAX = 5  # points that are reported by their ids
REMEDY = "let this machine reach the server's REST port, or read over REST: source.transport = rest"
# Errors of REST for a single point. Other errors, such as a wait that is too long, end the run.
REST_ERRORS = (
    UsageError,  # the url has gRPC's port, and REST is on another
    AccessError,
    PreconditionError,
    RemoteUnavailableError,
    CollectionMissing,
    PageRefusal,
)

Answer = TypeVar("Answer")


class RestFallback:
    """Reads single points of a collection over REST, for a source that reads over gRPC."""

    def __init__(
        self,
        address: ServerAddress,
        *,
        collection: str,
        api_key: str | None,
        clock: Clock,
        options: ServerOptions,
    ) -> None:
        self._transport = RestTransport(
            address, collection=collection, api_key=api_key, clock=clock, options=options
        )
        self._retry = RetryPolicy(
            clock=clock,
            attempts_max=options.attempts_max,
            jitter=options.jitter,
            say=options.say,
        )
        self._say = options.say
        self._named = 0
        self._no_rest: UsageError | None = None  # this address has no REST; it is not asked again

    def amend(self, page: Page, doubts: Mapping[int, str]) -> Page:
        """The page with the payloads that REST gives for the doubtful positions.

        `doubts` describes the doubt at each position. Raises PointRefusal for the first position
        if REST does not give the payloads.
        """
        first = min(doubts)
        wanted = [page.ids[position] for position in doubts]
        try:
            found = self._ask(lambda: self._transport.fetch_named(wanted, ()))
        except REST_ERRORS as error:
            if isinstance(error, PageRefusal) and len(wanted) > 1:  # one by one
                raise PointRefusal(str(error), position=first + 1) from error
            raise PointRefusal(
                f"{doubts[first]}, and REST, which sends it exactly, cannot be read: {error}",
                position=first,
                remedy=REMEDY,
            ) from error
        rows = {point_id: row for row, point_id in enumerate(found.ids)}
        payloads, irregular = list(page.payloads), list(page.irregular)
        for position, doubt in doubts.items():
            row = rows.get(page.ids[position])
            if row is None:
                raise PassingFailure(
                    f"{doubt}, and REST does not have the point: it was deleted meanwhile"
                )
            payloads[position] = found.payloads[row]
            irregular[position] = with_payload_of(irregular[position], found.irregular[row])
            self._report(f"{doubt}: its payload was read over REST")
        return replace(page, payloads=tuple(payloads), irregular=tuple(irregular))

    def read_point(self, error: UnreadablePointError, vectors: Sequence[VectorSpec]) -> Page:
        """A page of the one point that gRPC cannot read. Raises if REST cannot read it either."""
        point_id = PointId.from_text(error.point_id, error.point_id_type)
        try:
            # The server answers other requests, so few attempts are enough here too.
            patience = replace(
                self._retry, attempts_max=min(POINT_ATTEMPTS, self._retry.attempts_max)
            )
            page = self._patiently(
                patience, lambda: self._transport.fetch_named([point_id], vectors)
            )
        except REST_ERRORS as second:
            raise UnreadablePointError(
                f"{error}; over REST: {second}",
                remedy=error.remedy,
                point_id=error.point_id,
                point_id_type=error.point_id_type,
            ) from second
        if page.ids != (point_id,):
            raise error
        self._report(f"point {point_id.text} cannot be read over gRPC: it was read over REST")
        return page

    def close(self) -> None:
        """Close the connections. Calling it again does nothing."""
        self._transport.close()

    def _patiently(self, patience: RetryPolicy, fetch: Callable[[], Answer]) -> Answer:
        if self._no_rest is not None:
            raise UsageError(str(self._no_rest), remedy=self._no_rest.remedy)
        try:
            return patience.call(fetch)
        except UsageError as error:
            self._no_rest = error
            raise

    def _ask(self, fetch: Callable[[], Answer]) -> Answer:
        try:
            return self._patiently(self._retry, fetch)
        except RemoteUnavailableError:
            self._retry = replace(self._retry, attempts_max=1)  # no retries for later points
            raise

    def _report(self, text: str) -> None:
        self._named += 1
        if self._named <= NAMED_MAX:
            self._say(text)
        if self._named == NAMED_MAX:
            self._say("further points that are read over REST are not named")
