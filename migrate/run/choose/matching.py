"""Refuse a snapshot or a run that is not of the configured collection or target."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from migrate.errors import ForeignStateError, MigrationError
from migrate.ports import Target
from migrate.run.folder import RunFolder
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.snapshot.manifest import SnapshotManifest, SourceScope, name_scope
from migrate.storage.folder import WorkFolder

_NAMES = {
    "host": "Cloudflare API at",
    "account": "account with fingerprint",
    "vector_index": "vector index",
    "kv_namespace": "KV namespace",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """The names of a target; None: not configured. Holds no secret."""

    host: str | None
    account: str | None  # fingerprint
    vector_index: str | None
    kv_namespace: str | None


def planned_target(run: RunFolder) -> Destination:
    """The target that a run writes to."""
    vectors, kv = run.plan.vector_target, run.plan.kv_target
    return Destination(
        host=vectors["host"],
        account=vectors["account"],
        vector_index=vectors["vector_index"],
        kv_namespace=kv["kv_namespace"],
    )


def check_same_target(run: RunFolder, target: Target) -> None:
    """Raises ForeignStateError unless account, index and namespace are those of the run."""
    vectors, kv = target.vectors.identity(), target.kv.identity()
    _check(
        run,
        Destination(
            host=vectors["host"],
            account=vectors["account"],
            vector_index=vectors["vector_index"],
            kv_namespace=kv["kv_namespace"],
        ),
    )


def check_named_target(run: RunFolder, configured: Destination) -> tuple[str, ...]:
    """As `check_same_target`, by names only: no request is sent and no token is read.

    Returns, as text, the names that `configured` lacks and that were not compared.
    """
    _check(run, configured)
    return tuple(_NAMES[name] for name in _NAMES if getattr(configured, name) is None)


def _check(run: RunFolder, configured: Destination) -> None:
    planned = planned_target(run)
    different = [
        f"{words} '{getattr(planned, name)}', the settings name '{getattr(configured, name)}'"
        for name, words in _NAMES.items()
        if getattr(configured, name) not in {None, getattr(planned, name)}
    ]
    if different:
        raise ForeignStateError(
            f"run {run.plan.run_id} was written to {'; '.join(different)}",
            remedy="configure the target of the run, or name another run",
        )


def check_collection(snapshot: Snapshot, wanted: str | None, *, named_by: str) -> None:
    """Raises ForeignStateError for a snapshot of another collection than the `wanted` one.

    None accepts every collection. `named_by` is the setting's origin, for the message.
    """
    found = snapshot.manifest.collection
    if wanted in {None, found}:
        return
    assert wanted is not None
    fitting = _newest_of(lambda one: one.collection == wanted, snapshot)
    way = (
        f"name the newest snapshot of '{wanted}', {fitting}"
        if fitting is not None
        else f"take a snapshot of '{wanted}' with `q2v snapshot`"
    )
    raise ForeignStateError(
        f"snapshot {snapshot.manifest.snapshot_id} is of collection '{found}', source.collection "
        f"is '{wanted}' ({named_by})",
        remedy=f"{way}; or set source.collection to '{found}'",
    )


def check_scope(snapshot: Snapshot, wanted: str | None) -> None:
    """Raises ForeignStateError for a snapshot of another part of its collection.

    `wanted` is the filter of the source, None the whole collection.
    """
    manifest = snapshot.manifest
    if wanted == manifest.filter:
        return
    scope = SourceScope(manifest.collection, wanted)
    fitting = _newest_of(lambda one: scope.fits(one.collection, one.filter), snapshot)
    way = (
        f"name {fitting}, the newest snapshot of {name_scope(wanted)}, or one of its runs"
        if fitting is not None
        else f"take a snapshot of {name_scope(wanted)} with `q2v snapshot`"
    )
    back = "remove source.filter" if manifest.filter is None else f"set it to {manifest.filter}"
    raise ForeignStateError(
        f"snapshot {manifest.snapshot_id} of collection '{manifest.collection}' holds "
        f"{name_scope(manifest.filter)}, source.filter picks {name_scope(wanted)}",
        remedy=f"{way}; or {back}",
    )


def _newest_of(fits: Callable[[SnapshotManifest], bool], than: Snapshot) -> WorkFolder | None:
    """The newest sealed snapshot beside another that fits; damaged snapshots are skipped."""
    for folder in reversed(sealed_folders(than.folder.parent)):
        with suppress(MigrationError):
            if fits(Snapshot(folder, than.key).manifest):
                return folder
    return None
