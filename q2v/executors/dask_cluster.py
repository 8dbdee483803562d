"""The workers of a Dask scheduler. The certificates of tls:// are those of Dask's settings."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from urllib.parse import urlsplit

from migrate.errors import RemoteUnavailableError, UsageError
from migrate.loopback import is_loopback
from migrate.workers.executors import TaskExecutor, check_one_version
from q2v.output.logs import prepare_worker
from q2v.version import describe_version

CONNECT_S = 30
# Dask's nanny tells glibc so in the environment of its workers, unless its settings say otherwise:
# each freed page of points goes back to the system, and is cleared again.
TRIM_SETTING = "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__MALLOC_TRIM_THRESHOLD_"
KEPT_BYTES = 2**30
KEPT_BYTES_MIN = 2**27


@contextmanager
def open_dask(
    scheduler: str | None, say: Callable[[str], object]
) -> Iterator[tuple[TaskExecutor, int]]:
    """An executor over all workers, and the number of their threads."""
    try:
        # An extra of the distribution, without types.
        dask, distributed = import_module("dask"), import_module("distributed")
    except ImportError as error:
        raise UsageError(
            "--executor dask: found no Dask",
            remedy="pip install 'qdrant-to-vectorize[dask]', here and on the workers",
        ) from error
    address = _checked(scheduler or dask.config.get("scheduler-address", None))
    try:
        client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except OSError as error:
        raise RemoteUnavailableError(
            f"no Dask scheduler answers at {address}: {error}",
            remedy="start it, or correct --scheduler; for tls:// set the certificates of Dask",
        ) from error
    try:
        workers = client.run(describe_version)
        if not workers:
            raise RemoteUnavailableError(
                f"the Dask scheduler at {address} has no workers",
                remedy="start some, with one thread each: docs/executors.md",
            )
        check_one_version(workers.values(), describe_version())
        if any(value and int(value) < KEPT_BYTES_MIN for value in client.run(trims).values()):
            say(
                "the workers give freed memory back at once, which costs 1.6 times the CPU: start "
                f"them with {TRIM_SETTING}={KEPT_BYTES}"
            )
        threads = sum(client.nthreads().values())
        # Not pure: a range that is read again is not the former answer.
        executor = client.get_executor(pure=False)
        losses = (
            distributed.scheduler.KilledWorker,
            distributed.comm.CommClosedError,
            TimeoutError,
        )
        yield TaskExecutor(executor, partial(prepare_worker, ()), losses), threads
    finally:
        client.close(timeout=CONNECT_S)


def trims() -> str | None:
    """On a worker: from how many freed bytes on memory goes back; None: as glibc decides."""
    return os.environ.get("MALLOC_TRIM_THRESHOLD_")


def _checked(address: str | None) -> str:
    """Raises UsageError for no address, and for one without TLS beyond this machine."""
    if not address:
        raise UsageError(
            "--executor dask: found no address of a scheduler",
            remedy="pass --scheduler tls://HOST:PORT, or set DASK_SCHEDULER_ADDRESS",
        )
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme != "tls" and not is_loopback(host):
        raise UsageError(
            f"--scheduler {address}: found no TLS, expected it beyond this machine: who reaches "
            "the scheduler can run programs on every worker",
            remedy="pass tls://HOST:PORT, with the certificates of Dask",
        )
    return address
