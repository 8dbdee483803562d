"""The steps of a move: which commands they may be, and the words that the fleet adds."""

import shlex
from collections.abc import Iterable
from dataclasses import replace

import click

from q2v.commands import COMMANDS
from q2v.fleet.model import Fleet, Move, Step
from q2v.output.advice import OF_ALL_INDEXES

STEPS_DEFAULT = ("snapshot", "migrate", "reconcile")
# What the fleet gives each command, where it takes it.
_GIVEN = ("--dir", "--config", "--json", "--budget", "--local", "--log-file", "--progress")
_NEEDED = frozenset({"--dir", "--config", "--json"})
# What the fleet reads from the settings file of a move, to keep moves apart and to ask once.
_OF_SETTINGS = ("--account-id", "--api-base-url", "--kv-namespace-id", "--vector-index")


def parse_step(text: str) -> Step:
    """The step of a text. Raises ValueError that says what was found and expected."""
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
    loaded = COMMANDS[words[0]].load()
    refused = f"found {text!r}, which q2v {words[0]} does not take"
    try:
        context = click.Context(loaded, info_name=words[0], help_option_names=[])
        parser = loaded.make_parser(context)
        _, left, _ = parser.parse_args(list(words[1:]))
    except click.UsageError as error:
        raise ValueError(f"{refused} ({error.format_message()})") from error
    if left:
        raise ValueError(f"{refused} (no use for {' '.join(left)})")


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


def command_words(fleet: Fleet, move: Move, step: Step, *, deadline_s: float | None) -> list[str]:
    """The words of the command, after q2v: those of the step, and what is of this move.

    `deadline_s` is the time that is left of the move's window.
    """
    known = _options(step.command)
    assert known >= _NEEDED
    added: list[tuple[str, ...]] = [
        ("--config", str(move.config)),
        ("--dir", str(move.directory)),
        ("--budget", str(fleet.budget_folder(move))),
        ("--yes",),
        ("--json",),
        ("--progress", "lines"),
    ]
    if move.account_id in fleet.budgets:
        added.append(("--requests-per-5min", str(fleet.budgets[move.account_id])))
    if step.index is not None:
        added.append(("--vector-index", step.index))
    if deadline_s is not None:
        added.append(("--deadline-s", str(max(1, int(deadline_s)))))
    words = [each for pair in added if pair[0] in known for each in pair]
    return [*step.words, *words]


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
