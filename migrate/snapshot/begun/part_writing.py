"""Write the points of a range into a part that several machines may write at once, or only one.

In a local folder the holder of the lock is the only writer, and replaces the part. In an object
store a part is created: the same bytes are fine, other bytes end the snapshot (decision 0068).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

from migrate.errors import PreconditionError
from migrate.model.records import Page, VectorSpec
from migrate.snapshot.begun.journal import create_record, find_record
from migrate.snapshot.begun.state import Range
from migrate.snapshot.folder import part_file
from migrate.snapshot.manifest import PartRecord
from migrate.snapshot.parts import write_part
from migrate.storage.folder import Folder
from migrate.storage.hashed_file import HashedFile
from migrate.storage.layout import PARTS, part_name

Points = Iterator[tuple[Page, list[bytes]]]  # pages of a range, each with its points' digests


@dataclass(frozen=True, slots=True)
class PartWriting:
    """Where the parts of a snapshot or a difference go, and what holds when one is there."""

    folder: Folder  # of the snapshot
    vectors: tuple[VectorSpec, ...]
    recorded: bool  # a snapshot, which several may read; a difference has one reader
    moving: bool = False  # others write to the source: a range read twice has other points

    def write(self, span: Range, read: Callable[[], Points]) -> PartRecord:
        """Read the range into its part, durably. `read` gives the points from the beginning.

        Raises PreconditionError when the part is there with other bytes although nothing moves.
        """
        if not self.folder.is_shared:
            return self._replace(replace(span, revision=0), read)
        if self.recorded:
            return self._create_recorded(span, read)
        for revision in count(span.revision):
            try:
                return self._create(replace(span, revision=revision), read)
            except OtherBytesError:
                continue
        raise AssertionError

    @property
    def _folder_of_parts(self) -> Folder:
        return self.folder.child(PARTS)

    def _replace(self, span: Range, read: Callable[[], Points]) -> PartRecord:
        with self._folder_of_parts.open_to_write(_name(span)) as file:
            return self._fill(file, span, read)

    def _create_recorded(self, span: Range, read: Callable[[], Points]) -> PartRecord:
        for revision in count(span.revision):
            known = find_record(self.folder, span.ordinal, revision)
            if known is not None:
                return known  # the same work was done twice
            try:
                part = self._create(replace(span, revision=revision), read)
            except OtherBytesError as error:
                if not self.moving:
                    raise self._explained(error) from error
                known = find_record(self.folder, span.ordinal, revision)
                if known is not None:
                    return known
                continue  # its reader was stopped before the record, or is about to write it
            return self._record(part)
        raise AssertionError

    def _record(self, part: PartRecord) -> PartRecord:
        try:
            create_record(self.folder, part)
        except PreconditionError:
            known = find_record(self.folder, part.ordinal, part.revision)
            if not self.moving or known is None:
                raise
            return known
        return part

    def _create(self, span: Range, read: Callable[[], Points]) -> PartRecord:
        written: PartRecord | None = None
        try:
            with self._folder_of_parts.open_to_create(_name(span)) as file:
                written = self._fill(file, span, read)
        except PreconditionError as error:
            if written is None:  # raised by the reading
                raise
            raise OtherBytesError(str(error), remedy=error.remedy, part=written) from error
        return written

    def _fill(self, file: HashedFile, span: Range, read: Callable[[], Points]) -> PartRecord:
        ends: list[str] = []

        def pages() -> Points:
            for page, digests in read():
                if not ends:
                    ends.append(page.ids[0].text)
                ends[1:] = [page.ids[-1].text]
                yield page, digests

        rows, size, sha256 = write_part(file, pages(), self.vectors)
        return PartRecord(
            ordinal=span.ordinal,
            rows=rows,
            bytes=size,
            sha256=sha256,
            first_id=ends[0] if ends else "",
            last_id=ends[-1] if ends else "",
            revision=span.revision,
        )

    def _explained(self, error: "OtherBytesError") -> PreconditionError:
        part = error.part
        if find_record(self.folder, part.ordinal, part.revision) is not None:
            return PreconditionError(str(error), remedy=str(error.remedy))
        return PreconditionError(
            f"{error}; no record names it: what wrote it was stopped, and read other points",
            remedy="stop the writers (RUNBOOK: freeze). When no other q2v works on this snapshot, "
            f"remove {part_file(self.folder, part)} and run the same command again",
        )


class OtherBytesError(PreconditionError):
    """A part is there with other bytes than those of `part`."""

    def __init__(self, what: str, *, remedy: str, part: PartRecord) -> None:
        super().__init__(what, remedy=remedy)
        self.part = part


def _name(span: Range) -> str:
    return part_name(span.ordinal, span.revision)
