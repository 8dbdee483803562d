"""Send the pending rows of a round as batches: intent, request, then ack or refusal.

One bad line refuses a whole upload, so a refused batch is sent again as two halves, and so on
down to the vectors that the target refuses alone: those stay behind with its answer. One bad
vector in a batch of n costs about 2 log2(n) requests. What is left to send follows from the
journal alone; after a kill the same batches are cut again.
"""

from collections.abc import Iterator

from migrate.adapters.run_folder import RunFolder
from migrate.adapters.stop_signs import StopSigns
from migrate.core.batching import Batch, Line, encode_line, split_batches
from migrate.core.journal import BatchRecord, Entry, Kind, RunState, Store
from migrate.core.manifest import damaged
from migrate.core.model import VectorId
from migrate.core.pending import RowRange
from migrate.core.refusals import concerns_content, refusals_max
from migrate.errors import QuarantineExceededError, TargetRefusedError
from migrate.ports import Progress, VectorTarget
from migrate.stages.mapped import MappedRows, read_mapped


class Sender:
    """Sends what the open round of a run has left to send."""

    def __init__(
        self,
        run: RunFolder,
        target: VectorTarget,
        *,
        only: frozenset[VectorId] | None,
        stop: StopSigns,
        progress: Progress,
    ) -> None:
        """`only` limits a repair round to these ids; None means every vector of the run."""
        self._run = run
        self._target = target
        self._only = only
        self._stop = stop
        self._progress = progress
        self._held: tuple[Line, ...] = ()  # of the refused batch that is being searched
        self._round = run.state().rounds[-1].ordinal

    def send(self) -> None:
        """Return when every pending vector is acknowledged, or refused alone.

        Raises QuarantineExceededError when more are refused than the run allows, and whatever
        the target raises for reasons that no smaller upload would mend.
        """
        for record in self._run.state().rounds[-1].batches[Store.VECTORS]:
            if record.in_doubt:
                self._send_again(record)
        while self._send_pending():
            pass

    def _send_again(self, record: BatchRecord) -> None:
        """A batch that may or may not have arrived: the same bytes once more.

        If they are refused now, the first attempt had no effect either: the service takes or
        refuses an upload as a whole, by its bytes.
        """
        self._progress.say(f"upload {record.ordinal} is in doubt: sending the same bytes again")
        lines = list(self._read_lines(record.first, record.end))
        batches = list(self._split(lines, record.ordinal, wanted=None))
        if len(batches) != 1 or batches[0].sha256() != record.sha256:
            raise damaged(
                str(self._run.path),
                f"upload {record.ordinal} (rows {record.first} to {record.end - 1}) does not "
                "encode to the bytes of its intent; another version of q2v or of a library wrote "
                "it",
            )
        self._stop.check()
        self._send_batch(batches[0])

    def _send_pending(self) -> bool:
        """Send pending batches in row order; True when the rest has to be cut in another way.

        That is so after a refusal, and when an ack says that larger uploads are possible: batches
        follow from the journal, so those after a kill have to be the same.
        """
        state = self._run.state()
        self._check_refusals(state)
        round_, sizes = state.rounds[-1], state.upload_sizes
        ordinal = len(round_.batches[Store.VECTORS])
        for rows in round_.pending.ranges:
            wanted = None if rows.whole else sizes.wanted
            for batch in self._cut(rows, ordinal, wanted):
                self._stop.check()
                self._append_intent(batch)
                if not self._send_batch(batch):
                    return True
                sizes.note_taken(batch.body_bytes)
                if not rows.whole and sizes.wanted != wanted:
                    return True
                ordinal += 1
        return False

    def _cut(self, rows: RowRange, ordinal: int, wanted: int | None) -> Iterator[Batch]:
        lines = self._lines(rows.first, min(rows.end, self._run.plan.points))
        return self._split(lines, ordinal, wanted=wanted)

    def _split(
        self, lines: Iterator[Line] | list[Line], ordinal: int, *, wanted: int | None
    ) -> Iterator[Batch]:
        writes = self._run.plan.writes
        return split_batches(
            lines,
            first_ordinal=ordinal,
            vectors_max=writes.vectors_per_upload,
            body_bytes_max=writes.body_bytes,
            body_bytes_wanted=wanted,
        )

    def _lines(self, first_row: int, end_row: int) -> Iterator[Line]:
        """The upload lines of some rows, out of the batch at hand or else of the snapshot."""
        held = self._held
        if held and held[0].row <= first_row < end_row <= held[-1].row + 1:
            return (line for line in held if first_row <= line.row < end_row)
        return self._read_lines(first_row, end_row)

    def _read_lines(self, first_row: int, end_row: int) -> Iterator[Line]:
        """Encoded from the snapshot: the same bytes every time."""
        run = self._run
        for rows in read_mapped(
            run.snapshot,
            run.plan.mapping,
            run.plan.values,
            run.excluded_rows(),
            first_row=first_row,
            end_row=end_row,
        ):
            yield from self._encode_rows(rows)

    def _encode_rows(self, rows: MappedRows) -> Iterator[Line]:
        assert rows.values is not None
        for position, vector_id in enumerate(rows.ids):
            if self._only is None or vector_id in self._only:
                text = encode_line(vector_id, rows.values[position], rows.metadata[position])
                yield Line(row=rows.rows[position], vector_id=vector_id, text=text)

    def _hold(self, batch: Batch) -> None:
        """Keep a refused batch's lines: its halves are cut from them without reading anew."""
        if self._held and self._held[0].row <= batch.first_row <= self._held[-1].row:
            return
        self._held = tuple(
            Line(row=row, vector_id=vector_id, text=text)
            for row, vector_id, text in zip(batch.rows, batch.vector_ids, batch.lines, strict=True)
        )

    def _append_intent(self, batch: Batch) -> None:
        entry = self._entry(Kind.INTENT, batch)
        self._run.journal.append(
            {
                **entry,
                "first": batch.first_row,
                "end": batch.end_row,
                "count": len(batch.vector_ids),
                "bytes": batch.body_bytes,
                "sha256": batch.sha256(),
            }
        )

    def _send_batch(self, batch: Batch) -> bool:
        """Send once and journal the answer; False when the target refused these bytes."""
        try:
            accepted = self._target.upsert(batch.lines)
        except TargetRefusedError as error:
            if not concerns_content(error.status, error.code):
                raise
            self._append_refusal(batch, error)
            self._hold(batch)
            return False
        self._run.journal.append(
            {
                **self._entry(Kind.ACK, batch),
                "mutation_id": accepted.mutation_id,
                "server_date": accepted.server_date,
            }
        )
        self._progress.advance(len(batch.vector_ids), bytes_=batch.body_bytes)
        return True

    def _append_refusal(self, batch: Batch, error: TargetRefusedError) -> None:
        count = len(batch.vector_ids)
        entry = {
            **self._entry(Kind.REFUSED, batch),
            "status": error.status,
            "code": error.code,
            "text": str(error),
        }
        if count > 1:
            self._run.journal.append({**entry, "middle": batch.rows[count // 2]})
            self._progress.say(
                f"upload {batch.ordinal} of {count} vectors is refused: {error}; sending its halves"
            )
            return
        (vector_id,) = batch.vector_ids
        self._run.journal.append({**entry, "vector_id": vector_id})
        self._progress.advance(1)
        self._progress.say(
            f"vector '{vector_id}' (row {batch.first_row}) is refused and stays behind: {error}"
        )

    def _entry(self, kind: Kind, batch: Batch) -> Entry:
        return {
            "type": kind.value,
            "round": self._round,
            "store": Store.VECTORS.value,
            "batch": batch.ordinal,
        }

    def _check_refusals(self, state: RunState) -> None:
        """Raises QuarantineExceededError when too many vectors were refused."""
        plan, refused = self._run.plan, len(state.refused)
        planned = sum(plan.quarantined.values())
        acknowledged = state.rounds[0].acknowledged(Store.VECTORS)
        allowed = refusals_max(
            points=plan.points,
            cap=plan.quarantine_cap,
            quarantined=planned,
            acknowledged=acknowledged,
        )
        if refused <= allowed:
            return
        last = max(state.refused.values(), key=lambda one: (one.round, one.row))
        raise QuarantineExceededError(
            f"the target refused {refused} vectors one by one and took {acknowledged}; {allowed} "
            f"may stay behind here ({plan.quarantine_cap} in all, {planned} of them by the plan); "
            f"its last answer, for '{last.vector_id}': {last.text}",
            remedy="compare the answer with the provider's documentation; `q2v rollback --execute` "
            "takes back what was taken; then mend the points, the mapping or the index, or set "
            "--max-quarantine, and run `q2v migrate` for a new run",
        )
