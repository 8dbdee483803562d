"""Reads of one state of a vector index, over the store's own connection or one beside it."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sandbox.vectorize.indexes import VectorIndex
from sandbox.vectorize.values_file import ValuesFile

_IDS_PER_LOOKUP = 500  # stays below SQLite's bound on parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVector:
    """A vector as one state holds it; its values stay in the file until asked for."""

    id: str
    position: int
    namespace: str | None
    metadata: bytes | None  # compact JSON
    written_seq: int  # the write it comes from


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataIndex:
    """A property that filters can use, on vectors written after it."""

    property: str
    type: str  # string, number, boolean
    from_seq: int


class VectorReader:
    """Methods take a `seq`: the state to look at."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, index: VectorIndex, ids: Sequence[str], seq: int) -> list[StoredVector]:
        """The vectors of these ids that the state holds, in no promised order."""
        found: list[StoredVector] = []
        for start in range(0, len(ids), _IDS_PER_LOOKUP):
            some = ids[start : start + _IDS_PER_LOOKUP]
            marks = ",".join("?" * len(some))
            found += self._select(f"id IN ({marks})", index, seq, some)
        return found

    def all(self, index: VectorIndex, seq: int, *, order: str = "id") -> Iterator[StoredVector]:
        """Every vector of a state, by `id` or by `position`."""
        return self._select(f"1 ORDER BY {order}", index, seq, ())

    def _select(
        self, condition: str, index: VectorIndex, seq: int, values: Sequence[object]
    ) -> Iterator[StoredVector]:
        rows = self._connection.execute(
            "SELECT id, position, namespace, metadata, from_seq FROM vectors "  # noqa: S608 - constants
            f"WHERE index_id = ? AND from_seq <= ? AND until_seq > ? AND {condition}",
            (index.index_id, seq, seq, *values),
        )
        for vector_id, position, namespace, metadata, written_seq in rows:
            yield StoredVector(
                id=vector_id,
                position=position,
                namespace=namespace,
                metadata=metadata,
                written_seq=written_seq,
            )

    def positions(
        self, index: VectorIndex, seq: int, namespace: str | None
    ) -> tuple[list[int], NDArray[np.int64]]:
        """Row keys and positions of a state, in ascending position; cheap, for exact search."""
        rows = self._connection.execute(
            "SELECT row_id, position FROM vectors WHERE index_id = ? AND from_seq <= ? "
            "AND until_seq > ? AND (? IS NULL OR namespace = ?) ORDER BY position",
            (index.index_id, seq, seq, namespace, namespace),
        ).fetchall()
        return [row[0] for row in rows], np.array([row[1] for row in rows], np.int64)

    def by_row_keys(
        self, index: VectorIndex, keys: Sequence[int], seq: int
    ) -> dict[int, StoredVector]:
        """Vectors by row keys from `positions` of the same state; their positions name them."""
        marks = ",".join("?" * len(keys))
        found = self._select(f"row_id IN ({marks})", index, seq, keys)
        return {one.position: one for one in found}

    def metadata_indexes(self, index: VectorIndex, seq: int) -> list[MetadataIndex]:
        """The metadata indexes of a state."""
        rows = self._connection.execute(
            "SELECT property, type, from_seq FROM metadata_indexes "
            "WHERE index_id = ? AND from_seq <= ? AND until_seq > ? ORDER BY from_seq",
            (index.index_id, seq, seq),
        )
        return [MetadataIndex(property=name, type=kind, from_seq=at) for name, kind, at in rows]


class SearchView(VectorReader):
    """A connection and a file of its own: for a search in another thread.

    All its reads see the database as it was at the first of them.
    """

    def __init__(self, connection: sqlite3.Connection, values: ValuesFile) -> None:
        super().__init__(connection)
        connection.execute("BEGIN")
        self.values = values

    def close(self) -> None:
        """Release both."""
        self._connection.close()
        self.values.close()
