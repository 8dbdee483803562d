"""Put the vectors of a run back to what they were, and see that they are."""

import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import islice

from migrate.errors import IndeterminateError
from migrate.mapping.upload_body import encode_vector
from migrate.model.limits import DELETE_IDS_MAX, FETCH_IDS_MAX
from migrate.model.records import Accepted, Vector, VectorId
from migrate.plan.request_counts import undo_vector_requests
from migrate.ports import VectorTarget
from migrate.run.folder import RunFolder
from migrate.run.journal import BatchRecord
from migrate.run.pre_image_files import VectorPreImage
from migrate.run.refused import read_pre_images, unwritten_rows
from migrate.runtime import Runtime
from migrate.tables.target_ids import ID_COLUMNS, ListedIds
from migrate.upload.listing import list_vectors
from migrate.upload.settle import LastWrite, digest_vector, wait_until_processed
from migrate.workers.ordered import in_order
from migrate.workers.repeat import doubling, refine_until, repeat_until
from reconcile.naming import name_vector_differences
from reconcile.rollback.report import FEW_SUSPECTS, LOOKS_MAX, RollbackReport, UndoRules

LISTINGS_MAX = 6  # a listing may still show what a read no longer finds
_Compared = tuple[VectorPreImage, bytes]  # what was there before, and the digest of ours


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
        forced: frozenset[str],
    ) -> None:
        self._run = run
        self._target = target
        self._report = report
        self._forced = forced
        self._rules = rules
        self._runtime = runtime
        self._deletes: list[VectorId] = []
        self._restores: list[Vector] = []
        self._last: Accepted | None = None
        # What the last writes must read back as: digest, or None for absent.
        self._witnesses: dict[VectorId, bytes | None] = {}
        self._touched: list[tuple[int, int]] = []  # rows of written batches: first, end

    def run(self, written: list[BatchRecord]) -> None:
        """Compare and undo every vector that may have been written, and wait for the effect.

        What reads as somebody else's change is read again, after growing pauses, before it
        counts as one: the read may be stale. Raises IndeterminateError when the deletions do not
        become visible in time.
        """
        touched = self._touched = [(batch.first, batch.end) for batch in written]
        total = sum(batch.count for batch in written)
        self._runtime.progress.start(
            "undoing vectors",
            total=total,
            unit="vectors",
            requests=undo_vector_requests(total),
        )
        suspects = refine_until(
            lambda: self._pass_over(
                self._touched_records(touched), advance=self._runtime.progress.advance
            ),
            self._pass_over,
            lambda _, found: not found or len(found) > FEW_SUSPECTS,
            doubling(self._rules.pause_s, times=LOOKS_MAX - 1),
            clock=self._runtime.clock,
            before_pause=lambda found, pause_s: self._runtime.progress.say(
                f"{len(found)} vectors read as changed by others: again in {pause_s:.0f} s"
            ),
        )
        self._report.conflicts += [record.vector_id for record, _ in suspects]
        rows = [record.row for record, _ in suspects]
        self._report.differs |= name_vector_differences(
            self._run, self._target, rows, self._runtime.progress
        )
        self._settle()

    def _pass_over(
        self,
        records: Iterable[_Compared],
        *,
        advance: Callable[[int], None] = lambda _: None,
    ) -> list[_Compared]:
        """Undo these; returned are the ones that read as somebody else's."""
        suspects: list[_Compared] = []
        reads = in_order(self._fetch, _chunks(records), width=self._runtime.reads_in_flight)
        with closing(reads):
            for chunk, found in reads:
                for record, ours in chunk:
                    if self._is_foreign(record, ours, found.get(record.vector_id)):
                        suspects.append((record, ours))
                    else:
                        self._undo(record)
                if len(self._deletes) >= DELETE_IDS_MAX:
                    self._send_deletes()
                if len(self._restores) >= DELETE_IDS_MAX:
                    self._send_restores()
                advance(len(chunk))
        self._send_restores()
        self._send_deletes()
        return suspects

    def _fetch(self, chunk: list[_Compared]) -> dict[VectorId, Vector]:
        return self._target.fetch([record.vector_id for record, _ in chunk])

    def _touched_records(self, touched: list[tuple[int, int]]) -> Iterator[_Compared]:
        """Pre-image and our digest of every row in a written batch, in row order.

        A row that was refused before any write of it was taken is not looked at: no write of
        ours had an effect there, and putting its former content back might be refused as well.
        """
        run, unwritten = self._run, unwritten_rows(self._run)
        first, end = min(start for start, _ in touched), max(stop for _, stop in touched)
        former = (record for record in read_pre_images(run) if first <= record.row < end)
        # The pre-images were taken before anything was refused: nothing is excluded here.
        for batch in run.targets(["row", "digest"], first_row=first, end_row=end):
            columns = (column.to_pylist() for column in batch.columns)
            for row, digest in zip(*columns, strict=True):
                record = next(former)
                assert record.row == row, "both are of the plan's rows, in their order"
                if record.row not in unwritten and self._is_touched(record.row):
                    yield record, digest

    def _is_touched(self, row: int) -> bool:
        return any(start <= row < stop for start, stop in self._touched)

    def _is_foreign(self, record: VectorPreImage, ours: bytes, found: Vector | None) -> bool:
        """Whether somebody else seems to have written this id since.

        One that reads as absent, or as it was before, is not foreign, and is undone all the same:
        the read may be stale, and deleting what is not there is harmless.
        """
        if found is None or record.vector_id in self._forced:
            return False
        former = None if record.former is None else digest_vector(record.former)
        return digest_vector(found) not in {ours, former}

    def _undo(self, record: VectorPreImage) -> None:
        if record.former is None:
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

    def _settle(self) -> None:
        """Wait until the last writes are visible, then look for left-overs in a full listing."""
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
            self._witnesses,
            self._rules.settle,
            self._runtime,
        )
        self._check_listing()

    def _check_listing(self) -> None:
        run = self._run
        former = frozenset(
            record.vector_id for record in read_pre_images(run) if record.former is not None
        )
        kept = former | frozenset(self._report.conflicts)

        def list_deleted(listed: ListedIds) -> list[VectorId]:
            list_vectors(
                listed,
                self._target,
                self._runtime,
                expected=None,
            )
            listed.match(run.targets(ID_COLUMNS, excluded=unwritten_rows(run)))
            present = listed.present()
            return [id_ for row, id_ in present if self._is_touched(row) and id_ not in kept]

        pauses_s = [self._rules.settle.poll_s] * (LISTINGS_MAX - 1)
        with ListedIds(run.spill) as listed:
            shown = repeat_until(
                lambda: list_deleted(listed), operator.not_, pauses_s, clock=self._runtime.clock
            )
        if shown:
            raise IndeterminateError(
                f"{len(shown)} deleted vectors are still listed, among them '{shown[0]}'",
                remedy="run the same command again: it resumes where this one ended",
            )


def _chunks(records: Iterable[_Compared]) -> Iterator[list[_Compared]]:
    pending = iter(records)
    while chunk := list(islice(pending, FETCH_IDS_MAX)):
        yield chunk
