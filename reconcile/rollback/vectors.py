"""Restore the vectors of a run to their former state, and check the result."""

import operator
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import cached_property
from itertools import islice

from migrate.errors import IndeterminateError
from migrate.mapping.upload_body import encode_vector
from migrate.model.digest import digest_vector
from migrate.model.limits import DELETE_IDS_MAX, FETCH_IDS_MAX
from migrate.model.records import Accepted, MutationId, Vector, VectorId
from migrate.plan.request_counts import undo_vector_requests
from migrate.ports import VectorTarget
from migrate.run.folder import RunFolder
from migrate.run.journal import BatchRecord, Kind, Undone
from migrate.run.pre_image_files import VectorPreImage
from migrate.run.refused_vectors import read_pre_images, unwritten_rows
from migrate.runtime import Runtime
from migrate.tables.target_ids import ID_COLUMNS, ListedIds
from migrate.upload.listing import list_vectors
from migrate.upload.removal import former_digests, kept_removals, read_removed
from migrate.upload.settle import LastWrite, wait_until_processed
from migrate.words import subject
from migrate.workers.ordered import in_order
from migrate.workers.repeat import doubling, refine_until, repeat_until
from reconcile.naming import name_vector_differences
from reconcile.rollback.report import (
    FEW_CANDIDATES,
    PASSES_MAX,
    RollbackReport,
    UndoRules,
    UndoScope,
)

LISTINGS_MAX = 6  # a listing may contain a deleted vector for some time
_Compared = tuple[VectorPreImage, bytes]  # the pre-image, and the digest of the vector of the run


class VectorUndo:
    """Deletes what the run created and restores what it overwrote."""

    def __init__(
        self,
        run: RunFolder,
        target: VectorTarget,
        report: RollbackReport,
        rules: UndoRules,
        runtime: Runtime,
        *,
        scope: UndoScope,
        only: frozenset[str] | None = None,
    ) -> None:
        """`only`: compare and undo these ids alone."""
        self._run = run
        self._only = only
        self._target = target
        self._report = report
        self._forced = scope.forced
        self._older = scope.older
        self._rules = rules
        self._runtime = runtime
        self._deletes: list[VectorId] = []
        self._restores: list[Vector] = []
        self._last: Accepted | None = None
        # Vector id -> digest that the last writes must read back as, or None for absent.
        self._evidence: dict[VectorId, bytes | None] = {}
        self._touched: list[tuple[int, int]] = []  # rows of written batches: first, end
        self._undone: Undone | None = None  # by an attempt that was interrupted

    def undo_batches(self, written: list[BatchRecord]) -> None:
        """Compare and undo every vector of these batches, and wait until it is visible.

        A vector that another writer seems to have changed is read again, after pauses that double,
        before it is a conflict, because the read may be stale. What an attempt that was interrupted
        has undone is not compared again, unless it is listed at the end. Raises IndeterminateError
        when the deletions do not become visible in time.
        """
        self._touched = [(batch.first, batch.end) for batch in written]
        if self._only is None:
            self._continue_after(self._run.state().undone)
        total = self._count_touched()
        self._runtime.progress.start(
            "undoing vectors",
            total=total,
            unit="vectors",
            requests=undo_vector_requests(total),
        )
        self._undo_all(
            lambda: self._pass_over(
                self._touched_records(self._is_left),
                advance=self._runtime.progress.advance,
                note=self._note if self._only is None else None,
            )
        )
        self._settle()

    def _continue_after(self, undone: Undone | None) -> None:
        """Take over what an interrupted attempt has undone: figures, and its last writes."""
        self._undone = undone
        if undone is None:
            return
        self._report.vectors_deleted += undone.vectors_deleted
        self._report.vectors_restored += undone.vectors_restored
        self._report.undone_before += undone.vectors_deleted + undone.vectors_restored
        if undone.mutation_id is not None:
            self._last = Accepted(
                mutation_id=MutationId(undone.mutation_id), server_date=undone.server_date
            )
        last = deque(self._touched_records(self._is_undone), maxlen=FETCH_IDS_MAX // 2)
        self._evidence = {
            record.vector_id: None if record.former is None else digest_vector(record.former)
            for record, _ in last
        }

    def _is_undone(self, row: int) -> bool:
        """Whether an interrupted attempt has undone the row."""
        undone = self._undone
        return undone is not None and row < undone.end and row not in undone.seem_foreign

    def _is_left(self, row: int) -> bool:
        return not self._is_undone(row)

    def _undo_all(self, first_pass: Callable[[], list[_Compared]]) -> None:
        """Undo what a pass reads; what seems to be of another writer is read again before."""
        candidates = refine_until(
            first_pass,
            self._pass_over,
            lambda _, found: not found or len(found) > FEW_CANDIDATES,
            doubling(self._rules.pause_s, times=PASSES_MAX - 1),
            clock=self._runtime.clock,
            before_pause=lambda found, pause_s: self._runtime.progress.say(
                f"{subject(len(found), 'vector', 'seems')} changed by another writer: reading "
                "again in "
                f"{pause_s:.0f} s"
            ),
        )
        self._report.conflicts += [record.vector_id for record, _ in candidates]
        rows = [record.row for record, _ in candidates]
        self._report.differs |= name_vector_differences(
            self._run, self._target, rows, self._runtime.progress
        )

    def _note(self, end: int, candidates: Iterable[_Compared]) -> None:
        """Journal that the rows before `end` are undone, but for candidates since the last note."""
        last = self._last
        self._run.journal.append(
            {
                "type": Kind.UNDONE.value,
                "end": end,
                "seem_foreign": [record.row for record, _ in candidates],
                "vectors_deleted": self._report.vectors_deleted,
                "vectors_restored": self._report.vectors_restored,
                "mutation_id": None if last is None else last.mutation_id,
                "server_date": None if last is None else last.server_date,
            }
        )

    def _pass_over(
        self,
        records: Iterable[_Compared],
        *,
        advance: Callable[[int], None] = lambda _: None,
        note: Callable[[int, Iterable[_Compared]], None] | None = None,
    ) -> list[_Compared]:
        """Undo these vectors; returns those that another writer seems to have changed.

        `note` gets the row after the last one that is undone, and the candidates since it was
        called before.
        """
        candidates: list[_Compared] = []
        noted, since = 0, 0  # candidates that are noted; vectors compared since then
        reads = in_order(self._fetch, _chunks(records), width=self._runtime.reads_in_flight)
        with closing(reads):
            for chunk, found in reads:
                for record, ours in chunk:
                    if self._is_foreign(record, ours, found.get(record.vector_id)):
                        candidates.append((record, ours))
                    else:
                        self._undo(record)
                if len(self._deletes) >= DELETE_IDS_MAX:
                    self._send_deletes()
                if len(self._restores) >= DELETE_IDS_MAX:
                    self._send_restores()
                since += len(chunk)
                if note is not None and since >= self._rules.note_every:
                    self._send_restores()
                    self._send_deletes()
                    note(chunk[-1][0].row + 1, candidates[noted:])
                    noted, since = len(candidates), 0
                advance(len(chunk))
        self._send_restores()
        self._send_deletes()
        return candidates

    def _fetch(self, chunk: list[_Compared]) -> dict[VectorId, Vector]:
        return self._target.fetch([record.vector_id for record, _ in chunk])

    def _touched_records(self, is_wanted: Callable[[int], bool]) -> Iterator[_Compared]:
        """Pre-image and digest of every wanted row in a written batch, in row order.

        A row whose every write the target refused is left out: it was not changed, and writing its
        former content might be refused as well.
        """
        run, unwritten = self._run, unwritten_rows(self._run)
        first = min(start for start, _ in self._touched)
        end = max(stop for _, stop in self._touched)
        former = (record for record in read_pre_images(run) if first <= record.row < end)
        # The pre-images were taken before any refusal, so refused rows are not excluded here.
        only = run.written_rows
        for batch in run.targets(["row", "digest"], first_row=first, end_row=end, only=only):
            columns = (column.to_pylist() for column in batch.columns)
            for row, digest in zip(*columns, strict=True):
                record = next(former)
                assert record.row == row, (
                    "pre-images and targets have the same rows in the same order"
                )
                if record.row in unwritten or not self._is_touched(record.row):
                    continue
                if not is_wanted(record.row):
                    continue
                if self._only is None or record.vector_id in self._only:
                    yield record, digest

    def _count_touched(self) -> int:
        """How many rows of written batches are to be compared; a row of several counts once."""
        if self._only is not None:
            return len(self._only)
        runs: list[list[int]] = []  # first and end of rows that follow each other
        for first, end in sorted(self._touched):
            if runs and first <= runs[-1][1]:
                runs[-1][1] = max(runs[-1][1], end)
            else:
                runs.append([first, end])
        unwritten, only = unwritten_rows(self._run), self._run.written_rows
        undone = self._undone
        before, again = (0, 0) if undone is None else (undone.end, len(undone.seem_foreign))
        left: int = sum(
            batch.num_rows
            for first, end in runs
            if end > before
            for batch in self._run.targets(
                ["row"], first_row=max(first, before), end_row=end, only=only, excluded=unwritten
            )
        )
        return again + left

    def _is_touched(self, row: int) -> bool:
        written = self._run.written_rows
        if written is not None and row not in written:
            return False
        return any(start <= row < stop for start, stop in self._touched)

    def restore_removed(self) -> None:
        """Put back what a catch-up has removed, and wait until it is visible.

        Before the KV entries that name it. An id that another writer has used since is a conflict.
        """
        kept = frozenset(kept_removals(self._run))
        removed = [
            (record, digest)
            for record, digest in read_removed(self._run)
            if record.former is not None
            and record.vector_id not in kept
            and (self._only is None or record.vector_id in self._only)
        ]
        self._runtime.progress.start(
            "putting removed vectors back",
            total=len(removed),
            unit="vectors",
            requests=undo_vector_requests(len(removed)),
        )
        foreign = refine_until(
            lambda: self._pass_over(removed, advance=self._runtime.progress.advance),
            self._pass_over,
            lambda _, found: not found or len(found) > FEW_CANDIDATES,
            doubling(self._rules.pause_s, times=PASSES_MAX - 1),
            clock=self._runtime.clock,
        )
        self._report.conflicts += [record.vector_id for record, _ in foreign]
        self._wait()
        self._last, self._evidence = None, {}

    def _is_foreign(self, record: VectorPreImage, ours: bytes, found: Vector | None) -> bool:
        """Whether another writer seems to have written this id since the run.

        A vector that reads as absent, or as before the run, is not foreign. It is undone anyway:
        the read may be stale, and deleting an absent vector has no effect. Nor is a state from
        before an earlier run of the chain: a stale read may have made it the pre-image of a later
        run, whose rollback has then put it there.
        """
        if found is None or record.vector_id in self._forced:
            return False
        former = None if record.former is None else digest_vector(record.former)
        digest = digest_vector(found)
        return digest not in {ours, former} and digest not in self._before[record.vector_id]

    @cached_property
    def _before(self) -> defaultdict[VectorId, set[bytes]]:
        """Id of this run -> digest of every state that the runs before it have left or found."""
        difference = self._run.difference
        if difference is None:
            return defaultdict(set)
        ids = {*difference.vectors, *(one.vector_id for one in difference.removals)}
        return former_digests(self._older, ids)

    def _undo(self, record: VectorPreImage) -> None:
        if record.former is None:
            self._deletes.append(record.vector_id)
        else:
            self._restores.append(record.former)

    def _send_restores(self) -> None:
        if self._restores:
            self._last = self._target.upsert([encode_vector(vector) for vector in self._restores])
            self._report.vectors_restored += len(self._restores)
            self._keep_evidence((vector.id, digest_vector(vector)) for vector in self._restores)
            self._restores = []

    def _send_deletes(self) -> None:
        while self._deletes:
            some, self._deletes = self._deletes[:DELETE_IDS_MAX], self._deletes[DELETE_IDS_MAX:]
            self._last = self._target.delete(some)
            self._report.vectors_deleted += len(some)
            self._keep_evidence((vector_id, None) for vector_id in some)

    def _keep_evidence(self, written: Iterable[tuple[VectorId, bytes | None]]) -> None:
        """Keep the last writes of each kind, to be read back when settling."""
        some = dict(written)
        keep = dict(list(self._evidence.items())[-FETCH_IDS_MAX // 2 :])
        self._evidence = {**keep, **dict(list(some.items())[-FETCH_IDS_MAX // 2 :])}

    def _settle(self) -> None:
        """Wait until the last writes are visible, then search a full listing for deleted ids."""
        if self._last is None:
            return
        self._wait()
        shown = self._still_listed()
        if any(map(self._is_undone, shown)):
            # Another writer has written them after the interrupted attempt had deleted them.
            self._undo_all(lambda: self._pass_over(self._touched_records(shown.__contains__)))
            self._wait()
            shown = self._still_listed()
        if shown:
            raise IndeterminateError(
                f"{len(shown)} deleted vectors are still listed, among them "
                f"'{next(iter(shown.values()))}'",
                remedy="run the same command again: it resumes where this one ended",
            )

    def _wait(self) -> None:
        if self._last is None:
            return
        last = LastWrite(
            mutation_id=self._last.mutation_id,
            server_date=self._last.server_date,
            vectors=self._report.vectors_deleted + self._report.vectors_restored,
        )
        wait_until_processed(
            self._target,
            last,
            self._evidence,
            self._rules.settle,
            self._runtime,
        )

    def _still_listed(self) -> dict[int, VectorId]:
        """Rows and ids that a full listing still shows after several attempts, if deleted."""
        run = self._run
        former = frozenset(
            record.vector_id for record in read_pre_images(run) if record.former is not None
        )
        kept = former | frozenset(self._report.conflicts)

        def list_deleted(listed: ListedIds) -> dict[int, VectorId]:
            list_vectors(
                listed,
                self._target,
                self._runtime,
                expected=None,
            )
            listed.match(run.targets(ID_COLUMNS, excluded=unwritten_rows(run)))
            present = listed.present()
            return {row: id_ for row, id_ in present if self._is_touched(row) and id_ not in kept}

        pauses_s = [self._rules.settle.poll_s] * (LISTINGS_MAX - 1)
        with ListedIds(run.spill) as listed:
            return repeat_until(
                lambda: list_deleted(listed), operator.not_, pauses_s, clock=self._runtime.clock
            )


def _chunks(records: Iterable[_Compared]) -> Iterator[list[_Compared]]:
    pending = iter(records)
    while chunk := list(islice(pending, FETCH_IDS_MAX)):
        yield chunk
