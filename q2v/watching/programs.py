"""Start a program that the operator has named for an end or an alert; no shell is involved."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping

from migrate.errors import UsageError
from migrate.object_store.credentials import STORE_SECRETS
from q2v.output.terminal import escape_lines, is_formed, write_text
from q2v.settings import SETTINGS

SECONDS_MAX = 60.0
_STDERR = 2  # of this process; its stdout holds the JSON document and nothing else


def check_program(typed: str | None, *, flag: str) -> list[str]:
    """The words of the command line; none without one. Raises UsageError if it cannot be started.

    Checked before the work: otherwise a misspelt program is noticed when it is due.
    """
    if typed is None:
        return []
    try:
        words = shlex.split(typed)
    except ValueError as error:
        raise UsageError(
            f"{flag} {typed!r}: {error}", remedy="quote it as in a shell: 'PROGRAM ARGUMENT'"
        ) from error
    if not words or shutil.which(words[0]) is None:
        raise UsageError(
            f"{flag} {typed!r}: found no program of this name, expected one to start",
            remedy="name it with its whole path; a pipe or && needs a script of its own",
        )
    return words


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    secret = {setting.environment for setting in SETTINGS if setting.is_secret} | {*STORE_SECRETS}
    return {name: value for name, value in environment.items() if name not in secret}


def run_program(words: list[str], document: str) -> None:
    """Start it with the document on its input, and wait. A failure is reported and changes nothing.

    What it prints goes to stderr, in the form that stderr has. It has the environment of the
    command but for keys and tokens. The exit code of the command stays as it is.
    """
    try:
        done = subprocess.run(  # noqa: S603 - what the operator typed, without a shell
            words,
            input=document.encode(),
            stdout=subprocess.PIPE if is_formed() else _STDERR,
            stderr=subprocess.STDOUT if is_formed() else None,
            timeout=SECONDS_MAX,
            check=False,
            env=_without_secrets(os.environ),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _show(getattr(error, "stdout", None))
        write_text(sys.stderr, f"warning: {words[0]} was not run to its end: {error}\n")
        return
    _show(done.stdout)
    if done.returncode:
        write_text(sys.stderr, f"warning: {words[0]} ended with exit code {done.returncode}\n")


def _show(printed: bytes | None) -> None:
    """What was not printed by the program itself."""
    if printed:
        write_text(sys.stderr, escape_lines(printed.decode("utf-8", "replace")) + "\n")
