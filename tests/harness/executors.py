"""An executor that keeps what is given to it, in the place of a cluster's."""

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from typing_extensions import override

from migrate.workers.executors import TaskExecutor
from migrate.workers.processes import no_preparation

BY_WORKERS = ("--executor", "dask", "--scheduler", "tcp://127.0.0.1:9")


class Noting(Executor):
    """Another executor, with every task as it leaves."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.tasks: list[bytes] = []

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        self.tasks.append(pickle.dumps((fn, args, more)))
        return self._executor.submit(fn, *args, **more)


@contextmanager
def workers_here() -> Iterator[Noting]:
    """`BY_WORKERS` are then two threads of this process."""
    with ThreadPoolExecutor(2) as pool:
        noting = Noting(pool)

        @contextmanager
        def open_pool(
            scheduler: str | None, say: Callable[[str], object]
        ) -> Iterator[tuple[TaskExecutor, int]]:
            yield TaskExecutor(noting, no_preparation), 2

        with patch("q2v.executors.dask_cluster.open_dask", open_pool):
            yield noting
