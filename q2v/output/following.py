"""Where a folder and its run stand, read from their files, and the next step as it is typed."""

import shlex
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from migrate.errors import ArtefactDamagedError, MigrationError
from migrate.model.hmac_key import SealKey
from migrate.run.choose import open_base
from migrate.run.drift_report import journals_compared
from migrate.run.folder import REPORT_BYTES_MAX, RunFolder, run_folders
from migrate.run.next_step import (
    Finding,
    Position,
    Reached,
    Sealing,
    Situation,
    flags_again,
    next_step,
    position_of,
    read_finding,
)
from migrate.snapshot.begun.journal import open_snapshot_journal
from migrate.snapshot.folder import Snapshot, sealed_folders, unsealed_folders
from migrate.snapshot.manifest import SourceScope
from migrate.storage.folder import Folder, WorkFolder
from migrate.storage.layout import REPORT, RUNS, index_of_run, reconcile_name
from migrate.storage.local_folder import local_file
from q2v import wiring
from q2v.invocation import Place, current_invocation
from q2v.output.advice import Named, complete, options_for
from q2v.settings import Settings
from q2v.settings.loading import CONFIG_NAME
from reconcile.gate.record import is_newest_go

_ANY = SourceScope(collection=None, filter=None)  # every collection, whole or in part


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What comes next."""

    situation: Situation
    argv: tuple[str, ...]  # empty when a decision comes first
    text: str  # the command or the decision, complete with its folder

    def document(self) -> dict[str, object]:
        """The members of a JSON document."""
        return {
            "situation": self.situation.name.lower(),
            "next": self.text,
            "next_argv": list(self.argv) or None,
        }

    def notes(self) -> list[str]:
        """The last lines for people."""
        return ["", f"now: {self.situation.means}", f"next: {self.text}"]


def following_folder(
    folder: WorkFolder,
    settings: Settings,
    key: SealKey | None,
    *,
    provisioned: bool | None = None,
    holds_vectors: bool = False,
) -> Following:
    """What comes next in a folder where no run is meant: its newest snapshot counts.

    `holds_vectors`: the index does, where a metadata index is missing.
    """
    newest, sealed = _newest(folder, None, wiring.configured_scope(settings), key)
    situation = next_step(
        Position(newest=newest, provisioned=provisioned, configured=_is_configured(settings))
    )
    named = []
    if sealed is not None and sealed != _last(sealed_folders(folder)):
        named = [sealed]  # the newest one is of another collection, or of another part
    is_moved = situation is Situation.SNAPSHOT_SEALED
    flags = _flags_of_provision(situation, holds_vectors=holds_vectors)
    return _following(situation, folder, settings, named if is_moved else [], flags)


def _is_configured(settings: Settings) -> bool:
    """Whether a source is named, or a file of settings exists: init would not replace it."""
    source = settings.source
    return (source.url, source.path, current_invocation().config) != (
        None,
        None,
        None,
    ) or local_file(Path(CONFIG_NAME)).is_there()


def following_here(
    folder: WorkFolder,
    settings: Settings,
    key: SealKey | None,
    *,
    provisioned: bool | None = None,
    holds_vectors: bool = False,
    index_added: bool = False,
) -> Following:
    """What comes next for the newest run of the configured points, or else for the folder.

    `index_added`: a metadata index has just been created in an index that holds vectors.
    `holds_vectors`: as in `following_folder`.
    """
    scope, own = wiring.configured_scope(settings), wiring.configured_index(settings)
    newest = _newest_run(folder, scope, key, own=own)
    if newest is None:
        return following_folder(
            folder, settings, key, provisioned=provisioned, holds_vectors=holds_vectors
        )
    snapshot = Snapshot(newest.parent.parent, key)
    with closing(RunFolder(newest, snapshot, read_only=True)) as run:
        return following_run(run, settings, index_added=index_added)


def newest_snapshot(folder: WorkFolder, settings: Settings, key: SealKey | None) -> Snapshot | None:
    """The newest sealed snapshot of the configured points; None when there is none to be read."""
    scope = wiring.configured_scope(settings)
    for sealed in reversed(sealed_folders(folder)):
        found = _scope_of(sealed, key, sealed=True)
        if found is not None and scope.fits(*found):
            return Snapshot(sealed, key)
    return None


def following_snapshot(
    snapshot: Snapshot,
    settings: Settings,
    *,
    own: str | None = None,
    provisioned: bool | None = None,
    holds_vectors: bool = False,
) -> Following:
    """What comes next for a snapshot: for its newest run, or else its first.

    `own`: only runs into this one of several vector indexes. `holds_vectors`: as in
    `following_folder`.
    """
    folder, runs = snapshot.folder.parent, run_folders(snapshot, own)
    if runs:
        with closing(RunFolder(runs[-1], snapshot, read_only=True)) as run:
            return following_run(run, settings)
    situation = next_step(Position(newest=Sealing.SEALED, provisioned=provisioned))
    is_named = situation is Situation.SNAPSHOT_SEALED
    named = (
        [snapshot.folder] if is_named and snapshot.folder != _last(sealed_folders(folder)) else []
    )
    flags = _flags_of_provision(situation, holds_vectors=holds_vectors)
    return _following(situation, folder, settings, named, flags)


def _flags_of_provision(situation: Situation, *, holds_vectors: bool) -> list[str]:
    """The flag that `q2v provision` asks for before it adds an index beside vectors."""
    is_asked = situation is Situation.NOT_PROVISIONED and holds_vectors
    return ["--into-non-empty"] if is_asked else []


def following_run(run: RunFolder, settings: Settings, *, index_added: bool = False) -> Following:
    """What comes next for a run."""
    folder, manifest = run.snapshot.folder.parent, run.snapshot.manifest
    scope = SourceScope(manifest.collection, manifest.filter)
    newest, sealed = _newest(folder, run.snapshot.folder, scope, run.snapshot.key)
    later = None if sealed is None else _readable(sealed, run.snapshot.key)
    if later is not None and _is_flattened(later, run):
        newest, sealed = Sealing.NONE, None
    own = run.plan.mapping.own_index
    later_runs = [one for one in run_folders(run.snapshot, own) if one.name > run.folder.name]
    later_runs += [] if later is None else run_folders(later, own)
    reached = position_of(run.state())
    if reached.run is Reached.ROLLED_BACK and _is_base_left(run):
        reached = replace(reached, run=Reached.ROLLING_BACK)
    unwaived = run.unwaived_counts()
    position = replace(
        reached,
        newest=newest,
        superseded=bool(later_runs),
        reconcile_begun=_reconcile_begun(run),
        finding=(finding := _finding(run)),
        index_added=index_added or _is_index_unasked(run, finding, settings),
        unwaived=bool(unwaived),
        moving=manifest.moving,
        go=reached.run is Reached.COMPLETE and _is_go(run),
    )
    situation = next_step(position)
    flags = flags_again(situation, run.state(), into_non_empty=run.plan.into_non_empty)
    named = _named(situation, run, folder, sealed)
    if situation is Situation.SUPERSEDED and later_runs[-1] != _newest_run(folder, own=own):
        named = [later_runs[-1]]
    return _following(
        situation,
        folder,
        settings,
        named,
        flags,
        run=run,
        unwaived=tuple(unwaived),
    )


def completed(
    advice: str,
    folder: WorkFolder,
    settings: Settings,
    *,
    snapshot: Folder | None = None,
    run: Folder | None = None,
) -> str:
    """Advice whose commands, in backquotes, name this folder and the flags of this command.

    They also name `snapshot` or `run`, where that is not the one they would take.
    """
    named = _named_beside(folder, snapshot, run)
    return complete(advice, str(folder), settings, current_invocation().config, named)


def named_beside(found: WorkFolder, directory: Place) -> Named:
    """What advice has to name after a command that was given `found`, a snapshot or a run of it."""
    is_run = found.parent.name == RUNS
    snapshot = found.parent.parent if is_run else found
    run: Folder | None = found
    if not is_run:
        settings = current_invocation().settings
        own = None if settings is None else wiring.configured_index(settings)
        names = sorted(found.child(RUNS).names()) if found.has(RUNS) else []
        names = [name for name in names if own in {None, index_of_run(name)}]
        run = found.child(RUNS).child(names[-1]) if names else None
    return _named_beside(wiring.open_folder(directory), snapshot, run)


def _named_beside(folder: WorkFolder, snapshot: Folder | None, run: Folder | None) -> Named:
    """The snapshot and the run, each unless it is the one that a command here would take."""
    own = None if run is None else index_of_run(run.name)
    taken = {None, _last(sealed_folders(folder))}, {None, _newest_run(folder, own=own)}
    return Named(
        snapshot=None if snapshot in taken[0] else str(snapshot),
        run=None if run in taken[1] else str(run),
    )


def typed_again(run: RunFolder, situation: Situation, settings: Settings) -> tuple[str, ...]:
    """The command of a situation for this run, whatever the run's own situation is."""
    folder = run.snapshot.folder.parent
    named = _named(situation, run, folder, None)
    return _following(situation, folder, settings, named).argv


def _named(
    situation: Situation, run: RunFolder, folder: WorkFolder, sealed: WorkFolder | None
) -> list[WorkFolder]:
    """The snapshot or run that the command has to name, because it is not the one it would take."""
    if situation is Situation.SNAPSHOT_SEALED:
        wanted, taken = sealed, _last(sealed_folders(folder))
    elif situation.words[:1] == ("migrate",):
        wanted, taken = run.snapshot.folder, _last(sealed_folders(folder))
    elif situation.words[:1] in {("reconcile",), ("rollback",)}:
        wanted, taken = run.folder, _newest_run(folder, own=run.plan.mapping.own_index)
    else:
        return []
    return [] if wanted is None or wanted == taken else [wanted]


def _last(folders: list[WorkFolder]) -> WorkFolder | None:
    return folders[-1] if folders else None


def _newest_run(
    folder: WorkFolder,
    scope: SourceScope = _ANY,
    key: SealKey | None = None,
    *,
    own: str | None = None,
) -> WorkFolder | None:
    """The newest run of the points of `scope`; without one, the run a command without RUN takes.

    `own`: only runs into this one of several vector indexes.
    """
    for sealed in reversed(sealed_folders(folder)):
        if scope != _ANY:
            found = _scope_of(sealed, key, sealed=True)
            if found is not None and not scope.fits(*found):
                continue
        with suppress(MigrationError):
            runs = run_folders(Snapshot(sealed), own)
            if runs:
                return runs[-1]
    return None


def _newest(
    folder: WorkFolder, than: WorkFolder | None, scope: SourceScope, key: SealKey | None
) -> tuple[Sealing, WorkFolder | None]:
    """The newest snapshot of a scope that is newer than another, and its folder if sealed."""

    def counts(one: WorkFolder) -> bool:
        return than is None or one.name > than.name

    begun = [one for one in unsealed_folders(folder) if counts(one)]
    sealed = [one for one in sealed_folders(folder) if counts(one)]
    for one in sorted([*begun, *sealed], key=str, reverse=True):
        found = _scope_of(one, key, sealed=one in sealed)
        if found is None or scope.fits(*found):
            return (Sealing.SEALED, one) if one in sealed else (Sealing.BEGUN, None)
    return Sealing.NONE, None


def _scope_of(
    folder: WorkFolder, key: SealKey | None, *, sealed: bool
) -> tuple[str, object] | None:
    """Collection and filter of a snapshot; None when its files cannot be read.

    The command that reads them says why.
    """
    with suppress(MigrationError):
        if sealed:
            manifest = Snapshot(folder, key).manifest
            return manifest.collection, manifest.filter
        entries = open_snapshot_journal(folder).entries
        return (str(entries[0]["collection"]), entries[0].get("filter")) if entries else None
    return None


def _readable(folder: WorkFolder, key: SealKey | None) -> Snapshot | None:
    """A sealed snapshot; None when its files cannot be read: its command says why."""
    with suppress(MigrationError):
        return Snapshot(folder, key)
    return None


def _is_flattened(snapshot: Snapshot, run: RunFolder) -> bool:
    """Whether a snapshot without a run holds the points of the chain that this run has moved."""
    moved, found = run.snapshot.manifest, snapshot.manifest
    return (
        moved.parent is not None
        and found.parent is None
        and (found.points, found.set_digest) == (moved.points, moved.set_digest)
        and not run_folders(snapshot)
        and run.state().completed
        and not run.state().rollback_opened
    )


def _is_base_left(run: RunFolder) -> bool:
    """Whether a run that this one continues from is not rolled back."""
    base = open_base(run)
    if base is None:
        return False
    with closing(base):
        return not base.state().rollback_completed or _is_base_left(base)


def _numbers(run: RunFolder) -> list[int]:
    return sorted(int(name) for name in run.reconciles.names() if name.isdigit())


def _reconcile_begun(run: RunFolder) -> bool:
    """Whether the newest reconcile has no report; after the begin of a rollback none counts."""
    if run.state().rollback_opened:
        return False
    numbers = _numbers(run)
    return bool(numbers) and not _reconcile(run, numbers[-1]).has_file(REPORT)


def _reconcile(run: RunFolder, number: int) -> Folder:
    return run.reconciles.child(reconcile_name(number))


def _finding(run: RunFolder) -> Finding | None:
    """What the newest report says, if the run's journal is as it was then.

    A rollback writes to that journal: after its begin no report counts, and none is opened.
    """
    if run.state().rollback_opened:
        return None
    for number in reversed(_numbers(run)):
        folder = _reconcile(run, number)
        if folder.has_file(REPORT):
            if run.journal.file.hash()[1] not in journals_compared(run, folder):
                return None
            return read_finding(folder.file(REPORT).read_json_object(bytes_max=REPORT_BYTES_MAX))
    return None


def _is_index_unasked(run: RunFolder, finding: Finding | None, settings: Settings) -> bool:
    """Whether a metadata index is wanted now that the newest report does not speak of."""
    if finding is None or finding.indexes is None:
        return False
    return bool(wiring.wanted_indexes(run.plan, settings).items() - finding.indexes)


def _is_go(run: RunFolder) -> bool:
    """Whether the newest gate said go; a record that was changed is no go, and no obstacle here."""
    try:
        return is_newest_go(run)
    except ArtefactDamagedError:
        return False


def _following(
    situation: Situation,
    folder: WorkFolder,
    settings: Settings,
    named: list[WorkFolder],
    flags: Sequence[str] = (),
    *,
    run: RunFolder | None = None,
    unwaived: Sequence[str] = (),
) -> Following:
    """`flags` are those of `flags_again`, for `q2v migrate`, or of `q2v provision`.

    `run` and `unwaived`, reasons for leaving points out, are those a decision is about.
    """
    if situation.decides:
        advice = situation.advice_with(flags, unwaived)
        about = (None, None) if run is None else (run.snapshot.folder, run.folder)
        text = completed(advice, folder, settings, snapshot=about[0], run=about[1])
        return Following(situation=situation, argv=(), text=text)
    words = [situation.words[0], *map(str, named), *situation.words[1:], *flags]
    options = options_for(words[0], str(folder), settings, current_invocation().config)
    argv = ("q2v", *words, *options)
    return Following(situation=situation, argv=argv, text=shlex.join(argv))
