"""Options of every command that works: its log, the form of its progress, programs at its end."""

import sys
from pathlib import Path

import click

from migrate.errors import ExitCode
from q2v.invocation import Invocation, current_invocation
from q2v.output.render import encode_document
from q2v.output.terminal import copy_text
from q2v.watching.log_file import logged_to
from q2v.watching.programs import check_program, run_program

FORMS = ("bar", "lines", "json")


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
            ["--progress"],
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
            ["--on-failure"],
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


def _open_log(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is None or context.resilient_parsing:
        return
    lasting = current_invocation().lasting
    if lasting is not None:  # the last line is how the command ended
        lasting.enter_context(logged_to(path))
        copy_text(f"q2v {' '.join(sys.argv[1:])}")


def _remember_form(context: click.Context, _: click.Parameter, form: str | None) -> None:
    if form is not None:
        current_invocation().progress = form


def _remember_program(context: click.Context, option: click.Parameter, typed: str | None) -> None:
    if typed is None:
        return

    words = check_program(typed, flag=f"--{(option.name or '').replace('_', '-')}")
    setattr(current_invocation(), str(option.name), words)
