"""Find the snapshot or the run of a command: the named one, else the newest."""

import shlex

from migrate.errors import UsageError
from migrate.model.hmac_key import SealKey
from migrate.ports import Target
from migrate.run.choose.chain import find_later_run, last_written
from migrate.run.folder import RunFolder, run_folders
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.snapshot.manifest import SourceScope
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import PLAN, RUNS


def find_snapshot(
    directory: WorkFolder,
    named: WorkFolder | None,
    key: SealKey | None,
    *,
    accepts_later: bool = False,
) -> Snapshot:
    """The named snapshot, or the newest sealed one in `directory`.

    Raises UsageError when there is none, and for an export of later writes unless `accepts_later`.
    """
    if named is not None:
        snapshot = Snapshot(named, key)
        if not accepts_later:
            check_is_of_source(snapshot)
        return snapshot
    sealed = sealed_folders(directory)
    if not sealed:
        raise UsageError(
            f"no sealed snapshot under {directory}",
            remedy="run `q2v snapshot` first, or name the folder with --dir",
        )
    return Snapshot(sealed[-1], key)


def check_is_of_source(snapshot: Snapshot) -> None:
    """Raises UsageError for an export of later writes, which was not read from Qdrant."""
    later = snapshot.manifest.later
    if later is not None:
        named = shlex.quote(str(snapshot.folder))
        raise UsageError(
            f"{snapshot.folder}: found the writes that others made to the target of run "
            f"{later.run_id}, expected a snapshot of a collection",
            remedy=f"`q2v verify {named}` checks it, and `q2v restore {named} --append` writes it "
            "into Qdrant; nothing else takes it",
        )


def find_parent(
    directory: WorkFolder, target: Target, scope: SourceScope, key: SealKey | None
) -> Snapshot:
    """The snapshot that a catch-up of the target continues from.

    The newest one of the scope that is, or is a difference to, what was last moved to the
    target: a later snapshot that nothing was moved from, as a flattened one, does not count. Else
    the newest sealed one. Raises UsageError when there is none.
    """
    for folder in reversed(sealed_folders(directory)):
        snapshot = Snapshot(folder, key)
        if not scope.fits(snapshot.manifest.collection, snapshot.manifest.filter):
            continue
        run = last_written(snapshot.chain, target)
        if run is not None:
            run.close()
            if find_later_run(run) is None:
                return snapshot
    return find_snapshot(directory, None, key)


def find_run(
    directory: WorkFolder,
    named: WorkFolder | None,
    key: SealKey | None,
    *,
    own: str | None = None,
    read_only: bool = False,
) -> RunFolder:
    """The named run, or the newest run of the newest snapshot that has runs.

    `own` is the one of several vector indexes whose runs count; `read_only` for a command that does
    not hold the folder's lock.

    Raises UsageError when there is none.
    """
    if named is not None:
        if not named.has_file(PLAN) and named.parent.name != RUNS:
            raise UsageError(f"{named}: no run folder", remedy="name a folder .../runs/<run_id>")
        return RunFolder(named, Snapshot(named.parent.parent, key), read_only=read_only)
    for folder in reversed(sealed_folders(directory)):
        if not folder.has(RUNS):
            continue
        snapshot = Snapshot(folder, key)
        runs = run_folders(snapshot, own)
        if runs:
            return RunFolder(runs[-1], snapshot, read_only=read_only)
    into = "" if own is None else f" into vector index '{own}'"
    raise UsageError(
        f"no run{into} under {directory}",
        remedy="run `q2v migrate` first, or name the folder with --dir",
    )


def find_by_id(directory: WorkFolder, name: str) -> WorkFolder | None:
    """The snapshot or the run of this id in `directory`; None when there is none."""
    places = [directory, *(directory.child(name).child(RUNS) for name in directory.names())]
    found = [place.child(name) for place in places if place.has(name)]
    return found[-1] if found else None
