"""The steps of a move: which commands they may be, and the words that the fleet adds."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import click

from q2v.commands import COMMANDS
from q2v.fleet.model import Fleet, Move, Step
from q2v.options import SOURCE
from q2v.output.advice import OF_ALL_INDEXES
from q2v.settings import BY_KEY

STEPS_DEFAULT = ("snapshot", "migrate", "reconcile")
# What the fleet gives each command, where it takes it.
_GIVEN = ("--dir", "--config", "--json", "--budget", "--local", "--log-file", "--progress")
_NEEDED = frozenset({"--dir", "--config", "--json"})
WRITING = frozenset({"migrate", "catch-up"})
UNDOING = frozenset({"rollback", "reset-target"})  # what came last is undone first
# What the fleet reads from the settings file of a move, to keep moves apart and to ask once.
_OF_SETTINGS = ("--account-id", "--api-base-url", "--kv-namespace-id", "--vector-index")
READING = (*SOURCE, "snapshot.page_points")  # settings that a plan of a snapshot does not read


def parse_step(text: str) -> Step:
    """The step of a text. Raises ValueError that says what was found and expected."""
    if not text.isprintable():
        raise ValueError(f"found {text!r}, expected a text without control characters")
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"found {text!r}, which cannot be split into words ({error})") from error
    if not words or words[0] not in allowed_commands():
        raise ValueError(
            f"found {text!r}, expected one of the commands {', '.join(allowed_commands())}, with "
            "its words"
        )
    for word in words[1:]:
        flag = word.partition("=")[0]
        if flag in _GIVEN:
            raise ValueError(f"found {flag} in {text!r}, which the fleet sets for each move")
        if flag in _OF_SETTINGS:
            raise ValueError(
                f"found {flag} in {text!r}, expected it in the settings file of the move"
            )
    _check_words(text, words)
    return Step(words)


def _check_words(text: str, words: tuple[str, ...]) -> None:
    """Raises ValueError for words that the command does not take; a help option does nothing."""
    refused = f"found {text!r}, which q2v {words[0]} does not take"
    try:
        _, left = _parse(words)
    except click.UsageError as error:
        raise ValueError(f"{refused} ({error.format_message()})") from error
    if left:
        raise ValueError(f"{refused} (no use for {' '.join(left)})")


def _parse(words: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """What the words after the command give, by parameter, and those that it has no use for."""
    loaded = COMMANDS[words[0]].load()
    context = click.Context(loaded, info_name=words[0], help_option_names=[])
    given, left, _ = loaded.make_parser(context).parse_args(list(words[1:]))
    return given, left


def typed(step: Step, parameter: str) -> str | None:
    """The text that the words of a step give for a parameter of its command; None without one."""
    given, _ = _parse(step.words)
    found = given.get(parameter)
    return found if isinstance(found, str) else None


def reads_source(step: Step) -> bool:
    """Whether it is a plan of the source itself: it names no snapshot, nor how to read a source."""
    if step.command != "plan":
        return False
    given, _ = _parse(step.words)
    names = {name for name, value in given.items() if isinstance(value, str)}
    return not names & {"snapshot", *(BY_KEY[key].name for key in READING)}


def starts_a_run(steps: Iterable[Step]) -> bool:
    """Whether a migrate of these steps needs an index without vectors of an earlier run."""
    for step in steps:
        if step.command in UNDOING:
            return False
        if step.command == "migrate":
            given, _ = _parse(step.words)
            return not given.keys() & {"into_non_empty", "dry_run"}
    return False


def allowed_commands() -> list[str]:
    """The commands that can be a step: those that work in a --dir and print one document."""
    return [name for name in COMMANDS if name in _ALLOWED]


# By name, so that reading a fleet.toml does not import every command; a test compares them with
# what the commands take.
_ALLOWED = frozenset(
    {
        "check",
        "plan",
        "runbook",
        "provision",
        "snapshot",
        "migrate",
        "catch-up",
        "reconcile",
        "parity",
        "gate",
        "report",
        "monitor",
        "decommission",
        "rollback",
        "reset-target",
        "status",
        "list",
        "verify",
        "archive",
    }
)


def _options(command: str) -> set[str]:
    params = COMMANDS[command].load().params
    return {name for each in params if isinstance(each, click.Option) for name in each.opts}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a command of a move gets beside the words of its step."""

    deadline_s: float | None = None  # what is left of the move's window
    kv_namespace_id: str | None = None  # that `provision` has made or found
    snapshot_id: str | None = None  # for a plan


def command_words(fleet: Fleet, move: Move, step: Step, given: Given | None = None) -> list[str]:
    """The words of the command, after q2v: those of the step, and what is of this move."""
    given = given or Given()
    words = [*step.words, *([] if given.snapshot_id is None else [given.snapshot_id])]
    more: list[tuple[str, ...]] = [("--yes",), ("--json",), ("--progress", "lines")]
    if given.deadline_s is not None:
        more.append(("--deadline-s", str(max(1, int(given.deadline_s)))))
    return [*words, *_place(fleet, move, step, given), *_taken(step, more)]


def command_by_hand(fleet: Fleet, move: Move, step: Step, given: Given | None = None) -> str:
    """The same command as an operator types it, with its questions and without a document."""
    place = _place(fleet, move, step, given or Given())
    return shlex.join(["q2v", *step.words, *place])


def _place(fleet: Fleet, move: Move, step: Step, given: Given) -> list[str]:
    """What names the move to a command: its settings, its folder, its budget, its target."""
    added: list[tuple[str, ...]] = [
        ("--config", str(move.config)),
        ("--dir", str(move.directory)),
        ("--budget", str(fleet.budget_folder(move))),
    ]
    if move.account_id in fleet.budgets:
        added.append(("--requests-per-5min", str(fleet.budgets[move.account_id])))
    if step.index is not None:
        added.append(("--vector-index", step.index))
    is_unset = move.settings.target.kv_namespace_id is None and step.command != "provision"
    if given.kv_namespace_id is not None and is_unset:
        added.append(("--kv-namespace-id", given.kv_namespace_id))
    return _taken(step, added)


def _taken(step: Step, added: Iterable[tuple[str, ...]]) -> list[str]:
    """Those that the command takes."""
    known = _options(step.command)
    assert known >= _NEEDED
    return [each for pair in added if pair[0] in known for each in pair]


def expand(steps: Iterable[Step], indexes: Iterable[str]) -> list[Step]:
    """The steps of a move over several indexes: each that works on one is done for each of them.

    A step is done for all indexes before the next one is begun. A snapshot is taken once, and so is
    an archive, which holds the runs into all of them.
    """
    found: list[Step] = []
    for step in steps:
        if step.command not in OF_ALL_INDEXES and "--vector-index" in _options(step.command):
            found += [replace(step, index=index) for index in indexes]
        else:
            found.append(step)
    return found


def asks_first(step: Step) -> bool:
    """Whether the command wants to be confirmed: it may write."""
    return "--yes" in _options(step.command)
