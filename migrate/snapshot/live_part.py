"""One part of a snapshot by itself, with the rows of the whole that it holds.

Any process can read it: the record of the part has the digest of its bytes, so neither manifest nor
key is needed.
"""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from migrate.model.pages import take_positions
from migrate.model.records import Page, VectorSpec
from migrate.model.sealed_json import damaged
from migrate.snapshot.chain.changes import NO_ROW
from migrate.snapshot.manifest import PartRecord
from migrate.snapshot.parts import read_part
from migrate.storage.folder import StoredFile
from migrate.tables.row_set import mask_of

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePart:
    """A part of a snapshot, or of one that it is a difference to."""

    file: StoredFile
    part: PartRecord
    vectors: tuple[VectorSpec, ...]
    keyed: bool  # whether the points have shard keys
    remedy: str  # when the part is damaged
    # The row of the whole of each row of the part, ascending; NO_ROW: changed since, or not wanted.
    rows: Rows

    @property
    def wanted(self) -> int:
        """How many rows are read."""
        return int((self.rows != NO_ROW).sum())

    def only(self, are_wanted: npt.NDArray[np.bool_]) -> "LivePart":
        """The part without the other rows; one truth value for each row."""
        return replace(self, rows=np.where(are_wanted, self.rows, NO_ROW))

    def without(self, excluded: AbstractSet[int]) -> "LivePart":
        """The part without rows of the whole."""
        live = self.rows[self.rows != NO_ROW]
        if not len(live) or not excluded:
            return self
        first = int(live[0])
        left_out = mask_of(excluded, first, int(live[-1]) + 1)
        # Rows that are not read count as the first one; either way they stay NO_ROW.
        return self.only(~left_out[np.maximum(self.rows, first) - first])

    def read(self, *, with_vectors: Sequence[str]) -> Iterator[tuple[Rows, Page]]:
        """Pages with the row of the whole of each point; a page may have rows that are NO_ROW.

        Raises ArtefactDamagedError as `Snapshot.read`.
        """
        wanted = np.flatnonzero(self.rows != NO_ROW)
        if not len(wanted):
            return
        if not self.file.is_there():
            raise damaged(str(self.file), "the part is missing", remedy=self.remedy)
        for read in read_part(
            self.file,
            self.part,
            self.vectors,
            with_vectors=with_vectors,
            first_row=0,
            remedy=self.remedy,
            wanted=range(int(wanted[0]), int(wanted[-1]) + 1),
        ):
            if (read.page.shard_keys is not None) != self.keyed:
                raise damaged(str(self.file), "only one of part and manifest has shard keys")
            yield self.rows[read.first_row : read.first_row + len(read.page)], read.page

    def read_wanted(self, *, with_vectors: Sequence[str]) -> Iterator[tuple[Rows, Page]]:
        """As `read`, without the rows that are NO_ROW."""
        for rows, page in self.read(with_vectors=with_vectors):
            wanted = np.flatnonzero(rows != NO_ROW)
            if len(wanted):
                yield rows[wanted], take_positions(page, wanted.tolist())
