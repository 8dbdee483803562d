"""The running command, as `main` and the texts of advice need it: where it works, how it ends."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrate.object_store.address import ObjectAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from migrate.storage.folder import WorkFolder
    from q2v.settings import Settings

DEFAULT_FOLDER = Path("snapshots")
BUDGET_ENVIRONMENT = "Q2V_BUDGET_DIR"  # in place of --budget
Place = Path | ObjectAddress  # what --dir names: a folder, or one in an object store


@dataclass(slots=True)
class Invocation:
    """One call of q2v; filled in while the command runs."""

    folder: Path = DEFAULT_FOLDER  # of --dir: a crash log goes there
    # The next five are repeated in the commands that are printed as advice.
    snapshots: Place | None = None  # of --dir; None: the command has no folder of snapshots
    local: Path | None = None  # of --local; None: see `local_of`
    budget: Path | None = None  # of --budget; None: it lies in --dir
    config: Path | None = None  # of --config
    settings: "Settings | None" = None  # None: not read yet, or refused
    named: "WorkFolder | None" = None  # the snapshot or run that was named to the command
    # What a stop by a signal says beside its name, and in place of "run the same command again".
    stopped_at: str | None = None
    continued_by: str | None = None
    sent: "list[Callable[[], int]]" = field(default_factory=list)  # requests, by each that counts
    document_written: bool = False  # with --json there is exactly one
    resumes: bool = True  # the command, when it is run again after a failure
    asks: bool = False  # of --ask: a question is asked also where it could be left out
    progress: str | None = None  # of --progress; None: by what stderr is
    on_success: list[str] | None = None  # the words of --on-success, and of --on-failure
    on_failure: list[str] | None = None
    lasting: ExitStack | None = None  # closed after the last message of the command


def absolute(place: Place) -> str:
    """The address from the root, for programs that work elsewhere."""
    return str(place.absolute() if isinstance(place, Path) else place)


def local_of(address: ObjectAddress) -> Path:
    """The folder on this machine of a --dir in an object store: --local, or one for each --dir."""
    own = DEFAULT_FOLDER / "s3" / address.bucket.name / address.key
    return current_invocation().local or own


def current_invocation() -> Invocation:
    """The running one; a stray one for a command that is called without `main`."""
    context = click.get_current_context(silent=True)
    found = context.find_object(Invocation) if context is not None else None
    return found if found is not None else Invocation()
