"""What a restore needs of the collection that it writes."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from migrate.errors import PreconditionError
from migrate.model.pages import take_rows
from migrate.model.records import Collection, DenseColumn, Page, PointId, ShardKey
from migrate.ports import PointSource
from migrate.qdrant.columns import Received
from migrate.restore.settings import CollectionSettings
from migrate.words import subject

REFUSED_MAX = 20  # points; if no other one was taken, the cause is not in the points


class PointsRefused(Exception):  # noqa: N818 - answered by sending fewer points
    """The collection does not take at least one of these points."""


class CollectionWriter(Protocol):
    """Writes points; every write is applied when the call returns, and may be repeated."""

    def create_index(self, field: str, schema: object) -> None:
        """Create the index of a payload field; an equal one may exist. See CollectionSettings."""

    def upsert(self, page: Page) -> Mapping[PointId, str]:
        """Write the points of the page; the result names those that are refused, and says why.

        Each point is written under its shard key if it has one.

        Raises PreconditionError as `check_refused` does.
        """


class CollectionTarget(Protocol):
    """A collection that may not exist yet. It is read or written, never both at once."""

    name: str
    holds_shard_keys: bool  # whether such a collection can have custom sharding

    def identity(self) -> dict[str, str]:
        """The place of the collection, without secrets."""

    def read_collection(self) -> Collection | None:
        """The collection's description; None when it does not exist."""

    def create(self, settings: CollectionSettings) -> None:
        """Create the collection, without points and payload indexes. May be repeated."""

    def create_shard_keys(self, keys: Sequence[ShardKey]) -> None:
        """Create these shard keys in a collection with custom sharding. May be repeated."""

    def open_source(self) -> AbstractContextManager[PointSource]:
        """The existing collection, to be read."""

    def open_writer(self) -> AbstractContextManager[CollectionWriter]:
        """The existing collection, to be written."""


def upsert_halving(page: Page, send: Callable[[Page], None]) -> dict[PointId, str]:
    """Send the page, and halves of it as long as they are refused: the points refused alone.

    `send` raises PointsRefused. Raises PreconditionError as `check_refused` does.
    """
    refused: dict[PointId, str] = {}
    taken = 0
    waiting = [page]
    while waiting:
        part = waiting.pop()
        try:
            send(part)
        except PointsRefused as error:
            if len(part) > 1:
                middle = len(part) // 2
                waiting += [take_rows(part, middle, len(part)), take_rows(part, 0, middle)]
                continue
            refused[part.ids[0]] = str(error)
            check_refused(refused, taken=taken)
        else:
            taken += len(part)
    return refused


def check_refused(refused: Mapping[PointId, str], *, taken: int) -> None:
    """Raises PreconditionError when REFUSED_MAX points were refused and none was taken."""
    if taken or len(refused) < REFUSED_MAX:
        return
    point_id, why = list(refused.items())[-1]
    raise PreconditionError(
        f"the first {subject(len(refused), 'point', 'was')} all refused, the last one "
        f"{point_id.text}: {why}",
        remedy="correct what the message says, then run the same command again: it sends only "
        "what is missing",
    )


def vectors_of(page: Page, position: int) -> dict[str, Received]:
    """The vectors that one point has, by name; multivectors and dense vectors are arrays."""
    found: dict[str, Received] = {}
    for name, column in page.vectors.items():
        if isinstance(column, DenseColumn):
            if column.present[position]:
                found[name] = column.values[position]
            continue
        row = column.rows[position]
        if row is not None:
            found[name] = row
    return found
