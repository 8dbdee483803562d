"""Create the vector index, metadata indexes and KV namespaces, or check the existing ones."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from migrate.cloudflare.access import probe_access
from migrate.cloudflare.client.client import CloudflareHttp
from migrate.cloudflare.kv import WorkersKvTarget
from migrate.cloudflare.kv_namespaces import (
    KvNamespace,
    KvNamespaces,
    WorkersKvNamespaces,
    check_namespace,
    read_kv_namespace,
)
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.errors import IndeterminateError, PreconditionError, UsageError
from migrate.mapping.values import ValueRules
from migrate.model.records import VectorIndex
from migrate.plan.metadata_indexes import missing_metadata_indexes, read_listed_types
from migrate.plan.rules import PlanRules
from migrate.plan.target_shape import check_index
from migrate.ports import VectorTarget
from migrate.runtime import Runtime
from migrate.upload.settle import SettleRules

AGREEING_READS = 3  # the list of metadata indexes is neither immediate nor monotonic
PREVIEW = "-preview"
TITLE_BYTES_MAX = 512  # of a namespace (kv/platform/limits)
INDEX_NAME_BINDING, KV_BINDING = "VECTORIZE", "FILE_INDEX"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionReport:
    """The provisioned target, and the bindings of a Worker to it."""

    vector_index: str
    dimensions: int
    metric: str
    index_created: bool
    metadata_indexes: tuple[str, ...]  # name:type
    kv_namespace_id: str
    kv_preview_namespace_id: str
    kv_namespace: str  # this and the next: as text for the operator
    kv_preview_namespace: str
    kv_jurisdiction: str | None
    wrangler_toml: str
    wrangler_jsonc: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionRules:
    """The wanted target."""

    metadata_indexes: Mapping[str, str] = field(default_factory=dict)  # property -> type
    kv_title: str  # of the namespace that is created when no id is given
    kv_namespace_id: str | None = None
    kv_jurisdiction: str | None = None
    settle: SettleRules  # time limit and pauses until the metadata indexes are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """The provisioned vector index with its metadata indexes."""

    created: bool  # False: it existed
    warnings: tuple[str, ...]  # in words for the operator


def provision(
    vectors: VectorTarget,
    namespaces: KvNamespaces,
    values: ValueRules,
    rules: ProvisionRules,
    runtime: Runtime,
) -> ProvisionReport:
    """Create index, metadata indexes and namespaces where they are missing; safe to repeat.

    Raises PreconditionError when an index of the same name has another shape, UsageError for a
    title that the service does not take, IndeterminateError when the indexes are not listed in
    time.
    """
    check_title(rules.kv_title)
    name = vectors.identity()["vector_index"]
    index = provision_index(vectors, values, rules.metadata_indexes, rules.settle, runtime)
    namespace, preview = _namespaces(namespaces, rules)
    return ProvisionReport(
        vector_index=name,
        dimensions=values.dimensions,
        metric=values.metric,
        index_created=index.created,
        metadata_indexes=tuple(f"{name}:{kind}" for name, kind in rules.metadata_indexes.items()),
        kv_namespace_id=namespace.namespace_id,
        kv_preview_namespace_id=preview.namespace_id,
        kv_namespace=namespace.in_words(),
        kv_preview_namespace=preview.in_words(),
        kv_jurisdiction=namespace.jurisdiction,
        wrangler_toml=_toml(name, namespace.namespace_id, preview.namespace_id),
        wrangler_jsonc=_jsonc(name, namespace.namespace_id, preview.namespace_id),
        warnings=index.warnings,
    )


def provision_index(
    vectors: VectorTarget,
    values: ValueRules,
    metadata_indexes: Mapping[str, str],
    settle: SettleRules,
    runtime: Runtime,
) -> IndexReport:
    """Create the index and its metadata indexes (property -> type) where they are missing.

    Safe to repeat. Raises PreconditionError when an index of the same name has another shape,
    IndeterminateError when the metadata indexes are not listed in time.
    """
    name = vectors.identity()["vector_index"]
    created = _index(vectors, values)
    late = _metadata_indexes(vectors, metadata_indexes, settle, runtime, new_index=created)
    return IndexReport(
        created=created, warnings=tuple(_late_warning(name, index) for index in late)
    )


def _index(target: VectorTarget, values: ValueRules) -> bool:
    """Whether the index had to be created."""
    index = target.read_index()
    created = index is None
    if index is None:
        index = target.create_index(dimensions=values.dimensions, metric=values.metric)
    check_index(index, values)
    return created


def _metadata_indexes(
    target: VectorTarget,
    wanted: Mapping[str, str],
    settle: SettleRules,
    runtime: Runtime,
    *,
    new_index: bool,
) -> tuple[str, ...]:
    """Create the missing ones, then wait until several reads in a row show them all.

    Returns those that were created in an index that already holds vectors.
    """
    clock = runtime.clock
    listed: dict[str, str | None] = dict.fromkeys(wanted)
    if not new_index:
        listed = read_listed_types(target, wanted, pause_s=settle.poll_s, clock=clock)
    missing = tuple(name for name, kind in listed.items() if kind is None)
    late = missing if missing and not new_index and _holds_vectors(target) else ()
    for name, kind in wanted.items():
        if listed[name] not in {None, kind}:
            raise PreconditionError(
                f"metadata index '{name}' is a {listed[name]}, the settings say {kind}",
                remedy="use a fresh index, or change target.metadata_indexes, or drop it and run "
                "`q2v provision` again: "
                + shlex.join(
                    [
                        "wrangler",
                        "vectorize",
                        "delete-metadata-index",
                        target.identity()["vector_index"],
                        f"--property-name={name}",
                    ]
                ),
            )
        if name in missing:
            target.create_metadata_index(name, kind)
    agreeing = 0
    deadline = clock.monotonic_s() + settle.timeout_s
    while agreeing < AGREEING_READS:
        if clock.monotonic_s() > deadline:
            raise IndeterminateError(
                f"metadata indexes {', '.join(wanted)} are not listed yet",
                remedy="run `q2v provision` again: it continues to wait",
            )
        found = target.read_metadata_indexes()
        if all(found.get(name) == kind for name, kind in wanted.items()):
            agreeing += 1
        else:
            agreeing = 0
            runtime.progress.say("waiting until the metadata indexes are listed")
            clock.wait(settle.poll_s)
    return late


def _holds_vectors(target: VectorTarget) -> bool:
    return bool(next(iter(target.list_ids()), []))


def _late_warning(index: str, name: str) -> str:
    return (
        f"vector index '{index}' held vectors before the metadata index '{name}' was created: a "
        f"filter on '{name}' does not find those until they are written again. For the vectors of "
        "a run: `q2v reconcile`, then `q2v migrate`. Others: their own writer, or a fresh index"
    )


def check_title(title: str) -> None:
    """Raises UsageError for a title of a namespace that the service does not take."""
    size = len(f"{title}{PREVIEW}".encode())
    if not title.strip() or not title.isprintable() or size > TITLE_BYTES_MAX:
        raise UsageError(
            f"--kv-title: found {size - len(PREVIEW)} bytes, expected printable text of at most "
            f"{TITLE_BYTES_MAX - len(PREVIEW)} bytes, and not only blanks",
            remedy="correct --kv-title, or leave it out to use the name of the vector index",
        )


def _namespaces(namespaces: KvNamespaces, rules: ProvisionRules) -> tuple[KvNamespace, KvNamespace]:
    """The namespace of production and the one for previews, found or created."""
    title, jurisdiction = rules.kv_title, rules.kv_jurisdiction
    namespace_id = rules.kv_namespace_id
    if namespace_id is None:
        namespace = _namespace(namespaces, title, jurisdiction)
    else:
        namespace = read_kv_namespace(namespaces, namespace_id, jurisdiction)
    return namespace, _namespace(namespaces, f"{title}{PREVIEW}", jurisdiction)


def _namespace(namespaces: KvNamespaces, title: str, jurisdiction: str | None) -> KvNamespace:
    """Find or create a namespace. An existing one is checked: its options cannot be changed."""
    found = namespaces.find(title)
    if found is None:
        found = namespaces.create(title, jurisdiction=jurisdiction)
    check_namespace(found, jurisdiction=jurisdiction)
    return found


def _toml(name: str, namespace_id: str, preview_id: str) -> str:
    return (
        f'[[vectorize]]\nbinding = "{INDEX_NAME_BINDING}"\nindex_name = {json.dumps(name)}\n\n'
        f'[[kv_namespaces]]\nbinding = "{KV_BINDING}"\nid = "{namespace_id}"\n'
        f'preview_id = "{preview_id}"\n'
    )


def _jsonc(name: str, namespace_id: str, preview_id: str) -> str:
    bindings = {
        "vectorize": [{"binding": INDEX_NAME_BINDING, "index_name": name}],
        "kv_namespaces": [{"binding": KV_BINDING, "id": namespace_id, "preview_id": preview_id}],
    }
    return json.dumps(bindings, indent=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """The target as the plan has read it."""

    index: VectorIndex | None  # None: to be provisioned
    vectors_listed: int | None  # on the first page; None without an index
    metadata_indexes_missing: tuple[str, ...]
    kv_namespace_id: str | None  # None: not configured yet
    kv_namespace: KvNamespace | None = None

    @property
    def is_ready(self) -> bool:
        """Whether everything is provisioned."""
        missing = self.index is None or self.kv_namespace_id is None
        return not missing and not self.metadata_indexes_missing


def read_target_state(
    http: CloudflareHttp,
    values: ValueRules,
    rules: PlanRules,
    runtime: Runtime,
    *,
    name: str,
    namespace_id: str | None,
) -> TargetState:
    """Read whether token, index, namespace and metadata indexes are as the plan needs them.

    Something not yet configured or provisioned is reported and not an error. Raises AccessError
    naming a missing scope, PreconditionError for an index of another shape.
    """
    probe_access(http, index_name=name, namespace_id=namespace_id, write=True)
    namespace = None
    if namespace_id is not None:
        namespaces = WorkersKvNamespaces(http)
        namespace = read_kv_namespace(namespaces, namespace_id, rules.kv_jurisdiction)
        # Listing is the only read after which KV does not cache an absence.
        kv = WorkersKvTarget(http, namespace_id)
        next(iter(kv.list_keys(rules.writes.counter_key)), None)
    vectors = VectorizeTarget(http, name)
    index = vectors.read_index()
    if index is None:
        return TargetState(
            index=None,
            vectors_listed=None,
            metadata_indexes_missing=tuple(rules.metadata_indexes),
            kv_namespace_id=namespace_id,
            kv_namespace=namespace,
        )
    check_index(index, values)
    return TargetState(
        index=index,
        vectors_listed=len(next(iter(vectors.list_ids()), [])),
        metadata_indexes_missing=missing_metadata_indexes(
            vectors,
            rules.metadata_indexes,
            pause_s=rules.poll_s,
            clock=runtime.clock,
        ),
        kv_namespace_id=namespace_id,
        kv_namespace=namespace,
    )
