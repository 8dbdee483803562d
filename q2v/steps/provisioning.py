"""Create what a migration writes into, and check what is there already."""

import json
import shlex
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from migrate.adapters.access import probe_access, verify_token
from migrate.adapters.kv_namespaces import WorkersKvNamespaces
from migrate.adapters.snapshot_folder import Snapshot, sealed_folders
from migrate.adapters.vectorize_target import VectorizeTarget
from migrate.core.model import VectorSpec
from migrate.core.target_shape import check_index, choose_values
from migrate.core.values import ValueRules
from migrate.errors import IndeterminateError, PreconditionError
from migrate.ports import Clock, Progress
from q2v import wiring
from q2v.settings import Settings, check_required
from q2v.steps.same_target import check_collection

AGREEING_READS = 3  # the list of metadata indexes is neither immediate nor monotonic
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
    wrangler_toml: str
    wrangler_jsonc: str
    secret_commands: tuple[str, ...]


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
    values = _values(settings, folder, allow_cast=allow_cast, clock=clock, progress=progress)
    http, _, _ = wiring.open_http(settings, folder, clock=clock, progress=progress)
    with ExitStack() as stack:
        stack.callback(http.close)
        verify_token(http)
        probe_access(http, index_name=name, namespace_id=None)
        vectors = VectorizeTarget(http, name)
        created = _index(vectors, values)
        _metadata_indexes(vectors, settings, clock=clock, progress=progress)
        title = kv_title or f"{name}-files"
        namespaces = wiring.open_namespaces(http)
        namespace_id = settings.target.kv_namespace_id or _namespace(namespaces, title)
        preview_id = _namespace(namespaces, f"{title}-preview")
    return ProvisionReport(
        vector_index=name,
        dimensions=values.dimensions,
        metric=values.metric,
        index_created=created,
        metadata_indexes=settings.target.metadata_indexes,
        kv_namespace_id=namespace_id,
        kv_preview_namespace_id=preview_id,
        wrangler_toml=_toml(name, namespace_id, preview_id),
        wrangler_jsonc=_jsonc(name, namespace_id, preview_id),
        secret_commands=tuple(shlex.join(["wrangler", "secret", "put", name]) for name in secrets),
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
    target: VectorizeTarget, settings: Settings, *, clock: Clock, progress: Progress
) -> None:
    """Ask for the missing ones, then wait until several reads in a row show them all."""
    wanted = settings.target.metadata_index_types
    found = target.read_metadata_indexes()
    for name, kind in wanted.items():
        if found.get(name) not in {None, kind}:
            raise PreconditionError(
                f"metadata index '{name}' is a {found[name]}, the settings say {kind}",
                remedy="use a fresh index, or change target.metadata_indexes",
            )
        if name not in found:
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


def _namespace(namespaces: WorkersKvNamespaces, title: str) -> str:
    return namespaces.find(title) or namespaces.create(title)


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
