"""What comes next for a folder, a snapshot or a run, as it is typed."""

import shlex
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from migrate.errors import LocalStorageError, MigrationError
from migrate.model.hmac_key import SealKey
from migrate.run.folder import RunFolder, run_folders
from migrate.run.next_step import (
    Position,
    Reached,
    Sealing,
    Situation,
    choose_index,
    flags_again,
    is_standing,
    next_step,
    position_of,
)
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.snapshot.manifest import SourceScope
from migrate.storage.folder import Folder, WorkFolder
from migrate.storage.folder_lock import process_at_work
from migrate.storage.layout import RUNS, index_of_run
from migrate.storage.local_folder import local_file
from q2v import wiring
from q2v.invocation import Place, current_invocation
from q2v.output.advice import Named, complete, options_for
from q2v.output.standing import (
    current_finding,
    is_base_left,
    is_bound_elsewhere,
    is_flattened,
    is_go,
    is_index_unasked,
    is_reconcile_begun,
    last,
    newest_of,
    newest_run,
    readable,
    scope_of,
)
from q2v.rules.scope import configured_index, configured_scope
from q2v.settings import Settings
from q2v.settings.loading import CONFIG_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What comes next."""

    situation: Situation
    argv: tuple[str, ...]  # empty when a decision comes first
    text: str  # the command or the decision, complete with its folder
    index: str | None = None  # which of several vector indexes it is about
    at_work: str | None = None  # the q2v that works in the folder now
    damage: str | None = None  # of a file that the next steps read
    moved_into: str | None = None  # the vector index of the newest run, if the settings say another

    @property
    def means(self) -> str:
        """Where it stands, in words."""
        if self.at_work is not None:
            return f"another q2v works here: {self.at_work}"
        if self.damage is not None:
            return f"a file of the snapshot is damaged: {self.damage}"
        if self.moved_into is not None and self.situation is Situation.SNAPSHOT_SEALED:
            return f"the snapshot was moved into {self.moved_into}, the settings name another index"
        if self.index is None:
            return self.situation.means
        if self.situation is Situation.GO:  # said of one when all are as far
            return "the newest gate of each vector index says go"
        return f"vector index {self.index}: {self.situation.means}"

    def document(self) -> dict[str, object]:
        """The members of a JSON document."""
        return {
            "situation": self.situation.name.lower(),
            **({} if self.index is None else {"next_vector_index": self.index}),
            "next": self.text,
            "next_argv": list(self.argv) or None,
            **({} if self.at_work is None else {"at_work": self.at_work}),
            **({} if self.damage is None else {"damage": self.damage}),
        }

    def notes(self) -> list[str]:
        """The last lines for people."""
        return ["", f"now: {self.means}", f"next: {self.text}"]


def while_at_work(
    following: Following, folder: WorkFolder, settings: Settings, named: Folder | None = None
) -> Following:
    """The same; while another q2v works in the folder, to wait for that one.

    `named`: the run that the operator has named.
    """
    holder = process_at_work(folder, following.index)
    if holder is None:
        return following
    wait = "wait until it has ended; then `q2v status` says what comes next"
    text = completed(wait, folder, settings, run=named)
    return replace(following, at_work=holder, argv=(), text=text)


def unless_damaged(
    following: Following, folder: WorkFolder, settings: Settings, snapshot: Snapshot | None
) -> Following:
    """The same; where a part of `snapshot` is seen to be damaged, to mend that first."""
    damage = None
    with suppress(LocalStorageError):  # the command that reads that part says why it cannot
        damage = None if snapshot is None else snapshot.damage_at_sight()
    if damage is None:
        return following
    text = completed(damage.remedy, folder, settings)
    return replace(following, damage=str(damage), argv=(), text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetNow:
    """What a command has just seen of the target."""

    provisioned: bool | None = None  # None: it was not read
    holds_vectors: bool = False  # the index does, where a metadata index is missing
    index_added: bool = False  # a metadata index was created in an index that holds vectors
    missing: AbstractSet[str] = frozenset()  # of several vector indexes those that do not exist

    def of(self, index: str | None, own: str | None) -> "TargetNow":
        """What it says of one of several vector indexes; `own` is the one that was read."""
        if index == own:
            return self
        return TargetNow(provisioned=False if index in self.missing else None)


_UNREAD = TargetNow()
# What comes next is the same for all of several vector indexes.
_OF_NO_INDEX = frozenset(
    {Situation.NOT_CONFIGURED, Situation.NO_SNAPSHOT, Situation.SNAPSHOT_BEGUN}
)


@dataclass(frozen=True, slots=True)
class _Around:
    """The folder, and which of several vector indexes is meant."""

    folder: WorkFolder
    settings: Settings
    key: SealKey | None
    index: str | None

    def command(
        self, situation: Situation, named: Sequence[WorkFolder], flags: Sequence[str] = ()
    ) -> Following:
        """The command of a situation, with the folders it has to name."""
        words = [situation.words[0], *map(str, named), *situation.words[1:], *flags]
        options = options_for(
            words[0],
            str(self.folder),
            self.settings,
            current_invocation().config,
            index=self.index,
        )
        argv = ("q2v", *words, *options)
        return Following(situation=situation, argv=argv, text=shlex.join(argv))


def following_folder(
    folder: WorkFolder, settings: Settings, key: SealKey | None, now: TargetNow = _UNREAD
) -> Following:
    """What comes next in a folder where no run is meant: its newest snapshot counts."""
    own = configured_index(settings)

    def find(index: str | None) -> Following:
        return _of_folder(_Around(folder, settings, key, index), now.of(index, own))

    return _among_several(find, settings, own)


def _of_folder(around: _Around, now: TargetNow) -> Following:
    folder, settings = around.folder, around.settings
    newest, sealed = newest_of(folder, None, configured_scope(settings), around.key)
    situation = next_step(
        Position(newest=newest, provisioned=now.provisioned, configured=_is_configured(settings))
    )
    named = []
    if sealed is not None and sealed != last(sealed_folders(folder)):
        named = [sealed]  # the newest one is of another collection, or of another part
    is_moved = situation is Situation.SNAPSHOT_SEALED
    flags = _flags_of_provision(situation, now)
    return around.command(situation, named if is_moved else [], flags)


def _is_configured(settings: Settings) -> bool:
    """Whether a source is named, or a file of settings exists: init would not replace it."""
    source = settings.source
    return (source.url, source.path, current_invocation().config) != (
        None,
        None,
        None,
    ) or local_file(Path(CONFIG_NAME)).is_there()


def following_here(
    folder: WorkFolder, settings: Settings, key: SealKey | None, now: TargetNow = _UNREAD
) -> Following:
    """What comes next for the newest run of the configured points, or else for the folder."""
    scope, own = configured_scope(settings), configured_index(settings)

    def find(index: str | None) -> Following:
        return _here(_Around(folder, settings, key, index), scope, now.of(index, own))

    return _among_several(find, settings, own)


def following_indexes(
    folder: WorkFolder, settings: Settings, key: SealKey | None
) -> dict[str, Following]:
    """What comes next for each of several vector indexes, by its newest run."""
    scope = configured_scope(settings)
    return {
        index: replace(_here(_Around(folder, settings, key, index), scope, _UNREAD), index=index)
        for index in settings.target.shards
    }


def _here(around: _Around, scope: SourceScope, now: TargetNow) -> Following:
    newest = newest_run(around.folder, scope, around.key, own=around.index)
    if newest is None:
        return _of_folder(around, now)
    snapshot = Snapshot(newest.parent.parent, around.key)
    with closing(RunFolder(newest, snapshot, read_only=True)) as run:
        return _of_run(run, around.settings, now)


def newest_snapshot(folder: WorkFolder, settings: Settings, key: SealKey | None) -> Snapshot | None:
    """The newest sealed snapshot of the configured points; None when there is none to be read."""
    scope = configured_scope(settings)
    for sealed in reversed(sealed_folders(folder)):
        found = scope_of(sealed, key, sealed=True)
        if found is not None and scope.fits(*found):
            return Snapshot(sealed, key)
    return None


def following_snapshot(
    snapshot: Snapshot, settings: Settings, now: TargetNow = _UNREAD
) -> Following:
    """What comes next for a snapshot: for its newest run, or else its first.

    Of several vector indexes: for the one that the settings name, or that is furthest behind.
    """
    own = configured_index(settings)

    def find(index: str | None) -> Following:
        return _of_snapshot(snapshot, settings, index, now.of(index, own))

    return _among_several(find, settings, own)


def _of_snapshot(
    snapshot: Snapshot, settings: Settings, index: str | None, now: TargetNow
) -> Following:
    runs = run_folders(snapshot, index)
    if runs:
        with closing(RunFolder(runs[-1], snapshot, read_only=True)) as run:
            return _of_run(run, settings, now)
    around = _Around(snapshot.folder.parent, settings, snapshot.key, index)
    return _of_unmoved(snapshot, around, now)


def _of_unmoved(snapshot: Snapshot, around: _Around, now: TargetNow) -> Following:
    """What comes next for a snapshot that no run has moved to where the settings say."""
    situation = next_step(Position(newest=Sealing.SEALED, provisioned=now.provisioned))
    is_named = situation is Situation.SNAPSHOT_SEALED
    is_last = snapshot.folder == last(sealed_folders(around.folder))
    named = [snapshot.folder] if is_named and not is_last else []
    return around.command(situation, named, _flags_of_provision(situation, now))


def _flags_of_provision(situation: Situation, now: TargetNow) -> list[str]:
    """The flag that `q2v provision` asks for before it adds an index beside vectors."""
    is_asked = situation is Situation.NOT_PROVISIONED and now.holds_vectors
    return ["--into-non-empty"] if is_asked else []


def following_run(run: RunFolder, settings: Settings, *, alone: bool = False) -> Following:
    """What comes next for a run.

    Where it waits for the runs into other vector indexes of its move, what comes next for those;
    not if it is meant `alone`.
    """
    own, manifest = run.plan.mapping.own_index, run.snapshot.manifest
    folder, key = run.snapshot.folder.parent, run.snapshot.key
    scope = SourceScope(manifest.collection, manifest.filter)

    def find(index: str | None) -> Following:
        if index == own:
            return _of_run(run, settings, alone=alone)
        return _here(_Around(folder, settings, key, index), scope, _UNREAD)

    if alone or own not in settings.target.shards:  # the settings may have another list
        return find(own)
    return _among_several(find, settings, own)


def _among_several(
    find: Callable[[str | None], Following], settings: Settings, own: str | None
) -> Following:
    """What comes next of several vector indexes; `own`: the one of the command, if it has one.

    What another index has cannot always be read: its own commands say why.
    """
    if not settings.target.shards:
        return find(None)
    found = _find_each(find, settings, own)
    index = choose_index({name: one.situation for name, one in found.items()}, own)
    following = found[index]
    if following.situation in _OF_NO_INDEX:
        return following
    following = replace(following, index=index)
    if following.situation is Situation.GO:
        text = f"{following.text}; both are for one vector index at a time"
        return replace(following, text=text)
    if following.situation in {Situation.ROLLED_BACK, Situation.CONFLICTS}:
        standing = [name for name, one in found.items() if is_standing(one.situation)]
        return _with_standing(following, standing, settings)
    return following


def _find_each(
    find: Callable[[str | None], Following], settings: Settings, own: str | None
) -> dict[str, Following]:
    """By index, without those that cannot be read; raises for `own`, and where none is left."""
    found: dict[str, Following] = {}
    unread: list[MigrationError] = []
    for index in settings.target.shards:
        try:
            found[index] = find(index)
        except MigrationError as error:
            if index == own:
                raise
            unread.append(error)
    if not found:
        raise unread[0]
    return found


def _with_standing(following: Following, standing: list[str], settings: Settings) -> Following:
    """Beside the decision about a run that is rolled back: the way to undo the whole move."""
    if not standing:
        return following
    run = "the run" if len(standing) == 1 else "the runs"
    stand = "stands" if len(standing) == 1 else "stand"
    undo = f"`q2v rollback --execute --vector-index {standing[0]}`"
    folder = str(current_invocation().snapshots)
    text = complete(undo, folder, settings, current_invocation().config, Named())
    more = f"{run} into {', '.join(standing)} {stand}: {text} undoes that into {standing[0]}"
    return replace(following, text=f"{following.text}; {more}")


def _of_run(
    run: RunFolder, settings: Settings, now: TargetNow = _UNREAD, *, alone: bool = False
) -> Following:
    folder, manifest = run.snapshot.folder.parent, run.snapshot.manifest
    scope = SourceScope(manifest.collection, manifest.filter)
    newest, sealed = newest_of(folder, run.snapshot.folder, scope, run.snapshot.key)
    later = None if sealed is None else readable(sealed, run.snapshot.key)
    if later is not None and is_flattened(later, run):
        newest, sealed = Sealing.NONE, None
    own = run.plan.mapping.own_index
    later_runs = [one for one in run_folders(run.snapshot, own) if one.name > run.folder.name]
    later_runs += [] if later is None else run_folders(later, own)
    reached = position_of(run.state())
    is_due = reached.run is Reached.COMPLETE and newest is Sealing.NONE and not later_runs
    if is_due and not alone and is_bound_elsewhere(run, settings):
        moved_into = run.plan.vector_target["vector_index"]
        around = _Around(folder, settings, run.snapshot.key, own)
        return replace(_of_unmoved(run.snapshot, around, now), moved_into=moved_into)
    if reached.run is Reached.ROLLED_BACK and is_base_left(run):
        reached = replace(reached, run=Reached.ROLLING_BACK)
    unwaived = run.unwaived_counts()
    finding = current_finding(run)
    situation = next_step(
        replace(
            reached,
            newest=newest,
            superseded=bool(later_runs),
            reconcile_begun=is_reconcile_begun(run),
            finding=finding,
            index_added=now.index_added or is_index_unasked(run, finding, settings),
            unwaived=bool(unwaived),
            moving=manifest.moving,
            go=reached.run is Reached.COMPLETE and is_go(run),
        )
    )
    flags = flags_again(situation, run.state(), into_non_empty=run.plan.into_non_empty)
    if situation.decides:
        advice = situation.advice_with(flags, tuple(unwaived))
        about = partial(completed, snapshot=run.snapshot.folder, run=run.folder)
        return Following(situation=situation, argv=(), text=about(advice, folder, settings))
    named = _named(situation, run, folder, sealed)
    if situation is Situation.SUPERSEDED and later_runs[-1] != newest_run(folder, own=own):
        named = [later_runs[-1]]
    return _Around(folder, settings, run.snapshot.key, own).command(situation, named, flags)


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
        own = None if settings is None else configured_index(settings)
        names = sorted(found.child(RUNS).names()) if found.has(RUNS) else []
        names = [name for name in names if own in {None, index_of_run(name)}]
        run = found.child(RUNS).child(names[-1]) if names else None
    return _named_beside(wiring.open_folder(directory), snapshot, run)


def _named_beside(folder: WorkFolder, snapshot: Folder | None, run: Folder | None) -> Named:
    """The snapshot and the run, each unless it is the one that a command here would take."""
    own = None if run is None else index_of_run(run.name)
    taken = {None, last(sealed_folders(folder))}, {None, newest_run(folder, own=own)}
    return Named(
        snapshot=None if snapshot in taken[0] else str(snapshot),
        run=None if run in taken[1] else str(run),
        index=own,
    )


def typed_again(run: RunFolder, situation: Situation, settings: Settings) -> tuple[str, ...]:
    """The command of a situation for this run, whatever the run's own situation is."""
    folder, own = run.snapshot.folder.parent, run.plan.mapping.own_index
    named = _named(situation, run, folder, None)
    return _Around(folder, settings, run.snapshot.key, own).command(situation, named).argv


def _named(
    situation: Situation, run: RunFolder, folder: WorkFolder, sealed: WorkFolder | None
) -> list[WorkFolder]:
    """The snapshot or run that the command has to name, because it is not the one it would take."""
    if situation is Situation.SNAPSHOT_SEALED:
        wanted, taken = sealed, last(sealed_folders(folder))
    elif situation.words[:1] == ("migrate",):
        wanted, taken = run.snapshot.folder, last(sealed_folders(folder))
    elif situation.words[:1] in {("reconcile",), ("rollback",)}:
        wanted, taken = run.folder, newest_run(folder, own=run.plan.mapping.own_index)
    else:
        return []
    return [] if wanted is None or wanted == taken else [wanted]
