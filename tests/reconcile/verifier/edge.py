"""The verifier of this project in the real workerd, bound to the index of a workbench."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.running.node import WORKER
from tests.harness.running.workbench import Workbench
from tests.harness.running.workerd import RunningWorker, WorkerUnderTest, running_worker

KEY = "verifier-key-6d1f0b9c3a7e58244c9e"
ENTRY = WORKER / "src" / "verifier" / "worker.ts"


@contextmanager
def running_verifier(
    bench: Workbench,
    *,
    index: str | None = None,
    name: str | None = None,
    key: str = KEY,
    main: Path = ENTRY,
) -> Iterator[RunningWorker]:
    """Run it while the block runs; the commands of the bench use it, with `KEY`.

    It is bound to `index`, and calls it `name`; without them that of the bench.
    """
    worker = WorkerUnderTest(
        main=main,
        vectorize={"VECTORIZE_INDEX": index or bench.index},
        vars={
            "Q2V_VERIFIER_KEY": key,
            "Q2V_INDEXES": {name or bench.index: "VECTORIZE_INDEX"},
        },
    )
    with running_worker(worker, bench.sandbox) as running, pointed_at(bench, running.url):
        yield running


@contextmanager
def pointed_at(bench: Workbench, url: str) -> Iterator[None]:
    """The commands of the bench use a verifier at this address while the block runs."""
    kept = dict(bench.environment)
    bench.environment |= {"Q2V_VERIFIER_URL": url, "Q2V_VERIFIER_KEY": KEY}
    try:
        yield
    finally:
        bench.environment.clear()
        bench.environment |= kept
