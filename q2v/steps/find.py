"""Find the snapshot or the run that a command means."""

from pathlib import Path

from migrate.errors import UsageError
from migrate.model.hmac_key import SealKey
from migrate.run.folder import PLAN, RunFolder, run_folders
from migrate.snapshot.folder import RUNS, Snapshot, sealed_folders
from migrate.storage.disk import disk
from migrate.storage.durable import folder_names, is_file


def find_snapshot(folder: Path, named: Path | None, key: SealKey | None) -> Snapshot:
    """The named snapshot, or the newest sealed one under `folder`.

    Raises UsageError when there is none.
    """
    if named is not None:
        return Snapshot(_below(folder, named), key)
    sealed = sealed_folders(folder)
    if not sealed:
        raise UsageError(
            f"no sealed snapshot under {folder}",
            remedy="run `q2v snapshot` first, or name the folder with --dir",
        )
    return Snapshot(sealed[-1], key)


def find_run(
    folder: Path, named: Path | None, key: SealKey | None, *, read_only: bool = False
) -> RunFolder:
    """The named run, or the newest one of the newest snapshot that has any.

    `read_only` for a command that does not hold the folder's lock.

    Raises UsageError when there is none.
    """
    if named is not None:
        path = _below(folder, named)
        if not is_file(path / PLAN) and path.parent.name != RUNS:
            raise UsageError(f"{named}: no run folder", remedy="name a folder .../runs/<run_id>")
        return RunFolder(path, Snapshot(path.parent.parent, key), read_only=read_only)
    for path in reversed(sealed_folders(folder)):
        snapshot = Snapshot(path, key)
        runs = run_folders(snapshot)
        if runs:
            return RunFolder(runs[-1], snapshot, read_only=read_only)
    raise UsageError(
        f"no run under {folder}", remedy="run `q2v migrate` first, or name the folder with --dir"
    )


def _below(folder: Path, named: Path) -> Path:
    """A path as typed, or an id of something under `folder`."""
    if disk().exists(named) or len(named.parts) > 1:
        return named
    places = [folder, *(folder / name / RUNS for name in folder_names(folder))]
    found = [place / named for place in places if disk().exists(place / named)]
    return found[-1] if found else named
