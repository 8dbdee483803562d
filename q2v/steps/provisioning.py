"""Create what a migration writes into, and check what is there already."""

import json
import shlex
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from migrate.cloudflare.access import probe_access, verify_token
from migrate.cloudflare.kv_namespace import KvNamespace, check_namespace
from migrate.cloudflare.kv_namespaces import WorkersKvNamespaces
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.errors import IndeterminateError, PreconditionError, UsageError
from migrate.mapping.values import ValueRules
from migrate.model.records import VectorSpec
from migrate.plan.metadata_indexes import read_listed_types
from migrate.plan.target_shape import check_index, choose_values
from migrate.ports import Clock, Progress
from migrate.snapshot.folder import Snapshot, sealed_folders
from q2v import wiring
from q2v.settings import Settings, check_required
from q2v.steps.planning import read_kv_namespace
from q2v.steps.same_target import check_collection

AGREEING_READS = 3  # the list of metadata indexes is neither immediate nor monotonic
PREVIEW = "-preview"
TITLE_BYTES_MAX = 512  # of a namespace (kv/platform/limits)
INDEX_NAME_BINDING, KV_BINDING = "VECTORIZE", "FILE_INDEX"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionReport:
    """What is there now, and how a Worker binds to it."""

    vector_index: str
    dimensions: int
    metric: str
    index_created: bool
    metadata_indexes: tuple[str, ...]  # name:type
    kv_namespace_id: str
    kv_preview_namespace_id: str
    kv_namespace: str  # both in words
    kv_preview_namespace: str
    kv_jurisdiction: str | None
    wrangler_toml: str
    wrangler_jsonc: str
    secret_commands: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def provision(
    settings: Settings,
    folder: Path,
    *,
    kv_title: str | None,
    secrets: tuple[str, ...],
    allow_cast: bool,
    clock: Clock,
    progress: Progress,
) -> ProvisionReport:
    """Create index, metadata indexes and namespaces where they are missing; safe to repeat.

    Raises PreconditionError when an index of the same name has another shape.
    """
    check_required(settings, "target.vector_index")
    name = settings.target.vector_index
    assert name is not None
    title = f"{name}-files" if kv_title is None else kv_title
    _check_title(title)
    values = _values(settings, folder, allow_cast=allow_cast, clock=clock, progress=progress)
    http, _, _ = wiring.open_http(settings, folder, clock=clock, progress=progress)
    with ExitStack() as stack:
        stack.callback(http.close)
        verify_token(http)
        probe_access(http, index_name=name, namespace_id=None)
        vectors = VectorizeTarget(http, name)
        created = _index(vectors, values)
        late = _metadata_indexes(
            vectors, settings, new_index=created, clock=clock, progress=progress
        )
        namespace, preview = _namespaces(wiring.open_namespaces(http), settings, title)
    return ProvisionReport(
        vector_index=name,
        dimensions=values.dimensions,
        metric=values.metric,
        index_created=created,
        metadata_indexes=settings.target.metadata_indexes,
        kv_namespace_id=namespace.namespace_id,
        kv_preview_namespace_id=preview.namespace_id,
        kv_namespace=namespace.in_words(),
        kv_preview_namespace=preview.in_words(),
        kv_jurisdiction=namespace.jurisdiction,
        wrangler_toml=_toml(name, namespace.namespace_id, preview.namespace_id),
        wrangler_jsonc=_jsonc(name, namespace.namespace_id, preview.namespace_id),
        secret_commands=tuple(shlex.join(["wrangler", "secret", "put", name]) for name in secrets),
        warnings=tuple(_late_warning(name, one) for one in late),
    )


def _values(
    settings: Settings, folder: Path, *, allow_cast: bool, clock: Clock, progress: Progress
) -> ValueRules:
    """The shape of the newest snapshot, or of the source."""
    vectors: tuple[VectorSpec, ...]
    sealed = sealed_folders(folder)
    if sealed:
        snapshot = Snapshot(sealed[-1], wiring.seal_key(settings))
        check_collection(snapshot, settings)
        vectors = snapshot.manifest.vectors
    else:
        with wiring.open_source(settings, folder, clock=clock, progress=progress) as source:
            vectors = source.read_collection().vectors
    return choose_values(
        vectors,
        vector_name=settings.source.vector_name,
        dimensions=settings.mapping.dimensions,
        reduce=settings.mapping.reduce,
        allow_cast=allow_cast,
    )


def _index(target: VectorizeTarget, values: ValueRules) -> bool:
    """Whether the index had to be created."""
    index = target.read_index()
    created = index is None
    if index is None:
        index = target.create_index(dimensions=values.dimensions, metric=values.metric)
    check_index(index, values)
    return created


def _metadata_indexes(
    target: VectorizeTarget,
    settings: Settings,
    *,
    new_index: bool,
    clock: Clock,
    progress: Progress,
) -> tuple[str, ...]:
    """Ask for the missing ones, then wait until several reads in a row show them all.

    Returned are those that were created in an index that holds vectors already.
    """
    wanted = settings.target.metadata_index_types
    listed: dict[str, str | None] = dict.fromkeys(wanted)
    if not new_index:
        pause_s = settings.limits.poll_s
        listed = read_listed_types(target, wanted, pause_s=pause_s, clock=clock)
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
                        str(settings.target.vector_index),
                        f"--property-name={name}",
                    ]
                ),
            )
        if name in missing:
            target.create_metadata_index(name, kind)
    agreeing = 0
    deadline = clock.monotonic_s() + settings.limits.settle_timeout_s
    while agreeing < AGREEING_READS:
        if clock.monotonic_s() > deadline:
            raise IndeterminateError(
                f"metadata indexes {', '.join(wanted)} are not listed yet",
                remedy="run `q2v provision` again: it waits on",
            )
        found = target.read_metadata_indexes()
        if all(found.get(name) == kind for name, kind in wanted.items()):
            agreeing += 1
        else:
            agreeing = 0
            progress.say("waiting until the metadata indexes are listed")
            clock.wait(settings.limits.poll_s)
    return late


def _holds_vectors(target: VectorizeTarget) -> bool:
    return bool(next(iter(target.list_ids()), []))


def _late_warning(index: str, name: str) -> str:
    return (
        f"vector index '{index}' held vectors before the metadata index '{name}' was created: a "
        f"filter on '{name}' does not find those until they are written again. For the vectors of "
        "a run: q2v reconcile, then q2v migrate. Others: their own writer, or a fresh index"
    )


def _check_title(title: str) -> None:
    size = len(f"{title}{PREVIEW}".encode())
    if not title.strip() or not title.isprintable() or size > TITLE_BYTES_MAX:
        raise UsageError(
            f"--kv-title: found {size - len(PREVIEW)} bytes, expected printable text of at most "
            f"{TITLE_BYTES_MAX - len(PREVIEW)} bytes, and not only blanks",
            remedy="correct --kv-title, or leave it out to use the name of the vector index",
        )


def _namespaces(
    namespaces: WorkersKvNamespaces, settings: Settings, title: str
) -> tuple[KvNamespace, KvNamespace]:
    """The namespace of production and the one for previews, found or created."""
    jurisdiction = settings.target.kv_jurisdiction
    namespace_id = settings.target.kv_namespace_id
    if namespace_id is None:
        namespace = _namespace(namespaces, title, jurisdiction)
    else:
        namespace = read_kv_namespace(namespaces, namespace_id, jurisdiction)
    return namespace, _namespace(namespaces, f"{title}{PREVIEW}", jurisdiction)


def _namespace(
    namespaces: WorkersKvNamespaces, title: str, jurisdiction: str | None
) -> KvNamespace:
    """What is there is checked and kept; both of its choices are made at creation, for ever."""
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
