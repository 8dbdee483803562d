"""Read one range of a collection, as a function of a task that any process can run."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from migrate.clock import SystemClock
from migrate.model.choices import Compression, TransportChoice
from migrate.model.records import VectorSpec
from migrate.ports import Progress
from migrate.qdrant.filters.point_filter import PointFilter
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerOptions
from migrate.snapshot.begun.part_writing import PartWriting
from migrate.snapshot.begun.state import Range
from migrate.snapshot.chain.range_changes import KnownRows, RangeChanges
from migrate.snapshot.manifest import PartRecord
from migrate.snapshot.ranges import Comparison, PartReader, SecondReading
from migrate.storage.folder import Folder
from migrate.transport.trust import ClientCertificate
from migrate.workers.executors import TaskExecutor
from migrate.workers.processes import (
    Prepare,
    WorkerProcess,
    freeze_gc,
    no_preparation,
    worker_progress,
)

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadJob:
    """What all ranges of a snapshot share: source, folder and options."""

    folder: Folder  # of the snapshot
    vectors: tuple[VectorSpec, ...]  # the collection's, as when the snapshot was begun
    url: str
    collection: str
    api_key: str | None = field(repr=False)
    # On another machine: reads the key there, so that no task has it. It is given the place.
    load_key: Callable[[], str] | None
    transport: TransportChoice
    compression: Compression
    ca_file: Path | None
    client: ClientCertificate | None
    grpc_url: str | None
    filter: PointFilter | None
    page_points: int
    second_reading: SecondReading
    leave_unreadable: bool
    recorded: bool  # of a snapshot, not a difference: see `PartWriting`
    moving: bool


@dataclass(frozen=True, slots=True)
class RangeTask:
    """Read a range into its part."""

    job: ReadJob
    span: Range


@dataclass(frozen=True, slots=True)
class CompareTask:
    """Read a range and its part again, and compare them."""

    job: ReadJob
    span: Range
    part: PartRecord


@dataclass(frozen=True, slots=True)
class ChangesTask:
    """Read a range and find what differs from `known`."""

    job: ReadJob
    span: Range
    known: KnownRows


def load() -> None:
    """The first task of a reader: it loads this module and its libraries."""
    freeze_gc()


def read_range(task: RangeTask) -> PartRecord:
    """Write the part durably; every process writes the same bytes."""
    return _open_reader(task.job).write(task.span)


def compare_range(task: CompareTask) -> Comparison:
    """Return the differences between the part and the source."""
    return _open_reader(task.job).compare(task.span, task.part)


def differ_range(task: ChangesTask) -> RangeChanges:
    """Write the points that differ durably; return all changes."""
    return _open_reader(task.job).differ(task.span, task.known)


def recheck_range(task: ChangesTask) -> list[str]:
    """Return the ids of the points that differ."""
    return _open_reader(task.job).recheck(task.span, task.known)


@lru_cache(maxsize=1)
def _open_reader(job: ReadJob) -> PartReader:
    """Return the reader of a job with its connection; both are kept for the next task."""
    source = open_server_source(
        job.url,
        collection=job.collection,
        api_key=job.api_key if job.load_key is None else job.load_key(),
        transport=job.transport,
        clock=SystemClock(),
        options=ServerOptions(
            say=worker_progress().say,
            compression=job.compression,
            ca_file=job.ca_file,
            client=job.client,
            grpc_url=job.grpc_url,
            filter=job.filter,
        ),
    )
    return PartReader(
        source,
        PartWriting(job.folder, job.vectors, recorded=job.recorded, moving=job.moving),
        page_points=job.page_points,
        second_reading=job.second_reading,
        leave_unreadable=job.leave_unreadable,
    )


class TaskReader(ABC):
    """A `RangeReader` whose tasks run somewhere else."""

    def __init__(self, job: ReadJob) -> None:
        self.job = job

    @abstractmethod
    def run(self, work: Callable[[Task], Result], task: Task) -> Result:
        """The result of a task; raises its error."""

    @abstractmethod
    def cancel(self) -> None:
        """See RangeReader."""

    def write(self, span: Range) -> PartRecord:
        """See RangeReader."""
        return self.run(read_range, RangeTask(self.job, span))

    def compare(self, span: Range, part: PartRecord) -> Comparison:
        """See RangeReader."""
        return self.run(compare_range, CompareTask(self.job, span, part))

    def differ(self, span: Range, known: KnownRows) -> RangeChanges:
        """See RangeReader."""
        return self.run(differ_range, ChangesTask(self.job, span, known))

    def recheck(self, span: Range, known: KnownRows) -> list[str]:
        """See RangeReader."""
        return self.run(recheck_range, ChangesTask(self.job, span, known))


class ReaderProcess(WorkerProcess, TaskReader):
    """A reader in another process of this machine."""

    def __init__(self, job: ReadJob, progress: Progress, prepare: Prepare = no_preparation) -> None:
        WorkerProcess.__init__(self, progress, prepare, load=load)
        TaskReader.__init__(self, job)


class ExecutorReader(TaskReader):
    """A reader on any machine of an executor; several readers share one executor."""

    def __init__(self, job: ReadJob, executor: TaskExecutor) -> None:
        super().__init__(job)
        self._executor = executor

    @override
    def run(self, work: Callable[[Task], Result], task: Task) -> Result:
        """See TaskReader. A machine that ends meanwhile is replaced by another one."""
        return self._executor.run(work, task)

    @override
    def cancel(self) -> None:
        """See RangeReader: what is not begun yet is not begun."""
        self._executor.cancel()
