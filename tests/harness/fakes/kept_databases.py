"""Databases of ids without the 20 CPU ms that each new database takes: thousands are opened here.

Every table still has a database to itself while it lives; only an emptied one is used again. The
real opening and its spilling are the business of `tests/migrate/tables/test_spill.py`, which has
the fixture `real_storage` of `tests/conftest.py`.
"""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from unittest import mock

import duckdb

from migrate.tables import spill

_open_new = spill.open_database
_EMPTY: list[duckdb.DuckDBPyConnection] = []
atexit.register(_EMPTY.clear)  # the library complains of those that outlive the interpreter


class _Kept:
    """A database that is emptied where another would be closed."""

    def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
        self._database = database

    def __getattr__(self, name: str) -> object:
        """What the database itself does."""
        return getattr(self._database, name)

    def close(self) -> None:
        tables = self._database.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        for (name,) in tables:
            self._database.execute(f'DROP TABLE "{name}"')
        _EMPTY.append(self._database)


def _open(folder: Path, memory_mb: int) -> duckdb.DuckDBPyConnection:
    assert folder.is_dir()
    assert memory_mb
    database = _EMPTY.pop() if _EMPTY else duckdb.connect(":memory:", config={"threads": 1})
    return cast("duckdb.DuckDBPyConnection", _Kept(database))


@contextmanager
def kept_databases() -> Iterator[None]:
    """Inside, tables of ids come from here."""
    with mock.patch.object(spill, "open_database", _open):
        yield


@contextmanager
def new_databases() -> Iterator[None]:
    """Inside, even within `kept_databases`, every table opens a database as the product does."""
    with mock.patch.object(spill, "open_database", _open_new):
        yield
