"""Put the target back to what it was before a run: KV first, vectors after.

Every id and key is compared before it is touched. What holds neither our content nor the former
one was changed by somebody else since: it is kept, listed, and only forced by name.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from migrate.adapters.id_files import read_ids, write_ids
from migrate.adapters.id_table import IdTable
from migrate.adapters.pre_image_files import KvPreImage, VectorPreImage
from migrate.adapters.run_folder import ROLLBACK, RunFolder
from migrate.core.batching import encode_vector
from migrate.core.digest import digest_vectors
from migrate.core.journal import BatchRecord, Kind
from migrate.core.kv_entries import encode_counter_entry
from migrate.core.limits import (
    DELETE_IDS_MAX,
    FETCH_IDS_MAX,
    KV_KEYS_PER_DELETE_MAX,
    KV_TTL_S_MIN,
)
from migrate.core.model import Accepted, KvEntry, Vector, VectorId
from migrate.errors import IndeterminateError, RemoteUnavailableError
from migrate.ports import Clock, KvTarget, Progress, VectorTarget
from migrate.stages.kv_index import counter_value, expected_entries
from migrate.stages.listing import list_vectors
from migrate.stages.mapped import fill_id_table, read_mapped
from migrate.stages.refused import read_pre_images, unwritten_rows
from migrate.stages.settle import LastWrite, SettleRules, digest_vector, wait_until_processed
from reconcile.later_writes import check_consent, find_later_writes, write_later_writes
from reconcile.rollback_manifest import (
    RollbackManifest,
    check_manifest,
    read_kv,
    write_manifest,
)

KV_CHUNK = 1_000
KV_ATTEMPTS_MAX = 6
KV_RETRY_WAIT_S = 2.0
CONFLICTS = "conflicts.ids"


@dataclass(slots=True, kw_only=True)
class RollbackReport:
    """What a rollback would undo, or has undone."""

    run_id: str
    executed: bool
    already_done: bool = False
    vectors_deleted: int = 0  # or to be deleted
    vectors_restored: int = 0
    kv_deleted: int = 0
    kv_restored: int = 0
    conflicts: list[str] = field(default_factory=list)  # ids and keys that others changed
    later_writes: int = 0  # ids and keys that the target took since, left where they are
    later_writes_file: str = ""
    requests: int = 0  # estimate
    minutes: float = 0.0
    manifest: str = ""
    cannot_undo: tuple[str, ...] = ()
    commands_before: tuple[tuple[str, ...], ...] = ()
    commands_after: tuple[tuple[str, ...], ...] = ()


def preview(run: RunFolder, manifest: RollbackManifest) -> RollbackReport:
    """What `execute` would do, from the run's own files; asks no store."""
    check_manifest(run, manifest)
    path, _ = write_manifest(run, manifest)
    return RollbackReport(
        run_id=manifest.run_id,
        executed=False,
        already_done=run.state().rollback_completed,
        vectors_deleted=manifest.vectors_created,
        vectors_restored=manifest.vectors_overwritten,
        kv_deleted=manifest.kv_created,
        kv_restored=manifest.kv_overwritten,
        requests=manifest.requests,
        minutes=manifest.minutes,
        manifest=path,
        cannot_undo=manifest.cannot_undo,
        commands_before=manifest.commands_before,
        commands_after=manifest.commands_after,
    )


def execute(
    run: RunFolder,
    manifest: RollbackManifest,
    vector_target: VectorTarget,
    kv_target: KvTarget,
    *,
    forced: frozenset[str],
    leave_later_writes: bool = False,
    rules: SettleRules,
    clock: Clock,
    progress: Progress,
) -> RollbackReport:
    """Undo the run. Safe to repeat: after a crash, and after success (then nothing is sent).

    `forced` are ids and keys to put back although somebody else changed them. Raises
    PreconditionError, before anything is sent, when the target has taken new ids or keys since
    the run and `leave_later_writes` does not say that they may stay behind; IndeterminateError
    when the deletions do not become visible in time.
    """
    check_manifest(run, manifest)
    path, sha256 = write_manifest(run, manifest)
    report = RollbackReport(
        run_id=manifest.run_id,
        executed=True,
        manifest=path,
        cannot_undo=manifest.cannot_undo,
        commands_before=manifest.commands_before,
        commands_after=manifest.commands_after,
    )
    state = run.state()
    if state.rollback_completed and not (state.rollback_conflicts and forced):
        report.already_done = True
        report.conflicts = read_ids(run.path / ROLLBACK / CONFLICTS)
        return report
    written = state.vectors_written()
    # Else the run has changed nothing that anybody could have built upon.
    if written or state.kv_written():
        later = find_later_writes(run, vector_target, kv_target, clock=clock, progress=progress)
        report.later_writes = len(later)
        report.later_writes_file = write_later_writes(run, later)
        check_consent(later, report.later_writes_file, consent=leave_later_writes)
    run.journal.append({"type": Kind.ROLLBACK_OPENED.value, "manifest_sha256": sha256})
    if state.kv_written():
        _undo_kv(run, kv_target, report, forced, clock=clock, progress=progress)
    if written:
        undo = _VectorUndo(run, vector_target, report, forced)
        undo.run(written, progress)
        undo.settle(rules, clock=clock, progress=progress)
    write_ids(run.path / ROLLBACK / CONFLICTS, report.conflicts)
    run.journal.append({"type": Kind.ROLLBACK_COMPLETED.value, "conflicts": len(report.conflicts)})
    return report


def _undo_kv(
    run: RunFolder,
    target: KvTarget,
    report: RollbackReport,
    forced: frozenset[str],
    *,
    clock: Clock,
    progress: Progress,
) -> None:
    """The counter first, then the file entries: the reverse of how they were written.

    What reads as the former state is written all the same: the read may be stale, the write is
    absolute.
    """
    records = list(reversed(read_kv(run)))
    progress.start("undoing the KV index", total=len(records), unit="keys")
    ours = _our_values(run)
    pending = iter(records)
    while chunk := list(islice(pending, KV_CHUNK)):
        found = target.read([record.key for record in chunk])
        restored: list[KvEntry] = []
        deleted: list[str] = []
        for record in chunk:
            if _kv_conflict(record, found.get(record.key), ours) and record.key not in forced:
                report.conflicts.append(record.key)
                continue
            if record.former is None or _expired(record.former, clock):
                deleted.append(record.key)
            else:
                restored.append(record.former)
        _repeat_kv(target.write, restored, lambda entry: entry.key, clock=clock)
        for start in range(0, len(deleted), KV_KEYS_PER_DELETE_MAX):
            some = deleted[start : start + KV_KEYS_PER_DELETE_MAX]
            _repeat_kv(target.delete, some, lambda key: key, clock=clock)
        report.kv_restored += len(restored)
        report.kv_deleted += len(deleted)
        progress.advance(len(chunk))


def _our_values(run: RunFolder) -> dict[str, set[bytes]]:
    """Every value that the run may have written to a key.

    There are several where a repair was refused vectors: a file's entry is shorter after it. A
    file all of whose vectors were refused has none.
    """
    ours: dict[str, set[bytes]] = {}
    seen: set[frozenset[int]] = set()
    for round_ in run.state().rounds:
        excluded = run.excluded_rows(until_round=round_.ordinal)
        if excluded in seen:
            continue
        seen.add(excluded)
        with IdTable(run.spill) as table:
            fill_id_table(table, run.snapshot, run.plan.mapping, excluded)
            entries = list(expected_entries(run, table))
        value = counter_value(run, until_round=round_.ordinal)
        for entry in [*entries, encode_counter_entry(value, run.plan.writes)]:
            ours.setdefault(entry.key, set()).add(entry.value)
    return ours


def _kv_conflict(record: KvPreImage, found: KvEntry | None, ours: dict[str, set[bytes]]) -> bool:
    """Whether the key holds neither a value of ours nor the former one."""
    if found is None or found.value in ours.get(record.key, ()):
        return False
    return record.former is None or found.value != record.former.value


def _expired(entry: KvEntry, clock: Clock) -> bool:
    return entry.expiration is not None and entry.expiration < clock.wall_s() + KV_TTL_S_MIN


Item = TypeVar("Item")


def _repeat_kv(
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


class _VectorUndo:
    """Deletes what the run created and restores what it overwrote."""

    def __init__(
        self,
        run: RunFolder,
        target: VectorTarget,
        report: RollbackReport,
        forced: frozenset[str],
    ) -> None:
        self._run = run
        self._target = target
        self._report = report
        self._forced = forced
        self._deletes: list[VectorId] = []
        self._restores: list[Vector] = []
        self._last: Accepted | None = None
        # What the last writes must read back as: digest, or None for absent.
        self._witnesses: dict[VectorId, bytes | None] = {}
        self._touched: list[tuple[int, int]] = []  # rows of written batches: first, end

    def run(self, written: list[BatchRecord], progress: Progress) -> None:
        """Compare and undo every vector that may have been written."""
        touched = self._touched = [(batch.first, batch.end) for batch in written]
        total = sum(batch.count for batch in written)
        progress.start("undoing vectors", total=total, unit="vectors")
        records = self._touched_records(touched)
        while chunk := list(islice(records, FETCH_IDS_MAX)):
            found = self._target.fetch([record.vector_id for record, _ in chunk])
            for record, ours in chunk:
                self._decide(record, ours, found.get(record.vector_id))
            if len(self._deletes) >= DELETE_IDS_MAX:
                self._send_deletes()
            if len(self._restores) >= DELETE_IDS_MAX:
                self._send_restores()
            progress.advance(len(chunk))
        self._send_restores()
        self._send_deletes()

    def _touched_records(
        self, touched: list[tuple[int, int]]
    ) -> Iterator[tuple[VectorPreImage, bytes]]:
        """Pre-image and our digest of every row in a written batch, in row order.

        A row that was refused before any write of it was taken is not looked at: no write of
        ours had an effect there, and putting its former content back might be refused as well.
        """
        run, unwritten = self._run, unwritten_rows(self._run)
        first, end = min(start for start, _ in touched), max(stop for _, stop in touched)
        former = (record for record in read_pre_images(run) if first <= record.row < end)
        for rows in read_mapped(
            run.snapshot,
            run.plan.mapping,
            run.plan.values,
            run.planned_exclusions(),  # the pre-images were taken before anything was refused
            first_row=first,
            end_row=end,
        ):
            assert rows.values is not None
            for digest in digest_vectors(rows.ids, rows.values, rows.metadata):
                record = next(former)
                if record.row not in unwritten and self._is_touched(record.row):
                    yield record, digest

    def _is_touched(self, row: int) -> bool:
        return any(start <= row < stop for start, stop in self._touched)

    def _decide(self, record: VectorPreImage, ours: bytes, found: Vector | None) -> None:
        """Undo, unless somebody else has written this id since.

        An id that reads as absent, or as it was before, is undone all the same: the read may be
        stale, and deleting what is not there is harmless.
        """
        digest = None if found is None else digest_vector(found)
        former = None if record.former is None else digest_vector(record.former)
        foreign = digest is not None and digest not in {ours, former}
        if foreign and record.vector_id not in self._forced:
            self._report.conflicts.append(record.vector_id)
        elif record.former is None:
            self._deletes.append(record.vector_id)
        else:
            self._restores.append(record.former)

    def _send_restores(self) -> None:
        if self._restores:
            self._last = self._target.upsert([encode_vector(vector) for vector in self._restores])
            self._report.vectors_restored += len(self._restores)
            self._witness((vector.id, digest_vector(vector)) for vector in self._restores)
            self._restores = []

    def _send_deletes(self) -> None:
        while self._deletes:
            some, self._deletes = self._deletes[:DELETE_IDS_MAX], self._deletes[DELETE_IDS_MAX:]
            self._last = self._target.delete(some)
            self._report.vectors_deleted += len(some)
            self._witness((vector_id, None) for vector_id in some)

    def _witness(self, written: Iterable[tuple[VectorId, bytes | None]]) -> None:
        """Keep the last few writes of each kind to look at when settling."""
        some = dict(written)
        keep = dict(list(self._witnesses.items())[-FETCH_IDS_MAX // 2 :])
        self._witnesses = {**keep, **dict(list(some.items())[-FETCH_IDS_MAX // 2 :])}

    def settle(self, rules: SettleRules, *, clock: Clock, progress: Progress) -> None:
        """Wait until the last writes are visible, then look for left-overs in a full listing."""
        if self._last is None:
            return
        last = LastWrite(
            mutation_id=self._last.mutation_id,
            server_date=self._last.server_date,
            vectors=self._report.vectors_deleted + self._report.vectors_restored,
        )
        wait_until_processed(
            self._target, last, self._witnesses, rules, clock=clock, progress=progress
        )
        self._check_listing(rules, clock=clock, progress=progress)

    def _check_listing(self, rules: SettleRules, *, clock: Clock, progress: Progress) -> None:
        run = self._run
        former = frozenset(
            record.vector_id for record in read_pre_images(run) if record.former is not None
        )
        kept = former | frozenset(self._report.conflicts)
        left: list[VectorId] = []
        with IdTable(run.spill) as table:
            excluded = run.excluded_rows(until_round=0)
            fill_id_table(table, run.snapshot, run.plan.mapping, excluded)
            for _ in range(KV_ATTEMPTS_MAX):
                list_vectors(table, self._target, clock=clock, progress=progress)
                listed = table.listed_vectors()
                left = [id_ for row, id_ in listed if self._is_touched(row) and id_ not in kept]
                if not left:
                    return
                clock.wait(rules.poll_s)
        raise IndeterminateError(
            f"{len(left)} deleted vectors are still listed, among them '{left[0]}'",
            remedy="run the same command again: it goes on where this one ended",
        )
