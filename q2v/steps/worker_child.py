"""A worker as a process of its own: `python -m q2v.steps.worker_child`, started by q2v.

Its job comes in on stdin as one line of JSON, secrets included, then questions, one line each;
answers go out on stdout. When stdin ends, because q2v has ended in whatever way, so does this
process, at once: nothing of a run goes on without the one who keeps its journal.
"""

import importlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from migrate.errors import (
    LocalStorageError,
    MigrationError,
    TargetRefusedError,
    UnreadablePointError,
)
from migrate.ports import Limiter
from q2v.memory import MEMORY_REMEDY, is_memory_short, leave_out_what_is_loaded
from q2v.output.logs import PROCESS_MASKER, masked_logging, silence_libraries

# What a worker can do: the module whose `open_worker` makes it out of its job.
TASKS = {"upload": "q2v.steps.uploaders", "read": "q2v.steps.readers"}
Answerer = Callable[[Mapping[str, Any]], dict[str, object]]


class Telling:
    """Progress of a worker: only what is worth a line; the process that counts is the other one."""

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        """Not counted here."""

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        """Not counted here."""

    def watch(self, limiter: Limiter) -> None:
        """Not counted here."""

    def say(self, text: str) -> None:
        """Pass the line on."""
        _tell({"say": text})


def main() -> None:
    """Answer questions until there are no more."""
    silence_libraries()
    for number in (signal.SIGINT, signal.SIGTERM):  # the terminal sends them to all of us
        signal.signal(number, signal.SIG_IGN)
    questions: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(questions,), daemon=True).start()
    job = json.loads(questions.get())
    task = importlib.import_module(TASKS[job["task"]])
    leave_out_what_is_loaded()
    for secret in job["secrets"]:
        PROCESS_MASKER.register(secret)
    with masked_logging(PROCESS_MASKER, sys.stderr):
        _answer_all(partial(task.open_worker, job["details"]), questions)


def _listen(questions: "queue.SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        questions.put(line)
    os._exit(0)


def _answer_all(open_worker: Callable[[], Answerer], questions: "queue.SimpleQueue[bytes]") -> None:
    answer: Answerer | None = None
    while True:
        question = json.loads(questions.get())
        try:
            if answer is None:  # with a question to answer, so that an error has somebody to tell
                answer = open_worker()
            _tell(answer(question))
        except MigrationError as error:
            _tell({"failed": _describe(error)})
        except Exception as error:  # noqa: BLE001 - a bug, told by the process that people watch
            if is_memory_short(error):
                short = "the system gives a worker process no more memory"
                _tell({"failed": _describe(LocalStorageError(short, remedy=MEMORY_REMEDY))})
                continue
            _tell({"bug": f"{type(error).__name__}: {error}"})


def _describe(error: MigrationError) -> dict[str, object]:
    kind, what = type(error).__name__, str(error)
    described: dict[str, object] = {"kind": kind, "what": what, "remedy": error.remedy}
    if isinstance(error, TargetRefusedError):
        described |= {
            "concerns": error.concerns.value,
            "too_large": error.too_large,
            "evidence": error.evidence,
        }
    if isinstance(error, UnreadablePointError):
        described |= {"point_id": error.point_id, "point_id_type": error.point_id_type}
    return described


def _tell(message: Mapping[str, object]) -> None:
    text = json.dumps(PROCESS_MASKER.mask_values(dict(message)))
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
