"""Encode and send uploads, as functions of tasks that any process can run.

The process that keeps the journal submits the tasks: it journals the intent between encoding an
upload and sending it, and the answer after that.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from migrate.clock import SystemClock
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.mapping.upload_body import Upload
from migrate.model.hmac_key import SealKey
from migrate.model.records import Accepted
from migrate.model.sealed_json import damaged
from migrate.ports import Progress
from migrate.run.folder import read_plan
from migrate.run.pending import RowRange
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import WorkFolder
from migrate.tables.row_set import RowSet
from migrate.upload.share import Uploader
from migrate.workers.processes import (
    Prepare,
    WorkerProcess,
    freeze_gc,
    no_preparation,
    worker_progress,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadJob:
    """What all uploads of a round share: source, target, credentials and limits."""

    snapshot: WorkFolder
    run: WorkFolder
    excluded: frozenset[int] | RowSet  # rows
    api_base_url: str
    allow_other_host: bool
    account_id: str = field(repr=False)
    api_token: str = field(repr=False)
    vector_index: str
    ca_file: Path | None
    budget: Path  # file of the limiter, shared by all processes
    requests_per_5min: int
    seal_key: str | None = field(repr=False)
    jitter: Callable[[], float]  # random numbers in [0, 1); a function of a module


@dataclass(frozen=True, slots=True)
class EncodeTask:
    """Encode the next upload: as many of the first of these rows as one upload takes."""

    job: UploadJob
    rows: RowRange
    body_bytes_wanted: int | None  # as in `build_upload`


@dataclass(frozen=True, slots=True)
class SendTask:
    """Send an upload that an `EncodeTask` has encoded."""

    job: UploadJob
    upload: Upload


@dataclass(frozen=True, slots=True)
class Sent:
    """The target's answer."""

    accepted: Accepted
    requests: int  # sent by this process so far


def load() -> None:
    """The first task of a worker: it loads this module and its libraries."""
    freeze_gc()


def encode_upload(task: EncodeTask) -> Upload | None:
    """Return rows, sizes and digest of the upload; None when all these rows are left out.

    The body stays in this process for `send_upload`. The same task gives the same bytes.
    """
    opened = _open(task.job)
    opened.ready = opened.uploader.cut(task.rows, task.body_bytes_wanted)
    return opened.ready


def send_upload(task: SendTask) -> Sent:
    """Send the upload; encode it again when this process does not hold its body.

    Raises as `VectorTarget.upsert`, and ArtefactDamagedError when encoding again gives other bytes.
    """
    opened, wanted = _open(task.job), task.upload
    if opened.ready != wanted:
        rows = RowRange(wanted.first_row, wanted.end_row, whole=True)
        opened.ready = opened.uploader.cut(rows, None)
        if opened.ready is None or opened.ready.sha256 != wanted.sha256:
            raise damaged(str(task.job.snapshot), f"rows {rows} do not encode to the same bytes")
    return Sent(opened.uploader.send(), opened.budget.taken)


@dataclass(slots=True)
class _Opened:
    uploader: Uploader
    budget: RequestBudget
    ready: Upload | None = None  # the upload whose body the uploader holds


@lru_cache(maxsize=1)
def _open(job: UploadJob) -> _Opened:
    """Return the uploader of a job with its client; both are kept for the next task."""
    clock = SystemClock()
    key = None if job.seal_key is None else SealKey(job.seal_key)
    snapshot = Snapshot(job.snapshot, key)
    budget = RequestBudget(job.budget, clock=clock, requests_max=job.requests_per_5min)
    base_url = parse_base_url(job.api_base_url, allow_other_host=job.allow_other_host)
    http = CloudflareHttp(
        Account(base_url, job.account_id, job.api_token, job.ca_file),
        budget=budget,
        clock=clock,
        jitter=job.jitter,
        progress=worker_progress(),
    )
    target = VectorizeTarget(http, job.vector_index)
    plan = read_plan(job.run, snapshot)
    return _Opened(Uploader(snapshot, plan, target, excluded=job.excluded), budget)


class UploadProcess(WorkerProcess):
    """A worker in another process; see `UploadWorker`."""

    def __init__(
        self, job: UploadJob, progress: Progress, prepare: Prepare = no_preparation
    ) -> None:
        super().__init__(progress, prepare, load=load)
        self.requests = 0  # sent by the process so far
        self._job = job
        self._ready: Upload | None = None

    def cut(self, rows: RowRange, body_bytes_wanted: int | None) -> Upload | None:
        """See UploadWorker."""
        self._ready = self.run(encode_upload, EncodeTask(self._job, rows, body_bytes_wanted))
        return self._ready

    def send(self) -> Accepted:
        """See UploadWorker."""
        assert self._ready is not None, "`cut` comes first"
        sent = self.run(send_upload, SendTask(self._job, self._ready))
        self.requests = sent.requests
        return sent.accepted
