"""Map points page by page and count what a plan needs of them.

Counts of different points add up, in any order and wherever pages and parts are cut: each point
has the number of its row, and whatever depends on an order depends on that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from migrate.mapping.rules import MappingRules
from migrate.mapping.values import ValueRules
from migrate.model.records import DenseColumn, Page, ShardKey
from migrate.plan.census.histograms import NormCounts
from migrate.plan.census.line_sizes import LineSizes
from migrate.plan.census.planned import planned_rows
from migrate.plan.census.statistics import Census, CensusPage, take_census
from migrate.plan.quarantine import FirstQuarantined, QuarantinedPoint
from migrate.plan.transforms import TransformPreview


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRules:
    """What decides about a point by itself. Holds no secret: tasks for other machines have it."""

    mapping: MappingRules
    values: ValueRules
    body_bytes: int  # of an upload
    metadata_indexes: Mapping[str, str]  # property -> type
    listed_max: int  # points that are left out, in the list


class PointCounts:
    """Running counts over points, and the first points that are left out."""

    def __init__(self, rules: PointRules) -> None:
        self._rules = rules
        self.census = Census()
        self.quarantined = FirstQuarantined(rules.listed_max)
        self.preview = TransformPreview(rules.mapping.transforms)
        self.shard_keys: set[ShardKey] = set()
        self.norms = NormCounts()
        self.lines = LineSizes()

    def add_page(self, rows: Sequence[int], page: Page) -> pa.Table:
        """Map and count the points of a page; `rows` has the row of each, ascending.

        Returns the rows that map, for the table of the plan.
        """
        rules = self._rules
        result = take_census(
            self.census, page, rules.mapping, rules.values, body_bytes=rules.body_bytes
        )
        for position, outcome in result.quarantined:
            point = QuarantinedPoint(
                row=rows[position], point_id=page.ids[position], outcome=outcome
            )
            self.quarantined.add(point)
        self.preview.add_page(rows, page, result.mapped)
        self.shard_keys.update(page.shard_keys or ())
        self._add_norms(page, result)
        self.lines.add(rows, result)
        return planned_rows(rows, page, result, rules.metadata_indexes).table()

    def _add_norms(self, page: Page, result: CensusPage) -> None:
        """Of the points that map, as the source has them."""
        column = page.vectors[self._rules.values.vector_name]
        assert isinstance(column, DenseColumn), "the plan chose a dense vector"
        if len(result.mapped) == len(page):
            self.norms.add(column.values)  # without a copy
        else:
            self.norms.add(column.values[[position for position, _ in result.mapped]])

    def merge(self, other: "PointCounts") -> None:
        """Add the counts of other points, by the same rules."""
        self.census.merge(other.census)
        self.quarantined.merge(other.quarantined)
        self.preview.merge(other.preview)
        self.shard_keys |= other.shard_keys
        self.norms.merge(other.norms)
        self.lines.merge(other.lines)
