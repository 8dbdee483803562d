"""The files of a run with their vectors, and the listed KV keys: the input of the KV index."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from migrate.model.records import KvEntry, VectorId
from migrate.tables.spill import SpillingDatabase

FILE_COLUMNS = ("vector_id", "file", "position")
NAMESPACE_COLUMN = "namespace"  # one more, where vectors are in namespaces

# The order never varies: by file name in UTF-8 order, by the chunk's number, then by id.
FILES = """
    SELECT file, vector_id, namespace FROM vectors WHERE file IS NOT NULL
    ORDER BY file, position, vector_id
"""
FILE_COUNT = "SELECT count(DISTINCT file) FROM vectors"


@dataclass(frozen=True, slots=True)
class FileVectors:
    """One file of the KV index."""

    file: str
    vector_ids: tuple[VectorId, ...]  # by the chunk's number, then by id
    namespace: str | None = None  # of all of them; a plan lets no other file pass


def group_files(rows: Iterable[tuple[Any, ...]]) -> Iterator[FileVectors]:
    """Every file with its vectors, from the rows of the query `FILES`."""
    for name, of_file in groupby(rows, itemgetter(0)):
        held = list(of_file)
        ids = tuple(VectorId(str(vector_id)) for _, vector_id, _ in held)
        yield FileVectors(str(name), ids, held[0][2])


class FileTable(SpillingDatabase):
    """Which vectors each file has, and which keys the KV namespace lists."""

    def __init__(self, spill: Path, targets: Iterable[pa.RecordBatch]) -> None:
        """`targets` have the columns `FILE_COLUMNS`, and `NAMESPACE_COLUMN` if vectors are in some.

        Raises the errors of reading them.
        """
        super().__init__(
            spill,
            "vectors (vector_id VARCHAR, file VARCHAR, position BIGINT, namespace VARCHAR)",
            "listed_keys (key VARCHAR, expiration BIGINT)",
        )
        try:
            for batch in targets:
                self._insert("vectors", batch)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def files(self) -> Iterator[FileVectors]:
        """Every file with its vectors, by file name in UTF-8 order; the order never varies."""
        return group_files(self._rows(FILES))

    def count_files(self) -> int:
        """The number of distinct files."""
        return self._count(FILE_COUNT)

    def add_listed_keys(self, entries: Sequence[KvEntry]) -> None:
        """Some keys of one listing of the KV namespace, with their expiry."""
        keys = pa.array([entry.key for entry in entries], pa.string())
        expirations = pa.array([entry.expiration for entry in entries], pa.int64())
        self._insert("listed_keys", pa.table({"key": keys, "expiration": expirations}))

    def clear_listed_keys(self) -> None:
        """Forget the listing of keys."""
        self._execute("DELETE FROM listed_keys")

    def keys_elsewhere(self, key_template: str, group_field: str) -> Iterator[str]:
        """Every listed key that belongs to no file of the run, in order."""
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
