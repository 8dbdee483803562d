"""The vectors of a run as they should read back, in batches, and what a batch turned out to be."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from migrate.model.records import VectorId
from migrate.run.folder import RunFolder
from reconcile.diff import DriftKind
from reconcile.session import Pass


@dataclass(frozen=True, slots=True)
class Expected:
    """One vector as it should read back."""

    row: int
    id: VectorId
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Which vectors of a run are read."""

    only: frozenset[int] | None  # None means every row
    missing: frozenset[str]  # ids that are left out

    def count(self, run: RunFolder) -> int:
        """How many at most: of a sample, missing ones are counted too."""
        return run.vectors - len(self.missing) if self.only is None else len(self.only)

    def batches(self, run: RunFolder, first_row: int, vectors_max: int) -> Iterator[list[Expected]]:
        """Those from `first_row` on, in row order, in batches of at most `vectors_max`."""
        held: list[Expected] = []
        for batch in run.targets(
            ["row", "vector_id", "digest"],
            first_row=first_row,
            only=self.only,
            excluded=run.refused_rows(),
        ):
            columns = (column.to_pylist() for column in batch.columns)
            for row, vector_id, digest in zip(*columns, strict=True):
                if vector_id not in self.missing:
                    held.append(Expected(row, VectorId(vector_id), digest))
                if len(held) == vectors_max:
                    yield held
                    held = []
        if held:
            yield held


def add_batch(
    unnoted: Pass,
    batch: list[Expected],
    kinds: Mapping[VectorId, DriftKind],
    foreign: Collection[VectorId] = (),
) -> None:
    """Add what a batch turned out to be; `foreign` as in `ContentScan`."""
    for expected in batch:
        kind = kinds.get(expected.id)
        if kind is DriftKind.MISMATCHED:
            unnoted.mismatched.append(expected.row)
            if expected.id in foreign:
                unnoted.foreign.append(expected.row)
        elif kind is not None:
            unnoted.unreadable.append(expected.row)
    unnoted.end_row = batch[-1].row + 1
    unnoted.checked += len(batch)
