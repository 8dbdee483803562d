"""The workers of a Ray cluster. Ray listens on every address of its machines: close the network."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from typing_extensions import override

from migrate.errors import RemoteUnavailableError, UsageError
from migrate.workers.executors import TaskExecutor, check_one_version
from q2v.output.logs import prepare_worker
from q2v.version import describe_version

TRIES = 3  # of a task whose machine ends


@contextmanager
def open_ray(
    scheduler: str | None, say: Callable[[str], object]
) -> Iterator[tuple[TaskExecutor, int]]:
    """An executor over all machines of the cluster, and the number of their cores."""
    ray = load_ray()
    try:
        ray.init(address=scheduler or "auto", log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RemoteUnavailableError(
            f"no Ray cluster answers at {scheduler or 'RAY_ADDRESS'}: {error}",
            remedy="start it with `ray start`, or correct --scheduler",
        ) from error
    try:
        executor = RayExecutor(ray)
        check_one_version([executor.submit(describe_version).result()], describe_version())
        losses = (ray.exceptions.RayError,)
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        yield TaskExecutor(executor, partial(prepare_worker, ()), losses), cores
    finally:
        ray.shutdown()


def load_ray() -> Any:
    """The library. Raises UsageError where it is not installed."""
    try:
        return import_module("ray")  # an extra of the distribution, without types
    except ImportError as error:
        raise UsageError(
            "--executor ray: found no Ray",
            remedy="pip install 'qdrant-to-vectorize[ray]', here and on the machines",
        ) from error


class RayExecutor(Executor):
    """Ray's tasks as `concurrent.futures` has them."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        """See Executor."""
        remote = self._ray.remote(max_retries=TRIES)(fn)
        found: Future[Any] = remote.remote(*args, **more).future()
        return found
