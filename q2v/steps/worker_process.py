"""Start workers as processes of their own, and talk to them.

Formatting numbers and taking answers apart holds Python's lock, so a second core needs a second
process. Between the processes go row numbers, ids and answers, never points or bodies.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from migrate import errors
from migrate.errors import Concerns, LocalStorageError, MigrationError
from migrate.ports import Progress
from q2v.memory import KEEP_FREED_MEMORY

# Starting a worker takes as long as moving so much: with less for each, one process is done sooner.
WORKER_BYTES_MIN = 200_000_000
END_S = 5.0  # a worker ends by itself when its questions end


def workers_for(work_bytes: int, wanted: int) -> int:
    """How many processes of the `wanted` ones are worth their start; 0 when one does it alone."""
    count = min(wanted, work_bytes // WORKER_BYTES_MIN)
    return count if count > 1 else 0


class WorkerProcess:
    """One worker; used by one thread, but for `give_up`. A context manager."""

    def __init__(
        self, task: str, details: Mapping[str, object], secrets: Sequence[str], progress: Progress
    ) -> None:
        """`details` is what the task needs to know, as JSON; `secrets` of it are never shown."""
        self._progress = progress
        self._process = subprocess.Popen(
            [sys.executable, "-m", "q2v.steps.worker_child"],
            env={**KEEP_FREED_MEMORY, **os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._write({"task": task, "details": details, "secrets": list(secrets)})

    def __enter__(self) -> Self:
        """The worker itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the process and wait for that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it has ended before us, with a question unread
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def give_up(self) -> None:
        """End the process at once, whatever it does; called by another thread."""
        self._process.kill()

    def ask(self, **question: object) -> dict[str, Any]:
        """The answer. Raises what the worker has raised, LocalStorageError if it is gone."""
        self._write(question)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "say" in answer:
                self._progress.say(answer["say"])
                continue
            if "failed" in answer:
                raise _error(**answer["failed"])
            if "bug" in answer:
                raise RuntimeError(f"in a worker: {answer['bug']}")
            return answer
        raise self._gone()

    def _write(self, message: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error

    def _gone(self) -> LocalStorageError:
        return LocalStorageError(
            f"a worker process ended with status {self._process.wait()}",
            remedy="see whether memory was short, then run the same command again: it resumes",
        )


def _error(*, kind: str, what: str, remedy: str, **more: Any) -> MigrationError:
    """The error as it was raised in the worker."""
    if "concerns" in more:
        more["concerns"] = Concerns(more["concerns"])
    found: MigrationError = getattr(errors, kind)(what, remedy=remedy, **more)
    return found
