"""Restore the keys of a run to their former state: the counter first, then the file entries."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import TypeVar

from migrate.errors import RemoteUnavailableError
from migrate.mapping.kv_entries import encode_counter_entry, key_prefix
from migrate.model.limits import KV_KEYS_PER_DELETE_MAX, KV_TTL_S_MIN
from migrate.model.records import KvEntry
from migrate.plan.request_counts import KV_KEYS_PER_UNDO, undo_kv_requests
from migrate.ports import KvTarget
from migrate.run.files import open_files
from migrate.run.folder import RunFolder
from migrate.run.pre_image_files import KvPreImage
from migrate.runtime import Runtime
from migrate.upload.kv_index import (
    WRITE_ATTEMPTS_MAX,
    counter_value,
    expected_entries,
    send_until_all_succeed,
)
from migrate.upload.listing import list_keys
from migrate.words import counted, subject
from migrate.workers.repeat import doubling, refine_until
from reconcile.differences import VALUE, Differences, Named, entry_differences
from reconcile.naming import NAMED_MAX
from reconcile.rollback.manifest import read_kv
from reconcile.rollback.report import (
    FEW_CANDIDATES,
    PASSES_MAX,
    RollbackReport,
    UndoRules,
    UndoScope,
)

Item = TypeVar("Item")


def undo_kv(
    run: RunFolder,
    target: KvTarget,
    report: RollbackReport,
    rules: UndoRules,
    runtime: Runtime,
    *,
    scope: UndoScope,
    only: frozenset[str] | None = None,
) -> None:
    """Undo the counter first, then the file entries: the reverse of the order of the writes.

    `only`: compare and undo these keys alone.
    A key that reads as its former state is written anyway, because the read may be stale. A key
    that another writer seems to have changed is read again, after pauses, before it is a conflict.
    Updates `report`. Raises RemoteUnavailableError when a key cannot be written.
    """
    undo = _KvUndo(run, target, report, scope, runtime)
    # A run of an earlier version may have planned the counter's key as the key of a file too.
    records = list({record.key: record for record in reversed(read_kv(run))}.values())
    if only is not None:
        records = [record for record in records if record.key in only]
    runtime.progress.start(
        "undoing the KV index",
        total=len(records),
        unit="keys",
        requests=undo_kv_requests(len(records)),
    )
    candidates = refine_until(
        lambda: undo.pass_over(records, advance=runtime.progress.advance),
        undo.pass_over,
        lambda before, found: not found or len(found) > FEW_CANDIDATES or found == before,
        doubling(rules.kv_settle_s, times=PASSES_MAX - 1),
        clock=runtime.clock,
        before_pause=lambda found, pause_s: runtime.progress.say(
            f"{subject(len(found), 'key', 'seems')} changed by another writer: reading again in "
            f"{pause_s:.0f} s"
        ),
    )
    report.conflicts += [record.key for record in candidates]
    report.differs |= {record.key: undo.differs[record.key] for record in candidates[:NAMED_MAX]}


class _KvUndo:
    """Compares keys with what the run wrote, and undoes those that no other writer has changed."""

    def __init__(
        self,
        run: RunFolder,
        target: KvTarget,
        report: RollbackReport,
        scope: UndoScope,
        runtime: Runtime,
    ) -> None:
        self.differs: Named = {}  # key -> what differs from the entry of the run
        self._run = run
        self._ours = our_entries(run)
        self._target = target
        self._report = report
        self._forced = scope.forced
        self._older = scope.older
        self._runtime = runtime

    def pass_over(
        self, records: Iterable[KvPreImage], *, advance: Callable[[int], None] = lambda _: None
    ) -> list[KvPreImage]:
        """Undo these keys; returns those that another writer seems to have changed."""
        candidates: list[KvPreImage] = []
        pending = iter(records)
        listed = self._listed()
        while chunk := list(islice(pending, KV_KEYS_PER_UNDO)):
            values = self._target.read([record.key for record in chunk])
            mine: list[KvPreImage] = []
            for record in chunk:
                what = self._foreign(record, values.get(record.key), listed)
                self.differs[record.key] = what
                kept = what and record.key not in self._forced
                (candidates if kept else mine).append(record)
            self._undo(mine)
            advance(len(chunk))
        return candidates

    def _listed(self) -> dict[str, int | None]:
        """Key -> expiration, for every listed key under the prefix and for the counter."""
        prefixes = (key_prefix(self._run.plan.mapping), self._run.plan.writes.counter_key)
        return {
            entry.key: entry.expiration
            for prefix in prefixes
            for entry in list_keys(self._target, prefix, self._runtime)
        }

    def _foreign(
        self, record: KvPreImage, value: KvEntry | None, listed: dict[str, int | None]
    ) -> Differences:
        """What differs from the entry of the run; empty if the key holds it or its former state.

        Also empty for a state from before an earlier run of the chain: a stale read may have made
        it the pre-image of a later one, whose rollback has then put it there.
        A key that reads as absent is not foreign. A key that is not listed was most likely deleted
        by an earlier call; only its value and metadata are compared.
        """
        if value is None:
            return ()

        def compare(entry: KvEntry) -> Differences:
            expiration = listed.get(record.key, entry.expiration)
            return entry_differences(entry, replace(value, expiration=expiration))

        if record.former is not None and not compare(record.former):
            return ()
        # Of several entries that the run may have written, name the fewest differences.
        found = min(map(compare, self._ours.get(record.key, ())), key=len, default=(VALUE,))
        if found and not all(map(compare, self._before.get(record.key, ()))):
            return ()
        return found

    @cached_property
    def _before(self) -> dict[str, list[KvEntry]]:
        """Key -> every state that the runs before this one have left or found."""
        return entries_of(self._older)

    def _undo(self, records: list[KvPreImage]) -> None:
        restored: list[KvEntry] = []
        deleted: list[str] = []
        for record in records:
            if record.former is None or self._is_expired(record.former):
                deleted.append(record.key)
            else:
                restored.append(record.former)
        self._send(self._target.write, restored, lambda entry: entry.key)
        for start in range(0, len(deleted), KV_KEYS_PER_DELETE_MAX):
            some = deleted[start : start + KV_KEYS_PER_DELETE_MAX]
            self._send(self._target.delete, some, lambda key: key)
        self._report.kv_restored += len(restored)
        self._report.kv_deleted += len(deleted)

    def _send(
        self,
        send: Callable[[Sequence[Item]], list[str]],
        items: Sequence[Item],
        key_of: Callable[[Item], str],
    ) -> None:
        failed = send_until_all_succeed(send, items, key_of, clock=self._runtime.clock)
        if failed:
            raise RemoteUnavailableError(
                f"{counted(len(failed), 'KV key')} failed {WRITE_ATTEMPTS_MAX} times, among them "
                f"'{key_of(failed[0])}'",
                remedy="run the same command again: it undoes the remaining keys",
            )

    def _is_expired(self, entry: KvEntry) -> bool:
        """Whether the service would refuse the entry as expired, by the clock of the service."""
        if entry.expiration is None:
            return False
        service_s = self._target.service_wall_s()
        now_s = self._runtime.clock.wall_s() if service_s is None else service_s
        return entry.expiration < now_s + KV_TTL_S_MIN


def entries_of(runs: Sequence[RunFolder]) -> dict[str, list[KvEntry]]:
    """Key -> every entry that one of these runs has left there or found there."""
    found: defaultdict[str, list[KvEntry]] = defaultdict(list)
    for run in runs:
        for key, entries in our_entries(run).items():
            found[key] += entries
        for record in read_kv(run):
            if record.former is not None:
                found[record.key].append(record.former)
    return found


def our_entries(run: RunFolder) -> dict[str, list[KvEntry]]:
    """Key of a file, or of the counter -> every entry that the run may have written to it.

    There are several if vectors were refused in a repair, since the file's entry is shorter after
    it. A file has none if all its vectors were refused.
    """
    ours: dict[str, list[KvEntry]] = {}
    seen: set[frozenset[int]] = set()
    for write_round in run.state().rounds:
        refused = run.refused_rows(until_round=write_round.ordinal)
        if refused in seen:
            continue
        seen.add(refused)
        with open_files(run, until_round=write_round.ordinal) as files:
            entries = list(expected_entries(run, files))
        value = counter_value(run, until_round=write_round.ordinal)
        for entry in [*entries, encode_counter_entry(value, run.plan.writes)]:
            ours.setdefault(entry.key, []).append(entry)
    return ours
