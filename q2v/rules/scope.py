"""Which collection, which part of it, and which of several vector indexes the settings name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from migrate.mapping.kv_entries import KeyRules, other_index_of
from migrate.mapping.shards import Shards, counter_key_of
from migrate.qdrant import filters
from migrate.qdrant.filters.point_filter import PointFilter
from migrate.run.choose.matching import check_collection, check_scope
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import SourceScope
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import index_of_run
from q2v.rules.required import check_required, refuse_flags
from q2v.settings import Settings


def configured_scope(settings: Settings) -> SourceScope:
    """The collection, or the part of it, that the settings name."""
    return SourceScope(settings.source.collection, settings.source.filter)


def check_snapshot_collection(snapshot: Snapshot, settings: Settings) -> None:
    """Raises ForeignStateError for a snapshot of another collection than the configured one.

    So it does for one of another part of it, where a collection is configured.
    """
    origin = str(settings.origin("source.collection"))
    check_collection(snapshot, settings.source.collection, named_by=origin)
    if settings.source.collection is not None:
        check_scope(snapshot, settings.source.filter)


def point_filter(settings: Settings) -> PointFilter | None:
    """The filter that picks the points of the source. Raises UsageError for one that is none."""
    wanted = settings.source.filter
    return None if wanted is None else filters.parse_filter(wanted)


def shards_of(settings: Settings, *, of_all: bool = False) -> Shards | None:
    """The indexes that the files are divided over, and the one that the command works on.

    `of_all`: it works on all of them. None where one index takes all vectors. Raises UsageError
    where the settings do not say which one.
    """
    if not settings.target.shards:
        return None
    if of_all:
        return Shards(settings.target.shards)
    check_required(settings, "target.vector_index")
    return Shards(settings.target.shards, settings.target.vector_index)


def settings_of_run(settings: Settings, run: Path | None) -> Settings:
    """The settings for a run that the operator has named, which says which of several indexes."""
    index = None if run is None else index_of_run(run.name)
    return settings_of_index(settings, index, f"flag RUN {run}")


def settings_of_index(settings: Settings, index: str | None, origin: str) -> Settings:
    """The settings for one of several indexes, where they do not say which one."""
    if settings.target.vector_index is not None or index not in settings.target.shards:
        return settings
    origins = {**settings.origins, "target.vector_index": origin}
    target = replace(settings.target, vector_index=index)
    return replace(settings, target=target, origins=origins)


def own_index(settings: Settings, named: WorkFolder | None = None) -> str | None:
    """The one of several vector indexes that a command works on; None where there is one.

    `named` is a run that the operator has named, which says it too. Raises as `shards_of`.
    """
    if settings.target.shards and settings.target.vector_index is None and named is not None:
        return index_of_run(named.name)
    shards = shards_of(settings)
    return None if shards is None else shards.own


def configured_index(settings: Settings) -> str | None:
    """As `own_index`; None also where the settings do not say which one."""
    return settings.target.vector_index if settings.target.shards else None


def other_index(settings: Settings) -> Callable[[str], str | None]:
    """Which other one of several vector indexes a KV key belongs to, by the settings."""
    shards, counter_key = shards_of(settings), settings.kv.counter_key
    if shards is not None and shards.own is not None:
        counter_key = counter_key_of(counter_key, shards.own)
    keys = KeyRules(settings.kv.key_template, settings.mapping.group_key, counter_key)
    return lambda key: other_index_of(key, shards, keys)


def refuse_idle_index(settings: Settings) -> None:
    """For a command that asks no target: --vector-index says only which of several indexes.

    Raises UsageError where there is one index: it would have no effect.
    """
    index = settings.target.vector_index
    if index is not None and not settings.target.shards:
        refuse_flags(settings, ["target.vector_index"], why="where target.shards lists no indexes")
