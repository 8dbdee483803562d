"""Run tasks on the machines of an executor: any `concurrent.futures.Executor`.

An executor may do a task twice, and gives up a task after some machines that had it have ended.
Every task here has the same effect on every machine, done once or twice (decision 0069).
"""

import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Executor, Future, wait
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from migrate.errors import MigrationError, PreconditionError, RemoteUnavailableError
from migrate.words import counted
from migrate.workers.ordered import in_order

Task = TypeVar("Task")
Result = TypeVar("Result")
Prepare = Callable[[], None]  # called on a machine before its first task; picklable

LOOK_S = 30  # between two looks at the workers, while a task is waited for
LOOKS = 10  # without any worker in a row, then the command ends: a machine starts again in less
_AGAIN = "run the same command again: it resumes, where parts have records"
_prepared: set[int] = set()  # processes in which `prepare` has been called


@dataclass(frozen=True, slots=True)
class Scheduler:
    """Who hands the tasks of an executor to its machines."""

    name: str  # in a sentence
    is_gone: Callable[[], bool]
    has_workers: Callable[[], bool] = lambda: True  # OSError: it has gone

    def gone(self) -> RemoteUnavailableError:
        """The error when no task can be handed on."""
        return RemoteUnavailableError(f"{self.name} has gone", remedy=f"start it, then {_AGAIN}")

    def empty(self) -> RemoteUnavailableError:
        """The error when no worker took a task, at each of the last looks."""
        return RemoteUnavailableError(
            f"{self.name} has had no workers for {LOOKS * LOOK_S} s",
            remedy=f"start some, with one thread each: docs/executors.md; then {_AGAIN}",
        )


class TaskExecutor:
    """The tasks of one command on an executor. Safe to use from several threads."""

    def __init__(
        self,
        executor: Executor,
        prepare: Prepare,
        losses: Iterable[type[Exception]] = (),
        *,
        scheduler: Scheduler | None = None,
    ) -> None:
        """`losses` are the executor's own errors for machines that ended, or cannot be reached.

        An executor with a scheduler cancels tasks when it has lost that one.
        """
        self._scheduler = scheduler
        self._executor = executor
        self._prepare = prepare
        self._losses: tuple[type[Exception], ...] = (*losses, CancelledError, OSError)
        self._running: set[Future[Any]] = set()
        self._lock = Lock()
        self._stopped = False

    def run(self, work: Callable[[Task], Result], task: Task) -> Result:
        """The result of a task. Raises its error, RemoteUnavailableError if no machine does it."""
        with self._lock:
            if self._stopped:
                raise RemoteUnavailableError("the command is ending", remedy=_AGAIN)
            if self._scheduler is not None and self._scheduler.is_gone():
                raise self._scheduler.gone()
            future = self._executor.submit(run_prepared, self._prepare, work, task)
            self._running.add(future)
        try:
            self._wait(future)
            return future.result()
        except MigrationError:
            future.cancel()
            raise
        except self._losses as error:
            scheduler = self._scheduler
            if scheduler is not None and (isinstance(error, CancelledError) or scheduler.is_gone()):
                raise scheduler.gone() from error
            raise RemoteUnavailableError(
                f"no worker could finish a task: {type(error).__name__}: {error}",
                remedy=f"look into the logs of the workers, whether memory ran out; then {_AGAIN}",
            ) from error
        finally:
            with self._lock:
                self._running.discard(future)

    def _wait(self, future: Future[Any]) -> None:
        """Until a task is done. Raises RemoteUnavailableError when there are no workers for long.

        An executor keeps a task until it has a worker for it, if need be for ever.
        """
        without = 0
        while not wait([future], timeout=LOOK_S).done:
            if self._scheduler is None:
                continue
            try:
                without = 0 if self._scheduler.has_workers() else without + 1
            except OSError as error:
                raise self._scheduler.gone() from error
            if without >= LOOKS:
                raise self._scheduler.empty()

    def cancel(self) -> None:
        """End at once: what is not begun yet is not begun, and the rest is not waited for."""
        with self._lock:
            self._stopped = True
            running = [*self._running]
        for future in running:
            future.cancel()


@dataclass(frozen=True, slots=True)
class Machines:
    """The workers of a cluster, and how many tasks are given to them at once."""

    executor: TaskExecutor
    at_once: int


OpenMachines = Callable[[], AbstractContextManager[Machines | None]]  # see `run_tasks`


def this_machine() -> AbstractContextManager[None]:
    """The `OpenMachines` of a command that works alone."""
    return nullcontext()


def run_tasks(
    work: Callable[[Task], Result], tasks: Iterable[Task], machines: Machines | None
) -> Generator[Result, None, None]:
    """The results, in the order of the tasks; None: this thread does them, one after the other.

    A task is drawn when its turn comes, so it may hold what earlier results have shown. Raises the
    error of the first task that failed, RemoteUnavailableError if no machine does it.
    """
    if machines is None:
        yield from map(work, tasks)
        return
    run = partial(machines.executor.run, work)
    with closing(
        in_order(run, tasks, width=machines.at_once, on_stop=machines.executor.cancel)
    ) as done:
        for _, result in done:
            yield result


def run_prepared(prepare: Prepare, work: Callable[[Task], Result], task: Task) -> Result:
    """On a worker: a task, after what has to come before the first one."""
    if os.getpid() not in _prepared:
        prepare()
        _prepared.add(os.getpid())
    return work(task)


def check_one_version(found: Iterable[str], own: str) -> None:
    """Raises PreconditionError unless every worker runs the q2v of this command."""
    others = sorted({one for one in found if one != own})
    if others:
        raise PreconditionError(
            f"found {counted(len(others), 'other version')} of q2v on the workers: "
            f"{', '.join(others)}; this command is {own}",
            remedy="install the same q2v everywhere: two versions could write other bytes",
        )
