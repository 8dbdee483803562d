"""Cut, encode and send uploads: the work of one worker, in this process or in another.

A worker holds one upload in memory and continues in the snapshot at the row after it. The halves of
a refused upload are read and encoded again.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Protocol

from migrate.mapping.upload_body import Line, Upload, build_upload, encode_lines
from migrate.model.records import Accepted, VectorId
from migrate.plan.record import RunPlan
from migrate.ports import VectorTarget
from migrate.run.pending import RowRange
from migrate.snapshot.folder import Snapshot
from migrate.upload.mapped import MappedRows, read_mapped


class UploadWorker(Protocol):
    """Cuts one upload at a time and sends it. Used by one thread."""

    requests: int  # sent by a process other than this one

    def cut(self, rows: RowRange, body_bytes_wanted: int | None) -> Upload | None:
        """Encode the next upload from the first of these rows; None: all of them are left out.

        `body_bytes_wanted` as in `build_upload`. Raises the errors of `Snapshot.read`.
        """

    def send(self) -> Accepted:
        """Send the upload that was cut last. Raises as `VectorTarget.upsert`."""

    def cancel(self) -> None:
        """Called by another thread: end the requests in flight at once where that is possible."""


class Uploader:
    """An UploadWorker that reads, encodes and sends in this process."""

    requests = 0

    def __init__(
        self,
        snapshot: Snapshot,
        plan: RunPlan,
        target: VectorTarget,
        *,
        excluded: AbstractSet[int],
        only: AbstractSet[VectorId] | None = None,
        rows: AbstractSet[int] | None = None,
    ) -> None:
        """Leave out the rows of `excluded`, and what is not in `only` or not in `rows`."""
        self._snapshot = snapshot
        self._plan = plan
        self._target = target
        self._excluded = excluded
        self._only = only
        self._rows = rows
        self._lines: Iterator[Line] = iter(())  # of the rows from `_next` to `_end`
        self._next = self._end = 0
        self._body: list[bytes] = []

    def cut(self, rows: RowRange, body_bytes_wanted: int | None) -> Upload | None:
        """See UploadWorker."""
        self._body = []  # free the former body before the next one is built
        end = min(rows.end, self._plan.points)
        if rows.first != self._next or end != self._end:
            self._lines, self._end = self._encode(rows.first, end), end
        built, after = build_upload(
            self._lines,
            vectors_max=self._plan.writes.vectors_per_upload,
            body_bytes_max=self._plan.writes.body_bytes,
            body_bytes_wanted=body_bytes_wanted,
        )
        if after is not None:
            self._lines = chain([after], self._lines)
        if built is None:
            self._next = end
            return None
        self._body, self._next = built.body, built.upload.end_row
        return built.upload

    def send(self) -> Accepted:
        """See UploadWorker."""
        return self._target.upsert(self._body)

    def cancel(self) -> None:
        """See UploadWorker: nothing to do, a signal interrupts this process's own requests."""

    def _encode(self, first: int, end: int) -> Iterator[Line]:
        """Lines of the rows `first` .. `end` - 1, from the snapshot: the same bytes every time."""
        for rows in read_mapped(
            self._snapshot,
            self._plan.mapping,
            self._plan.values,
            self._excluded,
            only=self._rows,
            first_row=first,
            end_row=end,
        ):
            yield from self._encode_rows(rows)

    def _encode_rows(self, rows: MappedRows) -> Iterator[Line]:
        only = self._only
        places = [at for at, name in enumerate(rows.ids) if only is None or name in only]
        ids = [rows.ids[at] for at in places]
        values = rows.values if len(ids) == len(rows.ids) else rows.values[places]
        metadata = [rows.metadata[at] for at in places]
        texts = encode_lines(ids, values, metadata, [rows.namespaces[at] for at in places])
        for at, vector_id, text in zip(places, ids, texts, strict=True):
            yield Line(row=rows.rows[at], vector_id=vector_id, text=text)
