"""The scenario with crashes: each command is killed several times before it may complete."""

from contextlib import closing

from migrate.run.folder import RunFolder, run_folders
from migrate.run.journal import Store
from migrate.snapshot.folder import Snapshot
from migrate.words import counted, subject
from rehearsal.child_process import kill_within
from rehearsal.context import Context
from rehearsal.script import Step, expect

# Seconds of work before a kill: the first is mostly in the planning, the second in the writing.
KILLED_AFTER_S = (0.1, 0.8)


def kill_some(context: Context, step: Step, *words: str) -> None:
    """If the scenario has crashes, start and kill `q2v WORDS` once for each of `KILLED_AFTER_S`."""
    if not context.kills:
        return
    killed: list[str] = []
    for after_s in KILLED_AFTER_S:
        if kill_within(
            words,
            context.snapshots.path,
            context.tool.child_settings(),
            after_s=after_s,
            clock=context.clock,
        ):
            killed.append(f"{after_s} s")
    step.lines.append(
        f"killed {len(killed)} of {counted(len(KILLED_AFTER_S), 'time')}"
        + (f", {', '.join(killed)} after it had begun; then started again" if killed else "")
    )


class Acknowledged:
    """The uploads that a run has acknowledged at one moment; they must not be sent again."""

    def __init__(self, context: Context, snapshot: Snapshot) -> None:
        """Read the newest run's journal, and the uploads that the sandbox has received so far."""
        self._scene = context
        self._received = len(context.sandbox.requests)
        self._sha256: set[str] = set()
        for folder in run_folders(snapshot)[-1:]:
            with closing(RunFolder(folder, snapshot)) as run:
                state = run.state()
                # A run that was rolled back is followed by a new run, which sends everything.
                for current in () if state.rollback_completed else state.rounds:
                    batches = current.batches[Store.VECTORS]
                    self._sha256 |= {batch.sha256 for batch in batches if batch.acknowledged}

    def check_not_sent_again(self, step: Step) -> None:
        """Report the number of acknowledged uploads. Raises NotHeldError if one was sent again."""
        sent = {
            request.body_sha256
            for request in self._scene.sandbox.requests[self._received :]
            if request.path.endswith("/upsert")
        }
        again = self._sha256 & sent
        expect(not again, f"{len(again)} acknowledged uploads were sent again")
        if self._scene.kills and self._sha256:
            step.lines.append(
                f"{subject(len(self._sha256), 'upload', 'was')} acknowledged before the last "
                "start, 0 of them were sent again"
            )
