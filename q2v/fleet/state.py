"""The journal of a fleet, fleet.jsonl, and the state that it folds to. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from migrate.errors import ExitCode
from migrate.model.sealed_json import damaged
from migrate.storage.journal_lines import Entry, check_format
from q2v.fleet.model import HeldRun

FLEET_JOURNAL = "fleet.jsonl"
PLAN_STEPS = ("check", "plan")  # of `q2v fleet plan`
PLAN_ORDER = "\n".join(PLAN_STEPS)
# A step that ends with one of these is tried again. A test holds docs/fleet.md to it.
RETRY = frozenset(
    {
        ExitCode.UNAVAILABLE,
        ExitCode.BUDGET,
        ExitCode.LOCKED,
        ExitCode.INDETERMINATE,
        ExitCode.INTERRUPTED,
        ExitCode.TERMINATED,
    }
)
KILLED = 128  # an exit code above it, other than those of q2v: a signal has ended the process


def is_retried(code: int) -> bool:
    """Whether a step that ended with this code is tried again; 0 is not asked about."""
    return code in RETRY or code > KILLED


@dataclass(slots=True)
class StepState:
    """How far a step of a move is."""

    name: str
    tries: int = 0  # since the fleet was started last; those that count
    tried: int = 0  # in all
    code: int | None = None  # of the last try that has ended
    is_begun: bool = False  # and not ended
    first_s: float | None = None  # when the first try was begun, in seconds since 1970
    begun_s: float | None = None  # of the last try
    ended_s: float | None = None
    log: str | None = None  # names below the fleet's folder
    document: str | None = None
    documents: list[str] = field(default_factory=list)  # of all tries, the last one too
    worked_s: float = 0.0  # of all tries

    @property
    def is_done(self) -> bool:
        """It has ended with 0."""
        return self.code == ExitCode.DONE and not self.is_begun


@dataclass(slots=True)
class MoveState:
    """How far a move is with the steps of a round."""

    config_sha256: str | None = None  # of the settings file; None: nothing was begun
    settings_sha256: str | None = None  # of what it sets; None: begun by a q2v that did not note it
    steps: dict[str, StepState] = field(default_factory=dict)

    def step(self, name: str) -> StepState:
        """The state of a step, also of one that was not begun."""
        return self.steps.setdefault(name, StepState(name))


@dataclass(slots=True)
class FleetState:
    """The state of a fleet: of the round that its last start was for."""

    order: str = ""  # the steps of the round, as typed; "": those of the file
    rounds: dict[str, dict[str, MoveState]] = field(default_factory=dict)
    shown: str = ""  # the same, but for the last start that was no plan
    begun: int = 0  # commands, in all: numbers the logs
    namespaces: dict[str, str] = field(default_factory=dict)  # KV, by move: made by `provision`
    # What lies in the folders of the moves, by move and vector index. Not from the journal.
    held: dict[str, dict[str, HeldRun]] = field(default_factory=dict)

    def move(self, name: str) -> MoveState:
        """The state of a move in the present round."""
        return self.rounds.setdefault(self.order, {}).setdefault(name, MoveState())

    @property
    def in_progress(self) -> list[StepState]:
        """The steps that were begun and have not ended, of the present round."""
        moves = self.rounds.get(self.order, {}).values()
        return [step for move in moves for step in move.steps.values() if step.is_begun]


def fold_fleet(entries: Iterable[Entry]) -> FleetState:
    """The state after these entries. Raises ForeignStateError, ArtefactDamagedError."""
    state = FleetState()
    for number, entry in enumerate(entries):
        if number == 0:
            check_format(entry)
        apply(state, entry)
    return state


def apply(state: FleetState, entry: Entry) -> None:
    """Change the state by one entry."""
    match entry:
        case {"type": "opened"}:
            pass
        case {"type": "started", "order": str(order), "is_new": bool(is_new)}:
            _started(state, order, is_new=is_new)
        case {"type": "again", "move": str(move)}:
            state.rounds.setdefault(state.order, {}).pop(move, None)
        case {"type": "accepted", "move": str(move), "config_sha256": str(sha256)}:
            _accepted(state, move, sha256, entry.get("settings_sha256"))
        case {
            "type": "begun",
            "move": str(move),
            "step": str(step),
            "at_s": float(at_s),
            "config_sha256": str(sha256),
            "log": str(log),
            "document": str(document),
        }:
            state.begun += 1
            _forget_elsewhere(state, move)
            of_move = state.move(move)
            of_move.config_sha256 = sha256
            of_move.settings_sha256 = _text(entry.get("settings_sha256"))
            found = of_move.step(step)
            found.is_begun, found.begun_s, found.ended_s = True, at_s, None
            found.first_s = at_s if found.first_s is None else found.first_s
            found.log, found.document = log, document
            found.documents.append(document)
            found.tried += 1
        case {
            "type": "ended",
            "move": str(move),
            "step": str(step),
            "at_s": float(at_s),
            "code": int(code),
            "counts": bool(counts),
        }:
            found = state.move(move).step(step)
            found.is_begun, found.ended_s, found.code = False, at_s, code
            found.tries += counts
            found.worked_s += max(0.0, at_s - (found.begun_s or at_s))
            namespace = _text(entry.get("kv_namespace_id"))
            if namespace is not None:
                state.namespaces[move] = namespace
        case _:
            raise damaged(FLEET_JOURNAL, f"it holds an entry that is none: {entry.get('type')!r}")


def _accepted(state: FleetState, name: str, config_sha256: str, settings_sha256: object) -> None:
    """The settings of a move have changed, and its steps continue with them, in every round."""
    for moves in state.rounds.values():
        if name in moves and moves[name].config_sha256 is not None:
            moves[name].config_sha256 = config_sha256
            moves[name].settings_sha256 = _text(settings_sha256)


def _forget_elsewhere(state: FleetState, name: str) -> None:
    """A command of a move begins: what other typed steps have done before is not as it was.

    The steps of the file stay as done as they were. A plan changes nothing.
    """
    if state.order == PLAN_ORDER:
        return
    for order, moves in state.rounds.items():
        if order not in {"", state.order}:
            moves.pop(name, None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _started(state: FleetState, order: str, *, is_new: bool) -> None:
    state.order = order
    if order != PLAN_ORDER:
        state.shown = order
    if is_new:
        state.rounds.pop(order, None)
    for move in state.rounds.get(order, {}).values():
        for step in move.steps.values():
            # What was begun has ended with the fleet: each start has all tries.
            step.is_begun, step.tries = False, 0
