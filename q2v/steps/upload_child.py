"""An upload worker as a process of its own: `python -m q2v.steps.upload_child`, started by q2v.

Its job comes in on stdin as one line of JSON, secrets included, then questions, one line each;
answers go out on stdout. When stdin ends, because q2v has ended in whatever way, so does this
process, at once: nothing of a run goes on without the one who keeps its journal.
"""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from migrate.adapters.request_budget import RequestBudget
from migrate.adapters.run_folder import read_plan
from migrate.adapters.snapshot_folder import Snapshot
from migrate.adapters.vectorize_target import VectorizeTarget
from migrate.core.base_url import parse_base_url
from migrate.core.pending import RowRange
from migrate.core.seal_key import SealKey
from migrate.errors import MigrationError, TargetRefusedError
from migrate.ports import Clock, Limiter
from migrate.stages.uploading import Uploader
from q2v import wiring
from q2v.logs import PROCESS_MASKER, masked_logging


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadJob:
    """Everything a worker has to know."""

    snapshot: str  # folder
    plan: str  # file
    excluded: list[int]  # rows
    api_base_url: str
    allow_other_host: bool
    account_id: str
    api_token: str
    vector_index: str
    budget: str  # file of the limiter, shared by all processes
    requests_per_5min: int
    seal_key: str | None


class _Telling:
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
    for number in (signal.SIGINT, signal.SIGTERM):  # the terminal sends them to all of us
        signal.signal(number, signal.SIG_IGN)
    questions: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(questions,), daemon=True).start()
    job = UploadJob(**json.loads(questions.get()))
    for secret in (job.account_id, job.api_token, job.seal_key):
        PROCESS_MASKER.register(secret or "")
    with masked_logging(PROCESS_MASKER, sys.stderr):
        _answer_all(job, questions)


def _listen(questions: "queue.SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        questions.put(line)
    os._exit(0)


def _answer_all(job: UploadJob, questions: "queue.SimpleQueue[bytes]") -> None:
    clock = wiring.system_clock()
    worker, budget = None, None
    while True:
        question = json.loads(questions.get())
        try:
            if worker is None or budget is None:
                budget = RequestBudget(
                    Path(job.budget), clock=clock, requests_max=job.requests_per_5min
                )
                worker = _open_worker(job, budget, clock)
            answer = _answer(worker, question)
        except MigrationError as error:
            answer = {"failed": _describe(error)}
        except Exception as error:  # noqa: BLE001 - a bug, told by the process that people watch
            answer = {"bug": f"{type(error).__name__}: {error}"}
        _tell({**answer, "requests": 0 if budget is None else budget.taken})


def _open_worker(job: UploadJob, budget: RequestBudget, clock: Clock) -> Uploader:
    key = None if job.seal_key is None else SealKey(job.seal_key)
    snapshot = Snapshot(Path(job.snapshot), key)
    http = wiring.make_http(
        parse_base_url(job.api_base_url, allow_other_host=job.allow_other_host),
        job.account_id,
        job.api_token,
        budget=budget,
        clock=clock,
        progress=_Telling(),
    )
    return Uploader(
        snapshot,
        read_plan(Path(job.plan), snapshot),
        VectorizeTarget(http, job.vector_index),
        excluded=frozenset(job.excluded),
    )


def _answer(worker: Uploader, question: Mapping[str, Any]) -> dict[str, object]:
    match question:
        case {"cut": [int() as first, int() as end, bool() as whole], "wanted": wanted}:
            upload = worker.cut(RowRange(first, end, whole=whole), wanted)
            return {"upload": None if upload is None else asdict(upload)}
        case {"send": True}:
            return {"accepted": asdict(worker.send())}
        case _:
            raise ValueError(f"no question: {sorted(question)}")


def _describe(error: MigrationError) -> dict[str, object]:
    kind, what = type(error).__name__, str(error)
    described: dict[str, object] = {"kind": kind, "what": what, "remedy": error.remedy}
    if isinstance(error, TargetRefusedError):
        described |= {"status": error.status, "code": error.code}
    return described


def _tell(message: Mapping[str, object]) -> None:
    text = json.dumps(PROCESS_MASKER.mask_values(dict(message)))
    sys.stdout.buffer.write(text.encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
