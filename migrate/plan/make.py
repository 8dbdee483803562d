"""Check every point before the first write: which ones move, which cannot, and the cost.

Reads a source or a snapshot page by page and writes nothing to any store. The whole set is checked
for everything that would make the target refuse a vector, because an upload with one bad line is
refused as a whole, and two points with the same target id may be in different pages.
"""

import shlex
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, field

from migrate.errors import PreconditionError, QuarantineExceededError
from migrate.mapping.kv_entries import encode_file_value
from migrate.mapping.kv_keys import group_of_key
from migrate.mapping.metadata_indexes import PropertyTypes
from migrate.mapping.payload import Change, Quarantined, Reason
from migrate.mapping.rules import MappingRules, WriteRules
from migrate.mapping.values import ValueRules
from migrate.model.limits import KV_VALUE_BYTES_MAX
from migrate.model.records import Page, PointId
from migrate.plan.census.counts import PointCounts, PointRules
from migrate.plan.census.histograms import CHUNKS, ID_BYTES, METADATA_BYTES, Histogram, count_sizes
from migrate.plan.census.planned import CHANGED, HASH_DIFFERS, LONG, OTHER_TYPE, decode_point
from migrate.plan.census.statistics import Census, quarantine_cap
from migrate.plan.census.tasks import MapTask, map_part
from migrate.plan.estimate import Workload
from migrate.plan.namespaces import NamespaceFindings, find_namespaces
from migrate.plan.quarantine import QuarantinedPoint
from migrate.plan.rules import PlanRules
from migrate.plan.saved.record import PlannedPoints
from migrate.plan.saved.rows import digest_rows
from migrate.plan.transforms import RuleEffect
from migrate.ports import PointSource, Progress
from migrate.runtime import Runtime
from migrate.snapshot.agreement import Reading
from migrate.snapshot.counting import check_counted, no_points
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.walk import walk_points
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import scratch_name
from migrate.tables.plan_ids import Collision, FileGap, IdTable
from migrate.words import counted
from migrate.workers.executors import Machines, OpenMachines, run_tasks, this_machine
from migrate.workers.ordered import ahead

GAPS_LISTED_MAX = 20
LISTED_MAX = 200_000  # points that are left out, in the list of a saved plan: about 80 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFindings:
    """What the plan found over all points."""

    points: int
    vectors: int  # points that move
    files: int
    metadata_bytes: int  # over all vectors; this and all counts below are of points that move
    quarantined: dict[str, int]  # reason -> points
    # In row order: at most cap + 1 of them, or LISTED_MAX where the plan is saved.
    quarantined_points: tuple[QuarantinedPoint, ...]
    quarantine_cap: int
    changes: dict[str, int]  # declared changes of metadata, without transforms -> points
    gaps: tuple[FileGap, ...]  # files whose chunk numbers are not 0, 1, 2, ...; the first 20
    files_with_gaps: int
    long_indexed: dict[str, int]  # indexed text field -> values beyond 64 bytes
    hash_mismatches: int  # vectors whose text does not match their stored hash
    property_types: tuple[PropertyTypes, ...] = ()  # of every declared metadata index
    elsewhere: dict[str, int] = field(default_factory=dict)  # other index -> points of its run
    counter_file: str | None = None  # the file that gets the counter's key
    transforms: tuple[RuleEffect, ...] = ()  # of every rule, in their order
    bytes_saved: int = 0  # by which metadata is shorter than the payloads
    namespaces: NamespaceFindings | None = None  # None: no vector is in a namespace
    rows_sha256: str | None = None  # `digest_rows`, where the rules ask for it
    shard_keys: int = 0  # that points are under; 0 without custom sharding
    histograms: tuple[Histogram, ...] = ()  # metadata, ids, files, norms
    line_bytes: float | None = None  # mean over some upload lines, beside metadata and namespace

    @property
    def hashed_ids(self) -> int:
        """Vectors whose id is a digest."""
        kind = f"{Change.ID_HASHED}:"
        return sum(n for change, n in self.changes.items() if change.startswith(kind))

    @property
    def own_points(self) -> int:
        """The points that are judged here: all but those of other indexes."""
        return self.points - sum(self.elsewhere.values())

    def load(self, values: ValueRules, writes: WriteRules) -> Workload:
        """The amount of data to write, for the estimate."""
        return Workload(
            vectors=self.vectors,
            files=self.files,
            dimensions=values.dimensions,
            metadata_bytes=self.metadata_bytes
            + (0 if self.namespaces is None else self.namespaces.bytes),
            line_bytes=self.line_bytes,
            vectors_per_upload=writes.vectors_per_upload,
            body_bytes=writes.body_bytes,
        )

    def counts(self) -> PlannedPoints:
        """The counts and the digest, which was computed."""
        assert self.rows_sha256 is not None, "the rules asked for the digest"
        return PlannedPoints(
            points=self.points,
            vectors=self.vectors,
            files=self.files,
            quarantined=self.quarantined,
            rows_sha256=self.rows_sha256,
        )

    def check_quarantine(self) -> None:
        """Raises QuarantineExceededError when more points are left out than the run allows."""
        total = sum(self.quarantined.values())
        if total > self.quarantine_cap:
            reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(self.quarantined.items()))
            larger = ""
            if self.quarantined.get(Reason.UPLOAD_TOO_LARGE):
                larger = "raise limits.body_bytes for upload_too_large; "
            raise QuarantineExceededError(
                f"{total} of {counted(self.own_points, 'point')} cannot move ({reasons}); "
                f"at most {self.quarantine_cap} may be left out",
                remedy=f"{larger}correct them in the source, adapt the mapping, or raise "
                "--max-quarantine; `q2v plan` lists them; nothing has been written to the target",
            )

    def check_property_types(self, *, chosen: bool, waived: AbstractSet[str] = frozenset()) -> None:
        """Raises PreconditionError for a metadata index with which no filter finds anything.

        `chosen`: the operator has declared the indexes. The default index on a property that no
        vector holds is accepted: it does no harm, and no filter uses it. `waived`: names of
        indexes that are accepted as they are.
        """
        wrong = [
            index
            for index in self.property_types
            if self.vectors
            and not index.fitting
            and (chosen or not index.absent)
            and index.name not in waived
        ]
        if wrong:
            named = "; ".join(
                f"{index.name} as {index.declared}: {index.in_words()}" for index in wrong
            )
            waiving = " ".join(f"--waive-index {shlex.quote(index.name)}" for index in wrong)
            raise PreconditionError(
                f"no filter can find a vector by these metadata indexes ({named})",
                remedy="correct the names and types in target.metadata_indexes, then `q2v plan` "
                "counts again; an index of the wrong type that is there already can be dropped "
                "with `wrangler vectorize delete-metadata-index NAME --property-name=PROPERTY`; "
                f"or accept it as it is, in `q2v plan` and `q2v migrate`: {waiving}",
            )

    def check_counter_key(self, counter_key: str) -> None:
        """Raises PreconditionError when the counter would overwrite the entry of a file."""
        if self.counter_file is not None:
            raise PreconditionError(
                f"the file '{self.counter_file}' gets the KV key '{counter_key}', which is the "
                "key of the vector counter (kv.counter_key): one would overwrite the other",
                remedy="set kv.counter_key to a key that no file gets, as _vector_count, or change "
                "kv.key_template; nothing has been written to the target",
            )


def check_source(
    source: PointSource, rules: PlanRules, folder: WorkFolder, runtime: Runtime, *, page_points: int
) -> tuple[ValueRules, PlanFindings]:
    """Check every point of the source as it is now; ids that do not fit in memory go to `spill`.

    Raises PreconditionError when the source's count and its pages disagree permanently.
    """
    collection = source.read_collection()
    for warning in collection.warnings:
        runtime.progress.say(f"source: {warning}")
    values = rules.choose_values(collection.vectors)
    points = source.count_points()
    if points == 0 and not rules.allow_empty:
        raise no_points(source, collection)
    pages = walk_points(
        source,
        None,
        None,
        limit=page_points,
        leave_unreadable=collection.vectors,  # a plan counts them instead of stopping at the first
    )
    with open_id_table(folder, points, own=rules.mapping.own_index) as table:
        findings = check_points(pages, values, rules, table, runtime.progress, points=points)
    check_counted(source, collection, Reading(points, findings.points), runtime)
    return values, findings


def check_snapshot(
    snapshot: Snapshot,
    rules: PlanRules,
    table: IdTable,
    runtime: Runtime,
    *,
    open_machines: OpenMachines = this_machine,
) -> tuple[ValueRules, PlanFindings]:
    """Check every point of a snapshot; the empty `table` then holds the rows that move.

    The machines map parts, and are let go before the whole set is checked.
    """
    values = rules.choose_values(snapshot.manifest.vectors)
    points = snapshot.manifest.points
    if points == 0 and not rules.allow_empty:
        raise PreconditionError(
            "there are no points to move",
            remedy="check source.collection, or pass --allow-empty",
        )
    mapping = point_rules(rules, values, points)
    with open_machines() as machines:
        runtime.progress.start("checking points", total=points, unit="points")
        if machines is None:
            counts = _map_here(snapshot, mapping, table, runtime)
        else:
            counts = _map_there(snapshot, mapping, table, runtime.progress, machines)
    return values, check_whole_set(counts, rules, table, listed_max=mapping.listed_max)


def _map_here(
    snapshot: Snapshot, rules: PointRules, table: IdTable, runtime: Runtime
) -> PointCounts:
    """As `map_part` does for each part, one page after the other."""
    counts = PointCounts(rules)
    names = (rules.values.vector_name,)
    pages = (
        page for part in snapshot.live_parts() for page in part.read_wanted(with_vectors=names)
    )
    # Hashing and decoding a part release Python's lock, so a second core can do it.
    held_max = min(2, runtime.reads_in_flight)
    with closing(ahead(pages, held_max=held_max)) as drawn:
        for rows, page in drawn:
            table.add_table(counts.add_page(rows.tolist(), page))
            runtime.progress.advance(len(page))
    return counts


def _map_there(
    snapshot: Snapshot, rules: PointRules, table: IdTable, progress: Progress, machines: Machines
) -> PointCounts:
    """A task for each part; what a machine returns is added as it comes."""
    counts = PointCounts(rules)
    tasks = (MapTask(part=part, rules=rules) for part in snapshot.live_parts() if part.wanted)
    with closing(run_tasks(map_part, tasks, machines)) as done:
        for found in done:
            counts.merge(found.counts)
            table.add_table(found.rows)
            progress.advance(found.counts.census.points)
    return counts


def open_id_table(folder: WorkFolder, points: int, *, own: str | None = None) -> IdTable:
    """The table that a plan fills; rows that do not fit in memory go to `folder`.

    `own`: the one of several indexes that the plan is for; those of the others may be made at once.
    """
    return IdTable(folder.scratch(scratch_name(own)), rows=points)


def check_points(
    pages: Iterable[Page],
    values: ValueRules,
    rules: PlanRules,
    table: IdTable,
    progress: Progress,
    *,
    points: int,
) -> PlanFindings:
    """Map every point, then make the checks that need the whole set.

    `pages` are in row order. `points` is the expected number, for the progress and the quarantine
    cap. `table` is empty and holds the rows that move at the end.
    """
    progress.start("checking points", total=points, unit="points")
    mapping = point_rules(rules, values, points)
    counts = PointCounts(mapping)
    for page in pages:
        first_row = counts.census.points
        table.add_table(counts.add_page(range(first_row, first_row + len(page)), page))
        progress.advance(len(page))
    return check_whole_set(counts, rules, table, listed_max=mapping.listed_max)


def point_rules(rules: PlanRules, values: ValueRules, points: int) -> PointRules:
    """What decides about a point; a plan that is saved lists as many as memory allows."""
    cap = quarantine_cap(points, rules.max_quarantine)
    return PointRules(
        mapping=rules.mapping,
        values=values,
        body_bytes=rules.writes.body_bytes,
        metadata_indexes=dict(rules.metadata_indexes),
        listed_max=max(cap + 1, LISTED_MAX if rules.digests_rows else 0),
    )


def check_whole_set(
    counts: PointCounts, rules: PlanRules, table: IdTable, *, listed_max: int
) -> PlanFindings:
    """What the points are together; rows that cannot move are taken out of the table."""
    mapping, indexes, census = rules.mapping, rules.metadata_indexes, counts.census
    listing = _Listing(counts.quarantined.points(), listed_max)
    _quarantine_collisions(table, census, listing)
    if mapping.namespace:
        _quarantine_divided_files(table, census, listing)
    _quarantine_large_files(table, census, listing)
    notes = table.count_notes()
    gaps = list(table.gaps()) if mapping.order_key else []
    vectors = table.count_vectors()
    return PlanFindings(
        points=census.points,
        shard_keys=len(counts.shard_keys),
        vectors=vectors,
        files=table.count_files(),
        metadata_bytes=table.sum_metadata_bytes(),
        quarantined={reason.value: n for reason, n in sorted(census.quarantined.items())},
        quarantined_points=tuple(sorted(listing.points, key=lambda point: point.row)),
        quarantine_cap=quarantine_cap(
            census.points - census.elsewhere.total(), rules.max_quarantine
        ),
        elsewhere=dict(sorted(census.elsewhere.items())),
        changes={
            name: n
            for name, n in _after(CHANGED, notes).items()
            if not name.startswith(f"{Change.TRANSFORMED}:")
        },
        transforms=counts.preview.effects(_after(f"{CHANGED}{Change.TRANSFORMED}:", notes)),
        bytes_saved=census.bytes_saved,
        gaps=tuple(gaps[:GAPS_LISTED_MAX]),
        files_with_gaps=len(gaps),
        long_indexed=_after(LONG, notes),
        hash_mismatches=notes.get(HASH_DIFFERS, 0),
        property_types=_property_types(indexes, notes, vectors),
        counter_file=_counter_file(table, mapping, rules.writes.counter_key),
        namespaces=find_namespaces(table, vectors) if mapping.namespace else None,
        rows_sha256=_digest_rows(table, rules),
        histograms=(
            count_sizes("metadata bytes", METADATA_BYTES, table.metadata_sizes()),
            count_sizes("id bytes", ID_BYTES, table.id_sizes()),
            count_sizes("chunks a file", CHUNKS, table.file_sizes()),
            counts.norms.histogram(),
        ),
        line_bytes=counts.lines.mean(),
    )


def _digest_rows(table: IdTable, rules: PlanRules) -> str | None:
    """Of what is written; None where no saved plan names it."""
    if rules.agreed is None and not rules.digests_rows:
        return None
    return digest_rows(table.targets())


def _counter_file(table: IdTable, mapping: MappingRules, counter_key: str) -> str | None:
    """The file among those that move whose key is the counter's."""
    if not mapping.group_key:
        return None
    file = group_of_key(mapping.key_template, mapping.group_key, counter_key)
    return file if file is not None and table.rows_of_file(file) else None


class _Listing:
    """The first quarantined points, for quarantine.jsonl; the census has the counts."""

    def __init__(self, points: list[QuarantinedPoint], points_max: int) -> None:
        self.points = points
        self._points_max = points_max

    def add(self, row: int, point_id: PointId, outcome: Quarantined) -> None:
        if len(self.points) < self._points_max:
            self.points.append(QuarantinedPoint(row=row, point_id=point_id, outcome=outcome))


def _after(prefix: str, notes: dict[str, int]) -> dict[str, int]:
    """Name -> rows, of the notes with this prefix."""
    return {note.removeprefix(prefix): n for note, n in notes.items() if note.startswith(prefix)}


def _property_types(
    indexes: Mapping[str, str], notes: dict[str, int], vectors: int
) -> tuple[PropertyTypes, ...]:
    """Types and counts for each declared property; without a note the type is as declared."""
    others: dict[str, dict[str, int]] = {name: {} for name in indexes}
    for note, count in _after(OTHER_TYPE, notes).items():
        found, _, name = note.partition(":")
        others[name][found] = count
    return tuple(
        PropertyTypes(name=name, declared=declared, found=_with_declared(declared, other, vectors))
        for (name, declared), other in zip(indexes.items(), others.values(), strict=True)
    )


def _with_declared(declared: str, other: dict[str, int], vectors: int) -> dict[str, int]:
    fitting = vectors - sum(other.values())
    return ({declared: fitting} if fitting else {}) | other


def _quarantine_collisions(table: IdTable, census: Census, listing: _Listing) -> None:
    """Quarantine points that share a target id: of equal ones all but the first, else all."""
    for collision in table.collisions():
        if collision.stays:
            continue
        reason = Reason.DUPLICATE if collision.identical else Reason.ID_CONFLICT
        outcome = Quarantined(
            reason=reason,
            field="id",
            detail=f"target id '{collision.vector_id}', first used by row {collision.first_row}"
            + _of_two_namespaces(collision),
        )
        census.quarantined[reason] += 1
        listing.add(collision.row, decode_point(collision.point), outcome)
    table.remove_collisions()


def _of_two_namespaces(collision: Collision) -> str:
    """The namespaces of two rows with one id, with the advice; "" when they do not differ."""
    here, first = collision.namespace, collision.first_namespace
    if here == first:
        return ""
    return (
        f" in namespace '{first}', here in '{here}'; an id is unique in the whole index: "
        "name the field of mapping.namespace in mapping.id_template too"
    )


def _quarantine_divided_files(table: IdTable, census: Census, listing: _Listing) -> None:
    """Quarantine all points of a file whose vectors would be in several namespaces."""
    table.find_divided_files()
    for divided in table.divided_rows():
        one, other = divided.namespaces
        outcome = Quarantined(
            reason=Reason.FILE_IN_NAMESPACES,
            field="namespace",
            detail=f"the file '{divided.file}' has vectors in the namespaces '{one}' and "
            f"'{other}'; a file has one KV entry and one namespace",
        )
        census.quarantined[outcome.reason] += 1
        listing.add(divided.row, decode_point(divided.point), outcome)
    table.remove_divided_files()


def _quarantine_large_files(table: IdTable, census: Census, listing: _Listing) -> None:
    """Quarantine all points of a file whose list of ids does not fit into one KV value."""
    too_large = [
        (file.file, size)
        for file in table.files()
        if (size := len(encode_file_value(file.vector_ids))) > KV_VALUE_BYTES_MAX
    ]
    for file, size in too_large:
        outcome = Quarantined(
            reason=Reason.KV_VALUE,
            field="kv_value",
            detail=f"the file's list of ids has {size} bytes, at most {KV_VALUE_BYTES_MAX}",
        )
        for row, point in table.rows_of_file(file):
            census.quarantined[Reason.KV_VALUE] += 1
            listing.add(row, decode_point(point), outcome)
        table.remove_file(file)
