"""Put the keys of a run back to what they were: the counter first, then the file entries."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from migrate.adapters.pre_image_files import KvPreImage
from migrate.adapters.run_folder import RunFolder
from migrate.core.kv_entries import encode_counter_entry
from migrate.core.limits import KV_KEYS_PER_DELETE_MAX, KV_TTL_S_MIN
from migrate.core.model import KvEntry
from migrate.core.request_counts import KV_KEYS_PER_UNDO, undo_kv_requests
from migrate.errors import RemoteUnavailableError
from migrate.ports import Clock, KvTarget, Progress
from migrate.stages.kv_index import counter_value, expected_entries
from migrate.stages.run_files import open_files
from reconcile.rollback_manifest import read_kv
from reconcile.undo_report import FEW_SUSPECTS, LOOKS_MAX, RollbackReport, UndoRules

KV_ATTEMPTS_MAX = 6
KV_RETRY_WAIT_S = 2.0


def undo_kv(
    run: RunFolder,
    target: KvTarget,
    report: RollbackReport,
    forced: frozenset[str],
    rules: UndoRules,
    *,
    clock: Clock,
    progress: Progress,
) -> None:
    """The counter first, then the file entries: the reverse of how they were written.

    What reads as the former state is written all the same: the read may be stale, the write is
    absolute. What reads as somebody else's may be stale too: it is read again before it counts.
    """
    undo = _KvUndo(run, target, report, forced, clock=clock)
    # A run of an earlier version may have planned the counter's key as the key of a file too.
    records = list({record.key: record for record in reversed(read_kv(run))}.values())
    progress.start(
        "undoing the KV index",
        total=len(records),
        unit="keys",
        requests=undo_kv_requests(len(records)),
    )
    suspects = undo.pass_over(records, advance=progress.advance)
    pause = rules.kv_settle_s
    for _ in range(LOOKS_MAX - 1):
        if not suspects or len(suspects) > FEW_SUSPECTS:
            break
        progress.say(f"{len(suspects)} keys read as changed by others: again in {pause:.0f} s")
        clock.wait(pause)
        pause *= 2
        before, suspects = suspects, undo.pass_over(suspects)
        if before == suspects:
            break
    report.conflicts += [record.key for record in suspects]


class _KvUndo:
    """Compares keys with what the run wrote, and undoes those that are still its own."""

    def __init__(
        self,
        run: RunFolder,
        target: KvTarget,
        report: RollbackReport,
        forced: frozenset[str],
        *,
        clock: Clock,
    ) -> None:
        self._ours = _our_values(run)
        self._target = target
        self._report = report
        self._forced = forced
        self._clock = clock

    def pass_over(
        self, records: Iterable[KvPreImage], *, advance: Callable[[int], None] = lambda _: None
    ) -> list[KvPreImage]:
        """Undo these keys; returned are the ones that read as somebody else's."""
        suspects: list[KvPreImage] = []
        pending = iter(records)
        while chunk := list(islice(pending, KV_KEYS_PER_UNDO)):
            found = self._target.read([record.key for record in chunk])
            mine: list[KvPreImage] = []
            for record in chunk:
                foreign = _is_foreign(record, found.get(record.key), self._ours)
                kept = foreign and record.key not in self._forced
                (suspects if kept else mine).append(record)
            self._undo(mine)
            advance(len(chunk))
        return suspects

    def _undo(self, records: list[KvPreImage]) -> None:
        restored: list[KvEntry] = []
        deleted: list[str] = []
        for record in records:
            if record.former is None or self._is_expired(record.former):
                deleted.append(record.key)
            else:
                restored.append(record.former)
        _repeat(self._target.write, restored, lambda entry: entry.key, clock=self._clock)
        for start in range(0, len(deleted), KV_KEYS_PER_DELETE_MAX):
            some = deleted[start : start + KV_KEYS_PER_DELETE_MAX]
            _repeat(self._target.delete, some, lambda key: key, clock=self._clock)
        self._report.kv_restored += len(restored)
        self._report.kv_deleted += len(deleted)

    def _is_expired(self, entry: KvEntry) -> bool:
        """Whether the service would not take the entry any more, by its own clock."""
        if entry.expiration is None:
            return False
        service_s = self._target.service_wall_s()
        now_s = self._clock.wall_s() if service_s is None else service_s
        return entry.expiration < now_s + KV_TTL_S_MIN


def _our_values(run: RunFolder) -> dict[str, set[bytes]]:
    """Every value that the run may have written to a key.

    There are several where a repair was refused vectors: a file's entry is shorter after it. A
    file all of whose vectors were refused has none.
    """
    ours: dict[str, set[bytes]] = {}
    seen: set[frozenset[int]] = set()
    for round_ in run.state().rounds:
        refused = run.refused_rows(until_round=round_.ordinal)
        if refused in seen:
            continue
        seen.add(refused)
        with open_files(run, until_round=round_.ordinal) as files:
            entries = list(expected_entries(run, files))
        value = counter_value(run, until_round=round_.ordinal)
        for entry in [*entries, encode_counter_entry(value, run.plan.writes)]:
            ours.setdefault(entry.key, set()).add(entry.value)
    return ours


def _is_foreign(record: KvPreImage, found: KvEntry | None, ours: dict[str, set[bytes]]) -> bool:
    """Whether the key holds neither a value of ours nor the former one."""
    if found is None or found.value in ours.get(record.key, ()):
        return False
    return record.former is None or found.value != record.former.value


Item = TypeVar("Item")


def _repeat(
    send: Callable[[Sequence[Item]], list[str]],
    items: Sequence[Item],
    key: Callable[[Item], str],
    *,
    clock: Clock,
) -> None:
    """Send, then send exactly what did not succeed, until all did."""
    wanted = list(items)
    for attempt in range(KV_ATTEMPTS_MAX):
        if not wanted:
            return
        if attempt:
            clock.wait(KV_RETRY_WAIT_S * 2 ** (attempt - 1))
        failed = set(send(wanted))
        wanted = [item for item in wanted if key(item) in failed]
    if wanted:
        raise RemoteUnavailableError(
            f"{len(wanted)} KV keys failed {KV_ATTEMPTS_MAX} times, among them '{key(wanted[0])}'",
            remedy="run the same command again: it undoes what is left",
        )
