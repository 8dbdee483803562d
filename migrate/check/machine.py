"""The rows about this machine: the folder with its lock and its disk, and the window."""

from migrate.check.rows import Rows
from migrate.check.source import SourceFound
from migrate.errors import LocalStorageError
from migrate.plan.rules import PlanRules
from migrate.storage.folder import WorkFolder
from migrate.storage.folder_lock import FolderLock

# A snapshot is written once; its files for ids and the run beside it take a tenth at most
# (docs/formats.md), and a second snapshot should not fill the disk at night.
NEEDED_SHARE = 1.1
AMPLE_SHARE = 2.5
_MB, _GB = 1_000_000, 1_000_000_000


def check_folder(rows: Rows, folder: WorkFolder) -> bool:
    """Whether the folder can be written, and no other q2v works in it."""

    def lock() -> bool:
        FolderLock(folder).look()
        return True

    if not rows.look("folder", lock):
        return False
    rows.ok("folder", f"{folder}, no other q2v works in {_here(folder)}")
    return True


def _here(folder: WorkFolder) -> str:
    """What the lock is for: of an object store only the folder on this machine."""
    return str(folder.local) if folder.is_shared else "it"


def check_disk(rows: Rows, folder: WorkFolder, found: SourceFound | None) -> None:
    """Whether a snapshot fits on the disk below the folder."""
    if folder.is_shared:
        rows.ok("disk", "an object store names no limit")
        return
    free = rows.look("disk", folder.room_bytes)
    if free is None:
        return
    have = f"{_size(free)} free"
    if found is None:
        rows.skip(["disk"], f"{have}; the size of a snapshot is not known")
        return
    needed = round(found.snapshot_bytes * NEEDED_SHARE)
    what = f"{have}, a snapshot takes about {_size(needed)}"
    if free < needed:
        remedy = "free some space, or name a larger disk with --dir"
        rows.fail("disk", LocalStorageError(what, remedy=remedy))
    elif free < found.snapshot_bytes * AMPLE_SHARE:
        rows.warn("disk", what, "there is no room for a second whole snapshot")
    else:
        rows.ok("disk", what)


def _size(count: int) -> str:
    return f"{count / _GB:,.1f} GB" if count >= _GB else f"{count / _MB:,.1f} MB"


def check_window(
    rows: Rows, found: SourceFound | None, rules: PlanRules, request_s: float | None
) -> None:
    """Whether upload and reconcile fit into the time limit, should all points be as the sample."""
    if found is None or rules.window is None:
        rows.skip(["window"], "the number and size of the vectors are not known")
        return
    window = rules.window
    figures = window.estimate(found.load(rules), request_s=request_s)

    def fits() -> bool:
        window.check(figures)
        return True

    if not rows.look("window", fits):
        return
    limit = (
        "no limit is set (limits.deadline_s)"
        if window.deadline_s is None
        else f"the limit is {window.deadline_s / 60:,.0f} min"
    )
    rows.ok(
        "window",
        f"about {figures.window_minutes:,.1f} min for upload and reconcile, "
        f"{figures.rollback_minutes:,.1f} min for a rollback, {figures.settle_minutes:.0f} min of "
        f"each to wait for the index; {limit}",
    )
