"""What `main` has to know about the command it runs: its folder, and whether its result is out."""

from dataclasses import dataclass
from pathlib import Path

import click

DEFAULT_FOLDER = Path("snapshots")


@dataclass(slots=True)
class Invocation:
    """One call of q2v; filled in while the command runs."""

    folder: Path = DEFAULT_FOLDER  # of --dir: a crash log goes there
    config: Path | None = None  # of --config: the next command is printed with it
    document_written: bool = False  # with --json there is exactly one


def current_invocation() -> Invocation:
    """The running one; a stray one for a command that is called without `main`."""
    context = click.get_current_context(silent=True)
    found = context.find_object(Invocation) if context is not None else None
    return found if found is not None else Invocation()
