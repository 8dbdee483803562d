"""Upload workers in processes of their own: each reads, encodes and sends its share of the rows."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.mapping.upload_body import Upload
from migrate.model.hmac_key import SealKey
from migrate.model.records import Accepted
from migrate.plan.request_counts import upload_bytes
from migrate.ports import Progress
from migrate.run.folder import RunFolder, read_plan
from migrate.run.pending import PendingRows, RowRange
from migrate.snapshot.folder import Snapshot
from migrate.storage.local_folder import LocalFolder
from migrate.upload.share import Uploader
from q2v import wiring
from q2v.secret_files import load_secret
from q2v.settings import Settings
from q2v.steps.worker_child import Answerer, Telling
from q2v.steps.worker_process import WorkerProcess, workers_for


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadJob:
    """Everything a worker has to know."""

    snapshot: str  # folder
    run: str  # folder
    excluded: list[int]  # rows
    api_base_url: str
    allow_other_host: bool
    account_id: str
    api_token: str
    vector_index: str
    ca_file: str | None
    budget: str  # file of the limiter, shared by all processes
    requests_per_5min: int
    seal_key: str | None


@contextmanager
def open_uploaders(
    run: RunFolder, settings: Settings, folder: LocalFolder, *, progress: Progress
) -> "Iterator[list[UploadProcess]]":
    """The workers for what a full round has left to send; none where one process does it all."""
    count = workers_for(_bytes_left(run), settings.limits.uploads_in_flight)
    with ExitStack() as workers:
        job = _job(run, settings, folder) if count else None
        yield [workers.enter_context(UploadProcess(job, progress)) for _ in range(count) if job]


def _bytes_left(run: RunFolder) -> int:
    """About how much a full round has left to send, by the text of the values alone."""
    state, points = run.state(), run.plan.points
    if state.completed or len(state.rounds) > 1:
        return 0  # a repair is a few vectors, and one process finds them
    pending = state.rounds[-1].pending if state.rounds else PendingRows()
    rows = sum(max(0, min(one.end, points) - one.first) for one in pending.ranges)
    return upload_bytes(rows, run.plan.values.dimensions, metadata_bytes=0)


def _job(run: RunFolder, settings: Settings, folder: LocalFolder) -> UploadJob:
    target, key = settings.target, settings.snapshot.hmac_key
    assert target.account_id is not None
    assert target.api_token is not None
    assert target.vector_index is not None
    return UploadJob(
        snapshot=str(run.snapshot.folder),
        run=str(run.folder),
        excluded=sorted(run.excluded_rows()),
        api_base_url=target.api_base_url,
        allow_other_host=target.allow_other_host,
        account_id=target.account_id,
        api_token=load_secret(target.api_token).reveal(),
        vector_index=target.vector_index,
        ca_file=None if settings.tls.ca_file is None else str(settings.tls.ca_file),
        budget=str(wiring.budget_file(folder)),
        requests_per_5min=settings.limits.requests_per_5min,
        seal_key=None if key is None else load_secret(key).reveal(),
    )


class UploadProcess(WorkerProcess):
    """A worker in another process; see `migrate.upload.share.UploadWorker`."""

    def __init__(self, job: UploadJob, progress: Progress) -> None:
        secrets = [job.account_id, job.api_token, job.seal_key or ""]
        super().__init__("upload", asdict(job), secrets, progress)
        self.requests = 0  # that it has sent

    def cut(self, rows: RowRange, body_bytes_wanted: int | None) -> Upload | None:
        """See UploadWorker."""
        rows_asked = [rows.first, rows.end, rows.whole]
        upload = self.ask(cut=rows_asked, wanted=body_bytes_wanted)["upload"]
        return None if upload is None else Upload(**upload)

    def send(self) -> Accepted:
        """See UploadWorker."""
        answer = self.ask(send=True)
        self.requests = answer["requests"]
        return Accepted(**answer["accepted"])


def open_worker(details: Mapping[str, Any]) -> Answerer:
    """The other side, in the worker's process."""
    job, clock = UploadJob(**details), wiring.system_clock()
    key = None if job.seal_key is None else SealKey(job.seal_key)
    snapshot = Snapshot(wiring.open_folder(job.snapshot), key)
    budget = RequestBudget(Path(job.budget), clock=clock, requests_max=job.requests_per_5min)
    http = wiring.make_http(
        parse_base_url(job.api_base_url, allow_other_host=job.allow_other_host),
        job.account_id,
        job.api_token,
        ca_file=None if job.ca_file is None else Path(job.ca_file),
        budget=budget,
        clock=clock,
        progress=Telling(),
    )
    uploader = Uploader(
        snapshot,
        read_plan(wiring.open_folder(job.run), snapshot),
        VectorizeTarget(http, job.vector_index),
        excluded=frozenset(job.excluded),
    )

    def answer(question: Mapping[str, Any]) -> dict[str, object]:
        if "cut" in question:
            first, end, whole = question["cut"]
            upload = uploader.cut(RowRange(first, end, whole=whole), question["wanted"])
            return {"upload": None if upload is None else asdict(upload)}
        return {"accepted": asdict(uploader.send()), "requests": budget.taken}

    return answer
