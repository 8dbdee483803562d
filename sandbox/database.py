"""The stand-in's state on disk: one SQLite file that survives a kill at any instant."""

import os
import sqlite3
from pathlib import Path

FILE = "stand-in.sqlite"

# Vectors are kept in versions: a write adds rows with the sequence number of its mutation, and a
# reader sees the newest version up to the number that is committed for it. So a commit is one
# comparison, a listing walk is a fixed number, and a stale read is a smaller one.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS indexes (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE, description TEXT, dimensions INTEGER, metric TEXT,
    preset TEXT, created_on TEXT
);
CREATE TABLE IF NOT EXISTS mutations (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, index_id INTEGER, mutation_id TEXT, accepted_at REAL,
    due_at REAL
);
CREATE INDEX IF NOT EXISTS mutations_due ON mutations (index_id, due_at);
CREATE TABLE IF NOT EXISTS versions (
    rowid INTEGER PRIMARY KEY, index_id INTEGER, id TEXT, seq INTEGER, alive INTEGER,
    namespace TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS versions_id ON versions (index_id, id, seq);
CREATE TABLE IF NOT EXISTS contents (rowid INTEGER PRIMARY KEY, vector BLOB, metadata BLOB);
CREATE TABLE IF NOT EXISTS metadata_indexes (
    index_id INTEGER, property TEXT, type TEXT, seq INTEGER, created_at REAL, deleted_at REAL
);
CREATE TABLE IF NOT EXISTS namespaces (id TEXT PRIMARY KEY, title TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS entries (
    version INTEGER PRIMARY KEY AUTOINCREMENT, namespace_id TEXT, key TEXT, value BLOB,
    metadata TEXT, expiration INTEGER, written_at REAL, alive INTEGER
);
CREATE INDEX IF NOT EXISTS entries_key ON entries (namespace_id, key, version);
"""


def open_database(folder: Path) -> sqlite3.Connection:
    """Open or create the state; files are for this user only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / FILE
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _SCHEMA)
    return database
