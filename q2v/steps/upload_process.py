"""Start upload workers as processes of their own, and talk to them.

Formatting numbers holds Python's lock, so a second core needs a second process. It reads, encodes
and sends its own share; between the processes go row numbers and answers, never bodies.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from migrate import errors
from migrate.adapters.folder_lock import BUDGET_FOLDER
from migrate.adapters.run_folder import PLAN, RunFolder
from migrate.core.batching import Upload
from migrate.core.model import Accepted
from migrate.core.pending import RowRange
from migrate.core.request_counts import upload_bytes
from migrate.errors import LocalStorageError, MigrationError
from migrate.ports import Progress
from q2v.secret import load_secret
from q2v.settings import Settings
from q2v.steps.upload_child import UploadJob

# Starting a worker takes as long as formatting some hundred MB of text: with less than this for
# each, one process is done sooner.
WORKER_BYTES_MIN = 200_000_000
END_S = 5.0  # a worker ends by itself when its questions end


@contextmanager
def open_upload_workers(
    run: RunFolder, settings: Settings, folder: Path, *, progress: Progress
) -> "Iterator[list[UploadProcess]]":
    """The workers for what the open round has left to send; none where one process does it all."""
    count = min(settings.limits.uploads_in_flight, _bytes_left(run) // WORKER_BYTES_MIN)
    with ExitStack() as workers:
        if count > 1:
            job = _job(run, settings, folder)
            yield [workers.enter_context(UploadProcess(job, progress)) for _ in range(count)]
        else:
            yield []


def _bytes_left(run: RunFolder) -> int:
    """About how much is left to send, by the text of the values alone."""
    rows = sum(
        max(0, min(one.end, run.plan.points) - one.first)
        for one in run.state().rounds[-1].pending.ranges
    )
    return upload_bytes(rows, run.plan.values.dimensions, metadata_bytes=0)


def _job(run: RunFolder, settings: Settings, folder: Path) -> UploadJob:
    target, key = settings.target, settings.snapshot.hmac_key
    assert target.account_id is not None
    assert target.api_token is not None
    assert target.vector_index is not None
    return UploadJob(
        snapshot=str(run.snapshot.folder),
        plan=str(run.path / PLAN),
        excluded=sorted(run.excluded_rows()),
        api_base_url=target.api_base_url,
        allow_other_host=target.allow_other_host,
        account_id=target.account_id,
        api_token=load_secret(target.api_token).reveal(),
        vector_index=target.vector_index,
        budget=str(folder / BUDGET_FOLDER / "requests"),
        requests_per_5min=settings.limits.requests_per_5min,
        seal_key=None if key is None else load_secret(key).reveal(),
    )


class UploadProcess:
    """A worker in another process; see `migrate.stages.uploading.UploadWorker`."""

    def __init__(self, job: UploadJob, progress: Progress) -> None:
        self.requests = 0  # that it has sent
        self._progress = progress
        self._process = subprocess.Popen(
            [sys.executable, "-m", "q2v.steps.upload_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._write(asdict(job))

    def __enter__(self) -> "UploadProcess":
        """The worker itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End the process and wait for that."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def cut(self, rows: RowRange, body_bytes_wanted: int | None) -> Upload | None:
        """See UploadWorker."""
        question = {"cut": [rows.first, rows.end, rows.whole], "wanted": body_bytes_wanted}
        upload = self._ask(question)["upload"]
        return None if upload is None else Upload(**upload)

    def send(self) -> Accepted:
        """See UploadWorker."""
        return Accepted(**self._ask({"send": True})["accepted"])

    def give_up(self) -> None:
        """See UploadWorker."""
        self._process.kill()

    def _ask(self, question: Mapping[str, object]) -> dict[str, Any]:
        self._write(question)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "say" in answer:
                self._progress.say(answer["say"])
                continue
            self.requests = answer["requests"]
            if "failed" in answer:
                raise _error(**answer["failed"])
            if "bug" in answer:
                raise RuntimeError(f"in an upload worker: {answer['bug']}")
            return answer
        raise self._died()

    def _write(self, message: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error

    def _died(self) -> LocalStorageError:
        return LocalStorageError(
            f"an upload worker ended with status {self._process.wait()}",
            remedy="see whether memory was short, then run the same command again: it resumes",
        )


def _error(*, kind: str, what: str, remedy: str, **more: Any) -> MigrationError:
    """The error as it was raised in the worker."""
    found: MigrationError = getattr(errors, kind)(what, remedy=remedy, **more)
    return found
