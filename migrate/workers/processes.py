"""Run tasks in other processes: a task is a picklable value that a module's function takes.

Formatting numbers and parsing answers holds Python's lock, so a second core needs a second process.
A worker is a `ProcessPoolExecutor` of one process, started by `spawn`. Its tasks run one after the
other; a task may keep resources open for the next one (a client, a position in a snapshot), for
speed only: in a new process it gives the same result.
"""

import atexit
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Self, TypeVar

from migrate.errors import LocalStorageError
from migrate.ports import Limiter, Progress

# Starting a worker takes as long as moving this much; with less for each, one process is faster.
WORKER_BYTES_MIN = 200_000_000
END_S = 5.0  # an idle worker ends by itself within this time
_POLL_S = 0.01
_STARTING = threading.Lock()  # held while a process starts: the new child is the worker's

# Environment of a worker: freed buffers of some MB are reused instead of being returned to the
# system, which clears and maps memory 4 kB at a time. A move takes 7 % less time. Only glibc reads
# these variables (mallopt(3)).
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),  # the maximum
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}

Task = TypeVar("Task")
Result = TypeVar("Result")
Prepare = Callable[[], None]  # called in the worker before its first task; picklable


def workers_for(work_bytes: int, wanted: int) -> int:
    """Number of processes worth starting, at most `wanted`; 0: the calling process works alone."""
    count = min(wanted, work_bytes // WORKER_BYTES_MIN)
    return count if count > 1 else 0


def no_preparation() -> None:
    """Nothing to do before the first task."""


class WorkerProcess:
    """One process that runs tasks. Used by one thread, except `cancel`. A context manager."""

    def __init__(
        self,
        progress: Progress,
        prepare: Prepare = no_preparation,
        *,
        load: Callable[[], None],
    ) -> None:
        """Start the process. Progress lines of its tasks go to `progress`.

        `load` is the first task, a function of the tasks' module: it imports the libraries, and
        ends with `freeze_gc`, until which nothing is collected.
        """
        context = get_context("spawn")
        said, say = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(
            1, mp_context=context, initializer=_begin, initargs=(say, prepare)
        )
        with _STARTING, _environment(KEEP_FREED_MEMORY), _no_main_module():
            before = set(active_children())
            self._executor.submit(load)
            (self._process,) = set(active_children()) - before
        say.close()
        self._listener = threading.Thread(target=_forward, args=(said, progress), daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        """The worker itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the process and wait for that."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        wait([self._process.sentinel], END_S)
        self._process.kill()
        self._executor.shutdown(wait=True)
        self._listener.join()

    def cancel(self) -> None:
        """Kill the process; called by another thread."""
        self._process.kill()

    def run(self, work: Callable[[Task], Result], task: Task) -> Result:
        """The result of a task. Raises its error, LocalStorageError if the process has ended."""
        try:
            return self._executor.submit(work, task).result()
        except BrokenProcessPool as error:
            raise LocalStorageError(
                f"a worker process ended with status {_status(self._process)}",
                remedy="check whether memory ran out, then run the same command again: it resumes",
            ) from error


def start_process(loaded: str, work: Callable[..., None], *args: object) -> BaseProcess:
    """Start a process that calls a module's function with picklable arguments.

    The first call starts a process that imports the module `loaded` and then waits; it forks for
    each call, as it is at that time: without threads or connections.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([loaded])
    process = context.Process(target=work, args=args)
    with _STARTING, _no_main_module():
        process.start()
    return process


def freeze_gc() -> None:
    """Exclude every object that exists now from garbage collection, and turn that on.

    For a process of this tool, after its modules are loaded: a move takes 6 % less time.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


def worker_progress() -> Progress:
    """In a worker: the progress that sends lines to the parent process.

    A worker of an executor has no parent that listens: there the lines go to its log.
    """
    return _ForwardingProgress()


class _ForwardingProgress:
    """Progress of a worker: only lines; the parent process counts."""

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        """Not counted here."""

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        """Not counted here."""

    def watch(self, limiter: Limiter) -> None:
        """Not counted here."""

    def say(self, text: str) -> None:
        """Send the line to the parent process."""
        if _to_parent is None:
            _LOG.info(text)
        else:
            _to_parent.send(text)


_LOG = logging.getLogger(__name__)
_to_parent: Connection | None = None  # in a worker


def _begin(say: Connection, prepare: Prepare) -> None:
    """In a worker, before its first task."""
    gc.disable()  # until `freeze_gc`: modules are loaded first, and stay
    global _to_parent  # noqa: PLW0603 - a worker has one parent, and its tasks are plain functions
    _to_parent = say
    # A terminal sends these to all processes; the parent ends its workers.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Skip the interpreter's end: it takes time, and libraries write to stderr what gc.freeze kept.
    atexit.register(os._exit, 0)
    prepare()


def _end_with_parent() -> None:
    """End this process as soon as the parent, which keeps the journal, has ended."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(0)


def _forward(said: Connection, progress: Progress) -> None:
    """Pass lines of a worker to `progress` until the worker ends."""
    with said, suppress(EOFError, OSError):
        while True:
            progress.say(said.recv())


def _status(process: BaseProcess) -> int | None:
    """The exit status of an ended process; retried, as the executor may reap it meanwhile."""
    wait([process.sentinel], END_S)
    pause = threading.Event()
    for _ in range(round(END_S / _POLL_S)):
        if process.exitcode is not None:
            break
        pause.wait(_POLL_S)
    return process.exitcode


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    """Set these variables, unless they are set, for processes started in the block."""
    missing = {name: text for name, text in more.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]


@contextmanager
def _no_main_module() -> Iterator[None]:
    """`spawn` would import the parent's main module again, a second for some, for nothing.

    Tasks are functions of modules that can be imported; a script needs no `__main__` guard.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
