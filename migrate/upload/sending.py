"""Send the pending rows of a round as uploads: intent, request, then ack or refusal.

Each worker has a share of the rows and one upload in flight; one journal records all of them. The
target refuses a whole upload for one bad line, so a refused upload is sent again as two halves,
down to single vectors. A vector that is refused alone is left out, and the answer is recorded. One
bad vector in an upload of n costs about 2 log2(n) requests. What remains to be sent follows from
the journal alone.

A refusal whose code names no line may concern the whole target. A vector that is refused alone with
such an answer keeps an intent without an answer and is sent once more after all others. It is left
out only on evidence (`run/refusal_evidence.py`). Without evidence the run stops with the service's
answer.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace

from migrate.errors import RefusedPart, TargetRefusedError
from migrate.mapping.payload import Reason
from migrate.mapping.upload_body import Upload
from migrate.model.records import Accepted
from migrate.model.sealed_json import damaged
from migrate.run.folder import RunFolder
from migrate.run.journal import BatchRecord, Kind, Store
from migrate.run.pending import RowRange, UploadSizes, share_out
from migrate.run.refusal_evidence import (
    CANDIDATES_MAX,
    Candidate,
    RefusalEvidence,
    refusals_max,
)
from migrate.run.refused_vectors import too_many_refused, unexplained_refusals
from migrate.runtime import Runtime
from migrate.storage.journal_lines import Entry
from migrate.upload.share import UploadWorker
from migrate.words import counted


class Sender:
    """Sends the pending vectors of the open round of a run."""

    def __init__(
        self,
        run: RunFolder,
        workers: Sequence[UploadWorker],
        *,
        runtime: Runtime,
        quarantine_cap: int | None = None,
    ) -> None:
        """One worker is used from the calling thread; several get a thread each.

        `quarantine_cap` is how many points may be left out; None: as the plan says.
        """
        self._run = run
        self._workers = workers
        self._runtime = runtime
        self._round = run.state().rounds[-1].ordinal
        self._lock = threading.Lock()  # held for the journal and the state derived from it
        self._cap = run.plan.quarantine_cap if quarantine_cap is None else quarantine_cap
        waived = run.state().waived | set(run.plan.waived)
        self._accepts_refusals = Reason.REFUSED.value in waived  # the operator has agreed to them
        self._refusal_evidence = RefusalEvidence()
        self._sizes = UploadSizes()
        self._ordinal = 0
        self._ending = False  # a worker has failed: the others start no further upload

    def send(self) -> None:
        """Return when every pending vector is acknowledged, or refused alone.

        Raises QuarantineExceededError when more are refused than the run allows, and the errors of
        a worker that a smaller upload would not avoid.
        """
        for record in self._run.state().rounds[-1].batches[Store.VECTORS]:
            if record.in_doubt:
                self._send_again(record)
        state = self._run.state()
        self._sizes, current = replace(state.upload_sizes), state.rounds[-1]
        self._ordinal = len(current.batches[Store.VECTORS])
        self._check_refusals()
        shares = share_out(
            current.pending.ranges,
            rows=self._run.plan.points,
            workers=len(self._workers),
            starts=self._run.snapshot.group_starts(),
        )
        if len(shares) == 1:
            self._work(self._workers[0], deque(shares[0]))
        else:
            self._work_together(shares)
        self._judge_candidates()

    def _work_together(self, shares: Sequence[Sequence[RowRange]]) -> None:
        """Run every worker on its share; the first failure stops all of them and is raised."""
        with ThreadPoolExecutor(len(shares)) as threads:
            jobs = [
                threads.submit(self._work, worker, deque(share))
                for worker, share in zip(self._workers, shares, strict=False)
            ]
            try:
                wait(jobs, return_when=FIRST_EXCEPTION)
            except (
                BaseException
            ):  # a signal asks this process to stop without waiting for the uploads
                for worker in self._workers:
                    worker.cancel()
                raise
            finally:
                self._ending = True
        for job in jobs:
            job.result()

    def _work(self, worker: UploadWorker, todo: deque[RowRange]) -> None:
        """Send all rows of `todo`, from its front; halves of a refused upload are put in front."""
        while todo and not self._ending:
            rows = todo.popleft()
            upload = worker.cut(rows, None if rows.whole else self._sizes.wanted)
            if upload is None:
                continue
            self._runtime.stop.check()
            ordinal = self._append_intent(rows.first, upload)
            if not rows.whole and upload.end_row < rows.end:
                todo.appendleft(RowRange(upload.end_row, rows.end))
            if not self._send_upload(worker, ordinal, upload) and upload.vectors > 1:
                middle = upload.middle_row
                todo.appendleft(RowRange(middle, upload.end_row, whole=True))
                todo.appendleft(RowRange(upload.first_row, middle, whole=True))

    def _send_again(self, record: BatchRecord) -> None:
        """Send an upload that may or may not have arrived once more, with the same bytes.

        If they are refused now, the first attempt had no effect either: the service takes or
        refuses an upload as a whole, by its bytes.
        """
        self._runtime.progress.say(
            f"upload {record.ordinal} is in doubt: sending the same bytes again"
        )
        worker = self._workers[0]
        upload = worker.cut(RowRange(record.first, record.end, whole=True), None)
        if upload is None or upload.sha256 != record.sha256:
            raise damaged(
                str(self._run.folder),
                f"upload {record.ordinal} (rows {record.first} to {record.end - 1}) does not "
                "encode to the bytes of its intent; another version of q2v or of a library wrote "
                "it",
            )
        self._runtime.stop.check()
        self._send_upload(worker, record.ordinal, upload)

    def _send_upload(self, worker: UploadWorker, ordinal: int, upload: Upload) -> bool:
        """Send once and journal the answer; False when the target refused these bytes."""
        try:
            accepted = worker.send()
        except TargetRefusedError as error:
            if error.refused_part is RefusedPart.WHOLE:
                raise
            if self._accepts_refusals or error.refused_part is RefusedPart.LINE:
                self._append_refusal(ordinal, upload, error)
            else:
                self._note_unproven(ordinal, upload, error)
            return False
        self._append_ack(ordinal, upload, accepted)
        return True

    def _append_ack(self, ordinal: int, upload: Upload, accepted: Accepted) -> None:
        with self._lock:
            self._run.journal.append(
                {
                    **self._entry(Kind.ACK, ordinal),
                    "mutation_id": accepted.mutation_id,
                    "server_date": accepted.server_date,
                }
            )
            self._sizes.note_taken(upload.body_bytes)
            self._refusal_evidence.taken += 1
        self._runtime.progress.advance(upload.vectors, bytes_=upload.body_bytes)

    def _note_unproven(self, ordinal: int, upload: Upload, error: TargetRefusedError) -> None:
        """Note a refusal that may concern the whole target; a single vector is set aside.

        Of a larger upload the caller sends the halves.
        """
        with self._lock:
            began = self._refusal_evidence.note_refused(upload.first_row, upload.end_row)
        if upload.vectors > 1:
            self._append_refusal(ordinal, upload, error)
            return
        with self._lock:
            candidate = Candidate(
                ordinal=ordinal,
                row=upload.first_row,
                end=upload.end_row,
                sha256=upload.sha256,
                taken=self._refusal_evidence.taken,
                taken_before=began,
            )
            self._refusal_evidence.candidates.append(candidate)
            unanswered = self._refusal_evidence.unanswered
        self._runtime.progress.say(
            f"vector '{upload.vector_id}' (row {upload.first_row}) is refused with an answer that "
            f"names no vector, and is sent again after the others: {error}"
        )
        if unanswered > CANDIDATES_MAX:
            raise unexplained_refusals(error, unanswered)

    def _judge_candidates(self) -> None:
        """Send every vector that was set aside once more, after all others have been sent.

        Raises TargetRefusedError when nothing shows that they are at fault themselves.
        """
        likely: list[tuple[int, Upload, TargetRefusedError]] = []
        unexplained: TargetRefusedError | None = None
        for candidate in self._refusal_evidence.candidates:
            upload, refusal = self._send_candidate(candidate)
            if refusal is None:
                continue
            if (
                self._refusal_evidence.is_proven(candidate)
                or refusal.refused_part is RefusedPart.LINE
            ):
                self._append_refusal(candidate.ordinal, upload, refusal)
                continue
            likely.append((candidate.ordinal, upload, refusal))
            if not self._refusal_evidence.is_likely(candidate):
                unexplained = refusal
        if unexplained is not None:
            raise unexplained_refusals(unexplained, len(likely))
        for ordinal, upload, refusal in likely:
            self._append_refusal(ordinal, upload, refusal)

    def _send_candidate(self, candidate: Candidate) -> tuple[Upload, TargetRefusedError | None]:
        """Send the same bytes once more; return the upload, and the answer if it is a refusal."""
        worker = self._workers[0]
        upload = worker.cut(RowRange(candidate.row, candidate.end, whole=True), None)
        assert upload is not None, "these rows have been cut before"
        assert upload.sha256 == candidate.sha256
        self._runtime.stop.check()
        try:
            accepted = worker.send()
        except TargetRefusedError as error:
            if error.refused_part is RefusedPart.WHOLE:
                raise
            return upload, error
        self._append_ack(candidate.ordinal, upload, accepted)
        return upload, None

    def _append_intent(self, start: int, upload: Upload) -> int:
        """Journal the intent of an upload before it is sent; return the ordinal of the upload."""
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
            **error.evidence,
            "text": str(error),
        }
        if upload.vectors > 1:
            message = (
                f"upload {ordinal} of {counted(upload.vectors, 'vector')} is refused: {error}; "
                "sending its halves"
            )
            entry["middle"] = upload.middle_row
        else:
            message = (
                f"vector '{upload.vector_id}' (row {upload.first_row}) is refused and left "
                f"out: {error}"
            )
            entry["vector_id"] = upload.vector_id
        with self._lock:
            self._run.journal.append(entry)
            self._sizes.note_refused(upload.body_bytes, upload.vectors, too_large=error.too_large)
        if upload.vectors == 1:
            self._runtime.progress.advance(1)
        self._runtime.progress.say(message)
        self._check_refusals()

    def _entry(self, kind: Kind, ordinal: int) -> Entry:
        return {
            "type": kind.value,
            "round": self._round,
            "store": Store.VECTORS.value,
            "batch": ordinal,
        }

    def _check_refusals(self) -> None:
        """Raise QuarantineExceededError when too many vectors were refused."""
        with self._lock:
            state = self._run.state()
        plan = self._run.plan
        allowed = refusals_max(
            points=plan.own_points,
            cap=self._cap,
            quarantined=sum(plan.quarantined.values()),
            acknowledged=state.vectors_acknowledged(),
        )
        if len(state.refused) > allowed:
            raise too_many_refused(plan, state, cap=self._cap, allowed=allowed)
