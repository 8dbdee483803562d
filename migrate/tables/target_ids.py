"""The ids that the target lists, compared with the ids of the run, in bounded memory.

The listing is stored; the ids of the run are streamed, because they are in a file already.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from migrate.model.records import VectorId
from migrate.tables.spill import SpillingDatabase

ID_COLUMNS = ("row", "vector_id")
_SCHEMA = pa.schema([("row", pa.int64()), ("vector_id", pa.string())])
# More than other tables get: a join of ten million ids with ten million takes a tenth less time.
MEMORY_MB = 400
_INSERT_IDS = 200_000  # ids per statement: one statement for each page would be slow
_LISTED = "listed (vector_id VARCHAR)"


class ListedIds(SpillingDatabase):
    """One listing of the target; `compare` or `match` relates it to the run's own ids.

    Ids are compared themselves, not by a hash.
    """

    def __init__(self, spill: Path) -> None:
        super().__init__(spill, _LISTED, memory_mb=MEMORY_MB)

    def replace(self, pages: Iterable[Sequence[VectorId]]) -> int:
        """Replace the listing by the pages of one walk; return the number of ids.

        Raises the errors of `pages`: a walk that failed is dropped as a whole.
        """
        self._execute(f"CREATE OR REPLACE TABLE {_LISTED}")
        held: list[pa.Array] = []
        count = inserted = 0
        for page in pages:
            held.append(pa.array(page, pa.string()))
            count += len(page)
            if count - inserted >= _INSERT_IDS:
                self._insert("listed", _as_table(held))
                held, inserted = [], count
        self._insert("listed", _as_table(held))
        return count

    def compare(self, targets: Iterable[pa.RecordBatch]) -> None:
        """Find what `missing` and `elsewhere` give. `targets` have the columns `ID_COLUMNS`."""
        self._relate(
            targets,
            "SELECT ours.row, coalesce(ours.vector_id, listed.vector_id) AS vector_id "
            "FROM given AS ours FULL OUTER JOIN listed ON ours.vector_id = listed.vector_id "
            "WHERE ours.row IS NULL OR listed.vector_id IS NULL",
        )

    def match(self, targets: Iterable[pa.RecordBatch]) -> None:
        """Find what `present` and `elsewhere` give. `targets` have the columns `ID_COLUMNS`."""
        self._relate(
            targets,
            "SELECT ours.row, listed.vector_id "
            "FROM given AS ours RIGHT JOIN listed ON ours.vector_id = listed.vector_id",
        )

    def _relate(self, targets: Iterable[pa.RecordBatch], query: str) -> None:
        self._execute_over(targets, _SCHEMA, f"CREATE OR REPLACE TABLE related AS {query}")

    def present_rows(self, first_row: int, end_row: int) -> frozenset[int]:
        """After `match`: the rows in a range whose id is listed."""
        rows = self._execute(
            "SELECT row FROM related WHERE row BETWEEN ? AND ?", [first_row, end_row - 1]
        )
        return frozenset(int(row) for (row,) in rows)

    def missing(self) -> Iterator[tuple[int, VectorId]]:
        """After `compare`: row and id of every vector that is not listed, in row order."""
        return self._ours()

    def present(self) -> Iterator[tuple[int, VectorId]]:
        """After `match`: row and id of every vector of the run that is listed, in row order."""
        return self._ours()

    def elsewhere(self) -> Iterator[VectorId]:
        """After either: every listed id that the run does not have, in order."""
        query = "SELECT vector_id FROM related WHERE row IS NULL ORDER BY vector_id"
        for (vector_id,) in self._rows(query):
            yield VectorId(vector_id)

    def _ours(self) -> Iterator[tuple[int, VectorId]]:
        query = "SELECT row, vector_id FROM related WHERE row IS NOT NULL ORDER BY row"
        for row, vector_id in self._rows(query):
            yield int(row), VectorId(vector_id)


def _as_table(pages: list[pa.Array]) -> pa.Table:
    return pa.table({"vector_id": pa.chunked_array(pages, pa.string())})
