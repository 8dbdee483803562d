"""Map one part of a snapshot, as a function of a task that any process can run."""

from dataclasses import dataclass

import pyarrow as pa

from migrate.plan.census.counts import PointCounts, PointRules
from migrate.snapshot.live_part import LivePart
from migrate.tables.plan_ids import join_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class MapTask:
    """Map the points of a part."""

    part: LivePart
    rules: PointRules


@dataclass(frozen=True, slots=True)
class MappedPart:
    """What a plan needs of the points of a part: about 0.1 kB each."""

    counts: PointCounts
    rows: pa.Table  # see `IdTable.add_table`


def map_part(task: MapTask) -> MappedPart:
    """Read the part and map its points. Every machine returns the same."""
    counts = PointCounts(task.rules)
    pages = task.part.read_wanted(with_vectors=(task.rules.values.vector_name,))
    rows = [counts.add_page(rows.tolist(), page) for rows, page in pages]
    return MappedPart(counts, join_tables(rows))
