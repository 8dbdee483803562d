"""What the target would hold after a reset, found without writing."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from migrate.model.records import VectorId
from migrate.tables.spill import SpillingDatabase
from migrate.tables.target_ids import MEMORY_MB


class LeftIds(SpillingDatabase):
    """The listed ids without those that a reset deletes."""

    def __init__(self, spill: Path) -> None:
        super().__init__(
            spill, "listed (vector_id VARCHAR)", "named (vector_id VARCHAR)", memory_mb=MEMORY_MB
        )

    def add_listed(self, pages: Iterable[Sequence[VectorId]]) -> int:
        """Replace the listing by the pages of one walk; return the number of ids."""
        self._execute("DELETE FROM listed")
        count = 0
        for page in pages:
            self._insert("listed", pa.table({"vector_id": pa.array(page, pa.string())}))
            count += len(page)
        return count

    def add_named(self, ids: Iterable[str]) -> None:
        """Ids that are deleted when they are listed."""
        self._insert("named", pa.table({"vector_id": pa.array(list(ids), pa.string())}))

    def add_created(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Ids that runs have written; `batches` have the column `vector_id`."""
        for batch in batches:
            self._insert("named", batch.select(["vector_id"]))

    def listed_among(self, ids: Sequence[str]) -> list[VectorId]:
        """Those of these ids that are listed, in order."""
        query = "SELECT vector_id FROM listed WHERE vector_id IN (SELECT unnest($ids)) ORDER BY 1"
        return [VectorId(one) for (one,) in self._rows(query, {"ids": list(ids)})]

    def unnamed_among(self, ids: Sequence[str]) -> list[VectorId]:
        """Those of these ids that are listed and not named yet, in order."""
        query = (
            "SELECT vector_id FROM listed ANTI JOIN named USING (vector_id) "
            "WHERE vector_id IN (SELECT unnest($ids)) ORDER BY 1"
        )
        return [VectorId(one) for (one,) in self._rows(query, {"ids": list(ids)})]

    def left(self) -> Iterator[str]:
        """Every listed id that nothing names, in order."""
        query = "SELECT vector_id FROM listed ANTI JOIN named USING (vector_id) ORDER BY 1"
        for (vector_id,) in self._rows(query):
            yield str(vector_id)
