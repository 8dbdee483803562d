"""What came of a fleet: a row for each move, and sums. From the documents of its commands."""

import shlex
from collections.abc import Mapping
from typing import Any

from migrate.errors import ExitCode, MigrationError
from migrate.model.stamps import iso_stamp
from migrate.run.folder import REPORT_BYTES_MAX
from migrate.storage.local_folder import LocalFolder
from q2v.fleet.file import FLEET_NAME
from q2v.fleet.model import Fleet, HeldRun, Move, Stage, Step
from q2v.fleet.schedule import Phase, Standing, exit_code
from q2v.fleet.state import PLAN_ORDER, FleetState, MoveState, StepState, is_retried
from q2v.fleet.steps import Given, command_by_hand

REPORT_FORMAT = 1
RUN, PLAN = ("q2v", "fleet", "run"), ("q2v", "fleet", "plan")
FOLDER_NAME = "fleet"
FLEET_REPORT, FLEET_PAGE = "report.json", "report.html"
EQUAL = "equal"  # a verdict
_WRITTEN = ("acknowledged", "quarantined", "kv_entries")
_SUMS = ("points", "moved", "quarantined", "kv_entries", "requests")


def make_report(
    fleet: Fleet, state: FleetState, found: Mapping[str, Standing], *, now_s: float
) -> dict[str, Any]:
    """The document, in the order of the file."""
    rows = [_row(fleet, move, state, found[move.name]) for move in fleet.moves]
    code = exit_code(fleet, state, dict(found))
    # What the documents and the folders say beyond the exit codes.
    codes = [row["exit_code"] for row in rows if row["phase"] == Phase.STOPPED]
    stops = [one for one in codes if one and not is_retried(one)]
    if not code or (stops and is_retried(code)):
        code = next(iter(stops + codes), code)
    return {
        "format": REPORT_FORMAT,
        "at": iso_stamp(now_s),
        "fleet": str(fleet.path),
        "folder": str(fleet.directory),
        "steps": state.order.split("\n") if state.order else None,
        "exit_code": int(code),
        "counts": {
            "moves": len(rows),
            **{phase.value: sum(row["phase"] == phase for row in rows) for phase in Phase},
        },
        "sums": {key: sum(row[key] or 0 for row in rows) for key in _SUMS},
        "moves": rows,
    }


Documents = dict[str, dict[str | None, dict[str, Any]]]  # by command, and by vector index


def _row(fleet: Fleet, move: Move, whole: FleetState, standing: Standing) -> dict[str, Any]:
    state = whole.move(move.name)
    documents = _documents(fleet, move, state)
    runs = whole.held.get(move.name, {})
    kept = {command: _of_standing(move, found, runs) for command, found in documents.items()}
    written = list((kept.get("migrate") or kept.get("catch-up") or {}).values())
    compared = list(kept.get("reconcile", {}).values())
    taken = [*documents.get("snapshot", {}).values(), *written]
    steps = [_step(state.steps.get(step.name) or StepState(step.name)) for step in move.steps]
    failed = _failure(fleet, whole, move, standing)
    pages = [one["page"] for one in kept.get("report", {}).values() if "page" in one]
    row = {
        "name": move.name,
        "phase": standing.phase.value,
        "why": ": ".join(text for text in (standing.why, failed.get("what")) if text),
        "verdict": _verdict(move, compared),
        "points": next((one["points"] for one in taken if "points" in one), None),
        "moved": _total(written, "acknowledged"),
        "quarantined": _total(written, "quarantined"),
        "kv_entries": _total(written, "kv_entries"),
        "drift": sum(sum((one.get("drift") or {}).values()) for one in compared),
        "requests": _total(_of_all_tries(fleet, move, state), "requests"),
        "worked_s": round(sum(step["worked_s"] for step in steps), 1),
        "exit_code": failed.get("exit_code", 0),
        "config": str(move.config),
        "folder": str(move.directory),
        "vector_index": ", ".join(move.indexes),
        "kv_namespace_id": move.settings.target.kv_namespace_id or whole.namespaces.get(move.name),
        "account": move.account,
        "page": pages[0] if pages else None,
        "next": failed.get("next") or _following(fleet, move, whole, standing, documents),
        "steps": steps,
    }
    row |= _of_indexes(move, row, kept, is_whole=not any(map(_is_undone, runs.values())))
    if row["phase"] == Phase.DONE and _was_equal(documents) and row["verdict"] not in {None, EQUAL}:
        row |= _not_equal(fleet, move, whole, row["verdict"])
    return row


def _is_undone(run: HeldRun) -> bool:
    return run.stage is not Stage.STANDS


def _of_standing(
    move: Move, found: Mapping[str | None, dict[str, Any]], runs: Mapping[str, HeldRun]
) -> dict[str | None, dict[str, Any]]:
    """The documents of a command, by index, as far as they say what stands in the move's folder.

    Of a run that is undone, nothing of it is counted. The verdict is that of the newest reconcile,
    also of one that was no step of this round.
    """
    kept: dict[str | None, dict[str, Any]] = {}
    for index, document in found.items():
        run = runs.get(index or ", ".join(move.indexes))
        if run is None:
            kept[index] = document
        elif _is_undone(run):
            counts = {key: 0 for key in _WRITTEN if document.get(key) is not None}
            kept[index] = {key: document[key] for key in ("points",) if key in document} | counts
        else:
            kept[index] = document | ({"verdict": run.verdict} if "verdict" in document else {})
    return kept


def _was_equal(documents: Documents) -> bool:
    compared = documents.get("reconcile", {}).values()
    return bool(compared) and all(one.get("verdict") == EQUAL for one in compared)


def _not_equal(fleet: Fleet, move: Move, whole: FleetState, verdict: str) -> dict[str, Any]:
    """The row of a move whose steps are done, and which a later reconcile has not found equal."""
    code = ExitCode.INDETERMINATE if verdict == "indeterminate" else ExitCode.DRIFT
    given = Given(kv_namespace_id=whole.namespaces.get(move.name))
    command = command_by_hand(fleet, move, Step(("status",)), given)
    return {
        "phase": Phase.STOPPED.value,
        "why": f"a reconcile after its steps has the verdict {verdict}",
        "exit_code": int(code),
        "next": f"`{command}` says what comes next",
    }


def _of_indexes(
    move: Move, row: dict[str, Any], documents: Documents, *, is_whole: bool
) -> dict[str, Any]:
    """The indexes of a move over several, and whether their rows are those of the snapshot."""
    if not move.is_sharded:
        return {"indexes": [], "adds_up": None}
    written, compared = documents.get("migrate", {}), documents.get("reconcile", {})
    indexes = [
        {
            "vector_index": name,
            "verdict": compared.get(name, {}).get("verdict"),
            "moved": written.get(name, {}).get("acknowledged"),
            "quarantined": written.get(name, {}).get("quarantined"),
        }
        for name in move.indexes
    ]
    counts = [row["points"], *(one[key] for one in indexes for key in ("moved", "quarantined"))]
    if None in counts or not is_whole:
        return {"indexes": indexes, "adds_up": None}
    found = row["moved"] + row["quarantined"]
    if found == row["points"]:
        return {"indexes": indexes, "adds_up": True}
    why = (
        f"found {row['moved']:,} moved and {row['quarantined']:,} quarantined over all indexes, "
        f"expected {row['points']:,}, the rows of the snapshot"
    )
    return {
        "indexes": indexes,
        "adds_up": False,
        "phase": Phase.STOPPED.value,
        "why": why,
        "exit_code": int(ExitCode.DRIFT),
    }


def _documents(fleet: Fleet, move: Move, state: MoveState) -> Documents:
    """What the last try of each step printed."""
    found: Documents = {}
    for step in move.steps:
        known = state.steps.get(step.name)
        document = None if known is None else document_of(fleet, known.document)
        if document is not None:
            found.setdefault(step.command, {})[step.index] = document
    return found


def _of_all_tries(fleet: Fleet, move: Move, state: MoveState) -> list[dict[str, Any]]:
    """What every try of each step printed; one that failed says what it has sent."""
    names = [
        name for step in move.steps if step.name in state.steps
        for name in state.steps[step.name].documents
    ]  # fmt: skip
    return [one for one in (document_of(fleet, name) for name in names) if one is not None]


def _verdict(move: Move, compared: list[dict[str, Any]]) -> str | None:
    """Of all indexes: the first that is not equal; equal when all of them are."""
    verdicts = [str(one["verdict"]) for one in compared if one.get("verdict")]
    others = [one for one in verdicts if one != "equal"]
    if others:
        return others[0]
    return "equal" if verdicts and len(verdicts) == len(move.indexes) else None


def _total(documents: list[dict[str, Any]], key: str) -> int | None:
    counts = [one[key] for one in documents if isinstance(one.get(key), int)]
    return sum(counts) if counts else None


def _step(state: StepState) -> dict[str, Any]:
    return {
        "step": state.name,
        "exit_code": state.code,
        "meaning": next((one.meaning for one in ExitCode if one == state.code), None),
        "is_running": state.is_begun,
        "tries": state.tried,
        "begun_at": None if state.begun_s is None else iso_stamp(state.begun_s),
        "ended_at": None if state.ended_s is None else iso_stamp(state.ended_s),
        "worked_s": round(state.worked_s, 1),
        "log": state.log,
        "document": state.document,
    }


def _failure(fleet: Fleet, whole: FleetState, move: Move, standing: Standing) -> dict[str, Any]:
    """What the last step that failed has said: `exit_code`, `what` and `next`."""
    if standing.phase in {Phase.CHANGED, Phase.ROLLING_BACK}:
        return {"exit_code": int(ExitCode.PRECONDITION), "next": None}
    if standing.step is None or standing.phase is Phase.NOT_BEGUN:
        return {}
    known = whole.move(move.name).steps.get(standing.step.name)
    if known is None or not known.code or known.is_begun:
        return {}
    document = document_of(fleet, known.document) or {}
    error = document.get("error")
    said = error if isinstance(error, dict) else {"next": document.get("next")}
    found = {**said, "exit_code": known.code}
    if isinstance(found.get("next"), str):
        # In a fleet the same command is not the one that the operator has typed.
        again = f"`{continuing(fleet, whole)}`"
        found["next"] = found["next"].replace("the same command", again)
    return found


def continuing(fleet: Fleet, state: FleetState) -> str:
    """The command that continues what was started last, for whatever moves it was started."""
    place = options_of(str(fleet.path), str(fleet.directory))
    if state.order == PLAN_ORDER:
        return shlex.join([*PLAN, *place])
    typed = state.order.split("\n") if state.order else []
    return shlex.join([*RUN, *typed, *place])


def showing(fleet: Fleet) -> str:
    """The command that shows how each move stands."""
    return shlex.join(
        ["q2v", "fleet", "status", *options_of(str(fleet.path), str(fleet.directory))]
    )


def options_of(fleet: str, folder: str) -> list[str]:
    """What names this fleet in the next command; nothing for the defaults."""
    options = [] if fleet == FLEET_NAME else ["--file", fleet]
    return [*options, *([] if folder == FOLDER_NAME else ["--dir", folder])]


def _following(
    fleet: Fleet, move: Move, whole: FleetState, standing: Standing, documents: Documents
) -> str | None:
    if standing.phase in {Phase.ROLLED_BACK, Phase.ROLLING_BACK}:
        return _after_undoing(fleet, move, whole, standing)
    if standing.phase is Phase.CHANGED:
        place = options_of(str(fleet.path), str(fleet.directory))
        accept, again = (
            shlex.join([*RUN, flag, move.name, *place]) for flag in ("--accept", "--again")
        )
        return (
            f"put the file back; or `{accept}` continues with it as it is; or `{again}` takes the "
            "steps over, from the first"
        )
    if standing.phase is not Phase.DONE or not move.steps:
        return None
    last = move.steps[-1]
    return documents.get(last.command, {}).get(last.index, {}).get("next")


def _after_undoing(fleet: Fleet, move: Move, whole: FleetState, standing: Standing) -> str:
    """How a move is moved again, after its rollback is complete."""
    place = options_of(str(fleet.path), str(fleet.directory))
    typed = whole.order.split("\n") if whole.order else []
    again = f"`{shlex.join([*RUN, *typed, '--again', move.name, *place])}` moves it again"
    if standing.phase is Phase.ROLLED_BACK:
        return again
    runs = whole.held[move.name]
    left = [name for name, run in runs.items() if run.stage is not Stage.ROLLED_BACK]
    # A rollback that has begun comes before those that have not.
    left.sort(key=lambda index: runs[index].stage is not Stage.ROLLING_BACK)
    step = Step(("rollback", "--execute"), left[0] if move.is_sharded else None)
    given = Given(kv_namespace_id=whole.namespaces.get(move.name))
    undo = command_by_hand(fleet, move, step, given)
    more = f", and the same for {', '.join(left[1:])}" if left[1:] else ""
    return f"`{undo}` undoes what is left{more}; then {again}"


# What the members of a command's document are that are shown or added up.
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("points", "acknowledged", "kv_entries", "requests"), int),
    **dict.fromkeys(("page", "next"), str),
    **dict.fromkeys(("drift", "error", "estimate"), dict),
    "quarantined": (int, dict),
    "verdict": (str, dict),
    "checks": list,
}


def document_of(fleet: Fleet, name: str | None) -> dict[str, Any] | None:
    """What a try of a step printed; None where it printed none, or not all of it.

    Without members of another kind: exit codes alone decide what a fleet does, so a document that
    was damaged must not end it.
    """
    if name is None:
        return None
    file = LocalFolder(fleet.directory).file(name)
    try:
        found = file.read_json_object(bytes_max=REPORT_BYTES_MAX) if file.is_there() else None
    except (MigrationError, ValueError):
        return None
    return None if found is None else {key: one for key, one in found.items() if _fits(key, one)}


def _fits(key: str, value: object) -> bool:
    return value is None or isinstance(value, _KINDS.get(key, object))
