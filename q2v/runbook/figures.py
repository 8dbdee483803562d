"""The names, counts and minutes of one migration, for the runbook."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from migrate.plan.estimate import LINE_MBIT_PER_S, Estimate

# What a move over several vector indexes adds up; the others are of the source.
_ADDED = (
    "vectors",
    "files",
    "quarantined",
    "upload",
    "compare",
    "compare_full",
    "look",
    "rollback",
    "usd_per_month",
)
_SNAPSHOT_BYTES_PER_VALUE = 4  # float32, as both protocols send it, one after the other reading
_PAYLOAD_BYTES = 1_300  # of a chunk with its text; what the plan measures is metadata alone
_TOP_S_PER_POINT = 0.000_2  # of one reading on two cores (benchmarks/RESULTS.md)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the steps name. None: not configured yet."""

    collection: str
    source: str
    vector_index: str
    kv_namespace: str | None
    account: str | None  # fingerprint
    folder: str  # --dir
    filter: str | None = None  # source.filter; None: the whole collection
    # The vector indexes that the files are divided over; vector_index then stands for each of them.
    indexes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Counts of the collection, and minutes of each piece of work."""

    points: int
    vectors: int
    files: int
    source_dimensions: int
    dimensions: int
    quarantined: int
    read_once: float  # minutes: one reading of the source
    upload: float  # minutes: pre-images, vectors, settling, KV index
    compare: float  # minutes: reconcile as the settings say
    compare_full: float
    look: float  # minutes: one look of the monitor
    rollback: float
    usd_per_month: float
    basis: str  # what the numbers rest on, one sentence
    # Of each of several vector indexes, by name; the minutes above are then for all, one by one.
    parts: tuple[tuple[str, "Figures"], ...] = ()

    @property
    def indexes(self) -> int:
        """How often a command is given that works on one vector index."""
        return len(self.parts) or 1

    @property
    def freeze(self) -> float:
        """Minutes for which writers stand still: a frozen catch-up, the reconcile, the gate."""
        return self.last_catch_up + self.reconcile + self.gate

    @property
    def catch_up(self) -> float:
        """Minutes of a catch-up: the source is read once, for all vector indexes."""
        return self.read_once + 3 * self.indexes

    @property
    def last_catch_up(self) -> float:
        """The last one, of a source that stands still, reads twice."""
        return 2 * self.read_once + 3 * self.indexes

    @property
    def reconcile(self) -> float:
        """Minutes of a reconcile, which reads the source; of each vector index one."""
        return self.read_once * self.indexes + self.compare

    @property
    def gate(self) -> float:
        """Minutes of a gate, which reads the snapshot; of each vector index one."""
        return (self.read_once / 4 + 1) * self.indexes


def figures_of(
    estimate: Estimate,
    *,
    points: int,
    quarantined: int,
    source_dimensions: int,
    dimensions: int,
    basis: str,
) -> Figures:
    """Figures from a plan's estimate. A reading takes the line or the machine, which is slower."""
    line_bytes = points * (source_dimensions * _SNAPSHOT_BYTES_PER_VALUE + _PAYLOAD_BYTES)
    read_s = max(line_bytes * 8 / (LINE_MBIT_PER_S * 1_000_000), points * _TOP_S_PER_POINT)
    return Figures(
        points=points,
        vectors=estimate.vectors,
        files=estimate.files,
        source_dimensions=source_dimensions,
        dimensions=dimensions,
        quarantined=quarantined,
        read_once=read_s / 60,
        upload=estimate.upload_minutes,
        compare=estimate.planned_reconcile_minutes,
        compare_full=estimate.reconcile_minutes,
        look=estimate.list_minutes + 1,
        rollback=estimate.rollback_minutes,
        usd_per_month=estimate.usd_per_month,
        basis=basis,
    )


def together(parts: Sequence[tuple[str, Figures]]) -> Figures:
    """The figures of a move over several vector indexes, whose commands follow each other.

    The points of the source count once; all else adds up.
    """
    of = [figures for _, figures in parts]
    sums = {name: sum(getattr(one, name) for one in of) for name in _ADDED}
    return replace(of[0], **sums, parts=tuple(parts))
