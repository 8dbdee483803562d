"""Send the pending rows of a round as uploads: intent, request, then ack or refusal.

Each worker has a share of the rows and one upload in flight; one journal knows of all. One bad
line refuses a whole upload, so a refused one is sent again as two halves, and so on down to the
vectors that the target refuses alone: those stay behind with its answer. One bad vector in an
upload of n costs about 2 log2(n) requests. What is left to send follows from the journal alone.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from migrate.adapters.run_folder import RunFolder
from migrate.adapters.stop_signs import StopSigns
from migrate.core.batching import Upload
from migrate.core.journal import BatchRecord, Entry, Kind, Store
from migrate.core.manifest import damaged
from migrate.core.pending import RowRange, UploadSizes, share_out
from migrate.core.refusals import concerns_content, refusals_max
from migrate.errors import QuarantineExceededError, TargetRefusedError
from migrate.ports import Progress
from migrate.stages.uploading import UploadWorker


class Sender:
    """Sends what the open round of a run has left to send."""

    def __init__(
        self,
        run: RunFolder,
        workers: Sequence[UploadWorker],
        *,
        stop: StopSigns,
        progress: Progress,
    ) -> None:
        """With one worker nothing starts a thread."""
        self._run = run
        self._workers = workers
        self._stop = stop
        self._progress = progress
        self._round = run.state().rounds[-1].ordinal
        self._lock = threading.Lock()  # held for the journal and for what follows from it
        self._sizes = UploadSizes()
        self._ordinal = 0
        self._ending = False  # a worker has failed: the others end what they have in flight

    def send(self) -> None:
        """Return when every pending vector is acknowledged, or refused alone.

        Raises QuarantineExceededError when more are refused than the run allows, and whatever
        a worker raises for reasons that no smaller upload would mend.
        """
        for record in self._run.state().rounds[-1].batches[Store.VECTORS]:
            if record.in_doubt:
                self._send_again(record)
        state = self._run.state()
        self._sizes, round_ = state.upload_sizes, state.rounds[-1]
        self._ordinal = len(round_.batches[Store.VECTORS])
        self._check_refusals()
        shares = share_out(
            round_.pending.ranges,
            rows=self._run.plan.points,
            workers=len(self._workers),
            starts=self._run.snapshot.group_starts(),
        )
        if len(shares) == 1:
            self._work(self._workers[0], deque(shares[0]))
        else:
            self._work_together(shares)

    def _work_together(self, shares: Sequence[Sequence[RowRange]]) -> None:
        """Every worker its share; the first failure ends all, and is raised."""
        with ThreadPoolExecutor(len(shares)) as threads:
            jobs = [
                threads.submit(self._work, worker, deque(share))
                for worker, share in zip(self._workers, shares, strict=False)
            ]
            try:
                wait(jobs, return_when=FIRST_EXCEPTION)
            except BaseException:  # somebody wants us to stop: not after the uploads in flight
                for worker in self._workers:
                    worker.give_up()
                raise
            finally:
                self._ending = True
        for job in jobs:
            job.result()

    def _work(self, worker: UploadWorker, todo: deque[RowRange]) -> None:
        """Send all rows of `todo`, from its front; the halves of what is refused go there too."""
        while todo and not self._ending:
            rows = todo.popleft()
            upload = worker.cut(rows, None if rows.whole else self._sizes.wanted)
            if upload is None:
                continue
            self._stop.check()
            ordinal = self._append_intent(rows.first, upload)
            if not rows.whole and upload.end_row < rows.end:
                todo.appendleft(RowRange(upload.end_row, rows.end))
            if not self._send_upload(worker, ordinal, upload) and upload.vectors > 1:
                middle = upload.middle_row
                todo.appendleft(RowRange(middle, upload.end_row, whole=True))
                todo.appendleft(RowRange(upload.first_row, middle, whole=True))

    def _send_again(self, record: BatchRecord) -> None:
        """An upload that may or may not have arrived: the same bytes once more.

        If they are refused now, the first attempt had no effect either: the service takes or
        refuses an upload as a whole, by its bytes.
        """
        self._progress.say(f"upload {record.ordinal} is in doubt: sending the same bytes again")
        worker = self._workers[0]
        upload = worker.cut(RowRange(record.first, record.end, whole=True), None)
        if upload is None or upload.sha256 != record.sha256:
            raise damaged(
                str(self._run.path),
                f"upload {record.ordinal} (rows {record.first} to {record.end - 1}) does not "
                "encode to the bytes of its intent; another version of q2v or of a library wrote "
                "it",
            )
        self._stop.check()
        self._send_upload(worker, record.ordinal, upload)

    def _send_upload(self, worker: UploadWorker, ordinal: int, upload: Upload) -> bool:
        """Send once and journal the answer; False when the target refused these bytes."""
        try:
            accepted = worker.send()
        except TargetRefusedError as error:
            if not concerns_content(error.status, error.code):
                raise
            self._append_refusal(ordinal, upload, error)
            return False
        with self._lock:
            self._run.journal.append(
                {
                    **self._entry(Kind.ACK, ordinal),
                    "mutation_id": accepted.mutation_id,
                    "server_date": accepted.server_date,
                }
            )
            self._sizes.note_taken(upload.body_bytes)
        self._progress.advance(upload.vectors, bytes_=upload.body_bytes)
        return True

    def _append_intent(self, start: int, upload: Upload) -> int:
        """Journal the upload before it leaves; returns its number."""
        with self._lock:
            ordinal = self._ordinal
            self._run.journal.append(
                {
                    **self._entry(Kind.INTENT, ordinal),
                    "start": start,
                    "first": upload.first_row,
                    "end": upload.end_row,
                    "count": upload.vectors,
                    "bytes": upload.body_bytes,
                    "sha256": upload.sha256,
                }
            )
            self._ordinal += 1
        return ordinal

    def _append_refusal(self, ordinal: int, upload: Upload, error: TargetRefusedError) -> None:
        entry = {
            **self._entry(Kind.REFUSED, ordinal),
            "status": error.status,
            "code": error.code,
            "text": str(error),
        }
        if upload.vectors > 1:
            told = (
                f"upload {ordinal} of {upload.vectors} vectors is refused: {error}; "
                "sending its halves"
            )
            entry["middle"] = upload.middle_row
        else:
            told = (
                f"vector '{upload.vector_id}' (row {upload.first_row}) is refused and stays "
                f"behind: {error}"
            )
            entry["vector_id"] = upload.vector_id
        with self._lock:
            self._run.journal.append(entry)
            self._sizes.note_refused(error.status, upload.body_bytes, upload.vectors)
        if upload.vectors == 1:
            self._progress.advance(1)
        self._progress.say(told)
        self._check_refusals()

    def _entry(self, kind: Kind, ordinal: int) -> Entry:
        return {
            "type": kind.value,
            "round": self._round,
            "store": Store.VECTORS.value,
            "batch": ordinal,
        }

    def _check_refusals(self) -> None:
        """Raises QuarantineExceededError when too many vectors were refused."""
        with self._lock:
            state = self._run.state()
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
