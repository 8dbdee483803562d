"""Which step of which move is due, and what keeps the others. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from migrate.errors import ExitCode
from migrate.words import counted
from q2v.fleet.model import Fleet, HeldRun, Move, Stage, Step
from q2v.fleet.state import FleetState, MoveState, StepState, is_retried
from q2v.fleet.steps import UNDOING, WRITING


class Phase(StrEnum):
    """How a move stands."""

    DONE = "done"
    RUNNING = "running"
    READY = "ready"
    PAUSED = "paused"  # before another try
    CLOSED = "window closed"
    WAITING = "waiting"  # for a move that comes before it
    STOPPED = "stopped"  # by an exit code that is not tried again
    TRIED = "tries used up"
    CHANGED = "settings changed"
    ROLLED_BACK = "rolled back"  # since its steps have written
    ROLLING_BACK = "rolling back"  # a part of what they have written is undone
    OVER = "window over"
    NOT_BEGUN = "not begun"  # because a move before it has stopped


# These do not change while the fleet runs.
FINAL = frozenset(
    {
        Phase.DONE,
        Phase.STOPPED,
        Phase.TRIED,
        Phase.CHANGED,
        Phase.ROLLED_BACK,
        Phase.ROLLING_BACK,
        Phase.OVER,
        Phase.NOT_BEGUN,
    }
)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a move stands, with its next step."""

    phase: Phase
    step: Step | None = None
    until_s: float | None = None  # when it has to be asked again, in seconds since 1970
    why: str = ""

    @property
    def is_final(self) -> bool:
        """Whether nothing more comes of it while the fleet runs."""
        return self.phase in FINAL


def standings(fleet: Fleet, state: FleetState, now_s: float) -> dict[str, Standing]:
    """How every move stands at this moment, in the order of the file."""
    found: dict[str, Standing] = {}
    moves = {move.name: move for move in fleet.moves}

    def find(move: Move) -> Standing:
        if move.name not in found:
            before = {name: find(moves[name]) for name in move.after}
            of_move = state.move(move.name)
            found[move.name] = _undone(move, of_move, state.held.get(move.name, {})) or _standing(
                fleet, move, of_move, before, now_s
            )
        return found[move.name]

    return {move.name: find(move) for move in fleet.moves}


def _standing(
    fleet: Fleet, move: Move, state: MoveState, before: dict[str, Standing], now_s: float
) -> Standing:
    step = next((one for one in move.steps if not state.step(one.name).is_done), None)
    if step is None:
        return Standing(Phase.DONE, why=move.idle)
    known = state.step(step.name)
    if known.is_begun:
        return Standing(Phase.RUNNING, step)
    return (
        _ended(move, state, step)
        or _held_by(before, step)
        or _when(fleet, move, state, step, now_s)
    )


def _undone(move: Move, state: MoveState, runs: Mapping[str, HeldRun]) -> Standing | None:
    """Whether what the steps of a move have written is undone: none of them is repeated then.

    A rollback among the steps themselves is a step like others.
    """
    if any(step.is_begun for step in state.steps.values()):
        return None
    wrote: set[str] = set()
    for step in move.steps:
        indexes = move.indexes if step.index is None else (step.index,)
        if step.command in UNDOING:
            wrote.difference_update(indexes)
        elif step.command in WRITING:
            known = state.step(step.name)
            wrote.update(one for one in indexes if one in runs and _is_of(runs[one], known))
    stages = {index: runs[index].stage for index in move.indexes if index in wrote}
    undone = [index for index, stage in stages.items() if stage is Stage.ROLLED_BACK]
    if undone and len(undone) == len(stages):
        conflicts = sum(runs[index].conflicts for index in undone)
        but = f", but for {counted(conflicts, 'conflict')}" if conflicts else ""
        return Standing(Phase.ROLLED_BACK, why=f"what it has written is undone{but}")
    if any(stage is Stage.ROLLING_BACK for stage in stages.values()):
        return Standing(Phase.ROLLING_BACK, why="its rollback is not complete")
    if undone:
        left = [index for index in stages if index not in undone]
        why = f"it is rolled back in {', '.join(undone)}, and not in {', '.join(left)}"
        return Standing(Phase.ROLLING_BACK, why=why)
    return None


def _is_of(run: HeldRun, step: StepState) -> bool:
    """Whether a step has written this run: it is done, or has begun before the run was made."""
    if step.is_done:
        return True
    return step.first_s is not None and run.created_s >= int(step.first_s)


def _ended(move: Move, state: MoveState, step: Step) -> Standing | None:
    """What ends a move before it is done."""
    known = state.step(step.name)
    if is_changed(move, state):
        why = f"{move.config} sets something else than when {move.name} began"
        return Standing(Phase.CHANGED, step, why=why)
    if not known.tries or known.code is None:
        return None
    ended = f"{step.name} ended with {known.code}"
    if not is_retried(known.code):
        return Standing(Phase.STOPPED, step, why=ended)
    if known.tries >= move.tries:
        return Standing(Phase.TRIED, step, why=f"{ended}, tried {counted(known.tries, 'time')}")
    return None


def is_changed(move: Move, state: MoveState) -> bool:
    """Whether the settings file sets something else than when the move began.

    A comment, and the order of its lines, set nothing.
    """
    if state.settings_sha256 is not None:
        return state.settings_sha256 != move.settings_sha256
    return state.config_sha256 not in {None, move.config_sha256}


def _held_by(before: dict[str, Standing], step: Step) -> Standing | None:
    """What keeps a move because of those that come before it."""
    for name, one in before.items():
        if one.is_final and one.phase is not Phase.DONE:
            return Standing(Phase.NOT_BEGUN, step, why=f"because of {name}: {one.why}")
    for name, one in before.items():
        if one.phase is not Phase.DONE:
            return Standing(Phase.WAITING, step, why=f"for {name}")
    return None


def _when(fleet: Fleet, move: Move, state: MoveState, step: Step, now_s: float) -> Standing:
    """Ready, or kept by its window or by the pause before another try."""
    if move.window is not None:
        opens_s = move.window.opens_s(now_s)
        if opens_s is None:
            return Standing(Phase.OVER, step, why="its window is over")
        if opens_s > now_s:
            return Standing(Phase.CLOSED, step, opens_s)
    known = state.step(step.name)
    if known.tries and known.ended_s is not None and now_s < known.ended_s + fleet.pause_s:
        return Standing(Phase.PAUSED, step, known.ended_s + fleet.pause_s)
    return Standing(Phase.READY, step)


def exit_code(fleet: Fleet, state: FleetState, found: dict[str, Standing]) -> int:
    """Of the whole fleet: 0 when all is done; a code that stops before one that is tried again."""
    codes = [_code(state.move(move.name), found[move.name]) for move in fleet.moves]
    failed = [code for code in codes if code]
    stops = [code for code in failed if not is_retried(code)]
    return next(iter(stops + failed), ExitCode.DONE)


def _code(state: MoveState, standing: Standing) -> int:
    """The exit code of a move; 0 for one that was not begun: another has one."""
    match standing.phase:
        case Phase.DONE | Phase.ROLLED_BACK | Phase.NOT_BEGUN | Phase.WAITING:
            return ExitCode.DONE
        case Phase.STOPPED | Phase.TRIED:
            assert standing.step is not None
            code = state.step(standing.step.name).code or ExitCode.INTERNAL
            return code if code in set(ExitCode) else ExitCode.UNAVAILABLE
        case Phase.CHANGED | Phase.ROLLING_BACK:
            return ExitCode.PRECONDITION
        case _:
            return ExitCode.BUDGET
