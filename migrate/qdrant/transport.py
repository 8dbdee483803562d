"""What a source needs of the protocol that it reads a server over."""

from collections.abc import Sequence
from typing import Protocol

from migrate.model.records import Page, PointId, ShardKey, VectorSpec


class Transport(Protocol):
    """Sends single requests over one protocol, without retries and without checking the order.

    Every method raises PassingFailure, CollectionMissing, AccessError, PreconditionError or
    BudgetExhaustedError; the two that read pages also PageRefusal, and that of points PointRefusal.
    """

    kind: str  # "rest" or "grpc"
    url: str  # host and port, without secrets
    urls: frozenset[str]  # that of each protocol of the server
    value_bytes: int  # approximate bytes of one float in an answer

    def fetch_version(self) -> str | None:
        """The server's version; None when the answer does not hold it."""

    def fetch_collection(self) -> dict[str, object]:
        """The collection's description in the shape of the REST API."""

    def fetch_cluster(self) -> dict[str, object]:
        """Shards and transfers of the collection in the shape of the REST API."""

    def fetch_collection_names(self) -> list[str]:
        """All collections this key may see."""

    def fetch_count(self, *, whole: bool = False) -> int:
        """The exact number of points that match the filter; of all points if `whole`."""

    def fetch_ids(self, start: PointId | None, limit: int) -> tuple[Sequence[PointId], int]:
        """Ids >= `start` of points that match the filter, and the bytes of the answer."""

    def fetch_points(
        self, start: PointId | None, limit: int, vectors: Sequence[VectorSpec]
    ) -> tuple[Page, int]:
        """Points >= `start` that match the filter, and the bytes of the answer.

        Without `vectors` the answer holds no vectors.
        """

    def fetch_named(self, ids: Sequence[PointId], vectors: Sequence[VectorSpec]) -> Page:
        """The points with these ids, whatever the filter; absent ones are left out."""

    def under_key(self, key: ShardKey) -> "Transport":
        """The same connections, for the points under one shard key."""

    def close(self) -> None:
        """Close the connections. Calling it again does nothing."""
