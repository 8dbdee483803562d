"""Read the vectors that others changed, removed or added since the run; resumable.

Every vector of the newest run is read and compared by digest, 20 ids a request; those that differ
are stored. Then the added ones are read and stored. A read may be stale, so what differs is read
again, after pauses, before it counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from migrate.model.limits import FETCH_IDS_MAX
from migrate.model.records import Vector, VectorId
from migrate.plan.request_counts import fetch_requests
from migrate.ports import VectorTarget
from migrate.run.folder import RunFolder
from migrate.run.pre_image_files import VectorPreImage, read_vector_pre_images
from migrate.run.refused_vectors import unwritten_rows
from migrate.runtime import Runtime
from migrate.storage.id_files import read_checked_ids, write_ids
from migrate.storage.layout import listed_name
from migrate.words import subject
from migrate.workers.ordered import in_order
from migrate.workers.repeat import doubling, refine_until
from reconcile.rollback.later.folder import ExportFolder
from reconcile.rollback.later.journal import Kind, Listing, ReadFile
from reconcile.rollback.later.known import KnownVectors
from reconcile.rollback.report import FEW_CANDIDATES, PASSES_MAX

REQUESTS_PER_NOTE = 50  # most that a kill repeats: 17 s at the default budget
_REMEDY = "delete the folder of this unfinished export, then run the same command again"
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _Expected:
    """A vector of the run."""

    row: int
    id: VectorId
    digest: bytes  # as the run wrote it


class LaterReading:
    """What an export reads. Vectors read once are in its files, also after a kill."""

    def __init__(
        self,
        run: RunFolder,
        known: KnownVectors,
        export: ExportFolder,
        target: VectorTarget,
        runtime: Runtime,
    ) -> None:
        """`run` is the newest of the chain."""
        self._run = run
        self._known = known
        self._export = export
        self._target = target
        self._runtime = runtime
        self._latest: dict[VectorId, Vector | None] = {}  # as the last look showed them
        self._ours: set[VectorId] = set()  # one look showed a content that is no later write

    def read_rows(self, unlisted: AbstractSet[int]) -> None:
        """Read every vector of the run but these rows, and store those with another content.

        Also those that are absent.
        """
        run, state = self._run, self._export.state
        total, progress = run.vectors - len(unlisted), self._runtime.progress
        requests = fetch_requests(total)
        progress.start("reading vectors back", total=total, unit="vectors", requests=requests)
        if state.end_row:
            progress.advance(min(state.end_row, total), earlier=True)
        differing: list[VectorPreImage] = []
        end_row = state.end_row
        batches = _chunks(self._expected(unlisted, first_row=end_row), FETCH_IDS_MAX)
        reads = in_order(self._fetch, batches, width=self._runtime.reads_in_flight)
        with closing(reads):
            for requests, (batch, found) in enumerate(reads, start=1):
                differing += self._differing(batch, found)
                end_row = batch[-1].row + 1
                progress.advance(len(batch))
                if requests % REQUESTS_PER_NOTE == 0:
                    self._note_rows(end_row, differing)
                    differing = []
        if state.end_row < run.plan.points:
            self._note_rows(run.plan.points, differing)

    def _expected(self, unlisted: AbstractSet[int], *, first_row: int) -> Iterator[_Expected]:
        excluded = unlisted | unwritten_rows(self._run)
        columns = ["row", "vector_id", "digest"]
        for batch in self._run.targets(columns, excluded=excluded, first_row=first_row):
            rows = (column.to_pylist() for column in batch.columns)
            for row, vector_id, digest in zip(*rows, strict=True):
                yield _Expected(row, VectorId(vector_id), digest)

    def _fetch(self, batch: Sequence[_Expected]) -> dict[VectorId, Vector]:
        return self._target.fetch([one.id for one in batch])

    def _differing(
        self, batch: Sequence[_Expected], found: dict[VectorId, Vector]
    ) -> Iterator[VectorPreImage]:
        for one in batch:
            vector = found.get(one.id)
            if vector is None or not self._known.has(vector, one.digest):
                yield VectorPreImage(row=one.row, vector_id=one.id, former=vector)

    def _note_rows(self, end_row: int, differing: Sequence[VectorPreImage]) -> None:
        self._runtime.stop.check()
        file = self._export.write_read(differing) if differing else {}
        self._export.note(Kind.ROWS_READ, end_row=end_row, differing=len(differing), **file)

    def read_added(self, ids: Sequence[VectorId]) -> None:
        """Read these vectors and store them, without those that were read before a kill.

        `ids` are in the order of their points.
        """
        state = self._export.state
        listed = {one for listing in state.listings for one in self._ids(listing)}
        fresh = [one for one in ids if one not in listed]
        if fresh:
            file = self._export.folder.file(listed_name(len(state.listings)))
            count, sha256 = write_ids(file, fresh)
            self._export.note(Kind.LISTED, name=file.name, ids=count, sha256=sha256)
        total = sum(listing.ids for listing in state.listings)
        self._runtime.progress.start(
            "reading later vectors",
            total=total,
            unit="vectors",
            requests=fetch_requests(total),
        )
        for ordinal, listing in enumerate(state.listings):
            self._runtime.progress.advance(listing.end, earlier=True)
            pending = self._ids(listing)[listing.end :]
            for some in _chunks(pending, REQUESTS_PER_NOTE * FETCH_IDS_MAX):
                self._read_some(ordinal, listing, some)

    def _ids(self, listing: Listing) -> list[VectorId]:
        file = self._export.folder.file(listing.name)
        ids = read_checked_ids(file, listing.ids, listing.sha256, remedy=_REMEDY)
        return [VectorId(one) for one in ids]

    def _read_some(self, ordinal: int, listing: Listing, ids: Sequence[VectorId]) -> None:
        self._runtime.stop.check()
        found = self._read(ids)
        records = [
            VectorPreImage(row=listing.end + at, vector_id=one, former=found.get(one))
            for at, one in enumerate(ids)
        ]
        file = self._export.write_read(records)
        absent = sum(record.former is None for record in records)
        end = listing.end + len(ids)
        self._export.note(
            Kind.VECTORS_READ, listing=ordinal, end=end, absent=absent, rows=len(records), **file
        )

    def _read(self, ids: Iterable[VectorId]) -> dict[VectorId, Vector]:
        """Read these vectors once; absent ones are left out."""
        found: dict[VectorId, Vector] = {}
        batches = _chunks(ids, FETCH_IDS_MAX)
        reads = in_order(self._target.fetch, batches, width=self._runtime.reads_in_flight)
        with closing(reads):
            for batch, vectors in reads:
                found.update(vectors)
                self._runtime.progress.advance(len(batch))
        return found

    def settle(self, wanted: AbstractSet[VectorId], *, pause_s: float) -> list[VectorId]:
        """Read again what differs, if it is not much, and the added ones that were absent.

        `wanted` are the added ids that are listed. Returns those of them that stay absent. Reads
        up to four times, with pauses that double from `pause_s`. What reads as no later write in
        one of them is none.
        """
        ours = self._ours_of_few()
        first: dict[VectorId, Vector | None] = {
            record.vector_id: record.former
            for record in self._differing_records()
            if record.vector_id in ours
        }
        absent = frozenset(one for one in self._absent_added() if one in wanted)
        self._latest = refine_until(
            lambda: {**first, **dict.fromkeys(absent)},
            lambda found: self._look_again(found, ours),
            lambda _, found: not found or len(found) > FEW_CANDIDATES,
            doubling(pause_s, times=PASSES_MAX - 1),
            clock=self._runtime.clock,
            before_pause=lambda found, pause_s: self._runtime.progress.say(
                f"{subject(len(found), 'vector', 'is')} not as the run left them: reading again in "
                f"{pause_s:.0f} s"
            ),
        )
        return sorted(one for one in absent if self._latest[one] is None)

    def _ours_of_few(self) -> dict[VectorId, bytes]:
        """Id -> digest of the run, for what differs; nothing if it is too much for stale reads."""
        if sum(file.rows for file in self._export.state.differing) > FEW_CANDIDATES:
            return {}
        rows = {record.row for record in self._differing_records()}
        return {
            VectorId(vector_id): digest
            for batch in (self._run.targets(["vector_id", "digest"], only=rows) if rows else ())
            for vector_id, digest in zip(*(one.to_pylist() for one in batch.columns), strict=True)
        }

    def _look_again(
        self, found: dict[VectorId, Vector | None], ours: dict[VectorId, bytes]
    ) -> dict[VectorId, Vector | None]:
        self._runtime.progress.start(
            "reading later vectors again",
            total=len(found),
            unit="vectors",
            requests=fetch_requests(len(found)),
        )
        shown = self._read(found)
        known = {
            one
            for one, vector in shown.items()
            if one in ours and self._known.has(vector, ours[one])
        }
        self._ours |= known
        return {one: shown.get(one) for one in found if one not in known}

    def _absent_added(self) -> Iterator[VectorId]:
        for listing in self._export.state.listings:
            for file in listing.files:
                if file.absent:
                    yield from (one.vector_id for one in self._records(file) if one.former is None)

    def _differing_records(self) -> Iterator[VectorPreImage]:
        for file in self._export.state.differing:
            yield from self._records(file)

    def _records(self, file: ReadFile) -> Iterator[VectorPreImage]:
        return read_vector_pre_images(self._export.read_file(file.name), file.sha256)

    def changed(self) -> Iterator[tuple[int, Vector]]:
        """Row and content of every vector of the run with another content, in row order."""
        for record in self._differing_records():
            vector = self._last(record)
            if vector is not None:
                yield record.row, vector

    def deleted(self) -> Iterator[int]:
        """The row of every vector of the run that is absent, in row order."""
        for record in self._differing_records():
            if record.vector_id not in self._ours and self._last(record) is None:
                yield record.row

    def _last(self, record: VectorPreImage) -> Vector | None:
        if record.vector_id in self._ours:
            return None
        return self._latest.get(record.vector_id, record.former)

    def added(self) -> list[Iterator[Vector]]:
        """The added vectors; those of each listing in the order of their points."""
        return [self._of_listing(listing) for listing in self._export.state.listings]

    def _of_listing(self, listing: Listing) -> Iterator[Vector]:
        for file in listing.files:
            for record in self._records(file):
                vector = self._last(record)
                if vector is not None:
                    yield vector


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    pending = iter(items)
    while chunk := list(islice(pending, size)):
        yield chunk
