"""The checklist before the source is taken away: what is proven, and what is not."""

import shlex
from contextlib import closing
from dataclasses import dataclass

from migrate.archive.standing import run_place
from migrate.archive.verify import VerifiedArchive, verify_archive
from migrate.errors import ArtefactDamagedError, ExitCode, ForeignStateError, UsageError
from migrate.ports import Progress
from migrate.run.folder import RunFolder, run_folders
from migrate.snapshot.manifest import name_scope
from migrate.storage.folder import StoredFile
from migrate.storage.layout import JOURNAL
from migrate.words import counted, subject
from migrate.wrangler.commands import OLD_SECRETS, secret_delete_commands
from reconcile.gate.files import later_difference
from reconcile.gate.record import is_newest_go, read_newest
from reconcile.monitor.history import observe, read_history

NEVER_DELETE_FIRST = (
    "next: prove each UNPROVEN line as said above; until then delete nothing of Qdrant"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One line of the checklist."""

    name: str
    proven: bool
    found: str
    do: str  # when it is not proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """All lines, and the commands that end the migration."""

    run_id: str
    items: tuple[Item, ...]
    commands: tuple[tuple[str, str], ...]  # why, and the command; for people to run

    @property
    def is_done(self) -> bool:
        """Whether everything is proven."""
        return bool(self.items) and all(item.proven for item in self.items)

    @property
    def exit_code(self) -> ExitCode:
        """0 when everything is proven, else 5."""
        return ExitCode.DONE if self.is_done else ExitCode.PRECONDITION


def check(run: RunFolder, archive: StoredFile, progress: Progress, *, now_s: float) -> Checklist:
    """Check every line. Reads files only; the archive is read to its end.

    `now_s` is seconds since 1970. Raises ArtefactDamagedError when the journal, a gate's record or
    the history of the looks was changed.
    """
    return Checklist(
        run_id=run.plan.run_id,
        items=(
            _run_stands(run),
            *_whole(run),
            _gate(run),
            _week(run, now_s),
            *_other_indexes(run, now_s),
            _archive(run, archive, progress),
        ),
        commands=_commands(run),
    )


def _run_stands(run: RunFolder) -> Item:
    state = run.state()
    return Item(
        name="run",
        proven=state.completed and not state.rollback_opened,
        found=f"run {run.plan.run_id} is {state.phase}",
        do="run `q2v status`: it says what comes next",
    )


def _whole(run: RunFolder) -> list[Item]:
    """A line for a run that has moved a part of its collection; none for a whole one."""
    manifest = run.snapshot.manifest
    if manifest.filter is None:
        return []
    return [
        Item(
            name="whole",
            proven=False,
            found=f"only a part was moved, {name_scope(manifest.filter)}: the collection held "
            f"{manifest.left_out} other points at {manifest.sealed_at}",
            do="keep the collection; a run of a part never proves that it can go. Move every other "
            "part, and take the collection away when this is the only unproven line of each",
        )
    ]


def _gate(run: RunFolder) -> Item:
    record = read_newest(run)
    found = (
        "no gate was asked"
        if record is None
        else f"the newest gate said {record.get('verdict')}, {record.get('at')}"
    )
    is_go, later = is_newest_go(run), later_difference(run.snapshot)
    if record is not None and record.get("verdict") == "go" and not is_go:
        found += ", and the run has written since"
    if later:
        found += f"; {later}"
    return Item(
        name="gate",
        proven=is_go and not later,
        found=found,
        do="run `q2v status`: it says what comes next; then `q2v gate --until TIME`",
    )


def _week(run: RunFolder, now_s: float) -> Item:
    observed = observe(read_history(run), now_s=now_s)
    looks = [f"{counted(observed.looks, 'look')} in {observed.days:.1f} days"]
    found = "; ".join([*(looks if observed.looks else []), *observed.problems])
    return Item(
        name="week",
        proven=observed.is_green,
        found=found,
        do="run `q2v monitor` every hour for a week (RUNBOOK: monitor)",
    )


def _other_indexes(run: RunFolder, now_s: float) -> list[Item]:
    """A line for the runs into the other vector indexes: readers use all of them, or none."""
    shards = run.plan.mapping.shards
    if shards is None:
        return []
    unproven: dict[str, str] = {}
    for index in shards.indexes:
        folders = run_folders(run.snapshot, index)
        if index == shards.own:
            continue
        if not folders:
            unproven[index] = "no run of this snapshot"
            continue
        with closing(RunFolder(folders[-1], run.snapshot, read_only=True)) as other:
            items = (_run_stands(other), _gate(other), _week(other, now_s))
            lacking = [item.name for item in items if not item.proven]
        if lacking:
            unproven[index] = ", ".join(lacking)
    shown = "; ".join(f"{index}: {lacking}" for index, lacking in unproven.items())
    return [
        Item(
            name="other indexes",
            proven=not unproven,
            found=f"unproven: {shown}"
            if unproven
            else subject(len(shards.indexes) - 1, "other vector index", "is") + " proven",
            do="run `q2v decommission --vector-index "
            f"{next(iter(unproven), '')}`: it says what to do"
            if unproven
            else "",
        )
    ]


def _archive(run: RunFolder, archive: StoredFile, progress: Progress) -> Item:
    proven, found = False, f"{archive} is not there"
    if archive.is_there():
        try:
            checked = verify_archive(archive, run.snapshot.key, progress)
        except (ArtefactDamagedError, ForeignStateError, UsageError) as error:
            found = str(error)
        else:
            proven, found = _of_this_run(run, checked)
    return Item(
        name="archive",
        proven=proven,
        found=found,
        do="run `q2v archive`, and copy the file to where it is kept; name another file with "
        "--archive",
    )


def _of_this_run(run: RunFolder, checked: VerifiedArchive) -> tuple[bool, str]:
    record, named = checked.record, (run.plan.snapshot_id, run.plan.run_id)
    # One archive holds the runs into all of several vector indexes; final says so of each.
    held = {(one.snapshot_id, one.run_id) for one in record.runs}
    is_whole = record.snapshot_id == run.plan.snapshot_id and named in held
    if named != (record.snapshot_id, record.run_id) and (
        run.plan.mapping.shards is None or not is_whole
    ):
        return False, f"it holds run {record.run_id} of snapshot {record.snapshot_id}"
    if not record.final:
        return False, f"it is not final: {record.why_not_final}"
    journal = f"{run_place(*named)}/{JOURNAL}"
    kept = {file.path: file.sha256 for file in record.files}
    if kept.get(journal) != run.journal.file.hash()[1]:
        return False, "the run has written since it was archived"
    return True, f"{checked.bytes:,} B, every byte checked, SHA-256 {checked.sha256[:16]}"


def _commands(run: RunFolder) -> tuple[tuple[str, str], ...]:
    """What people do when everything is proven. q2v deletes nothing of Qdrant."""
    collection = run.snapshot.manifest.collection
    return (
        *(
            ("the Worker no longer needs it", shlex.join(argv))
            for argv in secret_delete_commands(OLD_SECRETS, env=None)
        ),
        ("the versions that used Qdrant", "wrangler versions list"),
        (
            "the collection, when no other service reads it",
            f'curl -X DELETE "$QDRANT_URL/collections/{collection}" -H "api-key: $QDRANT_API_KEY"',
        ),
        ("the migration's own token", "revoke it in the dashboard; it was made for this only"),
    )
