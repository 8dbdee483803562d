"""All points of a plan with target id, file and order, for questions about the whole set."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pyarrow as pa

from migrate.model.records import VectorId
from migrate.tables.files import FILE_COUNT, FILES, FileVectors, group_files
from migrate.tables.spill import MEMORY_MB, SpillingDatabase

FORMER_COLUMNS = ("vector_id", "file", "digest")
_EXPORT_ROWS = 50_000
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
        ("namespace", pa.string()),
    ]
)


# 60 MB were too little to sort ten million rows, 120 MB were enough; a full index has 20 million.
ROWS_PER_MB = 50_000
# Without count(DISTINCT content): its states do not spill, and at ten million ids 100 MB were not
# enough for them.
_COLLISIONS = """
    WITH twice AS (
        SELECT vector_id, min(row) AS first_row, min(content) = max(content) AS identical
        FROM vectors GROUP BY vector_id HAVING count(*) > 1
    )
    SELECT vectors.row AS row, vectors.vector_id AS vector_id, vectors.point AS point, first_row,
        identical, vectors.namespace AS namespace, first.namespace AS first_namespace
    FROM vectors JOIN twice USING (vector_id) JOIN vectors AS first ON first.row = first_row
"""


@dataclass(frozen=True, slots=True)
class Collision:
    """A row whose target id another row also has."""

    row: int
    vector_id: VectorId
    point: str  # as given to `add`
    first_row: int  # the lowest row with this id
    identical: bool  # all rows of this id would write the same vector
    namespace: str | None = None  # of this row's vector
    first_namespace: str | None = None  # of that of `first_row`

    @property
    def stays(self) -> bool:
        """Whether this row keeps the id: the first of equal rows does."""
        return self.identical and self.row == self.first_row


@dataclass(frozen=True, slots=True)
class DividedRow:
    """A row of a file whose vectors are in several namespaces."""

    row: int
    point: str  # as given to `add`
    file: str
    namespaces: tuple[str, str]  # two of the file's: the first and the last by name


@dataclass(frozen=True, slots=True)
class FileGap:
    """A file whose chunk numbers are not 0, 1, 2, ..."""

    file: str
    vectors: int
    lowest: int
    highest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRows:
    """Some rows that move, column by column; all columns have one length or are empty."""

    rows: Sequence[int]
    vector_ids: Sequence[VectorId]
    files: Sequence[str | None]
    positions: Sequence[int]  # the chunk's number within its file
    contents: Sequence[bytes] = ()  # digests: equal for equal vectors; for `collisions`
    points: Sequence[str] = ()  # names of the points; for `collisions`
    metadata_bytes: Sequence[int] = ()  # for the sum over what moves in the end
    notes: Sequence[Sequence[str]] = ()  # words about a row, counted over what moves in the end
    namespaces: Sequence[str | None] = ()  # of the vectors

    def table(self) -> pa.Table:
        """The rows for `IdTable.add_table`."""
        count = len(self.rows)
        columns = [
            self.rows,
            self.vector_ids,
            self.files,
            self.positions,
            self.contents or [b""] * count,
            self.points or [""] * count,
            self.metadata_bytes or [0] * count,
            self.notes or [()] * count,
            self.namespaces or [None] * count,
        ]
        return pa.table(
            [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)],
            schema=_SCHEMA,
        )


def join_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all of them, for `IdTable.add_table`."""
    return pa.concat_tables(tables).combine_chunks() if tables else _SCHEMA.empty_table()


class IdTable(SpillingDatabase):
    """A table of (row, target id, file, order, content digest)."""

    def __init__(self, spill: Path, *, rows: int = 0) -> None:
        """`rows` is about how many rows will be added; it sets the memory for sorting."""
        super().__init__(
            spill,
            "vectors (row BIGINT, vector_id VARCHAR, file VARCHAR, position BIGINT, content BLOB, "
            "point VARCHAR, metadata_bytes BIGINT, notes VARCHAR[], namespace VARCHAR)",
            memory_mb=max(MEMORY_MB, rows // ROWS_PER_MB),
        )

    def add(self, planned: PlannedRows) -> None:
        """Add some rows. The order in which rows are added makes no difference."""
        self.add_table(planned.table())

    def add_table(self, rows: pa.Table) -> None:
        """As `add`, of `PlannedRows.table` or `join_tables`."""
        if rows.num_rows:
            self._insert("vectors", rows)

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
        """The number of rows in the table."""
        return self._count("SELECT count(*) FROM vectors")

    def count_files(self) -> int:
        """The number of distinct files."""
        return self._count(FILE_COUNT)

    def sum_metadata_bytes(self) -> int:
        """The sum over the rows that are still in the table."""
        return self._count("SELECT coalesce(sum(metadata_bytes), 0) FROM vectors")

    def metadata_sizes(self) -> list[tuple[int, int]]:
        """Each size of metadata in bytes, and how many rows have it."""
        return self._sizes("SELECT metadata_bytes, count(*) FROM vectors GROUP BY metadata_bytes")

    def id_sizes(self) -> list[tuple[int, int]]:
        """Each size of a target id in bytes, and how many rows have it."""
        return self._sizes("SELECT strlen(vector_id) AS size, count(*) FROM vectors GROUP BY size")

    def file_sizes(self) -> list[tuple[int, int]]:
        """Each number of vectors that a file has, and how many files have it."""
        return self._sizes(
            "SELECT vectors, count(*) FROM (SELECT count(*) AS vectors FROM vectors "
            "WHERE file IS NOT NULL GROUP BY file) GROUP BY vectors"
        )

    def _sizes(self, query: str) -> list[tuple[int, int]]:
        return [(int(size), int(times)) for size, times in self._execute(query)]

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
        for row, vector_id, point, first_row, identical, *namespaces in self._rows(query):
            yield Collision(
                int(row), VectorId(vector_id), point, int(first_row), bool(identical), *namespaces
            )

    def files(self) -> Iterator[FileVectors]:
        """Every file with its vectors, by file name in UTF-8 order; the order never varies."""
        return group_files(self._rows(FILES))

    def find_divided_files(self) -> None:
        """Note the files whose vectors are in several namespaces, for the two methods below."""
        self._execute(
            "CREATE OR REPLACE TABLE divided AS "
            "SELECT file, min(namespace) AS first, max(namespace) AS last FROM vectors "
            "WHERE file IS NOT NULL GROUP BY file HAVING min(namespace) <> max(namespace)"
        )

    def divided_rows(self) -> Iterator[DividedRow]:
        """Every row of these files, in row order."""
        query = """
            SELECT row, point, file, first, last FROM vectors JOIN divided USING (file) ORDER BY row
        """
        for row, point, file, first, last in self._rows(query):
            yield DividedRow(int(row), str(point), str(file), (str(first), str(last)))

    def remove_divided_files(self) -> None:
        """Take out every row of these files."""
        self._execute("DELETE FROM vectors WHERE file IN (SELECT file FROM divided)")

    def count_namespaces(self) -> int:
        """The number of distinct namespaces."""
        return self._count("SELECT count(*) FROM (SELECT DISTINCT namespace FROM vectors)")

    def sum_namespace_bytes(self) -> int:
        """Bytes of the names of all vectors' namespaces."""
        return self._count("SELECT coalesce(sum(strlen(namespace)), 0) FROM vectors")

    def largest_namespaces(self, count: int) -> list[tuple[str, int]]:
        """The namespaces with the most vectors, the largest first, with their vectors."""
        query = """
            SELECT namespace, count(*) FROM vectors
            GROUP BY namespace ORDER BY count(*) DESC, namespace LIMIT ?
        """
        return [(str(name), int(vectors)) for name, vectors in self._execute(query, [count])]

    def rows_of_file(self, file: str) -> list[tuple[int, str]]:
        """Row and point of every vector of one file, by row."""
        query = "SELECT row, point FROM vectors WHERE file = ? ORDER BY row"
        rows = self._execute(query, [file])
        return [(int(row), str(point)) for row, point in rows]

    def gaps(self) -> Iterator[FileGap]:
        """Files whose chunk numbers have gaps, repeats, or do not start at 0.

        By sorting, which spills; grouping by file and number takes more memory than is available.
        """
        query = """
            SELECT file, position FROM vectors WHERE file IS NOT NULL ORDER BY file, position
        """
        for file, rows in groupby(self._rows(query), itemgetter(0)):
            numbers = [int(position) for _, position in rows]
            if numbers != list(range(len(numbers))):
                yield FileGap(str(file), len(numbers), numbers[0], numbers[-1])

    def targets(self) -> Iterator[pa.Table]:
        """The remaining rows, in row order: row, vector_id, file, position, digest, namespace.

        The digest is what was added as contents.
        Sorted in memory in ranges of rows, whatever the number of rows.
        """
        end = self._count("SELECT coalesce(max(row) + 1, 0) FROM vectors")
        for first in range(0, end, _EXPORT_ROWS):
            yield self._arrow(
                "SELECT row, vector_id, file, position, content AS digest, namespace FROM vectors "
                "WHERE row BETWEEN ? AND ? ORDER BY row",
                [first, first + _EXPORT_ROWS - 1],
            )

    def compare_with(self, former: Iterable[pa.RecordBatch]) -> None:
        """Take the rows of an earlier run, for `differing` and `removed`.

        `former` has the columns `FORMER_COLUMNS`.
        """
        self._execute(
            "CREATE OR REPLACE TABLE former (vector_id VARCHAR, file VARCHAR, digest BLOB)"
        )
        for batch in former:
            self._insert("former", batch)

    def differing(self) -> Iterator[tuple[int, VectorId, list[str]]]:
        """After `compare_with`: row, id and files of every vector that is new or has changed.

        The files are the one it belongs to now and the one it belonged to, each once.
        """
        query = """
            SELECT row, vector_id, vectors.file, former.file
            FROM vectors LEFT JOIN former USING (vector_id)
            WHERE former.vector_id IS NULL OR former.digest <> vectors.content
            ORDER BY row
        """
        for row, vector_id, now, before in self._rows(query):
            files = sorted({str(file) for file in (now, before) if file is not None})
            yield int(row), VectorId(vector_id), files

    def removed(self) -> Iterator[tuple[VectorId, str | None, bytes]]:
        """After `compare_with`: id, file and digest of every former vector that is not here."""
        query = """
            SELECT vector_id, file, digest FROM former
            WHERE vector_id NOT IN (SELECT vector_id FROM vectors) ORDER BY vector_id
        """
        for vector_id, file, digest in self._rows(query):
            yield VectorId(vector_id), file, bytes(digest)

    def has_vector(self, vector_id: VectorId) -> bool:
        """Whether a row has this id."""
        return bool(self._count_of("SELECT count(*) FROM vectors WHERE vector_id = ?", [vector_id]))

    def has_file(self, file: str) -> bool:
        """Whether a vector belongs to this file."""
        return bool(self._count_of("SELECT count(*) FROM vectors WHERE file = ?", [file]))

    def _count_of(self, query: str, parameters: list[str]) -> int:
        ((count,),) = self._execute(query, parameters)
        return int(count)
