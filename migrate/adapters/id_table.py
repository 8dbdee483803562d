"""All target ids of a run with their file and order: whole-set questions in bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa

from migrate.adapters.durable import make_folder, remove_folder
from migrate.core.model import KvEntry, VectorId
from migrate.errors import LocalStorageError

MEMORY_LIMIT = "200MB"  # beyond it duckdb spills to disk; its RSS stays within 1.3 of the limit
_FETCH_ROWS = 10_000
Parameters = Sequence[object] | Mapping[str, object] | None
_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("vector_id", pa.string()),
        ("file", pa.string()),
        ("position", pa.int64()),
        ("content", pa.binary()),
        ("point", pa.string()),
        ("metadata_bytes", pa.int64()),
        ("notes", pa.list_(pa.string())),
    ]
)


_COLLISIONS = """
    WITH twice AS (
        SELECT vector_id, min(row) AS first_row, count(DISTINCT content) = 1 AS identical
        FROM vectors GROUP BY vector_id HAVING count(*) > 1
    )
    SELECT row, vector_id, point, first_row, identical FROM vectors JOIN twice USING (vector_id)
"""


@dataclass(frozen=True, slots=True)
class Collision:
    """A row whose target id another row has too."""

    row: int
    vector_id: VectorId
    point: str  # as given to `add`
    first_row: int  # the lowest row with this id
    identical: bool  # all rows of this id would write the same vector

    @property
    def stays(self) -> bool:
        """Whether this row keeps the id: the first of equals does, of different ones none."""
        return self.identical and self.row == self.first_row


@dataclass(frozen=True, slots=True)
class FileVectors:
    """One file of the KV index."""

    file: str
    vector_ids: tuple[VectorId, ...]  # by the chunk's number, then by id


@dataclass(frozen=True, slots=True)
class FileGap:
    """A file whose chunk numbers are not 0, 1, 2, ..."""

    file: str
    vectors: int
    lowest: int
    highest: int


def open_database(spill: Path) -> duckdb.DuckDBPyConnection:
    """An empty database in memory that spills into a folder; opening it takes about 20 CPU ms."""
    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(spill),
            "threads": 1,
            "preserve_insertion_order": False,
        },
    )


@contextmanager
def _spilling(spill: Path) -> Iterator[None]:
    """Translate what the library says when it cannot spill; other errors are bugs of ours.

    The same full disk is one of three to it, by where it strikes: out of memory (there is no
    place to offload to), a failed commit, or fatal (in a checkpoint of its own).
    """
    try:
        yield
    except (duckdb.OperationalError, duckdb.FatalException) as error:
        raise LocalStorageError(
            f"spilling ids to {spill}: {str(error).splitlines()[0]}",
            remedy="free some disk space, then run the same command again",
        ) from error


class IdTable:
    """A table of (row, target id, file, order, content digest); a context manager.

    Lives in memory up to `MEMORY_LIMIT` and in the `spill` folder beyond it; both are gone at the
    end, because everything in it is derived from the snapshot.
    """

    def __init__(self, spill: Path) -> None:
        """Like every other method, raises LocalStorageError when there is no room to spill."""
        make_folder(spill)
        self._spill = spill
        self._database = open_database(spill)
        self._execute(
            "CREATE TABLE vectors "
            "(row BIGINT, vector_id VARCHAR, file VARCHAR, position BIGINT, content BLOB, "
            "point VARCHAR, metadata_bytes BIGINT, notes VARCHAR[])"
        )
        self._execute("CREATE TABLE listed (vector_id VARCHAR)")
        self._execute("CREATE TABLE listed_keys (key VARCHAR, expiration BIGINT)")

    def __enter__(self) -> Self:
        """The table itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop the table and its spill folder."""
        self._database.close()
        remove_folder(self._spill)

    def add(
        self,
        *,
        rows: Sequence[int],
        vector_ids: Sequence[VectorId],
        files: Sequence[str | None],
        positions: Sequence[int],
        contents: Sequence[bytes] | None = None,
        points: Sequence[str] | None = None,
        metadata_bytes: Sequence[int] | None = None,
        notes: Sequence[Sequence[str]] | None = None,
    ) -> None:
        """Some rows.

        `contents` (digests that tell equal vectors from different ones) and `points` (names of
        the points) are needed for `collisions`, `metadata_bytes` and `notes` (words about a row)
        for the sums over what moves in the end; they may be left out otherwise.
        """
        if not rows:
            return
        columns = [
            rows,
            vector_ids,
            files,
            positions,
            contents or [b""] * len(rows),
            points or [""] * len(rows),
            metadata_bytes or [0] * len(rows),
            notes or [()] * len(rows),
        ]
        batch = pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)],
            schema=_SCHEMA,
        )
        self._insert("vectors", batch)

    def add_listed(self, vector_ids: Sequence[VectorId]) -> None:
        """Some ids of one listing of the target."""
        self._insert("listed", pa.table({"vector_id": pa.array(vector_ids, pa.string())}))

    def clear_listed(self) -> None:
        """Forget the listing: a walk that broke is void as a whole."""
        self._execute("DELETE FROM listed")

    def add_listed_keys(self, entries: Sequence[KvEntry]) -> None:
        """Some keys of one listing of the KV namespace, with their expiry."""
        keys = pa.array([entry.key for entry in entries], pa.string())
        expirations = pa.array([entry.expiration for entry in entries], pa.int64())
        self._insert("listed_keys", pa.table({"key": keys, "expiration": expirations}))

    def clear_listed_keys(self) -> None:
        """Forget the listing of keys."""
        self._execute("DELETE FROM listed_keys")

    def count_listed(self) -> int:
        """Ids in the listing."""
        return self._count("SELECT count(*) FROM listed")

    def present_rows(self, first_row: int, end_row: int) -> frozenset[int]:
        """The rows in a range whose id the target lists."""
        query = (
            "SELECT row FROM vectors SEMI JOIN listed USING (vector_id) WHERE row BETWEEN ? AND ?"
        )
        rows = self._execute(query, [first_row, end_row - 1])
        return frozenset(int(row) for (row,) in rows)

    def listed_vectors(self) -> Iterator[tuple[int, VectorId]]:
        """Row and id of every vector of ours that the target lists, in row order."""
        query = "SELECT row, vector_id FROM vectors SEMI JOIN listed USING (vector_id) ORDER BY row"
        for row, vector_id in self._rows(query):
            yield int(row), VectorId(vector_id)

    def missing(self) -> Iterator[tuple[int, VectorId]]:
        """Row and id of every vector that the target does not list, in row order."""
        query = "SELECT row, vector_id FROM vectors ANTI JOIN listed USING (vector_id) ORDER BY row"
        for row, vector_id in self._rows(query):
            yield int(row), VectorId(vector_id)

    def elsewhere(self) -> Iterator[VectorId]:
        """Every listed id that is none of ours, in order."""
        query = (
            "SELECT vector_id FROM listed ANTI JOIN vectors USING (vector_id) ORDER BY vector_id"
        )
        for (vector_id,) in self._rows(query):
            yield VectorId(vector_id)

    def keys_elsewhere(self, key_template: str, group_field: str) -> Iterator[str]:
        """Every listed key that belongs to none of our files, in order."""
        query = """
            SELECT key FROM listed_keys
            WHERE key NOT IN (
                SELECT replace($template, $field, file) FROM vectors WHERE file IS NOT NULL
            )
            ORDER BY key
        """
        parameters = {"template": key_template, "field": f"{{{group_field}}}"}
        for (key,) in self._rows(query, parameters):
            yield str(key)

    def keys_expiring(self) -> Iterator[str]:
        """Every listed key that the service will delete by itself one day."""
        query = "SELECT key FROM listed_keys WHERE expiration IS NOT NULL ORDER BY key"
        for (key,) in self._rows(query):
            yield str(key)

    def remove_collisions(self) -> None:
        """Take out every row that does not keep its id (`Collision.stays`)."""
        self._execute(
            f"DELETE FROM vectors WHERE row IN (SELECT row FROM ({_COLLISIONS}) "  # noqa: S608 - our own constant
            "WHERE NOT identical OR row <> first_row)"
        )

    def remove_file(self, file: str) -> None:
        """Take out every row of a file."""
        self._execute("DELETE FROM vectors WHERE file = ?", [file])

    def count_vectors(self) -> int:
        """Rows in the table."""
        return self._count("SELECT count(*) FROM vectors")

    def count_files(self) -> int:
        """Distinct files."""
        return self._count("SELECT count(DISTINCT file) FROM vectors")

    def sum_metadata_bytes(self) -> int:
        """Over the rows that are still there."""
        return self._count("SELECT coalesce(sum(metadata_bytes), 0) FROM vectors")

    def count_notes(self) -> dict[str, int]:
        """Note -> rows that are still there and have it, by note."""
        query = """
            SELECT note, count(*) FROM (SELECT unnest(notes) AS note FROM vectors)
            GROUP BY note ORDER BY note
        """
        return {str(note): int(rows) for note, rows in self._rows(query)}

    def collisions(self) -> Iterator[Collision]:
        """Every row whose target id occurs more than once, in row order."""
        query = f"{_COLLISIONS} ORDER BY row"
        for row, vector_id, point, first_row, identical in self._rows(query):
            yield Collision(int(row), VectorId(vector_id), point, int(first_row), bool(identical))

    def files(self) -> Iterator[FileVectors]:
        """Every file with its vectors, by file name in UTF-8 order; the order never varies."""
        file: str | None = None
        held: list[VectorId] = []
        query = """
            SELECT file, vector_id FROM vectors WHERE file IS NOT NULL
            ORDER BY file, position, vector_id
        """
        for name, vector_id in self._rows(query):
            if name != file and file is not None:
                yield FileVectors(file, tuple(held))
                held = []
            file = str(name)
            held.append(VectorId(str(vector_id)))
        if file is not None:
            yield FileVectors(file, tuple(held))

    def rows_of_file(self, file: str) -> list[tuple[int, str]]:
        """Row and point of every vector of one file, by row."""
        query = "SELECT row, point FROM vectors WHERE file = ? ORDER BY row"
        rows = self._execute(query, [file])
        return [(int(row), str(point)) for row, point in rows]

    def gaps(self) -> Iterator[FileGap]:
        """Files whose chunk numbers have gaps, repeats, or do not start at 0."""
        query = """
            SELECT file, count(*) AS vectors, min(position) AS lowest, max(position) AS highest
            FROM vectors WHERE file IS NOT NULL GROUP BY file
            HAVING lowest <> 0 OR highest <> vectors - 1 OR count(DISTINCT position) <> vectors
            ORDER BY file
        """
        for file, vectors, lowest, highest in self._rows(query):
            yield FileGap(str(file), int(vectors), int(lowest), int(highest))

    def _count(self, query: str) -> int:
        [(count,)] = self._execute(query)
        return int(count)

    def _insert(self, table: str, batch: pa.Table) -> None:
        if len(batch):
            self._database.register("batch", batch)
            self._execute(f"INSERT INTO {table} SELECT * FROM batch")  # noqa: S608 - our own names
            self._database.unregister("batch")

    def _execute(self, query: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        """All rows: a half-read result would keep the connection from its next work."""
        with _spilling(self._spill):
            return self._database.execute(query, parameters).fetchall()

    def _rows(self, query: str, parameters: Parameters = None) -> Iterator[tuple[Any, ...]]:
        """Rows as they are asked for, while the table is used for other questions."""
        with _spilling(self._spill):
            cursor = self._database.cursor()
            cursor.execute(query, parameters)
            while rows := cursor.fetchmany(_FETCH_ROWS):
                yield from rows
