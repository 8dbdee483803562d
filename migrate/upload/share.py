"""Cut, encode and send uploads: what one worker does, in this process or in one of its own.

A worker holds one upload in memory, and goes on in the snapshot where it ended. The halves of a
refused upload are read and encoded anew.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Protocol

from migrate.mapping.upload_body import Line, Upload, build_upload, encode_line
from migrate.model.float_text import has_twice_rounded
from migrate.model.records import Accepted, VectorId
from migrate.plan.record import RunPlan
from migrate.ports import VectorTarget
from migrate.run.pending import RowRange
from migrate.snapshot.folder import Snapshot
from migrate.upload.mapped import MappedRows, read_mapped


class UploadWorker(Protocol):
    """Cuts one upload at a time and sends it. Used by one thread."""

    requests: int  # sent by other processes than this one

    def cut(self, rows: RowRange, body_bytes_wanted: int | None) -> Upload | None:
        """Make ready the next upload out of these rows, from their front; None: nothing moves.

        `body_bytes_wanted` as in `build_upload`. Raises whatever reading the snapshot raises.
        """

    def send(self) -> Accepted:
        """Send what was cut. Raises as `VectorTarget.upsert`."""

    def give_up(self) -> None:
        """Called by another thread: end at once, if that is possible, whatever is in flight."""


class Uploader:
    """The worker itself."""

    requests = 0

    def __init__(
        self,
        snapshot: Snapshot,
        plan: RunPlan,
        target: VectorTarget,
        *,
        excluded: AbstractSet[int],
        only: AbstractSet[VectorId] | None = None,
    ) -> None:
        """Sends no row of `excluded`, and of the others those in `only`; None means all."""
        self._snapshot = snapshot
        self._plan = plan
        self._target = target
        self._excluded = excluded
        self._only = only
        self._lines: Iterator[Line] = iter(())  # of the rows from `_next` to `_end`
        self._next = self._end = 0
        self._body: list[bytes] = []

    def cut(self, rows: RowRange, body_bytes_wanted: int | None) -> Upload | None:
        """See UploadWorker."""
        self._body = []  # let go of the former one first
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

    def give_up(self) -> None:
        """See UploadWorker: what this process sends is interrupted with it."""

    def _encode(self, first: int, end: int) -> Iterator[Line]:
        """Encoded from the snapshot: the same bytes every time."""
        for rows in read_mapped(
            self._snapshot,
            self._plan.mapping,
            self._plan.values,
            self._excluded,
            first_row=first,
            end_row=end,
        ):
            yield from self._encode_rows(rows)

    def _encode_rows(self, rows: MappedRows) -> Iterator[Line]:
        assert rows.values is not None
        shortest = not has_twice_rounded(rows.values)  # one look at all rows
        for position, vector_id in enumerate(rows.ids):
            if self._only is None or vector_id in self._only:
                text = encode_line(
                    vector_id,
                    rows.values[position],
                    rows.metadata[position],
                    shortest=shortest,
                )
                yield Line(row=rows.rows[position], vector_id=vector_id, text=text)
