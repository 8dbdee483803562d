"""The workers of a Dask scheduler. The certificates of tls:// are those of Dask's settings."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from migrate.errors import AccessError, PreconditionError, RemoteUnavailableError, UsageError
from migrate.loopback import is_loopback
from migrate.words import counted
from migrate.workers.executors import Scheduler, TaskExecutor, check_one_version
from q2v.output.logs import prepare_worker, silenced
from q2v.version import describe_version

CONNECT_S = 30
WORKERS_S = 30  # a worker that starts again on a busy machine takes less than ten
ASKED_MAX = 3  # each time for other workers: those that were asked have ended meanwhile
# Dask's nanny sets this for its workers, unless its own environment has it: each freed page of
# points goes back to the system, and is cleared again. (A variable of Dask's settings would not do:
# Dask reads their names in lower case.)
TRIM_VARIABLE = "MALLOC_TRIM_THRESHOLD_"
KEPT_BYTES = 2**30
KEPT_BYTES_MIN = 2**27
# What they log is an error of this command as well, which says it with what to do.
_LOGGERS = ("distributed", "tornado", "asyncio")
_SCHEMES = ("tcp", "tls")
_CERTIFICATES = (
    "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and "
    "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"
)


@contextmanager
def open_dask(
    scheduler: str | None, say: Callable[[str], object]
) -> Iterator[tuple[TaskExecutor, int]]:
    """An executor over all workers, and the number of their threads."""
    address = check_dask(scheduler)
    distributed = _load()[1]
    with silenced(_LOGGERS):
        client = _connect(distributed, address)
        try:
            asked = Scheduler(
                f"the Dask scheduler at {address}",
                is_gone=lambda: bool(client.status != "running"),
                has_workers=lambda: bool(client.nthreads()),
            )
            try:
                _check_workers(client, address, say)
                threads = sum(client.nthreads().values())
            except OSError as error:  # it has ended since it answered
                raise asked.gone() from error
            # Not pure: a range that is read again is not the former answer.
            executor = client.get_executor(pure=False)
            losses = (
                distributed.scheduler.KilledWorker,
                distributed.comm.CommClosedError,
                TimeoutError,
            )
            prepare = partial(prepare_worker, ())
            yield TaskExecutor(executor, prepare, losses, scheduler=asked), threads
        finally:
            client.close(timeout=CONNECT_S)


def check_dask(scheduler: str | None) -> str:
    """The address of the scheduler. Asks nothing.

    Raises UsageError without Dask, for an address that cannot be used or is not safe, and for
    certificates that cannot be used.
    """
    dask, distributed = _load()
    address = _checked(scheduler or dask.config.get("scheduler-address", None))
    if address.startswith("tls://"):
        _check_certificates(distributed)
    return address


def _load() -> tuple[Any, Any]:
    try:
        # An extra of the distribution, without types.
        return import_module("dask"), import_module("distributed")
    except ImportError as error:
        raise UsageError(
            "--executor dask: found no Dask",
            remedy="pip install 'qdrant-to-vectorize[dask]', here and on the workers",
        ) from error


def _connect(distributed: Any, address: str) -> Any:
    """A client of the scheduler.

    Raises AccessError when one side refuses the certificate of the other,
    RemoteUnavailableError when nothing answers.
    """
    try:
        return distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
    except OSError as error:
        if _is_refusal(error, distributed):
            raise AccessError(
                f"{address}: found a certificate that one side refuses ({error}), expected that "
                "scheduler and command have theirs from one authority",
                remedy="correct DASK_DISTRIBUTED__COMM__TLS__CA_FILE, and CLIENT__CERT and "
                "CLIENT__KEY beside it; the log of the scheduler says which one it refused",
            ) from error
        raise RemoteUnavailableError(
            f"no Dask scheduler answers at {address}: {error}",
            remedy="start it, or correct --scheduler: one with certificates is at tls://HOST:PORT",
        ) from error


def _check_certificates(distributed: Any) -> None:
    """Raises UsageError unless Dask's settings name files that a client can show and check with."""
    try:
        found = distributed.Security().get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:  # a file that is missing, or holds something else
        raise UsageError(
            f"--scheduler tls://: found certificates that cannot be used: {error}",
            remedy=f"correct {_CERTIFICATES}, each the path of a PEM file",
        ) from error
    if found is None:
        raise UsageError(
            "--scheduler tls://: found no certificate of this command, expected one from the "
            "authority of the scheduler",
            remedy=f"set {_CERTIFICATES}: docs/executors.md",
        )


def _is_refusal(error: BaseException | None, distributed: Any) -> bool:
    """Whether a handshake failed, rather than a connection."""
    while error is not None:
        names = {kind.__name__ for kind in type(error).__mro__}
        if "SSLError" in names or isinstance(error, distributed.comm.core.FatalCommClosedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _check_workers(client: Any, address: str, say: Callable[[str], object]) -> None:
    """Raises an error unless there are workers, and all of them have the q2v of this command."""
    found = _versions(client, address, say)
    failed = [answer for answer in found.values() if not isinstance(answer, str)]
    if failed:
        raise PreconditionError(
            f"{address}: {counted(len(failed), 'worker')} cannot load q2v: {failed[0]}",
            remedy="install qdrant-to-vectorize[dask,object-storage] where the workers run",
        )
    check_one_version(found.values(), describe_version())
    kept_bytes = client.run(trims, on_error="ignore").values()
    if any(kept is not None and kept < KEPT_BYTES_MIN for kept in kept_bytes):
        say(
            "the workers give freed memory back at once, which costs 1.6 times the CPU: start "
            f"them with {TRIM_VARIABLE}={KEPT_BYTES} in their environment"
        )


def _versions(client: Any, address: str, say: Callable[[str], object]) -> dict[str, Any]:
    """Per worker its q2v, or the exception that kept it from loading one; at least one worker.

    A nanny replaces a worker that ends within seconds, so no worker now may be one in a moment.
    Raises RemoteUnavailableError after WORKERS_S without any.
    """
    if not client.nthreads():
        say(f"the Dask scheduler at {address} has no workers: waiting up to {WORKERS_S} s for one")
    for _ in range(ASKED_MAX):
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError:
            break
        # What a worker cannot load is an exception without a type, an OSError is one that ended.
        found = client.run(describe_version, on_error="return")
        if living := {key: said for key, said in found.items() if not isinstance(said, OSError)}:
            return living
    raise RemoteUnavailableError(
        f"the Dask scheduler at {address} has no workers",
        remedy="start some, with one thread each: docs/executors.md",
    )


def trims() -> int | None:
    """On a worker: from how many freed bytes on memory goes back; None: as glibc decides."""
    text = os.environ.get(TRIM_VARIABLE, "")
    return int(text) if text.isdecimal() else None


def _checked(address: str | None) -> str:
    """Raises UsageError for no address, another form of one, and one without TLS beyond here."""
    if not address:
        raise UsageError(
            "--executor dask: found no address of a scheduler",
            remedy="pass --scheduler tls://HOST:PORT, or set DASK_SCHEDULER_ADDRESS",
        )
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        host, port = parts.hostname or "", parts.port  # a port beyond 65535 is a ValueError
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.scheme not in _SCHEMES or not host or not port:
        raise UsageError(
            f"--scheduler {address}: found no address of a scheduler, expected tls://HOST:PORT",
            remedy="pass the address that the scheduler prints when it starts",
        )
    if parts.scheme != "tls" and not is_loopback(host):
        raise UsageError(
            f"--scheduler {address}: found no TLS, expected it beyond this machine: who reaches "
            "the scheduler can run programs on every worker",
            remedy="pass tls://HOST:PORT, with the certificates of Dask",
        )
    return address
