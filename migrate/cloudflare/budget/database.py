"""Open the SQLite file of the request budget. Create a missing file, replace a damaged one."""

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from migrate.errors import ForeignStateError, LocalStorageError
from migrate.storage.disk import disk
from migrate.storage.durable import is_file, local_io, make_folder, remove_file, write_durably

FORMAT = 2  # 1 was a text file
_TEXT_OF_FORMAT_1 = b"q2v-requests 1\n"
_SQLITE_START = b"SQLite format 3\0"
_PAGE_BYTES = 4096
_LOCK_S_MAX = 60.0  # a transaction takes a millisecond
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "SQLITE_ERROR"}

# Not part of format 2, which older versions of q2v also open: they neither read nor write it.
_WAITING = """
CREATE TABLE IF NOT EXISTS waiting (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot TEXT NOT NULL,     -- the boot of the machine in which the row was written
    begun_s REAL NOT NULL,  -- monotonic: since when the request waits
    until_s REAL NOT NULL   -- monotonic: the process has renewed the row by then, or has ended
)
"""
_SCHEMA = f"""
PRAGMA page_size = {_PAGE_BYTES};
CREATE TABLE spent (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    why TEXT NOT NULL,
    cost INTEGER NOT NULL,
    boot TEXT NOT NULL,     -- the boot of the machine in which the row was written
    at_s REAL NOT NULL,     -- when, on the monotonic clock of that boot
    wall_s REAL NOT NULL,   -- when, in seconds since 1970
    until_s REAL NOT NULL   -- monotonic: the row counts until then
);
CREATE INDEX spent_by_end ON spent (until_s, cost);
{_WAITING};
PRAGMA user_version = {FORMAT};
"""
INSERT = "INSERT INTO spent (why, cost, boot, at_s, wall_s, until_s) VALUES (?, ?, ?, ?, ?, ?)"

Row = tuple[str, int, str, float, float, float]  # as INSERT has them


@contextmanager
def database_io(doing: str, path: Path | None) -> Iterator[None]:
    """Translate the errors of SQLite and of the system into LocalStorageError."""
    shown = path or Path(":memory:")
    try:
        with local_io(doing, shown):
            yield
    except sqlite3.Error as error:
        raise LocalStorageError(f"{doing} {shown}: {error}", remedy=_remedy(error)) from error


def open_in_memory(rows: list[Row]) -> sqlite3.Connection:
    """A new table in memory that holds `rows`."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.executescript(_SCHEMA)
    connection.executemany(INSERT, rows)
    return connection


def open_file(path: Path, new: list[Row], unreadable: list[Row]) -> sqlite3.Connection:
    """Open the table in a file of mode 0600, under a lock that other processes wait for.

    A missing file is created with the rows `new`. A damaged file and one of format 1 are replaced
    by the rows `unreadable`. Raises ForeignStateError for any other file, LocalStorageError.
    """
    make_folder(path.parent)
    lock = path.with_name(f"{path.name}.lock")
    with local_io("locking", lock):
        held = disk().lock(lock, wait=True)
    with held:
        if not is_file(path):
            _write_new(path, new)
        elif not _starts_well(path):
            _write_new(path, unreadable)
        with database_io("opening", path):
            connection = _connect(path)
            if not _is_whole(connection, path):
                connection.close()
                _write_new(path, unreadable)
                connection = _connect(path)
            connection.execute("PRAGMA journal_mode = PERSIST")
        return connection


def _write_new(path: Path, rows: list[Row]) -> None:
    """Replace the file by a new table, atomically and durably."""
    remove_file(_journal_of(path))  # SQLite would roll it back into the new file
    with closing(open_in_memory(rows)) as connection:
        write_durably(path, connection.serialize())


def _journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_LOCK_S_MAX,
    )


def _starts_well(path: Path) -> bool:
    """Whether the file looks like a SQLite file. False for a truncated file and for format 1.

    Raises ForeignStateError for any other content.
    """
    journal = _journal_of(path)
    with local_io("reading", path):
        if is_file(journal):
            disk().open_to_read(journal).close()  # refuses a link
        with disk().open_to_read(path) as file:
            start = file.read(len(_SQLITE_START))
            size = file.seek(0, io.SEEK_END)
    if not start or start.startswith(_TEXT_OF_FORMAT_1):
        return False
    if start != _SQLITE_START:
        raise _foreign(path, f"starts with {start!a}, not with {_SQLITE_START!a}")
    # SQLite reads the missing bytes of a truncated last page as zeros.
    return size % _PAGE_BYTES == 0


def _is_whole(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether the table can be read. Raises ForeignStateError for another format."""
    try:
        damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if damage == "ok" and version == FORMAT:
            connection.execute("SELECT id, why, cost, boot, at_s, wall_s, until_s FROM spent")
            connection.execute(_WAITING)
            connection.execute("SELECT id, boot, begun_s, until_s FROM waiting")
    except sqlite3.Error as error:
        if error.sqlite_errorname not in _DAMAGED:
            raise
        return False
    if damage == "ok" and version != FORMAT:
        raise _foreign(path, f"has format {version}, expected {FORMAT}")
    return bool(damage == "ok")


def _foreign(path: Path, why: str) -> ForeignStateError:
    return ForeignStateError(
        f"{path} {why}",
        remedy="use the q2v that wrote it, or remove it after five minutes without requests",
    )


def _remedy(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return "free some disk space, then run the same command again"
    if name in _DAMAGED:
        return "run the same command again: it replaces the file and waits five minutes"
    return "check the disk, then run the same command again"
