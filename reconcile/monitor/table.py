"""What one look has read of both stores, related in bounded memory."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from migrate.model.records import VectorId
from migrate.tables.spill import SpillingDatabase
from migrate.tables.target_ids import MEMORY_MB

_HELD_MAX = 200_000  # rows per statement


class TargetTable(SpillingDatabase):
    """The ids that KV entries name, and the ids that the vector index lists."""

    def __init__(self, spill: Path) -> None:
        super().__init__(
            spill,
            "named (key VARCHAR, vector_id VARCHAR)",
            "listed (vector_id VARCHAR)",
            "exempt (vector_id VARCHAR)",
            memory_mb=MEMORY_MB,
        )

    def add_named(self, entries: Iterable[tuple[str, Sequence[str]]]) -> int:
        """Add keys with the ids that their entries name; return the number of ids."""
        keys: list[str] = []
        ids: list[str] = []
        count = 0
        for key, named in entries:
            keys += [key] * len(named)
            ids += named
            count += len(named)
            if len(ids) >= _HELD_MAX:
                self._insert("named", pa.table({"key": keys, "vector_id": ids}))
                keys, ids = [], []
        if ids:
            self._insert("named", pa.table({"key": keys, "vector_id": ids}))
        return count

    def clear_named(self) -> None:
        """Forget the file index."""
        self._execute("DELETE FROM named")

    def add_listed(self, pages: Iterable[Sequence[VectorId]]) -> int:
        """Replace the listing by the pages of one walk; return the number of ids."""
        self._execute("DELETE FROM listed")
        return self._add("listed", pages)

    def add_exempt(self, pages: Iterable[Sequence[str]]) -> None:
        """Ids that need no KV entry."""
        self._add("exempt", pages)

    def _add(self, table: str, pages: Iterable[Sequence[str]]) -> int:
        held: list[str] = []
        count = 0
        for page in pages:
            held += page
            count += len(page)
            if len(held) >= _HELD_MAX:
                self._insert(table, pa.table({"vector_id": pa.array(held, pa.string())}))
                held = []
        self._insert(table, pa.table({"vector_id": pa.array(held, pa.string())}))
        return count

    def dangling(self) -> Iterator[tuple[str, VectorId]]:
        """Key and id of every named id that is not listed, in order."""
        query = """
            SELECT key, vector_id FROM named ANTI JOIN listed USING (vector_id)
            ORDER BY vector_id, key
        """
        for key, vector_id in self._rows(query):
            yield str(key), VectorId(vector_id)

    def orphaned(self) -> Iterator[VectorId]:
        """Every listed id that is neither named nor exempt, in order."""
        query = """
            SELECT vector_id FROM listed ANTI JOIN named USING (vector_id)
            ANTI JOIN exempt USING (vector_id) ORDER BY vector_id
        """
        for (vector_id,) in self._rows(query):
            yield VectorId(vector_id)

    def repeated(self) -> Iterator[VectorId]:
        """Every id that is named more than once, in order."""
        query = "SELECT vector_id FROM named GROUP BY vector_id HAVING count(*) > 1 ORDER BY 1"
        for (vector_id,) in self._rows(query):
            yield VectorId(vector_id)

    def keys_of(self, ids: Sequence[VectorId]) -> list[str]:
        """The keys whose entries name one of these ids, in order."""
        query = "SELECT DISTINCT key FROM named WHERE vector_id IN (SELECT unnest($ids)) ORDER BY 1"
        return [str(key) for (key,) in self._rows(query, {"ids": [str(one) for one in ids]})]

    def sample(self, count: int, *, seed: int) -> list[tuple[VectorId, str | None]]:
        """Up to `count` listed ids, each with a key that names it; another seed, other ids."""
        query = """
            SELECT listed.vector_id, min(named.key) FROM listed LEFT JOIN named USING (vector_id)
            GROUP BY listed.vector_id
            ORDER BY hash(listed.vector_id || $seed), listed.vector_id LIMIT $count
        """
        rows = self._rows(query, {"seed": f"/{seed}", "count": count})
        return [(VectorId(vector_id), key) for vector_id, key in rows]
