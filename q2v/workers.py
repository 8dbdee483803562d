"""Start as many worker processes as the settings say."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from migrate.model.records import VectorSpec
from migrate.plan.request_counts import upload_bytes
from migrate.ports import Progress
from migrate.run.folder import RunFolder
from migrate.run.pending import PendingRows
from migrate.snapshot.begun.state import point_bytes
from migrate.snapshot.ranges import RangeReader
from migrate.snapshot.take import SnapshotOptions
from migrate.snapshot.tasks import ExecutorReader, ReaderProcess, ReadJob
from migrate.storage.folder import Folder, WorkFolder
from migrate.upload.tasks import UploadJob, UploadProcess
from migrate.workers.executors import Machines
from migrate.workers.processes import workers_for
from q2v import wiring
from q2v.invocation import current_invocation
from q2v.output.logs import prepare_worker
from q2v.rules.scope import point_filter
from q2v.secret_files import load_secret, reveal
from q2v.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderOpening:
    """Opens the readers of a snapshot or a difference; see `OpenReaders`."""

    settings: Settings
    options: SnapshotOptions
    progress: Progress
    machines: Machines | None = None  # these read, in place of processes of this machine
    recorded: bool = True  # a snapshot, not a difference

    @contextmanager
    def __call__(
        self, folder: Folder, vectors: tuple[VectorSpec, ...], points: int
    ) -> Iterator[Sequence[RangeReader]]:
        """The readers for `points` points; none when one process reads them all."""
        count = workers_for(points * point_bytes(vectors), self.options.readers)
        with ExitStack() as readers:
            if self.machines is None and not count:
                yield []
                return
            job = _read_job(self.settings, self.options, folder, vectors)
            job = replace(job, recorded=self.recorded)
            if self.machines is not None:
                job = replace(job, **_by_name(self.settings))
                yield [ExecutorReader(job, self.machines.executor)] * self.machines.at_once
                return
            prepare = partial(prepare_worker, (job.api_key or "",))
            yield [
                readers.enter_context(ReaderProcess(job, self.progress, prepare))
                for _ in range(count)
            ]


def _by_name(settings: Settings) -> dict[str, Any]:
    """The key of the source as its place: every machine reads it where it is."""
    place = settings.source.api_key
    return {"api_key": None, "load_key": None if place is None else partial(reveal, place)}


def _read_job(
    settings: Settings, options: SnapshotOptions, folder: Folder, vectors: tuple[VectorSpec, ...]
) -> ReadJob:
    source = settings.source
    assert source.url is not None, "an embedded store has one reader"
    assert source.collection is not None
    return ReadJob(
        folder=folder,
        vectors=vectors,
        url=source.url,
        collection=source.collection,
        api_key=None if source.api_key is None else reveal(source.api_key),
        load_key=None,
        transport=source.transport,
        compression=source.compression,
        ca_file=settings.tls.ca_file,
        client=wiring.client_certificate(settings),
        grpc_url=source.grpc_url,
        filter=point_filter(settings),
        page_points=options.page_points,
        second_reading=options.second_reading,
        leave_unreadable=options.leave_unreadable,
        recorded=True,
        moving=options.moving,
    )


@contextmanager
def open_uploaders(
    run: RunFolder, settings: Settings, folder: WorkFolder, *, progress: Progress
) -> Iterator[list[UploadProcess]]:
    """The workers for what a full round has left to send; none where one process does it all."""
    count = workers_for(_bytes_left(run), settings.limits.uploads_in_flight)
    with ExitStack() as workers:
        if not count:
            yield []
            return
        job = _upload_job(run, settings, folder)
        secrets = (job.account_id, job.api_token, job.seal_key or "")
        prepare = partial(prepare_worker, secrets)
        opened = [
            workers.enter_context(UploadProcess(job, progress, prepare)) for _ in range(count)
        ]
        # A failure reports what they have sent too.
        current_invocation().sent.append(lambda: sum(worker.requests for worker in opened))
        yield opened


def _bytes_left(run: RunFolder) -> int:
    """About how much a full round has left to send, by the text of the values alone."""
    state, points = run.state(), run.plan.points
    if state.completed or len(state.rounds) > 1 or run.plan.base is not None:
        return 0  # a repair or a catch-up sends some vectors, and one process finds them
    pending = state.rounds[-1].pending if state.rounds else PendingRows()
    rows = sum(max(0, min(one.end, points) - one.first) for one in pending.ranges)
    rows = rows * run.plan.vectors // max(points, 1)  # the others are of other indexes
    return upload_bytes(rows, run.plan.values.dimensions, metadata_bytes=0)


def _upload_job(run: RunFolder, settings: Settings, folder: WorkFolder) -> UploadJob:
    target, key = settings.target, settings.snapshot.hmac_key
    assert target.account_id is not None
    assert target.api_token is not None
    assert target.vector_index is not None
    return UploadJob(
        snapshot=run.snapshot.folder,
        run=run.folder,
        excluded=run.excluded_rows(),
        api_base_url=target.api_base_url,
        allow_other_host=target.allow_other_host,
        account_id=target.account_id,
        api_token=load_secret(target.api_token).reveal(),
        vector_index=target.vector_index,
        ca_file=settings.tls.ca_file,
        budget=wiring.budget_file(folder),
        requests_per_5min=settings.limits.requests_per_5min,
        seal_key=None if key is None else load_secret(key).reveal(),
        jitter=wiring.jitter,
    )
