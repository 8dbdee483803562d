"""The rows about a source: reached, whole, a vector that fits, and what becomes of some points."""

from collections.abc import Mapping
from dataclasses import dataclass

from migrate.check.rows import Rows
from migrate.mapping.values import ValueRules
from migrate.model.records import (
    Collection,
    DenseColumn,
    MultiColumn,
    Page,
    VectorColumn,
    VectorSpec,
)
from migrate.plan.census.statistics import Census, take_census
from migrate.plan.estimate import Workload
from migrate.plan.rules import PlanRules
from migrate.plan.target_shape import BEYOND_AN_INDEX_REMEDY, beyond_an_index
from migrate.ports import Clock, PointSource
from migrate.snapshot.counting import check_hidden, no_points
from migrate.snapshot.walk import walk_points
from migrate.words import counted

SAMPLE_POINTS = 200
OF_A_SOURCE = ("source", "collection", "points", "vector", "sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The first points by their ids, mapped."""

    points: int
    moved: int
    files: int  # of those that moved; this and the next
    metadata_bytes: int
    stored_bytes: int  # of all of them in a snapshot
    left_out: Mapping[str, int]  # reason -> points


@dataclass(frozen=True, slots=True)
class SourceFound:
    """What a source holds, judged by its count and a sample of its points."""

    points: int
    values: ValueRules
    sample: Sample

    def load(self, rules: PlanRules) -> Workload:
        """The amount of data to write, should all points be as the sample."""
        return Workload(
            vectors=self._of_all(self.sample.moved),
            # At most: with ids in no order the sample meets another file with nearly every point.
            files=self._of_all(self.sample.files),
            dimensions=self.values.dimensions,
            metadata_bytes=self._of_all(self.sample.metadata_bytes),
            vectors_per_upload=rules.writes.vectors_per_upload,
            body_bytes=rules.writes.body_bytes,
        )

    @property
    def snapshot_bytes(self) -> int:
        """The size of a snapshot, should all points be as the sample."""
        return self._of_all(self.sample.stored_bytes)

    def _of_all(self, of_sample: int) -> int:
        return of_sample * self.points // max(1, self.sample.points)


def check_source(
    rows: Rows, source: PointSource, rules: PlanRules, clock: Clock
) -> SourceFound | None:
    """Add the rows of a source. Returns None when one of them fails.

    Reads the collection's description, its count and SAMPLE_POINTS points.
    """
    begun_s = clock.monotonic_s()
    collection = rows.look("source", source.read_collection)
    if collection is None:
        rows.skip(OF_A_SOURCE[1:], "the source did not answer as it should")
        return None
    answered_ms = (clock.monotonic_s() - begun_s) * 1_000
    identity = source.identity()
    place = identity.get("url") or identity.get("path") or "an unknown place"
    rows.ok("source", f"{collection.server} at {place}, answered in {answered_ms:,.0f} ms")
    is_whole = _check_collection(rows, collection)
    points = rows.look("points", lambda: _count(source, collection, rules))
    if points is not None:
        _show_points(rows, points, source.count_left_out())
    values = rows.look("vector", lambda: rules.choose_values(collection.vectors))
    if values is None:
        rows.skip(["sample"], "no vector of the collection can move")
        return None
    _show_vector(rows, values)
    sample = rows.look("sample", lambda: _sample(source, collection, rules, values))
    if sample is None:
        return None
    _show_sample(rows, sample)
    return None if points is None or not is_whole else SourceFound(points, values, sample)


def _check_collection(rows: Rows, collection: Collection) -> bool:
    def is_whole() -> bool:
        check_hidden(collection)
        return True

    if not rows.look("collection", is_whole):
        return False
    vectors = ", ".join(map(_vector_words, collection.vectors)) or "no vectors"
    what = f"'{collection.name}' with {vectors}"
    if not collection.is_name_kept:
        what += f"; an embedded store holds no name, so '{collection.name}' was not compared"
    rows.note("collection", what, collection.warnings)
    return True


def _vector_words(spec: VectorSpec) -> str:
    name = f"vector '{spec.name}'" if spec.name else "one unnamed vector"
    if spec.dimensions is None:
        return f"{name} ({spec.kind})"
    return f"{name} ({spec.kind}, {spec.dimensions:,} dimensions)"


def _count(source: PointSource, collection: Collection, rules: PlanRules) -> int:
    points = source.count_points()
    if not points and not rules.allow_empty:
        raise no_points(source, collection)
    return points


def _show_points(rows: Rows, points: int, left_out: int | None) -> None:
    what, beyond = _counted(points, left_out), beyond_an_index(points)
    if beyond is None:
        rows.ok("points", what)
    else:
        rows.warn("points", f"{what}; {beyond}", BEYOND_AN_INDEX_REMEDY)


def _counted(points: int, left_out: int | None) -> str:
    if left_out is None:
        return f"{points:,}"
    return f"{points:,}; source.filter leaves out {left_out:,} others"


def _show_vector(rows: Rows, values: ValueRules) -> None:
    name = f"'{values.vector_name}'" if values.vector_name else "the unnamed one"
    if values.reduce == "none":
        rows.ok("vector", f"{name}: {values.dimensions:,} dimensions, {values.metric}")
        return
    rows.warn(
        "vector",
        f"{name}: {values.source_dimensions:,} dimensions, cut to {values.dimensions:,} "
        f"({values.reduce}), {values.metric}",
        f"measure in a snapshot how much of search is kept: `q2v parity --at {values.dimensions}`",
    )


def _sample(
    source: PointSource, collection: Collection, rules: PlanRules, values: ValueRules
) -> Sample:
    """Map the first points by their ids: SAMPLE_POINTS, and what is left of the page."""
    census, files = Census(), set[str]()
    stored = metadata = moved = 0
    for page in walk_points(
        source, None, None, limit=SAMPLE_POINTS, leave_unreadable=collection.vectors
    ):
        result = take_census(
            census, page, rules.mapping, values, body_bytes=rules.writes.body_bytes
        )
        vectors = [vector for _, vector in result.mapped]
        files |= {vector.group for vector in vectors if vector.group is not None}
        metadata += sum(len(vector.metadata) for vector in vectors)
        stored += _stored_bytes(page)
        moved += len(vectors)
        if census.points >= SAMPLE_POINTS:
            break
    return Sample(
        points=census.points,
        moved=moved,
        files=len(files),
        metadata_bytes=metadata,
        stored_bytes=stored,
        left_out={reason.value: n for reason, n in sorted(census.quarantined.items())},
    )


def _stored_bytes(page: Page) -> int:
    return sum(map(len, page.payloads)) + sum(map(_column_bytes, page.vectors.values()))


def _column_bytes(column: VectorColumn) -> int:
    """The values alone; what Parquet adds is far below the reserve that `machine` asks for."""
    if isinstance(column, DenseColumn):
        return column.values.nbytes
    if isinstance(column, MultiColumn):
        return sum(row.nbytes for row in column.rows if row is not None)
    return sum(row[0].nbytes + row[1].nbytes for row in column.rows if row is not None)


def _show_sample(rows: Rows, sample: Sample) -> None:
    """How many of the first points would move; a warning where some would not."""
    if not sample.points:
        rows.skip(["sample"], "there are no points")
        return
    what = f"{sample.moved:,} of the first {counted(sample.points, 'point')} would move"
    if not sample.left_out:
        rows.ok("sample", what)
        return
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sample.left_out.items())
    rows.warn("sample", f"{what}; left out: {reasons}", "`q2v plan` names them, of all points")
