"""`--executor` and `--scheduler` of the commands that read a collection or a snapshot whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from migrate.errors import UsageError
from migrate.storage.folder import Folder
from migrate.workers.executors import Machines
from q2v.executors import dask_cluster, ray_cluster
from q2v.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
LOCAL = "local"
_KINDS = (LOCAL, "dask", "ray")
# Tasks that are under way for each worker: one is done while the next one waits beside it.
_TASKS_A_WORKER = 2


def executor_options(command: Command) -> Command:
    """`--executor` and `--scheduler`, given to the command as `executor` and `scheduler`."""
    where = click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Of --executor: tls://HOST:PORT of the Dask scheduler, or the address of Ray.  "
        "[default: DASK_SCHEDULER_ADDRESS, RAY_ADDRESS]",
    )
    who = click.option(
        "--executor",
        type=click.Choice(_KINDS),
        default=LOCAL,
        show_default=True,
        help="Who reads ranges or parts: this machine, or the workers of a cluster. "
        "A cluster needs --dir in an object store.",
    )
    return who(where(command))


@dataclass(frozen=True, slots=True)
class ChosenExecutor:
    """What `--executor` and `--scheduler` say."""

    kind: str
    scheduler: str | None

    @property
    def is_local(self) -> bool:
        """Whether this machine does the work."""
        return self.kind == LOCAL

    def check_usable(self) -> None:
        """Raises UsageError for a library that is missing, and for an address that cannot be used.

        Asks nothing.
        """
        if self.kind == "dask":
            dask_cluster.check_dask(self.scheduler)
        elif self.kind == "ray":
            ray_cluster.load_ray()

    def check_reads_snapshot(self) -> None:
        """Raises UsageError for workers where a command would read the source itself."""
        if not self.is_local:
            raise UsageError(
                f"--executor {self.kind}: found no snapshot, expected one: without it this command "
                "reads the source by itself",
                remedy=f"take one with `q2v snapshot --executor {self.kind}` and name it; or leave "
                f"--executor {self.kind} out",
            )

    def check_reached(self, snapshot: Folder) -> None:
        """Raises UsageError for a snapshot that workers would have to read and cannot."""
        if not self.is_local and not snapshot.is_shared:
            raise UsageError(
                f"--executor {self.kind}: found the snapshot {snapshot} on a disk of this "
                "machine, expected one that every worker reaches",
                remedy=f"name a snapshot that is in --dir, or leave --executor {self.kind} out",
            )

    @contextmanager
    def machines(self, say: Callable[[str], object]) -> Iterator[Machines | None]:
        """The workers of a cluster; None when this machine works.

        `say` gets what could be better. Raises UsageError for an address that is not safe,
        RemoteUnavailableError when no worker answers.
        """
        if self.is_local:
            yield None
            return
        is_dask = self.kind == "dask"
        open_cluster = dask_cluster.open_dask if is_dask else ray_cluster.open_ray
        with open_cluster(self.scheduler, say) as (tasks, workers):
            yield Machines(tasks, _TASKS_A_WORKER * workers)


def choose_executor(
    executor: str, scheduler: str | None, directory: Folder, settings: Settings | None = None
) -> ChosenExecutor:
    """What the operator typed; `settings` where the workers read the source.

    Asks nothing. Raises UsageError for a --dir or a source that they cannot reach, and as
    `check_usable`.
    """
    chosen = ChosenExecutor(executor, scheduler)
    if chosen.is_local:
        if scheduler is not None:
            raise UsageError(
                f"--scheduler {scheduler}: this has no effect with --executor {LOCAL}",
                remedy="pass --executor dask, or leave it out",
            )
        return chosen
    if not directory.is_shared:
        raise UsageError(
            f"--executor {executor}: found --dir {directory}, expected one that every worker "
            "reaches",
            remedy="pass --dir s3://BUCKET/PREFIX",
        )
    if settings is not None and settings.source.path is not None:
        raise UsageError(
            f"--executor {executor}: found source.path, expected a server: a folder is read from "
            "a copy on this machine",
            remedy=f"configure source.url, or leave --executor {executor} out",
        )
    chosen.check_usable()
    return chosen
