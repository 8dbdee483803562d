"""Options of every command that works: its log, the form of its progress, programs at its end."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from migrate.clock import SystemClock
from migrate.errors import ExitCode, UsageError
from q2v.invocation import Invocation, current_invocation
from q2v.output.progress.events import as_events
from q2v.output.render import encode_document
from q2v.output.terminal import copy_text, stderr_as
from q2v.watching.log_file import logged_to
from q2v.watching.programs import check_program, run_program

EVENTS = "json"
FORMS = ("bar", "lines", EVENTS)
_ON_FAILURE, _PROGRESS = "--on-failure", "--progress"


def running_options() -> list[click.Option]:
    """`--log-file`, `--progress`, `--on-success` and `--on-failure`; none is a parameter."""
    return [
        click.Option(
            ["--log-file"],
            type=click.Path(dir_okay=False, path_type=Path),
            callback=_open_log,
            expose_value=False,
            metavar="FILE",
            help="Add all that is written here to this file too, each line with its time.",
        ),
        click.Option(
            [_PROGRESS],
            type=click.Choice(FORMS),
            callback=_remember_form,
            expose_value=False,
            help="Form of the progress on stderr.  [default: bar on a terminal, else lines]",
        ),
        click.Option(
            ["--on-success"],
            callback=_remember_program,
            expose_value=False,
            metavar="PROGRAM",
            help="Program to start when the exit code is 0, with a JSON document on its input.",
        ),
        click.Option(
            [_ON_FAILURE],
            callback=_remember_program,
            expose_value=False,
            metavar="PROGRAM",
            help="The same for every other exit code.",
        ),
    ]


def run_end_program(words: list[str], code: int, invocation: Invocation) -> None:
    """Start the program that is due at this exit code, if any. It changes nothing about the end.

    Its input is one JSON object: `command`, `exit_code`, `meaning`, `folder`.
    """
    due = invocation.on_failure if code else invocation.on_success
    if not due:
        return

    meaning = next((one.meaning for one in ExitCode if one == code), "no exit code of q2v")
    document = {
        "command": words[0] if words else "",
        "exit_code": int(code),
        "meaning": meaning,
        "folder": str(invocation.folder.absolute()),
    }
    run_program(due, encode_document(document))


def take_end_options(words: list[str], invocation: Invocation) -> None:
    """Take `--on-failure` and `--progress json` from the words of a command that was refused.

    An option that is wrong ends the reading of all others: without this the program for a failure
    would not be started, and machines would get a text. Only for commands with these options.
    """
    typed = dict(_typed(words))
    if invocation.progress is None and typed.get(_PROGRESS) == EVENTS:
        _take_form(EVENTS, invocation)
    if invocation.on_failure is None and _ON_FAILURE in typed:
        with suppress(UsageError):  # it is that program that was refused
            invocation.on_failure = check_program(typed[_ON_FAILURE], flag=_ON_FAILURE)


def _typed(words: list[str]) -> Iterator[tuple[str, str]]:
    """Option and value, where both are plain to see."""
    end = words.index("--") if "--" in words else len(words)
    for word, following in zip(words[:end], [*words[1:end], ""], strict=True):
        flag, has_value, value = word.partition("=")
        if flag in {_ON_FAILURE, _PROGRESS}:
            yield flag, value if has_value else following


def _open_log(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None or context.resilient_parsing:
        return
    lasting = current_invocation().lasting
    if lasting is not None:  # the last line is how the command ended
        lasting.enter_context(logged_to(path))
        copy_text(f"q2v {' '.join(sys.argv[1:])}")


def _remember_form(context: click.Context, _: click.Parameter, form: str | None) -> None:
    if form is not None:
        _take_form(form, current_invocation())


def _take_form(form: str, invocation: Invocation) -> None:
    invocation.progress = form
    if form == EVENTS and invocation.lasting is not None:
        invocation.lasting.enter_context(stderr_as(as_events(SystemClock())))


def _remember_program(context: click.Context, option: click.Parameter, typed: str | None) -> None:
    if typed is None:
        return

    words = check_program(typed, flag=f"--{(option.name or '').replace('_', '-')}")
    setattr(current_invocation(), str(option.name), words)
