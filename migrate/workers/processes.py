"""Run tasks in processes of their own: a task is a function of a picklable value.

Formatting numbers and taking answers apart holds Python's lock, so a second core needs a second
process. A worker is a `ProcessPoolExecutor` of one process, started by `spawn`: its tasks run one
after the other, and what they keep open (a client, a place in a snapshot) is found again by the
next one. A function may rely on that for speed only: in a new process it gives the same result.
"""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Self, TypeVar

from migrate.errors import LocalStorageError
from migrate.ports import Limiter, Progress

# Starting a worker takes as long as moving so much: with less for each, one process is done sooner.
WORKER_BYTES_MIN = 200_000_000
END_S = 5.0  # an idle worker ends by itself within this time
_POLL_S = 0.01

# For a process that is started with it: freed buffers of some MB are reused, and not given back to
# the system, which clears and maps memory 4 kB at a time. A move takes 7 % less time. Read by
# glibc (mallopt(3)), and by nothing else.
KEEP_FREED_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024 * 1024),  # the most that it takes
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}

Task = TypeVar("Task")
Result = TypeVar("Result")
Prepare = Callable[[], None]  # called in the worker before its first task; picklable


def workers_for(work_bytes: int, wanted: int) -> int:
    """How many processes of the `wanted` ones are worth their start; 0 when one does it alone."""
    count = min(wanted, work_bytes // WORKER_BYTES_MIN)
    return count if count > 1 else 0


def no_preparation() -> None:
    """Nothing to do before the first task."""


class WorkerProcess:
    """One process that runs tasks; used by one thread, but for `give_up`. A context manager."""

    def __init__(
        self,
        progress: Progress,
        prepare: Prepare = no_preparation,
        *,
        load: Callable[[], None],
    ) -> None:
        """Start the process. What its tasks say goes to `progress`.

        `load` is the first task: of the module of the others, which loads its libraries.
        """
        context = get_context("spawn")
        said, say = context.Pipe(duplex=False)
        self._executor = ProcessPoolExecutor(
            1, mp_context=context, initializer=_begin, initargs=(say, prepare)
        )
        before = set(active_children())
        with _environment(KEEP_FREED_MEMORY):
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

    def give_up(self) -> None:
        """End the process at once, whatever it does; called by another thread."""
        self._process.kill()

    def run(self, work: Callable[[Task], Result], task: Task) -> Result:
        """The result of a task. Raises what it raises, LocalStorageError if the process is gone."""
        try:
            return self._executor.submit(work, task).result()
        except BrokenProcessPool as error:
            raise LocalStorageError(
                f"a worker process ended with status {_status(self._process)}",
                remedy="see whether memory was short, then run the same command again: it resumes",
            ) from error


def freeze_gc() -> None:
    """Keep every object that exists now out of the garbage collector's searches.

    For a process of the tool's own, once its modules are loaded: a move takes 6 % less time.
    """
    gc.collect()
    gc.freeze()


def worker_progress() -> Progress:
    """In a worker: what passes on what is worth a line."""
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
        """Pass the line on."""
        assert _to_parent is not None, "called in a worker"
        _to_parent.send(text)


_to_parent: Connection | None = None  # in a worker


def _begin(say: Connection, prepare: Prepare) -> None:
    """In a worker, before its first task."""
    global _to_parent  # noqa: PLW0603 - a worker has one parent, and its tasks are plain functions
    _to_parent = say
    for number in (signal.SIGINT, signal.SIGTERM):  # the terminal sends them to all processes
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare()


def _end_with_parent() -> None:
    """End this process as soon as the parent has ended in whatever way: it keeps the journal."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(0)


def _forward(said: Connection, progress: Progress) -> None:
    """Pass on what a worker says until it ends."""
    with said, suppress(EOFError, OSError):
        while True:
            progress.say(said.recv())


def _status(process: BaseProcess) -> int | None:
    """The exit status of a process that has ended; the executor may be reading it as well."""
    wait([process.sentinel], END_S)
    pause = threading.Event()
    for _ in range(round(END_S / _POLL_S)):
        if process.exitcode is not None:
            break
        pause.wait(_POLL_S)
    return process.exitcode


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    """These variables, where they are not set, for processes that are started meanwhile."""
    missing = {name: text for name, text in more.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]
