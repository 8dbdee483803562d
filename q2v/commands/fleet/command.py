"""`q2v fleet`: many moves under one budget for each account: plan, run, status."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, TypedDict, Unpack
from urllib.parse import urlsplit

import click

from migrate.errors import MigrationError, PreconditionError, RunLockedError, UsageError
from migrate.loopback import is_loopback
from migrate.ports import Clock
from migrate.storage.folder_lock import FolderLock
from migrate.storage.journal_file import JournalFile
from migrate.storage.layout import index_of_run
from migrate.storage.local_folder import LocalFolder
from migrate.words import counted
from q2v import wiring
from q2v.commands.fleet.shown import ended_in_words, show_plan, show_report
from q2v.fleet.file import FLEET_NAME, read_fleet
from q2v.fleet.held import has_run, newest_runs, runs_that_stand
from q2v.fleet.model import Fleet, Move, Step
from q2v.fleet.outlook import make_outlook
from q2v.fleet.page import write_report
from q2v.fleet.report import FLEET_PAGE, FOLDER_NAME, continuing, make_report
from q2v.fleet.run import FleetRun
from q2v.fleet.schedule import standings
from q2v.fleet.state import FLEET_JOURNAL, PLAN_ORDER, PLAN_STEPS, FleetState, fold_fleet
from q2v.fleet.steps import Given, asks_first, command_by_hand, starts_a_run
from q2v.invocation import current_invocation
from q2v.options import Question, confirm_name, json_option, own_folder_option, yes_option
from q2v.output.progress import open_progress
from q2v.watching.options import running_options


class Flags(TypedDict):
    """What the operator typed."""

    steps: tuple[str, ...]
    file: Path
    folder: Path
    again: tuple[str, ...]
    accept: tuple[str, ...]
    no_wait: bool
    yes: bool
    as_json: bool


@click.command("fleet")
@click.argument("action", type=click.Choice(["plan", "run", "status"]))
@click.argument("steps", metavar="[STEP]...", nargs=-1)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=FLEET_NAME,
    show_default=True,
    help="The moves, what they share, and what each account may send.",
)
@click.option(
    "--again",
    multiple=True,
    metavar="NAME",
    help="Start the steps of this move over, from the first. May be repeated.",
)
@click.option(
    "--accept",
    multiple=True,
    metavar="NAME",
    help="Continue this move with its settings file as it is now. May be repeated.",
)
@click.option(
    "--no-wait",
    is_flag=True,
    help="End with exit code 8 instead of waiting for a window to open.",
)
@own_folder_option(
    "--dir",
    Path(FOLDER_NAME),
    "Folder of the fleet: a folder for each move, the budgets, journal, logs and report.",
)
@yes_option
@json_option
def command(action: str, **flags: Unpack[Flags]) -> None:
    """Plan, run or show many moves, with one request budget for each account.

    Each step of a move is a command of q2v in a process of its own. Exit code 0 leads to the next
    step; 7, 8, 11 and 13 to another try; any other stops this move, and the others continue. `run`
    continues where it was ended. With STEP it does other steps of every move: "reconcile",
    "rollback --execute". docs/fleet.md has the file and the exit codes.
    """
    if flags["steps"] and action != "run":
        raise UsageError(
            f"fleet {action}: found the step {flags['steps'][0]!r}, expected none",
            remedy="leave it out, or use `q2v fleet run STEP`",
        )
    given = [flag for flag in ("again", "accept", "no_wait") if flags[flag]]
    if given and action != "run":
        flag = f"--{given[0].replace('_', '-')}"
        raise UsageError(
            f"fleet {action}: found {flag}, expected it with `q2v fleet run` alone",
            remedy="leave it out",
        )
    typed = PLAN_STEPS if action == "plan" else flags["steps"]
    fleet = read_fleet(flags["file"], flags["folder"], steps=typed)
    _check_names(fleet, "--again", flags["again"])
    _check_names(fleet, "--accept", flags["accept"])
    both = sorted({*flags["again"]} & {*flags["accept"]})
    if both:
        raise UsageError(
            f"{both[0]}: found --again and --accept, expected one of them",
            remedy="leave --accept out to start its steps over, or --again to continue",
        )
    clock = wiring.system_clock()
    if action == "status":
        _show_status(fleet, clock, as_json=flags["as_json"])
    elif action == "plan":
        _plan(fleet, clock, as_json=flags["as_json"])
    else:
        _run(fleet, clock, flags)


command.params += running_options()


def _check_names(fleet: Fleet, flag: str, named: tuple[str, ...]) -> None:
    names = [move.name for move in fleet.moves]
    for name in named:
        if name not in names:
            raise UsageError(
                f"{flag} {name}: found no such move, expected one of {', '.join(names)}",
                remedy="correct the name",
            )


def _show_status(fleet: Fleet, clock: Clock, *, as_json: bool) -> None:
    """From the journal; starts nothing.

    A step that was begun runs only while a fleet does: one that was killed has ended no step.
    """
    journal = JournalFile(LocalFolder(fleet.directory), FLEET_JOURNAL)
    state = fold_fleet(journal.entries)
    journal.close()
    state.order = state.shown
    if state.in_progress and not _is_at_work(fleet):
        for step in state.in_progress:
            step.is_begun = False
    fleet = _with_steps(fleet, state)
    state.held = {move.name: newest_runs(move) for move in fleet.moves}
    report = _report(_without_idle(fleet), state, clock)
    has_page = LocalFolder(fleet.directory).has_file(FLEET_PAGE)
    show_report(report, as_json=as_json, has_page=has_page)


def _is_at_work(fleet: Fleet) -> bool:
    """Whether a fleet works in the folder. Takes its lock for a moment."""
    try:
        with FolderLock(LocalFolder(fleet.directory)):
            return False
    except RunLockedError:
        return True


def _with_steps(fleet: Fleet, state: FleetState) -> Fleet:
    """The fleet with the steps that it was started with last."""
    if not state.order:
        return fleet
    return read_fleet(fleet.path, fleet.directory, steps=tuple(state.order.split("\n")))


def _report(fleet: Fleet, state: FleetState, clock: Clock) -> dict[str, Any]:
    now_s = clock.wall_s()
    return make_report(fleet, state, standings(fleet, state, now_s), now_s=now_s)


@contextmanager
def _opened(fleet: Fleet, clock: Clock) -> Iterator[FleetRun]:
    """The fleet with its lock: a second one gets exit code 11."""
    folder = LocalFolder(fleet.directory)
    with FolderLock(folder), open_progress(sys.stderr, clock) as progress:
        run = FleetRun(fleet, JournalFile(folder, FLEET_JOURNAL), clock, progress)
        try:
            yield run
        finally:
            run.journal.close()


def _plan(fleet: Fleet, clock: Clock, *, as_json: bool) -> None:
    """`check` and `plan` of every move, whatever their windows and their order."""
    with _opened(fleet.unordered(), clock) as run:
        run.begin(PLAN_ORDER, is_new=True)
        with told_of_the_end(run):
            run.run()
        report = _report(run.fleet, run.state, clock)
        outlook = make_outlook(run.fleet, run.state, report)
    show_plan(outlook, as_json=as_json)
    click.get_current_context().exit(outlook["exit_code"])


@contextmanager
def told_of_the_end(run: FleetRun) -> Iterator[None]:
    """A signal that ends the block is reported with how each move stands, and what continues.

    So is an error of the fleet itself: the same command may have an --again, which starts over.
    """
    command = continuing(run.fleet, run.state)
    try:
        yield
    except MigrationError as error:
        error.remedy = error.remedy.replace("the same command", f"`{command}`")
        raise
    except KeyboardInterrupt:
        state = run.state
        found = standings(run.fleet, state, run.clock.wall_s())
        invocation = current_invocation()
        invocation.stopped_at = ended_in_words(run.fleet, state, found)
        invocation.continued_by = (
            f"`{command}` continues: it repeats no step that has ended with 0, and a step that was "
            "stopped resumes where it was"
        )
        raise


def _refuse_again(fleet: Fleet, clock: Clock, names: tuple[str, ...]) -> None:
    """Raises PreconditionError for a move whose steps, from the first, would stop at its own run.

    A run that has written is the reason why the index is not empty.
    """
    journal = JournalFile(LocalFolder(fleet.directory), FLEET_JOURNAL)
    state = fold_fleet(journal.entries)
    journal.close()
    for move in fleet.moves:
        runs = runs_that_stand(move) if move.name in names and starts_a_run(move.steps) else []
        if not runs:
            continue
        given = Given(kv_namespace_id=state.namespaces.get(move.name))
        # A rollback takes the newest run by itself, where there is one index.
        named = runs[:1] if len(runs) > 1 else []
        index = index_of_run(PurePath(runs[0]).name) if move.is_sharded else None
        undo, later = (
            f"`{command_by_hand(fleet, move, Step(words, index), given)}`"
            for words in (("rollback", *named, "--execute"), ("catch-up",))
        )
        more = "" if len(runs) == 1 else f", or names the next of {counted(len(runs), 'run')}"
        raise PreconditionError(
            f"--again {move.name}: found run {PurePath(runs[0]).name}, which has written to "
            f"{', '.join(move.indexes)} and is not rolled back, expected none: the steps from the "
            "first would stop at its vectors",
            remedy=f"{undo} takes it back, then the same command starts over{more}; or {later} "
            "moves what has changed in the source since, without starting over",
        )


def _run(fleet: Fleet, clock: Clock, flags: Flags) -> None:
    _refuse_again(fleet, clock, flags["again"])
    fleet = _without_idle(fleet)
    _confirm(fleet, sure=flags["yes"])
    order = "\n".join(flags["steps"])
    with _opened(fleet, clock) as run:
        run.waits_for_windows = not flags["no_wait"]
        run.begin(
            order,
            is_new=_is_over(run, order),
            again=flags["again"],
            accepted=flags["accept"],
        )
        run.on_end = lambda: write_report(fleet, _report(fleet, run.state, clock))
        try:
            with told_of_the_end(run):
                run.run()
        finally:
            report = _report(fleet, run.state, clock)
            write_report(fleet, report)
    show_report(report, as_json=flags["as_json"])
    click.get_current_context().exit(report["exit_code"])


def _without_idle(fleet: Fleet) -> Fleet:
    """The fleet without the rollbacks of moves and indexes into which there is no run."""

    def idle(move: Move) -> Move:
        steps = tuple(
            step for step in move.steps if step.command != "rollback" or has_run(move, step.index)
        )
        why = "" if steps else "there is no run to undo"
        return replace(move, steps=steps, idle=why)

    return replace(fleet, moves=tuple(map(idle, fleet.moves)))


def _is_over(run: FleetRun, order: str) -> bool:
    """Whether these steps, typed, were all done: then they are done once more."""
    known = run.state.rounds.get(order)
    if not order or known is None:
        return False
    moves = [move for move in run.fleet.moves if move.steps]
    return all(
        move.name in known and all(known[move.name].step(step.name).is_done for step in move.steps)
        for move in moves
    )


def _confirm(fleet: Fleet, *, sure: bool) -> None:
    """One question for all moves, where one of their commands would ask one."""
    asking = [move for move in fleet.moves if any(asks_first(step) for step in move.steps)]
    far = [
        move
        for move in asking
        if not is_loopback(urlsplit(move.settings.target.api_base_url).hostname or "")
    ]
    question = Question(
        what="a fleet that may write",
        prompt=f"To run the steps of {counted(len(fleet.moves), 'move')}, type the name of the "
        "file; anything else writes nothing",
        name=fleet.path.name,
        said="\n".join(
            f"{move.name}: {', '.join(step.name for step in move.steps)} -> "
            f"{', '.join(move.indexes)}"
            for move in asking
        ),
    )
    if asking:
        confirm_name(question, sure=sure or not far)
