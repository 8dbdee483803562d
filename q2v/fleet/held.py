"""What lies in the --dir of a move: its newest snapshot, and the runs that have written."""

from collections.abc import Iterator
from contextlib import closing, suppress

from migrate.errors import MigrationError
from migrate.model.hmac_key import SealKey
from migrate.run.folder import RunFolder, run_folders
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.storage.folder import WorkFolder
from q2v import wiring
from q2v.fleet.model import Move, Step
from q2v.fleet.steps import reads_source
from q2v.output.following import newest_snapshot


def planned_snapshot(move: Move, step: Step) -> str | None:
    """The id of the sealed snapshot that a plan reads in place of the source; None without one."""
    if not reads_source(step):
        return None
    with suppress(MigrationError):  # what cannot be read is the plan's to say
        found = newest_snapshot(_folder(move), move.settings, wiring.seal_key(move.settings))
        return None if found is None else found.manifest.snapshot_id
    return None


def has_run(move: Move, index: str | None) -> bool:
    """Whether there is a run to undo: into this one of several vector indexes, or any.

    True for files that cannot be read: the command says why.
    """
    try:
        return any(run_folders(one, index) for one in _snapshots(move))
    except MigrationError:
        return True


def runs_that_stand(move: Move) -> list[str]:
    """The folders of the runs that have written to the move's indexes, the newest first.

    Without those that are rolled back. What cannot be read is left to the commands, which say why.
    """
    found = []
    with suppress(MigrationError):
        for snapshot in _snapshots(move):
            for folder in run_folders(snapshot):
                with closing(RunFolder(folder, snapshot, read_only=True)) as run:
                    state, target = run.state(), run.plan.vector_target
                    is_here = (
                        target.get("vector_index") in move.indexes
                        and target.get("account") == move.account
                    )
                    if is_here and state.rounds and not state.rollback_completed:
                        found.append(str(folder))
    return found[::-1]


def _snapshots(move: Move) -> Iterator[Snapshot]:
    key: SealKey | None = wiring.seal_key(move.settings)
    for folder in sealed_folders(_folder(move)):
        yield Snapshot(folder, key)


def _folder(move: Move) -> WorkFolder:
    return wiring.open_folder(move.directory)
