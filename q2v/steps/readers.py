"""Readers of a snapshot in processes of their own: each takes one range of ids after the other."""

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migrate.model.records import PointId, VectorKind, VectorSpec
from migrate.ports import Progress
from migrate.qdrant.server import TransportChoice
from migrate.qdrant.source import Compression
from migrate.snapshot.manifest import PartRecord
from migrate.snapshot.ranges import Comparison, PartReader, SecondReading
from migrate.snapshot.state import Range, point_bytes
from migrate.snapshot.take import SnapshotOptions
from migrate.storage.folder import Folder
from q2v import wiring
from q2v.secret_files import load_secret
from q2v.settings import Settings
from q2v.steps.worker_child import Answerer, Telling
from q2v.steps.worker_process import WorkerProcess, workers_for


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadJob:
    """Everything a reader has to know."""

    folder: str  # of the snapshot
    vectors: list[dict[str, Any]]  # the collection's, as when the snapshot was begun
    url: str
    collection: str
    api_key: str | None
    transport: TransportChoice
    compression: Compression
    ca_file: str | None
    page_points: int
    second_reading: SecondReading
    leave_unreadable: bool


@contextmanager
def open_readers(
    folder: Folder,
    vectors: tuple[VectorSpec, ...],
    points: int,
    *,
    settings: Settings,
    options: SnapshotOptions,
    progress: Progress,
) -> "Iterator[list[ReaderProcess]]":
    """The readers for so many points; none where one process does it all, or only one can."""
    count = workers_for(points * point_bytes(vectors), options.readers)
    with ExitStack() as readers:
        job = _job(settings, options, folder, vectors) if count else None
        yield [readers.enter_context(ReaderProcess(job, progress)) for _ in range(count) if job]


def _job(
    settings: Settings, options: SnapshotOptions, folder: Folder, vectors: tuple[VectorSpec, ...]
) -> ReadJob:
    source = settings.source
    assert source.url is not None, "an embedded store has one reader"
    assert source.collection is not None
    return ReadJob(
        folder=str(folder),
        vectors=[asdict(spec) for spec in vectors],
        url=source.url,
        collection=source.collection,
        api_key=None if source.api_key is None else load_secret(source.api_key).reveal(),
        transport=source.transport,
        compression=source.compression,
        ca_file=None if settings.tls.ca_file is None else str(settings.tls.ca_file),
        page_points=options.page_points,
        second_reading=options.second_reading,
        leave_unreadable=options.leave_unreadable,
    )


class ReaderProcess(WorkerProcess):
    """A reader in another process; see `migrate.snapshot.ranges.RangeReader`."""

    def __init__(self, job: ReadJob, progress: Progress) -> None:
        super().__init__("read", asdict(job), [job.api_key or ""], progress)

    def write(self, span: Range) -> PartRecord:
        """See RangeReader."""
        return PartRecord(**self.ask(span=_encode_range(span))["part"])

    def compare(self, span: Range, part: PartRecord) -> Comparison:
        """See RangeReader."""
        answer = self.ask(span=_encode_range(span), part=asdict(part))
        digests = b64decode(answer["digests"])
        return Comparison(answer["differing"], digests, answer["unreadable"])


def open_worker(details: Mapping[str, Any]) -> Answerer:
    """The other side, in the reader's process."""
    job = ReadJob(**details)
    vectors = tuple(VectorSpec(**{**one, "kind": VectorKind(one["kind"])}) for one in job.vectors)
    source = wiring.open_server(
        job.url,
        collection=job.collection,
        api_key=job.api_key,
        transport=job.transport,
        compression=job.compression,
        ca_file=None if job.ca_file is None else Path(job.ca_file),
        clock=wiring.system_clock(),
        progress=Telling(),
    )
    reader = PartReader(
        source,
        wiring.open_folder(job.folder),
        vectors,
        page_points=job.page_points,
        second_reading=job.second_reading,
        leave_unreadable=job.leave_unreadable,
    )

    def answer(question: Mapping[str, Any]) -> dict[str, object]:
        span = _decode_range(question["span"])
        if "part" in question:
            found = reader.compare(span, PartRecord(**question["part"]))
            digests = b64encode(found.digests).decode()
            return {
                "differing": found.differing,
                "digests": digests,
                "unreadable": found.unreadable,
            }
        return {"part": asdict(reader.write(span))}

    return answer


def _encode_range(span: Range) -> list[Any]:
    bounds = (span.start, span.stop)
    ids = [None if one is None else [one.text, one.id_type.value] for one in bounds]
    return [span.ordinal, *ids]


def _decode_range(parts: list[Any]) -> Range:
    ordinal, *bounds = parts
    start, stop = (None if one is None else PointId.from_text(*one) for one in bounds)
    return Range(ordinal, start, stop)
