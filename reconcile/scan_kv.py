"""Read the KV index and the counter and compare them with what the vectors call for.

KV is eventually consistent, absences included: a difference counts only when it is still there
after the settling time, on reads of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from migrate.adapters.file_table import FileTable
from migrate.adapters.run_folder import RunFolder
from migrate.core.canonical import decode_json
from migrate.core.kv_entries import key_prefix
from migrate.core.limits import KV_READ_KEYS_MAX
from migrate.core.model import KvEntry
from migrate.core.request_counts import kv_compare_requests
from migrate.ports import Clock, KvTarget, Progress
from migrate.stages.kv_index import counter_value, expected_entries
from migrate.stages.listing import list_keys
from reconcile.rollback_manifest import read_foreign_keys

LOOKS_MAX = 3
SETTLE_S_MAX = 180.0  # contract section 9: growing pauses up to three minutes


@dataclass(slots=True)
class KvScan:
    """What the KV namespace holds, compared with what it should hold."""

    ids: int = 0  # vector ids over all entries of ours that could be read
    counter: int | None = None  # as found; None = absent or no number
    counter_expected: int = 0
    counter_expires: bool = False  # it would vanish one day while the vectors stay
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    @property
    def counter_drift(self) -> int:
        """1 when the counter is not the expected number, or will not stay."""
        return int(self.counter != self.counter_expected or self.counter_expires)

    def differs(self) -> bool:
        """Whether anything is not as expected."""
        return bool(self.missing or self.extra or self.mismatched or self.counter_drift)


def scan_kv(
    run: RunFolder,
    table: FileTable,
    target: KvTarget,
    *,
    settle_s: float,
    clock: Clock,
    progress: Progress,
) -> KvScan:
    """Compare every key and value under the run's prefix, and the counter.

    `table` holds the run's files. With differences, looks again after `settle_s`, growing, at most
    three times in all; what is seen last counts.
    """
    files = table.count_files()
    requests = kv_compare_requests(files)
    progress.start("reading the KV index", total=files, unit="files", requests=requests)
    foreign = read_foreign_keys(run)
    scan = _look(run, table, target, foreign, clock=clock, progress=progress)
    pause = settle_s
    for _ in range(LOOKS_MAX - 1):
        if not scan.differs():
            break
        progress.say(f"the KV index differs at first sight: looking again in {pause:.0f} s")
        clock.wait(pause)
        pause = min(SETTLE_S_MAX, pause * 2)
        before, scan = scan, _look(run, table, target, foreign, clock=clock, progress=progress)
        if before == scan:
            break
    return scan


def _look(
    run: RunFolder,
    table: FileTable,
    target: KvTarget,
    foreign: frozenset[str],
    *,
    clock: Clock,
    progress: Progress,
) -> KvScan:
    plan = run.plan
    scan = KvScan(counter_expected=counter_value(run))
    table.clear_listed_keys()
    table.add_listed_keys(
        list_keys(target, key_prefix(plan.mapping), clock=clock, progress=progress)
    )
    known = foreign | {plan.writes.counter_key}
    scan.extra = [
        key
        for key in table.keys_elsewhere(plan.mapping.key_template, plan.mapping.group_key)
        if key not in known
    ]
    # An entry that expires would vanish one day while its vectors stay.
    expiring = frozenset(table.keys_expiring()) if plan.writes.ttl_s is None else frozenset()
    for entries in _chunks(expected_entries(run, table)):
        found = target.read([entry.key for entry in entries])
        for entry in entries:
            _compare(scan, entry, found.get(entry.key), expires=entry.key in expiring)
        progress.advance(len(entries))
    counter_key = plan.writes.counter_key
    scan.counter = _read_counter(target, counter_key)
    scan.counter_expires = any(
        entry.key == counter_key and entry.expiration is not None
        for entry in list_keys(target, counter_key, clock=clock, progress=progress)
    )
    return scan


def _chunks(entries: Iterator[KvEntry]) -> Iterator[list[KvEntry]]:
    while chunk := list(islice(entries, KV_READ_KEYS_MAX)):
        yield chunk


def _compare(scan: KvScan, entry: KvEntry, found: KvEntry | None, *, expires: bool) -> None:
    if found is None:
        scan.missing.append(entry.key)
        return
    ids = _ids(found.value)
    scan.ids += len(ids or ())
    if expires or ids is None or ids != _ids(entry.value):
        scan.mismatched.append(entry.key)


def _ids(value: bytes) -> list[object] | None:
    """The list in a value, None when it holds none."""
    try:
        ids = decode_json(value)
    except ValueError:
        return None
    return ids if isinstance(ids, list) else None


def _read_counter(target: KvTarget, key: str) -> int | None:
    entry = target.read([key]).get(key)
    if entry is None:
        return None
    # As we write it, and nothing that only Python reads as a number ("4_2", " 42").
    if not entry.value.isdigit() or str(int(entry.value)).encode() != entry.value:
        return None
    return int(entry.value)
