"""What the stages need from the outside world; `qdrant` and `cloudflare` provide it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from migrate.model.records import (
    Accepted,
    Collection,
    IndexProgress,
    KvEntry,
    Page,
    PointId,
    Vector,
    VectorId,
    VectorIndex,
    Verified,
    VerifierState,
)


class Clock(Protocol):
    """Time, from one place: durations by `monotonic_s`, stamps for people by `wall_s`."""

    def wall_s(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start; never runs backwards."""

    def wait(self, seconds: float) -> None:
        """Return after `seconds` have passed."""


class Limiter(Protocol):
    """Delays requests and forecasts the delay; `cloudflare/budget/budget.py` provides it."""

    def held_s(self) -> float:
        """Seconds, so far, in which a request had to wait for its turn."""

    def remaining_s(self, requests: int, request_s: float) -> float:
        """Seconds until `requests` more requests are answered, those in flight included.

        `request_s` passes per request that may leave, measured over all in flight.
        """


class Progress(Protocol):
    """Shows the operator the current work and how long it takes. It changes nothing else."""

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        """Begin a piece of work of `total` units, and end the one before.

        The work takes `requests` out of the request budget, evenly over the units.
        """

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        """Report `count` further units as done, for which `bytes_` bytes were sent.

        `earlier`: by an earlier command; these units do not count for the pace of this one.
        """

    def watch(self, limiter: Limiter) -> None:
        """Show the waits of `limiter`, which delays the requests from now on."""

    def say(self, text: str) -> None:
        """Show one line, such as the reason of a wait or what was found."""


class PointSource(Protocol):
    """A Qdrant collection, or the part of it that a filter picks, as an ascending row of ids.

    Reading is by seek: a start id need not exist. Nothing is promised about writes that happen
    meanwhile; the stages find them by a second pass. Every method raises AccessError,
    PreconditionError (no such collection) or RemoteUnavailableError after its own retries.
    """

    def identity(self) -> dict[str, str]:
        """The place of the collection, without secrets, for manifests and fingerprints.

        With a filter the member `filter` is its text.
        """

    def urls(self) -> frozenset[str]:
        """Every address under which `identity` may name the same server; empty without a server."""

    def read_collection(self) -> Collection:
        """The collection's description as it is now."""

    def count_points(self) -> int:
        """The exact count of visible points, never an estimate."""

    def count_left_out(self) -> int | None:
        """The exact count of the points that the filter leaves out; None without a filter."""

    def read_ids(self, start: PointId | None, *, limit: int) -> Sequence[PointId]:
        """At most `limit` ids >= `start` (None: the first), ascending; empty only at the end."""

    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        """At most `limit` whole points >= `start`, ascending by id; empty only at the end.

        Fewer than `limit` is normal and means nothing: the adapter may ask for less when the
        server refuses big pages.
        """

    def read_payloads(self, start: PointId | None, *, limit: int) -> Page:
        """As `read_points`, without vectors: `vectors` is empty, and `irregular` knows of none."""

    def close(self) -> None:
        """Release connections and locks; harmless when repeated."""


class VectorTarget(Protocol):
    """A Vectorize index. Writes return when *accepted*, which is not yet visible to readers.

    Every method raises AccessError, TargetRefusedError (never retry the same bytes) or
    RemoteUnavailableError (after its own retries; repeating is safe for all of them).
    """

    def identity(self) -> dict[str, str]:
        """Host, account fingerprint and index name, without secrets."""

    def read_index(self) -> VectorIndex | None:
        """The index, None when there is none of this name."""

    def create_index(self, *, dimensions: int, metric: str) -> VectorIndex:
        """Create it; an existing one of the same name is refused by the service."""

    def read_metadata_indexes(self) -> dict[str, str]:
        """Property name -> type in lower case, as this read shows them (may lag)."""

    def create_metadata_index(self, property_name: str, index_type: str) -> None:
        """Request a metadata index; visible some seconds later. Safe to repeat."""

    def read_progress(self) -> IndexProgress:
        """The service's own report of what it has processed."""

    def upsert(self, body: Sequence[bytes]) -> Accepted:
        """Send one upload: the NDJSON lines in pieces, each line ended by a newline."""

    def delete(self, ids: Sequence[VectorId]) -> Accepted:
        """Remove at most 100 ids; ids that do not exist are no error."""

    def find(
        self,
        values: Sequence[float],
        where: Mapping[str, str | float | bool],
        *,
        limit: int,
        namespace: str | None = None,
    ) -> list[VectorId]:
        """At most `limit` (100) ids of the vectors nearest to `values` whose properties are these.

        With a `namespace` only those in it, else those of the whole index.
        With an empty `where` any vector may be found, else only what metadata indexes hold. A read
        may be stale. No order is promised.
        """

    def fetch(self, ids: Sequence[VectorId]) -> dict[VectorId, Vector]:
        """The visible records among at most 20 distinct ids; the absent ones are left out."""

    def count_vectors(self) -> int:
        """The number of vectors that a listing begun now announces: the processed ones."""

    def list_ids(self) -> Iterator[list[VectorId]]:
        """One walk over one listing snapshot, page by page, in no particular order.

        Raises IndeterminateError when the walk breaks or does not add up to its own total:
        pages already given out are then void, start again with a fresh walk.
        """


class ContentVerifier(Protocol):
    """A Worker that reads vectors through its bindings and answers their digests.

    It is not trusted: an answer that does not prove that the vectors were read is an error. Every
    method raises VerifierUnusableError, after its own retries. Safe to use from several threads.
    """

    def address(self) -> str:
        """Where it answers, without secrets."""

    def read_state(self, index: str) -> VerifierState:
        """What it says of itself and of a vector index now."""

    def verify(self, index: str, expected: Sequence[tuple[VectorId, bytes]]) -> Verified:
        """Have these distinct vectors of an index read and compared with their digests.

        At most `read_state(index).vectors_max`.
        """


class KvTarget(Protocol):
    """A Workers KV namespace. Reads may be stale for a minute or more, absences included."""

    def identity(self) -> dict[str, str]:
        """Host, account fingerprint and namespace id, without secrets."""

    def service_wall_s(self) -> float | None:
        """The service's own clock now, seconds since 1970; None before the first answer.

        Expiry is judged by this clock: the local one may be wrong by a day or by years.
        """

    def write(self, entries: Sequence[KvEntry]) -> list[str]:
        """Overwrite the entries in one request; returns the keys that did *not* succeed.

        At most 10,000 entries with distinct keys and 100 MB. `expiration` is absolute.
        """

    def delete(self, keys: Sequence[str]) -> list[str]:
        """Remove at most 10,000 keys; returns those that did not succeed."""

    def list_keys(self, prefix: str) -> Iterator[KvEntry]:
        """Every key under `prefix` with metadata and expiry, `value` left empty.

        Raises IndeterminateError when the listing cannot be brought to its end.
        """

    def read(self, keys: Iterable[str]) -> dict[str, KvEntry]:
        """The present entries among the keys (any number), value and metadata as this read shows.

        `expiration` is not part of this answer; `list_keys` returns it.
        """


@dataclass(frozen=True, slots=True)
class Target:
    """Both stores that a run writes."""

    vectors: VectorTarget
    kv: KvTarget
