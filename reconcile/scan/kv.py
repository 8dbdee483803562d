"""Read the KV index and the counter and compare them with what the vectors require.

KV is eventually consistent, for absent keys too. A difference is reported only when a pass after
the settling time finds it again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from migrate.mapping.kv_entries import decode_file_value, encode_counter_entry
from migrate.model.limits import KV_READ_KEYS_MAX
from migrate.model.records import KvEntry
from migrate.plan.request_counts import kv_compare_requests
from migrate.ports import KvTarget
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.tables.files import FileTable
from migrate.upload.kv_index import expected_entries
from migrate.upload.listing import list_keys, list_own_keys
from migrate.workers.repeat import doubling, refine_until
from reconcile.differences import (
    METADATA,
    OF_OTHERS,
    VALUE,
    Differences,
    Named,
    entry_differences,
)
from reconcile.naming import NAMED_MAX
from reconcile.others import Others

PASSES_MAX = 3
SETTLE_S_MAX = 180.0  # docs/services.md, Mutations: growing pauses up to three minutes


@dataclass(slots=True)
class KvScan:
    """The differences between the KV namespace and what it should hold."""

    ids: int = 0  # vector ids in all entries of the run that could be read
    counter: int | None = None  # as read; None = absent or not a number
    counter_expected: int = 0
    counter_differs: Differences = ()
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)  # can be read but are not listed
    unreadable: list[str] = field(default_factory=list)  # listed, but a read returns nothing
    # Keys with metadata or an expiration that the run does not write; the counter's key included.
    foreign: list[str] = field(default_factory=list)
    differs: Named = field(
        default_factory=dict
    )  # key -> names of what differs, for the first 1,000

    @property
    def counter_drift(self) -> int:
        """1 when the counter has another value, metadata or expiration than expected, else 0."""
        return int(bool(self.counter_differs))

    @property
    def contradictions(self) -> int:
        """Number of keys for which the listing and a read contradict each other."""
        return len(self.unlisted) + len(self.unreadable)

    def is_equal(self) -> bool:
        """Whether there is neither a difference nor a contradiction."""
        differing = self.missing or self.extra or self.mismatched or self.counter_drift
        return not differing and not self.contradictions


def scan_kv(
    run: RunFolder,
    others: Others,
    table: FileTable,
    target: KvTarget,
    runtime: Runtime,
    *,
    elsewhere: int,
    settle_s: float,
) -> KvScan:
    """Compare every key and value under the run's prefix, and the counter.

    `table` holds the run's files, `others` what may be there beside them. The counter
    counts `elsewhere` vectors that are not the run's. If anything differs, the
    comparison is repeated after `settle_s` seconds, doubling, until two passes agree or three have
    been made; returns the last one.
    """
    files = table.count_files()
    requests = kv_compare_requests(files)

    def scan_once() -> KvScan:
        # Each pass counts from 0: over all of them the share would pass 100 %.
        runtime.progress.start("reading the KV index", total=files, unit="files", requests=requests)
        return _scan_once(run, others, table, target, runtime, elsewhere=elsewhere)

    return refine_until(
        scan_once,
        lambda _: scan_once(),
        lambda before, scan: scan.is_equal() or scan == before,
        doubling(settle_s, times=PASSES_MAX - 1, max_s=SETTLE_S_MAX),
        clock=runtime.clock,
        before_pause=lambda _, pause_s: runtime.progress.say(
            f"the KV index differs: reading it again in {pause_s:.0f} s"
        ),
    )


def _scan_once(
    run: RunFolder,
    others: Others,
    table: FileTable,
    target: KvTarget,
    runtime: Runtime,
    *,
    elsewhere: int,
) -> KvScan:
    plan = run.plan
    scan = KvScan(counter_expected=run.vectors + elsewhere)
    counter_key = plan.writes.counter_key
    entries_listed = list_own_keys(target, plan, runtime)
    listed = {entry.key: entry.expiration for entry in entries_listed}
    table.clear_listed_keys()
    table.add_listed_keys(entries_listed)
    known = others.keys | {counter_key}
    scan.extra = [
        key
        for key in table.keys_elsewhere(plan.mapping.key_template, plan.mapping.group_key)
        if key not in known
    ]
    for entries in _chunks(expected_entries(run, table)):
        found = target.read([entry.key for entry in entries])
        for entry in entries:
            _compare(scan, entry, found.get(entry.key), listed)
        runtime.progress.advance(len(entries))
    counter = target.read([counter_key]).get(counter_key)
    listed |= {entry.key: entry.expiration for entry in list_keys(target, counter_key, runtime)}
    _compare_counter(scan, run, counter, listed)
    return scan


def _chunks(entries: Iterator[KvEntry]) -> Iterator[list[KvEntry]]:
    while chunk := list(islice(entries, KV_READ_KEYS_MAX)):
        yield chunk


Listed = dict[str, int | None]  # key -> expiration


def _compare(scan: KvScan, entry: KvEntry, found: KvEntry | None, listed: Listed) -> None:
    if found is None:
        (scan.unreadable if entry.key in listed else scan.missing).append(entry.key)
        return
    scan.ids += len(decode_file_value(found.value) or ())
    what = _differences(scan, entry, found, listed)
    if what:
        scan.mismatched.append(entry.key)


def _compare_counter(scan: KvScan, run: RunFolder, found: KvEntry | None, listed: Listed) -> None:
    expected = encode_counter_entry(scan.counter_expected, run.plan.writes)
    if found is None and expected.key in listed:
        scan.unreadable.append(expected.key)
    elif found is None:
        scan.counter_differs = (VALUE,)
    else:
        scan.counter = _number(found)
        scan.counter_differs = _differences(scan, expected, found, listed)


def _differences(scan: KvScan, entry: KvEntry, found: KvEntry, listed: Listed) -> Differences:
    """Names of what differs. The expiration comes from the listing, and is not compared without."""
    if entry.key not in listed:
        scan.unlisted.append(entry.key)
    expiration = listed.get(entry.key, entry.expiration)
    what = entry_differences(entry, replace(found, expiration=expiration))
    if what and len(scan.differs) < NAMED_MAX:
        scan.differs[entry.key] = what
    of_others = OF_OTHERS - {METADATA} if entry.metadata is not None else OF_OTHERS
    if not of_others.isdisjoint(what):
        scan.foreign.append(entry.key)
    return what


def _number(entry: KvEntry) -> int | None:
    # Only the form that q2v writes; `int` would also accept "4_2" and " 42".
    if not entry.value.isdigit() or str(int(entry.value)).encode() != entry.value:
        return None
    return int(entry.value)
