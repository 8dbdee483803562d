"""One request limiter for all that goes to one account, across processes and restarts.

The stamps of the last requests live in a small append-only file; a lock file beside it lets one
process at a time look and write. Stamps are not fsynced one by one: they survive any crash of
ours, and after a crash of the machine nothing leaves until the boot is five minutes old.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from migrate.cloudflare.budget.forecast import ROUNDING_S, last_answer_s
from migrate.cloudflare.budget.window import (
    FORMAT_LINE,
    UNKNOWN_BOOT,
    Kind,
    Now,
    Record,
    RequestWindow,
    Wait,
    adopt_record,
    decode_record,
    encode_record,
)
from migrate.errors import (
    BudgetExhaustedError,
    ForeignStateError,
    LocalStorageError,
    UsageError,
)
from migrate.model.limits import (
    REQUEST_WINDOW_S,
    REQUESTS_PER_WINDOW_MAX,
    RETRY_AFTER_S_MAX,
)
from migrate.model.stamps import clock_stamp
from migrate.ports import Clock, Progress
from migrate.storage.disk import disk
from migrate.storage.durable import is_file, local_io, make_folder, write_durably
from migrate.workers.ordered import check_wanted, wait_while_wanted

REQUESTS_MAX_DEFAULT = 900  # of the account's 1,200: the rest is for dashboards and deploys
FILE_BYTES_MAX = 256 * 1024  # then the stamps that no longer matter are dropped
QUIET_WAIT_S = 3.0  # shorter waits need no explanation
WAIT_PIECE_S = 60.0  # after each piece the file is looked at again: somebody may have been blocked
WAIT_S_MAX = 3_600.0  # then other processes are taking every free request
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """Names the running boot of this machine; "-" where the system does not tell."""
    try:
        return _BOOT_ID_FILE.read_text(encoding="ascii").strip() or UNKNOWN_BOOT
    except (OSError, ValueError):
        return UNKNOWN_BOOT


class RequestBudget:
    """At most `requests_max` requests in every sliding 300 s, whoever sends them from here."""

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Clock,
        requests_max: int = REQUESTS_MAX_DEFAULT,
        boot_id: Callable[[], str] = read_boot_id,
    ) -> None:
        """`path` is one file per account, shared by all processes; None keeps it in memory.

        Raises UsageError for a maximum outside 1..1200, LocalStorageError, ForeignStateError.
        """
        if not 0 < requests_max <= REQUESTS_PER_WINDOW_MAX:
            raise UsageError(
                f"limits.requests_per_5min is {requests_max}",
                remedy=f"choose 1 to {REQUESTS_PER_WINDOW_MAX}, what one account may send",
            )
        self.taken = 0  # requests let through by this object, for reports
        self._path = path
        self._clock = clock
        self._boot = boot_id()
        self._window = RequestWindow(requests_max)
        self._threads = threading.Lock()
        self._file_id: tuple[int, int] | None = None  # device and inode of what was read
        self._offset = 0  # bytes of the file that are in the window already
        self._in_flight = 0  # left and not answered yet
        self._holding = 0  # callers that wait for their turn
        self._held_since_s = self._held_s = 0.0
        self._told_until_s = 0.0
        if path is not None:
            make_folder(path.parent)
            with self._locked():
                pass  # a file of another format stops the run here, not in the middle

    def acquire(self, progress: Progress | None = None, *, within_s: float = 0.0) -> float:
        """Wait until a request may leave and count it. Call once per request, retries included.

        `within_s` is its deadline: after that it has arrived, or never will. Returns the moment of
        its departure, on the monotonic clock, for `release`, which is called when its answer is
        there, or none will come. Raises BudgetExhaustedError when the service asked for more
        silence than a run waits for, or when no turn came within an hour; LocalStorageError.
        """
        waited_s = 0.0
        while True:
            check_wanted()
            with self._locked() as now:
                wait = self._window.wait(now.monotonic_s)
                if wait.seconds <= 0:
                    self._record(Kind.REQUEST, now, seconds=within_s)
                    self.taken += 1
                    self._in_flight += 1
                    return now.monotonic_s
            self._check(wait, waited_s)
            if progress is not None:
                self._tell(wait, progress)
            piece_s = min(wait.seconds, WAIT_PIECE_S)
            with self._holding_back():
                wait_while_wanted(self._clock, piece_s)
            waited_s += piece_s
            if progress is not None:
                progress.advance(0)  # minutes without an answer: time for a word

    def release(self, departed_s: float | None = None) -> None:
        """A request that had its turn is answered, or failed.

        `departed_s` is what `acquire` returned for it. The answer is noted without the lock, as one
        short line at the end of the file, and counted when the file is read the next time; where
        that fails, the request counts until its deadline.
        """
        with self._threads:
            self._in_flight -= 1
            if departed_s is None:
                return
            now = self._now()
            record = Record(
                kind=Kind.ANSWER,
                boot=now.boot,
                monotonic_s=now.monotonic_s,
                wall_s=now.wall_s,
                seconds=now.monotonic_s - departed_s,
            )
            if self._path is None:
                self._window.add(record)
                return
            line = f"{encode_record(record)}\n".encode()
            with suppress(LocalStorageError, OSError), disk().open_to_append(self._path) as file:
                file.write(line)

    def held_s(self) -> float:
        """Seconds, so far, in which a request had to wait for its turn; several count once."""
        with self._threads:
            since_s = self._clock.monotonic_s() - self._held_since_s if self._holding else 0.0
            return self._held_s + since_s

    def left_s(self, requests: int, request_s: float) -> float:
        """Seconds until so many requests are answered, those in flight among them.

        `request_s` passes per request that may leave, measured over all in flight. What other
        processes have sent counts as of the last look at the file.
        """
        with self._threads:
            now_s = self._clock.monotonic_s()
            to_come = requests - self._in_flight
            if to_come <= 0:
                return requests * request_s
            return (
                last_answer_s(
                    self._window.holds(now_s),
                    requests=to_come,
                    requests_max=self._window.requests_max,
                    request_s=request_s,
                )
                - now_s
            )

    def block(self, seconds: float) -> None:
        """Nothing leaves for `seconds`, in any process: the service answered 429."""
        with self._locked() as now:
            self._record(Kind.BLOCK, now, seconds=seconds, durable=True)

    def note_remaining(self, left: int, seconds: float) -> bool:
        """The service said that `left` requests remain for `seconds`; True if that is news.

        Only ever shrinks the budget: the service's numbers do not track its own limit.
        """
        seconds = min(seconds, float(REQUEST_WINDOW_S))
        with self._threads:  # most answers are no news and need no look at the file
            if not self._window.is_news(left, self._clock.monotonic_s()):
                return False
        with self._locked() as now:
            if not self._window.is_news(left, now.monotonic_s):
                return False
            self._record(Kind.LEFT, now, seconds=seconds, count=left)
        return True

    @contextmanager
    def _holding_back(self) -> Iterator[None]:
        """Count the time, but not twice when several wait together."""
        with self._threads:
            if not self._holding:
                self._held_since_s = self._clock.monotonic_s()
            self._holding += 1
        try:
            yield
        finally:
            with self._threads:
                self._holding -= 1
                if not self._holding:
                    self._held_s += self._clock.monotonic_s() - self._held_since_s

    def _tell(self, wait: Wait, progress: Progress) -> None:
        """One line per wait, however many wait for the same moment."""
        with self._threads:
            until_s = self._clock.monotonic_s() + wait.seconds
            if wait.seconds <= QUIET_WAIT_S or until_s <= self._told_until_s + QUIET_WAIT_S:
                return
            self._told_until_s = until_s
            end = clock_stamp(self._clock.wall_s() + wait.seconds)
        progress.say(f"waiting {wait.seconds:.0f} s, until {end} UTC: {wait.reason}")

    def _check(self, wait: Wait, waited_s: float) -> None:
        if wait.blocked and wait.seconds > RETRY_AFTER_S_MAX + ROUNDING_S:
            raise BudgetExhaustedError(
                f"the service asked for {wait.seconds:.0f} s of silence",
                remedy=f"run the same command again in {wait.seconds / 60:.0f} minutes: it resumes",
            )
        if waited_s >= WAIT_S_MAX:
            raise BudgetExhaustedError(
                f"no request could leave for {waited_s:.0f} s: {wait.reason}",
                remedy="stop what else uses this account, then run the same command again",
            )

    @contextmanager
    def _locked(self) -> Iterator[Now]:
        """The clocks, read while nobody else looks or writes and the window is up to date."""
        with self._threads:
            if self._path is None:
                yield self._now()
                return
            lock = self._path.with_name(self._path.name + ".lock")
            with local_io("locking", lock):
                held = disk().lock(lock, wait=True)
            with held:
                self._refresh(self._path)
                if self._offset > FILE_BYTES_MAX:
                    self._rewrite(self._path)
                yield self._now()

    def _now(self) -> Now:
        return Now(
            boot=self._boot, monotonic_s=self._clock.monotonic_s(), wall_s=self._clock.wall_s()
        )

    def _record(
        self,
        kind: Kind,
        now: Now,
        *,
        seconds: float = 0.0,
        count: int = 0,
        durable: bool = False,
    ) -> None:
        """Write first, count after: what cannot be written must not be sent."""
        record = Record(
            kind=kind,
            boot=now.boot,
            monotonic_s=now.monotonic_s,
            wall_s=now.wall_s,
            seconds=seconds,
            count=count,
        )
        if self._path is not None:
            self._append(self._path, encode_record(record), durable=durable)
        self._window.add(record)

    def _append(self, path: Path, line: str, *, durable: bool) -> None:
        data = f"{line}\n".encode()
        with local_io("writing", path), disk().open_to_append(path) as file:
            if file.write(data) != len(data):
                self._file_id = None  # a torn line: read and written anew the next time
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durable:
                disk().sync(file)
            end = file.tell()
        self._offset += len(data)
        if end != self._offset:  # an answer of another process lies before it, not read yet
            self._file_id = None

    def _refresh(self, path: Path) -> None:
        """Take in what others wrote since; the whole file if it is another one than before."""
        if not is_file(path):
            self._rewrite(path)
            return
        with local_io("reading", path), disk().open_to_read(path) as file:
            found = os.fstat(file.fileno())
            file_id = (found.st_dev, found.st_ino)
            fresh = file_id != self._file_id or found.st_size < self._offset
            if not fresh and found.st_size == self._offset:
                return
            file.seek(0 if fresh else self._offset)
            text = file.read().decode("ascii", errors="replace")
        self._take_in(path, text, fresh=fresh)
        self._file_id, self._offset = file_id, found.st_size
        if self._worth_rewriting(text, fresh=fresh):
            self._rewrite(path)

    def _take_in(self, path: Path, text: str, *, fresh: bool) -> None:
        lines = text.split("\n")
        if fresh:
            if lines[0] != FORMAT_LINE:
                raise ForeignStateError(
                    f"{path} starts with {lines[0][:40]!a}, not with '{FORMAT_LINE}'",
                    remedy="use the q2v that wrote it, or remove it after five quiet minutes",
                )
            lines = lines[1:]
            self._window.requests.clear()
            self._window.unanswered.clear()
            self._window.rules.clear()
        now = self._now()
        for line in lines:
            if line:
                self._window.add(adopt_record(decode_record(line, now), now))
        self._window.forget(now.monotonic_s)

    def _worth_rewriting(self, text: str, *, fresh: bool) -> bool:
        """Damage and stamps of another boot are put right by writing the file anew."""
        torn = not text.endswith("\n")
        foreign = fresh and any(
            f" {self._boot} " not in line for line in text.split("\n")[1:] if line
        )
        return torn or foreign

    def _rewrite(self, path: Path) -> None:
        """Replace the file by the records that still matter, all of this boot."""
        now = self._now()
        self._window.forget(now.monotonic_s)
        stamps = [
            Record(kind=Kind.REQUEST, boot=now.boot, monotonic_s=stamp, wall_s=now.wall_s)
            for stamp in self._window.requests
        ]
        boot = Record(kind=Kind.BOOT, boot=now.boot, monotonic_s=now.monotonic_s, wall_s=now.wall_s)
        rules = [rule for rule in self._window.rules if rule.kind is not Kind.BOOT or rule.seconds]
        unanswered = self._window.unanswered
        lines = [FORMAT_LINE, *map(encode_record, [boot, *stamps, *unanswered, *rules])]
        content = "".join(f"{line}\n" for line in lines).encode()
        write_durably(path, content)
        with local_io("reading", path), disk().open_to_read(path) as file:
            found = os.fstat(file.fileno())
        self._file_id, self._offset = (found.st_dev, found.st_ino), len(content)
