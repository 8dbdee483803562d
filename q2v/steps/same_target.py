"""Refuse a snapshot or a run that the settings do not mean; both names are in the message."""

from contextlib import suppress
from pathlib import Path

from migrate.errors import ForeignStateError, MigrationError
from migrate.ports import Target
from migrate.run.folder import RunFolder
from migrate.snapshot.folder import Snapshot, sealed_folders
from q2v.settings import Settings
from q2v.steps.route import Destination, configured_target, planned_target

_NAMES = {
    "host": "Cloudflare API at",
    "account": "account with fingerprint",
    "vector_index": "vector index",
    "kv_namespace": "KV namespace",
}


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


def check_named_target(run: RunFolder, settings: Settings) -> tuple[str, ...]:
    """As `check_same_target`, from the settings alone: nothing is sent and no token is read.

    Returns the names of what the settings do not name and could not be compared.
    """
    configured = configured_target(settings)
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


def check_collection(snapshot: Snapshot, settings: Settings) -> None:
    """Raises ForeignStateError for a snapshot of another collection than the configured one.

    Without `source.collection` there is nothing to compare.
    """
    wanted, found = settings.source.collection, snapshot.manifest.collection
    if wanted in {None, found}:
        return
    assert wanted is not None
    fitting = _newest_of(snapshot.folder.parent, wanted, snapshot)
    way = (
        f"name the newest snapshot of '{wanted}', {fitting}"
        if fitting is not None
        else f"take a snapshot of '{wanted}' with `q2v snapshot`"
    )
    raise ForeignStateError(
        f"snapshot {snapshot.manifest.snapshot_id} is of collection '{found}', source.collection "
        f"is '{wanted}' ({settings.origin('source.collection')})",
        remedy=f"{way}; or set source.collection to '{found}'",
    )


def _newest_of(directory: Path, collection: str, than: Snapshot) -> Path | None:
    """The newest sealed snapshot of a collection in a folder; damaged ones are passed over."""
    for path in reversed(sealed_folders(directory)):
        with suppress(MigrationError):
            if Snapshot(path, than.key).manifest.collection == collection:
                return path
    return None
