"""Cut, encode and send uploads: what one worker does, in this process or in one of its own.

A worker holds one upload in memory, as lines. They are read anew only when they are no longer
the ones at hand: a refused upload's halves are cut from the lines that were sent.
"""

from collections import deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Protocol

from migrate.adapters.snapshot_folder import Snapshot
from migrate.core.batching import Line, Upload, describe_upload, encode_line, take_lines
from migrate.core.model import Accepted, VectorId
from migrate.core.pending import RowRange
from migrate.core.run_plan import RunPlan
from migrate.ports import VectorTarget
from migrate.stages.mapped import MappedRows, read_mapped


class UploadWorker(Protocol):
    """Cuts one upload at a time and sends it. Used by one thread."""

    requests: int  # sent by other processes than this one

    def cut(self, rows: RowRange, body_bytes_wanted: int | None) -> Upload | None:
        """Make ready the next upload out of these rows, from their front; None: nothing moves.

        `body_bytes_wanted` as in `take_lines`. Raises whatever reading the snapshot raises.
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
        self._lines: deque[Line] = deque()  # encoded, none left out from `_first` to `_next`
        self._stream: Iterator[Line] = iter(())  # goes on at `_next`
        self._first = self._next = self._stream_end = 0
        self._upload: list[Line] = []

    def cut(self, rows: RowRange, body_bytes_wanted: int | None) -> Upload | None:
        """See UploadWorker."""
        end = min(rows.end, self._plan.points)
        self._upload = take_lines(
            self._read(rows.first, end),
            vectors_max=self._plan.writes.vectors_per_upload,
            body_bytes_max=self._plan.writes.body_bytes,
            body_bytes_wanted=body_bytes_wanted,
        )
        return describe_upload(self._upload) if self._upload else None

    def send(self) -> Accepted:
        """See UploadWorker."""
        return self._target.upsert([line.text for line in self._upload])

    def give_up(self) -> None:
        """See UploadWorker: what this process sends is interrupted with it."""

    def _read(self, first: int, end: int) -> Iterator[Line]:
        """The lines of these rows: what is at hand, then the snapshot's."""
        if not (self._first <= first <= self._next and end <= self._stream_end):
            self._lines.clear()
            self._stream, self._stream_end = self._encode(first, end), end
            self._next = first
        self._first = first
        while self._lines and self._lines[0].row < first:
            self._lines.popleft()
        for line in tuple(self._lines):
            if line.row >= end:
                return
            yield line
        for line in self._stream:
            self._lines.append(line)
            self._next = line.row + 1
            if line.row >= end:
                return
            yield line

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
        for position, vector_id in enumerate(rows.ids):
            if self._only is None or vector_id in self._only:
                text = encode_line(vector_id, rows.values[position], rows.metadata[position])
                yield Line(row=rows.rows[position], vector_id=vector_id, text=text)
