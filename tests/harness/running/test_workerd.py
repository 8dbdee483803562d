"""worker/kit from Python."""

import os
from pathlib import Path

import httpx
import pytest

from sandbox.server import running_sandbox
from tests.harness.running.node import WORKER
from tests.harness.running.workerd import WorkerUnderTest, running_worker


@pytest.mark.slow
def test_a_worker_reads_the_sandbox_through_the_binding_and_ends_with_the_block(
    tmp_path: Path,
) -> None:
    with running_sandbox(tmp_path) as sandbox:
        sandbox.store.vectors.indexes.create(
            "from-python", "", {"dimensions": 32, "metric": "cosine"}
        )
        worker = WorkerUnderTest(
            main=WORKER / "test" / "kit" / "echo.ts", vectorize={"VECTORIZE": "from-python"}
        )
        with running_worker(worker, sandbox) as running:
            call = {"binding": "VECTORIZE", "method": "describe", "args": []}
            answer = httpx.post(running.url, json=call).json()
            assert answer["value"]["dimensions"] == 32
            running.order(cut="refuse", after=0)
            assert "error" in httpx.post(running.url, json=call).json()

    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)
