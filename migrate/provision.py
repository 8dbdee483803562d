"""Create the vector index, metadata indexes and KV namespaces, or check the existing ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
from migrate.errors import (
    PreconditionError,
    TargetRefusedError,
    UsageError,
)
from migrate.mapping.kv_entries import index_of_key
from migrate.mapping.values import ValueRules
from migrate.model.records import VectorIndex
from migrate.plan.metadata_indexes import missing_metadata_indexes
from migrate.plan.rules import PlanRules
from migrate.plan.saved.holdings import Holdings, read_keys, read_vectors
from migrate.ports import VectorTarget
from migrate.provision_index import FoundIndex, create_index, find_index
from migrate.runtime import Runtime
from migrate.upload.settle import SettleRules
from migrate.words import counted
from migrate.wrangler.bindings import KV_BINDING, VECTOR_BINDING, Bindings

PREVIEW = "-preview"
TITLE_BYTES_MAX = 512  # of a namespace (kv/platform/limits)
NOT_CREATED = "(not created yet)"  # in place of an id that does not exist yet


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionReport:
    """The provisioned target, and the bindings of a Worker to it.

    Of a dry run it is the target as it would be: what does not exist has no id.
    """

    vector_index: str
    dimensions: int
    metric: str
    index_created: bool
    metadata_indexes: tuple[str, ...]  # name:type
    kv_namespace_id: str
    kv_preview_namespace_id: str | None  # None: none is wanted
    kv_namespace: str  # this and the next: as text for the operator
    kv_preview_namespace: str
    kv_jurisdiction: str | None
    bindings: Bindings
    missing: tuple[str, ...] = ()  # before, in words; created unless this is a dry run
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionRules:
    """The wanted target."""

    metadata_indexes: Mapping[str, str] = field(default_factory=dict)  # property -> type
    kv_title: str  # of the namespace that is created when no id is given
    kv_namespace_id: str | None = None
    kv_jurisdiction: str | None = None
    with_preview: bool = True  # a second namespace, for previews of a Worker
    kv_preview_title: str | None = None  # None: kv_title and "-preview"
    vector_binding: str = VECTOR_BINDING
    shards: tuple[str, ...] = ()  # all indexes that the files are divided over
    kv_binding: str = KV_BINDING
    into_non_empty: bool = False  # add metadata indexes to an index that holds vectors
    settle: SettleRules  # time limit and pauses until the metadata indexes are listed

    @property
    def preview_title(self) -> str:
        """The title of the namespace for previews."""
        named = self.kv_preview_title
        return f"{self.kv_title}{PREVIEW}" if named is None else named


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What of the wanted target exists; all of it fits the rules."""

    index: FoundIndex
    namespace: KvNamespace | None
    preview: KvNamespace | None  # also None when none is wanted

    def missing(self, rules: ProvisionRules) -> tuple[str, ...]:
        """What would be created, in words and in order."""
        found = [] if self.index.index else [f"vector index '{self.index.name}'"]
        found += [
            f"metadata index '{name}' ({self.index.wanted[name]})"
            for name in self.index.metadata_missing
        ]
        if self.namespace is None:
            found.append(f"KV namespace '{rules.kv_title}'")
        if self.preview is None and rules.with_preview:
            found.append(f"KV namespace '{rules.preview_title}' for previews")
        return tuple(found)


def provision(
    vectors: VectorTarget,
    namespaces: KvNamespaces,
    values: ValueRules,
    rules: ProvisionRules,
    runtime: Runtime,
) -> ProvisionReport:
    """Create index, metadata indexes and namespaces where they are missing; safe to repeat.

    Raises PreconditionError when an index of the same name has another shape, or holds vectors
    and lacks a metadata index; UsageError for a title that the service does not take,
    IndeterminateError when the indexes are not listed in time.
    """
    found = find_target(vectors, namespaces, values, rules, runtime)
    check_late(found, rules)
    return create_missing(found, (vectors, namespaces), values, rules, runtime)


def find_target(
    vectors: VectorTarget,
    namespaces: KvNamespaces,
    values: ValueRules,
    rules: ProvisionRules,
    runtime: Runtime,
) -> Found:
    """Read what exists and check that it fits; writes nothing. Raises as `provision` does."""
    check_titles(rules)
    index = find_index(
        vectors,
        values,
        rules.metadata_indexes,
        rules.settle,
        runtime,
        keeps_name=bool(rules.shards),
    )
    namespace, preview = _find_namespaces(namespaces, rules)
    return Found(index=index, namespace=namespace, preview=preview)


def check_late(found: Found, rules: ProvisionRules) -> None:
    """Raises PreconditionError for a metadata index in an index with vectors, unless allowed."""
    if not rules.into_non_empty:
        found.index.refuse_late()


def create_missing(
    found: Found,
    target: tuple[VectorTarget, KvNamespaces],
    values: ValueRules,
    rules: ProvisionRules,
    runtime: Runtime,
) -> ProvisionReport:
    """Create what was not found, in the order in which it is needed. Raises as `provision` does."""
    vectors, namespaces = target
    create_index(found.index, vectors, values, rules.settle, runtime)
    namespace, preview = found.namespace, found.preview
    if namespace is None:
        namespace = _create(namespaces, rules.kv_title, rules.kv_jurisdiction)
    if preview is None and rules.with_preview:
        preview = _create(namespaces, rules.preview_title, rules.kv_jurisdiction)
    report = describe(replace(found, namespace=namespace, preview=preview), values, rules)
    return replace(report, index_created=found.index.index is None, missing=found.missing(rules))


def describe(found: Found, values: ValueRules, rules: ProvisionRules) -> ProvisionReport:
    """The report of a dry run."""
    namespace_id = NOT_CREATED if found.namespace is None else found.namespace.namespace_id
    preview_id = NOT_CREATED if found.preview is None else found.preview.namespace_id
    wanted_preview = preview_id if rules.with_preview else None
    return ProvisionReport(
        vector_index=found.index.name,
        dimensions=values.dimensions,
        metric=values.metric,
        index_created=False,
        metadata_indexes=tuple(f"{name}:{kind}" for name, kind in rules.metadata_indexes.items()),
        kv_namespace_id=namespace_id,
        kv_preview_namespace_id=wanted_preview,
        kv_namespace=_in_words(found.namespace, rules.kv_title),
        kv_preview_namespace=_in_words(found.preview, rules.preview_title)
        if rules.with_preview
        else "none",
        kv_jurisdiction=found.namespace.jurisdiction if found.namespace else rules.kv_jurisdiction,
        bindings=Bindings(
            vector_binding=rules.vector_binding,
            kv_binding=rules.kv_binding,
            vector_index=found.index.name,
            shards=rules.shards,
            kv_namespace_id=namespace_id,
            kv_preview_id=wanted_preview,
        ),
        missing=found.missing(rules),
        warnings=found.index.warnings,
    )


def _in_words(namespace: KvNamespace | None, title: str) -> str:
    return f"'{title}', does not exist" if namespace is None else namespace.in_words()


def check_titles(rules: ProvisionRules) -> None:
    """Raises UsageError for titles of namespaces that the service does not take."""
    derived = PREVIEW if rules.kv_preview_title is None and rules.with_preview else ""
    _check_title("--kv-title", rules.kv_title, TITLE_BYTES_MAX - len(derived))
    if not rules.with_preview:
        return
    _check_title("--kv-preview-title", rules.preview_title, TITLE_BYTES_MAX)
    if rules.preview_title == rules.kv_title:
        raise UsageError(
            f"--kv-preview-title: found '{rules.kv_title}', the title of the other namespace; "
            "expected two titles",
            remedy="correct --kv-preview-title, or leave it out",
        )


def _check_title(flag: str, title: str, bytes_max: int) -> None:
    size = len(title.encode())
    if not title.strip() or not title.isprintable() or size > bytes_max:
        raise UsageError(
            f"{flag}: found {counted(size, 'byte')}, expected printable text of at most "
            f"{bytes_max} bytes, and not only blanks",
            remedy=f"correct {flag}, or leave it out to use the name of the vector index",
        )


def _find_namespaces(
    namespaces: KvNamespaces, rules: ProvisionRules
) -> tuple[KvNamespace | None, KvNamespace | None]:
    """The namespace of production and the one for previews, where they exist.

    Their options cannot be changed, so they are checked.
    """
    jurisdiction, namespace_id = rules.kv_jurisdiction, rules.kv_namespace_id
    if namespace_id is None:
        namespace = namespaces.find(rules.kv_title)
    else:
        namespace = read_kv_namespace(namespaces, namespace_id, jurisdiction)
    preview = namespaces.find(rules.preview_title) if rules.with_preview else None
    for found in (namespace, preview):
        if found is not None:
            check_namespace(found, jurisdiction=jurisdiction)
    if namespace is not None and namespace == preview:
        raise PreconditionError(
            f"KV namespace {namespace.namespace_id} ('{namespace.title}') is the one for previews, "
            "and target.kv_namespace_id names it",
            remedy="correct target.kv_namespace_id, or name another one for previews with "
            "--kv-preview-title",
        )
    return namespace, preview


def _create(namespaces: KvNamespaces, title: str, jurisdiction: str | None) -> KvNamespace:
    """Create the namespace, or take the one that another command has created since."""
    try:
        namespace = namespaces.create(title, jurisdiction=jurisdiction)
    except TargetRefusedError:
        found = namespaces.find(title)
        if found is None:
            raise
        namespace = found
    check_namespace(namespace, jurisdiction=jurisdiction)
    return namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """The target as the plan has read it."""

    index: VectorIndex | None  # None: to be provisioned
    vectors_listed: int | None  # on the first page; None without an index
    metadata_indexes_missing: tuple[str, ...]
    kv_namespace_id: str | None  # None: not configured yet
    kv_namespace: KvNamespace | None = None
    holds: Holdings = field(default_factory=Holdings)

    @property
    def is_ready(self) -> bool:
        """Whether everything is provisioned."""
        missing = self.index is None or self.kv_namespace_id is None
        return not missing and not self.metadata_indexes_missing

    @property
    def is_late(self) -> bool:
        """Whether a metadata index is missing in an index that holds vectors."""
        return bool(self.metadata_indexes_missing) and bool(self.vectors_listed)


def read_target_state(
    http: CloudflareHttp,
    rules: PlanRules,
    runtime: Runtime,
    *,
    name: str,
    namespace_id: str | None,
) -> TargetState:
    """Read whether token, index, namespace and metadata indexes are as the plan needs them.

    Something not yet configured or provisioned is reported and not an error. Raises AccessError
    naming a missing scope. Whether the index has the shape of the values is the caller's question.
    """
    probe_access(http, index_name=name, namespace_id=namespace_id, write=True)
    namespace, holds = None, Holdings()
    if namespace_id is not None:
        namespaces = WorkersKvNamespaces(http)
        namespace = read_kv_namespace(namespaces, namespace_id, rules.kv_jurisdiction)
        # Listing is the only read after which KV does not cache an absence.
        keys, keys_sha256 = read_keys(
            WorkersKvTarget(http, namespace_id),
            lambda key: index_of_key(key, rules.mapping, rules.writes) is None,
        )
        holds = replace(holds, keys=keys, keys_sha256=keys_sha256)
    vectors = VectorizeTarget(http, name)
    index = vectors.read_index()
    if index is None:
        return TargetState(
            index=None,
            vectors_listed=None,
            metadata_indexes_missing=tuple(rules.metadata_indexes),
            kv_namespace_id=namespace_id,
            kv_namespace=namespace,
            holds=holds,
        )
    listed, listed_sha256 = read_vectors(vectors)
    return TargetState(
        index=index,
        vectors_listed=listed,
        holds=replace(holds, vectors=listed, vectors_sha256=listed_sha256),
        metadata_indexes_missing=missing_metadata_indexes(
            vectors,
            rules.metadata_indexes,
            pause_s=rules.poll_s,
            clock=runtime.clock,
        ),
        kv_namespace_id=namespace_id,
        kv_namespace=namespace,
    )
