"""The verifier of this project in the real workerd, bound to the index of a workbench."""

from collections.abc import Iterator, Mapping
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
    indexes: Mapping[str, str] | None = None,
    key: str = KEY,
    main: Path = ENTRY,
) -> Iterator[RunningWorker]:
    """Run it while the block runs; the commands of the bench use it, with `KEY`.

    `indexes`: the name that it gives to an index, and the index that is bound. Without them, that
    of the bench under its own name.
    """
    named = {bench.index: bench.index} if indexes is None else indexes
    bindings = {name: f"INDEX_{number}" for number, name in enumerate(named)}
    worker = WorkerUnderTest(
        main=main,
        vectorize={bindings[name]: index for name, index in named.items()},
        vars={"Q2V_VERIFIER_KEY": key, "VECTORIZE_INDEXES": bindings},
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
