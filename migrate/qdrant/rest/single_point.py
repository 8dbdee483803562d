"""Look at REST for what gRPC cannot carry: numbers beyond 2^63, nesting of more than 32 levels.

gRPC has no unsigned integers in payloads. The server sends 18446744073709551615 and
1.8446744073709552e19 as the same double, and only REST tells which it is. A message nested deeper
than 100 levels is refused by the library that reads it, and every level of a payload takes three
(`qdrant_grpc_deep`).
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

TOLD_MAX = 5  # points named one by one
REMEDY = "let this machine reach the server's REST port, or read over REST: source.transport = rest"
# What REST may say of a single point; a wait beyond bounds or a stop ends the run as ever.
NO_HELP = (
    UsageError,  # the url has gRPC's port, and REST is on another
    AccessError,
    PreconditionError,
    RemoteUnavailableError,
    CollectionMissing,
    PageRefusal,
)

Answer = TypeVar("Answer")


class RestLook:
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
        self._told = 0
        self._no_rest: UsageError | None = None  # no REST at this address, for good

    def amend(self, page: Page, doubts: Mapping[int, str]) -> Page:
        """The page with the payloads of the doubtful positions as REST has them.

        `doubts` says what is doubtful at each position. Raises PointRefusal for the first of them
        that REST does not give.
        """
        first = min(doubts)
        wanted = [page.ids[position] for position in doubts]
        try:
            found = self._ask(lambda: self._transport.fetch_named(wanted, ()))
        except NO_HELP as error:
            if isinstance(error, PageRefusal) and len(wanted) > 1:  # one by one
                raise PointRefusal(str(error), position=first + 1) from error
            raise PointRefusal(
                f"{doubts[first]}, and REST, which says it exactly, cannot be asked: {error}",
                position=first,
                remedy=REMEDY,
            ) from error
        rows = {point_id: row for row, point_id in enumerate(found.ids)}
        payloads, irregular = list(page.payloads), list(page.irregular)
        for position, doubt in doubts.items():
            row = rows.get(page.ids[position])
            if row is None:
                raise PassingFailure(f"{doubt}, and REST does not give the point: it has moved")
            payloads[position] = found.payloads[row]
            irregular[position] = with_payload_of(irregular[position], found.irregular[row])
            self._tell(f"{doubt}: its payload was read over REST")
        return replace(page, payloads=tuple(payloads), irregular=tuple(irregular))

    def read_point(self, error: UnreadablePointError, vectors: Sequence[VectorSpec]) -> Page:
        """The one point that gRPC cannot give. Raises the error when REST cannot either."""
        point_id = PointId.from_text(error.point_id, error.point_id_type)
        try:
            # The server does answer, if not for this point: it gets no more attempts here either.
            patience = replace(
                self._retry, attempts_max=min(POINT_ATTEMPTS, self._retry.attempts_max)
            )
            page = self._patiently(
                patience, lambda: self._transport.fetch_named([point_id], vectors)
            )
        except NO_HELP as second:
            raise UnreadablePointError(
                f"{error}; over REST: {second}",
                remedy=error.remedy,
                point_id=error.point_id,
                point_id_type=error.point_id_type,
            ) from second
        if page.ids != (point_id,):
            raise error
        self._tell(f"point {point_id.text} cannot be read over gRPC: it was read over REST")
        return page

    def close(self) -> None:
        """Close the connections; harmless when repeated."""
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
            self._retry = replace(self._retry, attempts_max=1)  # the next point waits no more
            raise

    def _tell(self, text: str) -> None:
        self._told += 1
        if self._told <= TOLD_MAX:
            self._say(text)
        if self._told == TOLD_MAX:
            self._say("further points that are read over REST are not named")
