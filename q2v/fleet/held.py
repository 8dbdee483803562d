"""What lies in the --dir of a move: its newest snapshot, and the runs that have written."""

from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime

from migrate.errors import MigrationError
from migrate.model.hmac_key import SealKey
from migrate.run.folder import RunFolder, run_folders
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.storage.folder import WorkFolder
from q2v import wiring
from q2v.fleet.model import HeldRun, Move, Stage, Step
from q2v.fleet.steps import reads_source
from q2v.output.following import newest_snapshot
from q2v.output.standing import is_base_left, newest_verdict


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
        for _, run in _runs(move):
            if run.state().rounds and not run.state().rollback_completed:
                found.append(str(run.folder))
    return found[::-1]


def newest_runs(move: Move) -> dict[str, HeldRun]:
    """The newest run that has written, by vector index.

    Empty for files that cannot be read: the commands say why.
    """
    found: dict[str, HeldRun] = {}
    with suppress(MigrationError):
        for index, run in _runs(move):
            if run.state().rounds or run.state().rollback_opened:
                found[index] = _held(run)
        return found
    return {}


def _held(run: RunFolder) -> HeldRun:
    state = run.state()
    stage = Stage.STANDS
    if state.rollback_opened:
        is_whole = state.rollback_completed and not is_base_left(run)
        stage = Stage.ROLLED_BACK if is_whole else Stage.ROLLING_BACK
    verdict = None
    with suppress(MigrationError):  # a damaged report is for `q2v status` to say
        verdict = newest_verdict(run)
    return HeldRun(
        stage=stage,
        created_s=datetime.fromisoformat(run.plan.created_at).timestamp(),
        conflicts=state.rollback_conflicts,
        verdict=verdict,
    )


def _runs(move: Move) -> Iterator[tuple[str, RunFolder]]:
    """The runs into the move's indexes, each with its index, the oldest first."""
    for snapshot in _snapshots(move):
        for folder in run_folders(snapshot):
            with closing(RunFolder(folder, snapshot, read_only=True)) as run:
                target = run.plan.vector_target
                index = target.get("vector_index")
                if index in move.indexes and target.get("account") == move.account:
                    yield str(index), run


def _snapshots(move: Move) -> Iterator[Snapshot]:
    key: SealKey | None = wiring.seal_key(move.settings)
    for folder in sealed_folders(_folder(move)):
        yield Snapshot(folder, key)


def _folder(move: Move) -> WorkFolder:
    return wiring.open_folder(move.directory)
