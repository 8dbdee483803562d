"""The requests of the last five minutes, in one SQLite file that all processes of a host share.

A row takes `cost` requests from the budget until the monotonic clock reads `until_s`. SQLite's
write lock (`BEGIN IMMEDIATE`) allows one process at a time to read and write. A commit is not
flushed to the disk: a kill loses nothing, a power cut may lose the last rows. Rows of another boot
are therefore given the smallest age that they can have, and no request is sent until this boot is
as old as the window. Ages are measured on the monotonic clock, which is near 0 when the machine
starts.

A second table holds the requests that wait, in the order in which they began to.
"""

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

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
_WHY = {why.value: why for why in Why}
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
# A row of another boot is at least as old as this boot. By the wall clock it can be younger, since
# another machine may have written it. A row from the future is of another boot with the same name.
_ADOPT = """
UPDATE spent SET
    until_s = until_s - at_s + :now - max(0.0, min(:now, :wall - wall_s)),
    at_s = :now, wall_s = :wall, boot = :boot
WHERE boot <> :boot OR at_s > :now
"""
# A pace takes its cost from what the service allows, whatever the budget of the process is that
# reads it: so all processes send as many. A budget that is smaller already is not cut further.
_USED = """
SELECT coalesce(sum(CASE why WHEN :pace THEN max(0, cost - :unused) ELSE cost END), 0)
FROM spent WHERE until_s > :now
"""
_SPENT = """
SELECT until_s, CASE why WHEN :pace THEN max(0, cost - :unused) ELSE cost END, why
FROM spent WHERE until_s > :now ORDER BY until_s DESC
"""

_ENTER = "INSERT INTO waiting (boot, begun_s, until_s) VALUES (:boot, :begun, :until)"
_RENEW = "UPDATE waiting SET until_s = :until WHERE id = :id AND begun_s = :begun"
_LEAVE = "DELETE FROM waiting WHERE id = :id AND begun_s = :begun"
_BEFORE = """
SELECT count(*), min(until_s) FROM waiting
WHERE until_s > :now AND (begun_s, id) < (:begun, :id)
"""


class Turn(NamedTuple):
    """The place of a waiting request in the line: those that began to wait earlier are before it.

    The time decides and not the row. A process that was stopped for so long that its row was
    removed enters it again, and is where it was.
    """

    row_id: int
    begun_s: float  # monotonic


class Before(NamedTuple):
    """The requests before one in the line."""

    requests: int
    until_s: float | None  # monotonic: by then the first of them is renewed, or passed over


def read_boot_id() -> str:
    """The id of the running boot of this machine; "-" where the system has none."""
    try:
        return _BOOT_ID_FILE.read_text(encoding="ascii").strip() or UNKNOWN_BOOT
    except (OSError, ValueError):
        return UNKNOWN_BOOT


class Departures:
    """Both tables. Use it from one thread at a time. Every method raises LocalStorageError."""

    def __init__(self, path: Path | None, *, clock: Clock, boot: str, requests_max: int) -> None:
        """`path` is the file, which is created if it is missing; None keeps the table in memory.

        `requests_max` is the budget of this process; others may have another one. Raises
        ForeignStateError for a file of another format.
        """
        self._path = path
        self._clock = clock
        self._boot = boot
        self._unused = REQUESTS_PER_WINDOW_MAX - requests_max  # of what the service allows
        self._durable: bool | None = None  # what the connection knows
        self._open()

    @contextmanager
    def locked(self, *, durable: bool = False) -> Iterator[float]:
        """Run the block in one transaction. Yields the monotonic time, read under the lock.

        No other process reads or writes during the block. With `durable`, this transaction and
        all before it survive a power cut.
        """
        with database_io("writing", self._path):
            self._prepare(durable=durable)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._clock.monotonic_s()
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def add(self, why: Why, cost: int, *, now_s: float, until_s: float) -> int:
        """Add a row in the transaction of `locked`; returns its id."""
        row = self._row(why, now_s, until_s, cost)
        return self._connection.execute(INSERT, row).lastrowid or 0

    def end_early(self, row_id: int, until_s: float) -> None:
        """Let the row end at `until_s` if that is earlier, in a transaction of its own.

        A missing row is no error.
        """
        with database_io("writing", self._path):
            self._prepare(durable=False)
            self._connection.execute(
                "UPDATE spent SET until_s = min(until_s, ?) WHERE id = ?", (until_s, row_id)
            )

    def keep_all(self, now_s: float, until_s: float) -> None:
        """Let every row that counts at `now_s` count at least until `until_s`."""
        self._connection.execute(
            "UPDATE spent SET until_s = max(until_s, ?) WHERE until_s > ?", (until_s, now_s)
        )

    def drop_old(self, now_s: float) -> None:
        """Remove the rows that no longer count, except the one that names the boot."""
        self._connection.execute(
            "DELETE FROM spent WHERE until_s <= ? AND why <> ?", (now_s, Why.BOOT)
        )

    def drop(self, why: Why) -> None:
        """Remove the rows of this reason, in the transaction of `locked`."""
        self._connection.execute("DELETE FROM spent WHERE why = ?", (why,))

    def before(self, turn: Turn | None, now_s: float) -> Before:
        """The live requests before `turn`; without one, all that wait. For a `locked` block."""
        known = {"now": now_s, "begun": math.inf, "id": 0}
        if turn is not None:
            known |= {"begun": turn.begun_s, "id": turn.row_id}
        return Before(*self._connection.execute(_BEFORE, known).fetchone())

    def stand(self, turn: Turn | None, *, now_s: float, until_s: float) -> Turn:
        """Enter a waiting request, or renew its row: it is alive until `until_s`. In `locked`."""
        self._connection.execute("DELETE FROM waiting WHERE until_s <= ?", (now_s,))
        begun_s = now_s if turn is None else turn.begun_s
        row = {"boot": self._boot, "begun": begun_s, "until": until_s}
        if turn is not None:
            renewed = self._connection.execute(_RENEW, {**row, "id": turn.row_id})
            if renewed.rowcount:
                return turn
        return Turn(self._connection.execute(_ENTER, row).lastrowid or 0, begun_s)

    def leave(self, turn: Turn) -> None:
        """Take a request out of the line, in the transaction of `locked`."""
        self._connection.execute(_LEAVE, {"id": turn.row_id, "begun": turn.begun_s})

    def used(self, now_s: float) -> int:
        """How many requests the rows take from the budget."""
        with database_io("reading", self._path):
            rows = self._connection.execute(_USED, self._known(now_s))
            return int(rows.fetchone()[0])

    def spent(self, now_s: float) -> list[Spent]:
        """The rows that count, ordered by their end, the latest first."""
        with database_io("reading", self._path):
            rows = self._connection.execute(_SPENT, self._known(now_s))
            return [Spent(until_s, cost, _WHY[why]) for until_s, cost, why in rows if cost]

    def _known(self, now_s: float) -> dict[str, float | int | str]:
        return {"now": now_s, "unused": self._unused, "pace": Why.PACE.value}

    def _row(
        self, why: Why, now_s: float, until_s: float, cost: int = REQUESTS_PER_WINDOW_MAX
    ) -> Row:
        return (why, cost, self._boot, now_s, self._clock.wall_s(), until_s)

    def _prepare(self, *, durable: bool) -> None:
        """Before a transaction: open the file that is there, and say whether it is flushed."""
        if self._path is not None and _file_id(self._path) != self._opened:
            self._close()  # the file was removed or replaced while this process runs
            self._open()
        if durable != self._durable:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            self._durable = durable

    def _open(self) -> None:
        now_s = self._clock.monotonic_s()
        new = [self._row(Why.BOOT, now_s, 0.0)]
        if self._path is None:
            self._connection = open_in_memory(new)
        else:
            # The unreadable file may have held a whole budget, sent just now.
            replaced = self._row(Why.REPLACED, now_s, now_s + REQUEST_WINDOW_S)
            self._connection = open_file(self._path, new, [*new, replaced])
            self._opened = _file_id(self._path)
        self._close = weakref.finalize(self, self._connection.close)
        self._durable = None
        self._adopt()

    def _adopt(self) -> None:
        """Take over the rows of another boot. If there are any, send nothing for 300 s of boot."""
        with self.locked() as now_s:
            known = {"now": now_s, "wall": self._clock.wall_s(), "boot": self._boot}
            # The processes of another boot have ended. One that began in the future is of another.
            self._connection.execute(
                "DELETE FROM waiting WHERE boot <> ? OR begun_s > ?", (self._boot, now_s)
            )
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
