"""The state folder: one SQLite file, its tables, and the lock that keeps a second process out."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FORMAT_VERSION = 2
FOREVER = 2**62  # `until_seq` of a row that nothing has replaced or removed

_TABLES = """
CREATE TABLE vector_indexes (
  index_id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, description TEXT NOT NULL,
  dimensions INTEGER NOT NULL, metric TEXT NOT NULL, preset TEXT,
  created_at REAL NOT NULL, deleted_at REAL);
CREATE UNIQUE INDEX vector_indexes_by_name ON vector_indexes (name) WHERE deleted_at IS NULL;

-- One row per write the target took, numbered per vector index in the order of acceptance.
CREATE TABLE mutations (
  index_id INTEGER NOT NULL, seq INTEGER NOT NULL, mutation_id TEXT NOT NULL,
  visible_at REAL NOT NULL, vector_count INTEGER NOT NULL,
  job INTEGER NOT NULL, job_starts_at REAL NOT NULL,
  job_updates INTEGER NOT NULL, job_vectors INTEGER NOT NULL,
  PRIMARY KEY (index_id, seq)) WITHOUT ROWID;

-- Every version of every vector, state `seq` holds the rows with from_seq <= seq < until_seq.
CREATE TABLE vectors (
  row_id INTEGER PRIMARY KEY, index_id INTEGER NOT NULL, id TEXT NOT NULL,
  from_seq INTEGER NOT NULL, until_seq INTEGER NOT NULL, position INTEGER NOT NULL,
  namespace TEXT, metadata BLOB);
CREATE UNIQUE INDEX vectors_by_id ON vectors (index_id, id, from_seq);

CREATE TABLE metadata_indexes (
  index_id INTEGER NOT NULL, property TEXT NOT NULL, type TEXT NOT NULL,
  from_seq INTEGER NOT NULL, until_seq INTEGER NOT NULL);

CREATE TABLE kv_namespaces (namespace_id TEXT PRIMARY KEY, title TEXT NOT NULL UNIQUE);

-- Every version of every key that some reader may still see, value NULL is a removal.
CREATE TABLE kv_entries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, namespace_id TEXT NOT NULL, key TEXT NOT NULL,
  written_at REAL NOT NULL, visible_at REAL NOT NULL,
  value BLOB, metadata BLOB, expiration INTEGER);
CREATE INDEX kv_entries_by_key ON kv_entries (namespace_id, key, seq);
"""

# What each format has beyond the one before it.
_ADDED = {
    2: """
ALTER TABLE kv_namespaces ADD COLUMN jurisdiction TEXT;
ALTER TABLE kv_namespaces ADD COLUMN mode TEXT;

-- Workers: an upload or a change of a secret makes a version, a deployment gives it traffic.
-- `secrets` is JSON, name -> the number of the change that set it. The values are not kept.
CREATE TABLE script_versions (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, version_id TEXT NOT NULL UNIQUE, script TEXT NOT NULL,
  created_at REAL NOT NULL, source TEXT NOT NULL, message TEXT, secrets TEXT NOT NULL);
CREATE TABLE script_deployments (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, deployment_id TEXT NOT NULL UNIQUE, script TEXT NOT NULL,
  created_at REAL NOT NULL, source TEXT NOT NULL, message TEXT, versions TEXT NOT NULL)
""",
}


class StateFolderError(Exception):
    """The state folder cannot be used: held by another process, or of another format."""


class Database:
    """The open state folder. Survives a kill at any instant; not a power cut."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.folder = folder
        self._lock = _locked(folder / "lock")
        path = folder / "state.sqlite3"
        # SQLite gives its side files the mode of the main file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # The page cache outlives the process, so a kill loses nothing and no write waits for disk.
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self._prepare()

    def _prepare(self) -> None:
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if 0 <= version < FORMAT_VERSION:
            added = [_ADDED[one] for one in range(max(version, 1) + 1, FORMAT_VERSION + 1)]
            with self.transaction():
                for tables in [*([_TABLES] if version == 0 else []), *added]:
                    for statement in tables.split(";"):
                        self.connection.execute(statement)
                self.connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        elif version != FORMAT_VERSION:
            self.close()
            raise StateFolderError(
                f"{self.folder} holds state of format {version}, this is format {FORMAT_VERSION}; "
                "name another folder"
            )

    def connect(self) -> sqlite3.Connection:
        """One more connection, for reads of another thread beside the writes of this one."""
        path = self.folder / "state.sqlite3"
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only = ON")
        return connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block's writes, or none."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def close(self) -> None:
        """Release the folder."""
        self.connection.close()
        os.close(self._lock)


def _locked(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StateFolderError(f"{path.parent} is in use by another sandbox") from error
    return descriptor
