"""A database in memory that spills to disk; the base of every table in this package."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from migrate.errors import LocalStorageError
from migrate.storage.durable import make_folder, remove_folder

if TYPE_CHECKING:  # loading it takes 0.1 s, and most commands open no database
    import duckdb

MEMORY_MB = (
    60  # beyond it duckdb spills; with 200 a million rows took 100 MB more and the same time
)
_FETCH_ROWS = 10_000
Parameters = Sequence[object] | Mapping[str, object] | None


def open_database(spill: Path, memory_mb: int = MEMORY_MB) -> "duckdb.DuckDBPyConnection":
    """An empty database in memory that spills into a folder; opening it takes about 20 CPU ms."""
    import duckdb  # noqa: PLC0415 - see above

    return duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_mb}MB",
            "temp_directory": str(spill),
            "threads": 1,
            "preserve_insertion_order": False,
        },
    )


class SpillingDatabase:
    """Some tables of a run; a context manager.

    In memory up to `memory_mb`, beyond it in the `spill` folder. Both are removed at the end:
    everything in it is derived from the snapshot or read from the target.
    """

    def __init__(self, spill: Path, *tables: str, memory_mb: int = MEMORY_MB) -> None:
        """`tables`: name and columns of each. Only one database at a time may use the folder.

        Like every other method, raises LocalStorageError when there is no room to spill.
        """
        make_folder(spill)
        self._spill = spill
        self._database = open_database(spill, memory_mb)
        for table in tables:
            self._execute(f"CREATE TABLE {table}")

    def __enter__(self) -> Self:
        """The tables themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop the tables and their spill folder."""
        self._database.close()
        remove_folder(self._spill)

    def _insert(self, table: str, rows: pa.Table | pa.RecordBatch) -> None:
        """Insert rows by column name; missing columns are null."""
        if len(rows):
            query = f"INSERT INTO {table} BY NAME SELECT * FROM given"  # noqa: S608 - our own names
            self._execute(query, given=rows)

    def _execute(
        self,
        query: str,
        parameters: Parameters = None,
        *,
        given: pa.Table | pa.RecordBatch | pa.RecordBatchReader | None = None,
    ) -> list[tuple[Any, ...]]:
        """All rows at once: a half-read result would block the connection.

        A query that names the table `given` reads this parameter: duckdb looks for a name that it
        does not know among the variables of the caller. To register it would take twice as long.
        """
        with _spilling(self._spill):
            return self._database.execute(query, parameters).fetchall()

    def _execute_over(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, query: str
    ) -> list[tuple[Any, ...]]:
        """As `_execute`, for a query that reads `given` once: it is streamed and not stored.

        Errors of `batches` are raised as they are; duckdb alone would report that a stream failed.
        """
        raised: list[BaseException] = []

        def passing() -> Generator[pa.RecordBatch, None, None]:
            try:
                yield from batches
            except BaseException as error:
                raised.append(error)
                raise

        stream = passing()
        try:
            return self._execute(query, given=pa.RecordBatchReader.from_batches(schema, stream))
        except Exception:
            if raised:
                raise raised.pop() from None  # not kept: it would keep this frame alive
            raise
        finally:
            stream.close()  # with its source, also when duckdb did not read to the end

    def _count(self, query: str) -> int:
        [(count,)] = self._execute(query)
        return int(count)

    def _rows(self, query: str, parameters: Parameters = None) -> Iterator[tuple[Any, ...]]:
        """Rows one batch at a time, while other queries use the tables."""
        with _spilling(self._spill):
            cursor = self._database.cursor()
            cursor.execute(query, parameters)
            while rows := cursor.fetchmany(_FETCH_ROWS):
                yield from rows

    def _arrow(self, query: str, parameters: Parameters) -> pa.Table:
        """All rows of a query with a small answer, without an object per row."""
        with _spilling(self._spill):
            return self._database.sql(query, params=parameters).to_arrow_table()


@contextmanager
def _spilling(spill: Path) -> Iterator[None]:
    """Translate the errors of a spill that failed; other errors are bugs of q2v.

    duckdb reports a full disk in three ways: out of memory (no space to offload to), a failed
    commit, or a fatal error (in a checkpoint).
    """
    import duckdb  # noqa: PLC0415 - see above

    try:
        yield
    except (duckdb.OperationalError, duckdb.FatalException) as error:
        raise LocalStorageError(
            f"spilling ids to {spill}: {str(error).splitlines()[0]}",
            remedy="free some disk space, then run the same command again",
        ) from error
