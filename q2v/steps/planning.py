"""Plan: read a source or a snapshot point by point, and the target's limits and state."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from migrate.cloudflare.access import probe_access
from migrate.cloudflare.client.client import CloudflareHttp
from migrate.cloudflare.kv import WorkersKvTarget
from migrate.cloudflare.kv_namespace import KvNamespace, check_namespace
from migrate.cloudflare.kv_namespaces import WorkersKvNamespaces
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.errors import PreconditionError, UsageError
from migrate.mapping.statistics import shortest_line_bytes
from migrate.mapping.values import ValueRules
from migrate.model.records import Page, VectorIndex, VectorSpec
from migrate.plan.estimate import REQUEST_S, Estimate, estimate
from migrate.plan.make import PlanFindings, make_plan
from migrate.plan.metadata_indexes import missing_metadata_indexes
from migrate.plan.target_shape import check_index, choose_values
from migrate.ports import Clock, PointSource, Progress
from migrate.runtime import Runtime
from migrate.snapshot.agreement import Reading
from migrate.snapshot.counting import check_counted
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.walk import walk_points
from migrate.storage.folder_lock import SPILL
from migrate.tables.plan_ids import IdTable
from migrate.workers.ordered import ahead
from q2v import wiring
from q2v.settings import Layer, Settings
from q2v.steps.route import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the operator decides about a plan, beyond the settings."""

    allow_cast: bool = False
    allow_empty: bool = False
    into_non_empty: bool = False
    waived: tuple[str, ...] = ()
    retry_refused: bool = False  # send once more what the target has refused


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What the plan saw of the target."""

    index: VectorIndex | None  # None: to be provisioned
    vectors_listed: int | None  # on the first page; None without an index
    metadata_indexes_missing: tuple[str, ...]
    kv_namespace_id: str | None  # None: not configured yet
    kv_namespace: KvNamespace | None = None

    @property
    def is_ready(self) -> bool:
        """Whether nothing is left to provision."""
        missing = self.index is None or self.kv_namespace_id is None
        return not missing and not self.metadata_indexes_missing


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """Everything `q2v plan` tells."""

    route: Route
    values: ValueRules
    findings: PlanFindings
    figures: Estimate
    target: TargetState | None  # None: not configured, not looked at
    credentials: tuple[str, ...] = ()  # what keys and tokens can do beyond their work
    reading: "Transfer | None" = None  # None: no server is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How points come from a server."""

    transport: str
    compression: str

    def words(self) -> str:
        """For people."""
        packed = "not packed" if self.compression == "identity" else f"packed ({self.compression})"
        return f"{self.transport}, answers {packed}"


def describe_reading(identity: Mapping[str, str], settings: Settings) -> Transfer | None:
    """The protocol in use and how answers travel; None for an embedded store."""
    transport = identity.get("transport")
    if settings.source.url is None or transport is None:
        return None
    return Transfer(transport=transport, compression=settings.source.compression)


def plan_source(
    source: PointSource,
    settings: Settings,
    choices: Choices,
    folder: Path,
    *,
    clock: Clock,
    progress: Progress,
) -> tuple[ValueRules, PlanFindings]:
    """Check every point of the source as it is now; ids spill into `folder`.

    Raises PreconditionError when the source's count and its pages disagree for good.
    """
    collection = source.read_collection()
    for warning in collection.warnings:
        progress.say(f"source: {warning}")
    values = _values(collection.vectors, settings, choices)
    points = source.count_points()
    _check_not_empty(points, choices)
    pages = walk_points(
        source,
        None,
        None,
        limit=settings.snapshot.page_points,
        leave_unreadable=collection.vectors,  # counted as such: a plan wants the whole list
    )
    with open_id_table(folder, points) as table:
        findings = _find(pages, points, values, settings, table, progress=progress)
    check_counted(
        source,
        collection,
        Reading(points, findings.points),
        Runtime(clock=clock, progress=progress),
    )
    return values, findings


def plan_snapshot(
    snapshot: Snapshot, settings: Settings, choices: Choices, table: IdTable, progress: Progress
) -> tuple[ValueRules, PlanFindings]:
    """Check every point of a snapshot; the empty `table` then holds what moves."""
    values = _values(snapshot.manifest.vectors, settings, choices)
    points = snapshot.manifest.points
    _check_not_empty(points, choices)
    pages = (rows.page for rows in snapshot.read(with_vectors=(values.vector_name,)))
    # Hashing and decoding a part run outside of Python's lock, so a second core can do it.
    held_max = min(2, settings.limits.reads_in_flight)
    with closing(ahead(pages, held_max=held_max)) as drawn:
        return values, _find(drawn, points, values, settings, table, progress=progress)


def open_id_table(folder: Path, points: int) -> IdTable:
    """The table that a plan fills; what does not fit in memory goes to `folder`."""
    return IdTable(folder / SPILL, rows=points)


def _values(vectors: tuple[VectorSpec, ...], settings: Settings, choices: Choices) -> ValueRules:
    values = choose_values(
        vectors,
        vector_name=settings.source.vector_name,
        dimensions=settings.mapping.dimensions,
        reduce=settings.mapping.reduce,
        allow_cast=choices.allow_cast,
    )
    _check_body_bytes(values, settings)
    return values


def _check_body_bytes(values: ValueRules, settings: Settings) -> None:
    """Raises UsageError when not a single vector would fit into an upload."""
    shortest = shortest_line_bytes(values.dimensions)
    if settings.limits.body_bytes < shortest:
        raise UsageError(
            f"limits.body_bytes from {settings.origin('limits.body_bytes')}: found "
            f"{settings.limits.body_bytes:,} bytes, expected room for one vector: "
            f"{values.dimensions} values take at least {shortest:,} bytes",
            remedy="raise limits.body_bytes, or remove it (default: 40,000,000 bytes)",
        )


def _check_not_empty(points: int, choices: Choices) -> None:
    if points == 0 and not choices.allow_empty:
        raise PreconditionError(
            "there are no points to move",
            remedy="check source.collection, or pass --allow-empty",
        )


def _find(
    pages: Iterable[Page],
    points: int,
    values: ValueRules,
    settings: Settings,
    table: IdTable,
    *,
    progress: Progress,
) -> PlanFindings:
    return make_plan(
        pages,
        wiring.mapping_rules(settings),
        values,
        points=points,
        max_quarantine=settings.limits.max_quarantine,
        body_bytes=settings.limits.body_bytes,
        indexes=settings.target.metadata_index_types,
        counter_key=settings.kv.counter_key,
        table=table,
        progress=progress,
    )


def look_at_target(
    http: CloudflareHttp, settings: Settings, values: ValueRules, *, clock: Clock
) -> TargetState:
    """Whether token, index, namespace and metadata indexes are as the plan needs them.

    What is not configured or not provisioned yet is reported, not refused. Raises AccessError
    naming a missing scope, PreconditionError for an index of another shape.
    """
    name, namespace_id = settings.target.vector_index, settings.target.kv_namespace_id
    assert name is not None
    probe_access(http, index_name=name, namespace_id=namespace_id, write=True)
    namespace = None
    if namespace_id is not None:
        jurisdiction = settings.target.kv_jurisdiction
        namespace = read_kv_namespace(wiring.open_namespaces(http), namespace_id, jurisdiction)
        # Listing is the one read that does not make KV remember an absence.
        kv = WorkersKvTarget(http, namespace_id)
        next(iter(kv.list_keys(settings.kv.counter_key)), None)
    vectors = VectorizeTarget(http, name)
    index = vectors.read_index()
    if index is None:
        return TargetState(
            index=None,
            vectors_listed=None,
            metadata_indexes_missing=tuple(settings.target.metadata_index_types),
            kv_namespace_id=namespace_id,
            kv_namespace=namespace,
        )
    check_index(index, values)
    return TargetState(
        index=index,
        vectors_listed=len(next(iter(vectors.list_ids()), [])),
        metadata_indexes_missing=missing_metadata_indexes(
            vectors,
            settings.target.metadata_index_types,
            pause_s=settings.limits.poll_s,
            clock=clock,
        ),
        kv_namespace_id=namespace_id,
        kv_namespace=namespace,
    )


def read_kv_namespace(
    namespaces: WorkersKvNamespaces, namespace_id: str, jurisdiction: str | None
) -> KvNamespace:
    """The configured namespace. Raises PreconditionError when it is absent or cannot be used."""
    namespace = namespaces.read(namespace_id)
    if namespace is None:
        raise PreconditionError(
            f"KV namespace {namespace_id} (target.kv_namespace_id) does not exist in this account",
            remedy="correct target.kv_namespace_id, or remove it and run `q2v provision`",
        )
    check_namespace(namespace, jurisdiction=jurisdiction)
    return namespace


def check_property_types(findings: PlanFindings, settings: Settings) -> None:
    """Raises PreconditionError for a declared metadata index that no filter could use."""
    origin = settings.origin("target.metadata_indexes")
    findings.check_property_types(chosen=origin.layer is not Layer.DEFAULT)


def figure(
    findings: PlanFindings,
    values: ValueRules,
    settings: Settings,
    *,
    request_s: float | None = None,
) -> Estimate:
    """Requests, bytes, minutes and money for what the plan found.

    `request_s` was measured between a small request and its answer; None = the one assumed.
    """
    return estimate(
        vectors=findings.vectors,
        files=findings.files,
        dimensions=values.dimensions,
        metadata_bytes=findings.metadata_bytes,
        vectors_per_upload=settings.limits.vectors_per_upload,
        body_bytes=settings.limits.body_bytes,
        requests_per_5min=settings.limits.requests_per_5min,
        request_s=REQUEST_S if request_s is None else request_s,
        uploads_in_flight=settings.limits.uploads_in_flight,
        reads_in_flight=settings.limits.reads_in_flight,
        contents_read=_contents_read(findings.vectors, settings),
    )


def _contents_read(vectors: int, settings: Settings) -> int:
    """How many contents `q2v reconcile` will read back: all of them, or the sample."""
    full_max, sample = settings.limits.content_full_max, settings.limits.content_sample
    return vectors if vectors <= full_max else sample
