"""The requests of the last five minutes: one SQLite table that all processes of a host share.

A row takes `cost` requests from the budget until the monotonic clock reads `until_s`. SQLite's
write lock (`BEGIN IMMEDIATE`) lets one process at a time look and write. Commits reach the system,
not the disk: a kill loses nothing, a power cut may lose the last rows. Rows of another boot are
therefore taken for as young as they can be, and this boot has to be as old as the window before
anything leaves. Ages are measured on the monotonic clock, which starts near 0 with the machine.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migrate.cloudflare.budget.database import (
    INSERT,
    Row,
    database_io,
    open_file,
    open_in_memory,
)
from migrate.cloudflare.budget.forecast import Spent, Why
from migrate.model.limits import REQUEST_WINDOW_S, REQUESTS_PER_WINDOW_MAX
from migrate.ports import Clock

UNKNOWN_BOOT = "-"
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
# A row of another boot is at least as old as this boot. The wall clock can make it younger: another
# machine may have written it. A row from the future is of another boot that has the same name.
_ADOPT = """
UPDATE spent SET
    until_s = until_s - at_s + :now - max(0.0, min(:now, :wall - wall_s)),
    at_s = :now, wall_s = :wall, boot = :boot
WHERE boot <> :boot OR at_s > :now
"""


def read_boot_id() -> str:
    """Names the running boot of this machine; "-" where the system has no name for it."""
    try:
        return _BOOT_ID_FILE.read_text(encoding="ascii").strip() or UNKNOWN_BOOT
    except (OSError, ValueError):
        return UNKNOWN_BOOT


class Departures:
    """The table, for one thread at a time. Every method raises LocalStorageError."""

    def __init__(self, path: Path | None, *, clock: Clock, boot: str) -> None:
        """`path` is the file, created when it is missing; None keeps the table in memory.

        Raises ForeignStateError for a file of another format.
        """
        self._path = path
        self._clock = clock
        self._boot = boot
        self._open()

    @contextmanager
    def locked(self, *, durable: bool = False) -> Iterator[float]:
        """One transaction; yields the monotonic time, read under the lock.

        No other process reads or writes meanwhile. `durable` makes this transaction, and all
        before it, survive a power cut.
        """
        with database_io("writing", self._path):
            if self._path is not None and _file_id(self._path) != self._opened:
                self._close()  # the file was removed or replaced while this process runs
                self._open()
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._clock.monotonic_s()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def add(self, why: Why, cost: int, *, now_s: float, until_s: float) -> int:
        """A row in the transaction of `locked`; returns its id."""
        row = self._row(why, now_s, until_s, cost)
        return self._connection.execute(INSERT, row).lastrowid or 0

    def end_early(self, row_id: int, until_s: float) -> None:
        """The row counts until `until_s`, if that is earlier; one that is gone is no error."""
        self._connection.execute(
            "UPDATE spent SET until_s = min(until_s, ?) WHERE id = ?", (until_s, row_id)
        )

    def keep_all(self, now_s: float, until_s: float) -> None:
        """No row that counts at `now_s` ends before `until_s`."""
        self._connection.execute(
            "UPDATE spent SET until_s = max(until_s, ?) WHERE until_s > ?", (until_s, now_s)
        )

    def drop_old(self, now_s: float) -> None:
        """Remove the rows that count no more. The one that names the boot stays."""
        self._connection.execute(
            "DELETE FROM spent WHERE until_s <= ? AND why <> ?", (now_s, Why.BOOT)
        )

    def used(self, now_s: float) -> int:
        """How many requests the rows take from the budget."""
        with database_io("reading", self._path):
            rows = self._connection.execute(
                "SELECT coalesce(sum(cost), 0) FROM spent WHERE until_s > ?", (now_s,)
            )
            return int(rows.fetchone()[0])

    def spent(self, now_s: float) -> list[Spent]:
        """The rows that count, the one that ends last first."""
        with database_io("reading", self._path):
            rows = self._connection.execute(
                "SELECT until_s, cost, why FROM spent WHERE until_s > ? ORDER BY until_s DESC",
                (now_s,),
            )
            return [Spent(until_s, cost, Why(why)) for until_s, cost, why in rows]

    def _row(
        self, why: Why, now_s: float, until_s: float, cost: int = REQUESTS_PER_WINDOW_MAX
    ) -> Row:
        return (why, cost, self._boot, now_s, self._clock.wall_s(), until_s)

    def _open(self) -> None:
        now_s = self._clock.monotonic_s()
        new = [self._row(Why.BOOT, now_s, 0.0)]
        if self._path is None:
            self._connection = open_in_memory(new)
        else:
            # What an unreadable file held may have been a whole budget, sent just now.
            replaced = self._row(Why.REPLACED, now_s, now_s + REQUEST_WINDOW_S)
            self._connection = open_file(self._path, new, [*new, replaced])
            self._opened = _file_id(self._path)
        self._close = weakref.finalize(self, self._connection.close)
        self._adopt()

    def _adopt(self) -> None:
        """Take over rows of another boot; then nothing leaves before this boot is 300 s old."""
        with self.locked() as now_s:
            known = {"now": now_s, "wall": self._clock.wall_s(), "boot": self._boot}
            if self._connection.execute(_ADOPT, known).rowcount:
                self._connection.execute("DELETE FROM spent WHERE why = ?", (Why.BOOT,))
                # The monotonic clock was 0 at the start of this boot.
                row = self._row(Why.BOOT, now_s, float(REQUEST_WINDOW_S))
                self._connection.execute(INSERT, row)


def _file_id(path: Path) -> tuple[int, int] | None:
    """Device and inode; None for a missing file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
