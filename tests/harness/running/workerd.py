"""A Worker in the real `workerd`, in front of a sandbox: worker/kit, from Python."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from sandbox.server import RunningSandbox
from tests.harness.network import LOOPBACK
from tests.harness.running.node import WORKER, installed, node_program
from tests.harness.running.programs import start_program


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerUnderTest:
    """A Worker and its bindings; worker/kit/config.ts says what each means."""

    main: Path  # TypeScript or JavaScript
    vectorize: Mapping[str, str] = field(default_factory=dict)  # binding -> index
    kv: Mapping[str, str] = field(default_factory=dict)  # binding -> namespace id
    vars: Mapping[str, object] = field(default_factory=dict)  # texts, or what JSON can hold
    compatibility_flags: tuple[str, ...] = ()
    v8_flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningWorker:
    """A Worker that runs, on loopback."""

    url: str
    control_url: str
    pid: int  # of workerd

    def order(self, **orders: object) -> None:
        """Give the shim orders: `targets`, `cut` and `after`; worker/kit/README.md."""
        httpx.put(self.control_url, json=orders, verify=LOOPBACK).raise_for_status()


@contextmanager
def running_worker(worker: WorkerUnderTest, sandbox: RunningSandbox) -> Iterator[RunningWorker]:
    """Bundle a Worker and run it while the block runs. Its console goes to this stderr."""
    installed("workerd", "package.json")
    order = {
        "worker": {
            "main": str(worker.main),
            "vectorize": dict(worker.vectorize),
            "kv": dict(worker.kv),
            "vars": dict(worker.vars),
            "compatibilityFlags": worker.compatibility_flags,
            "v8Flags": worker.v8_flags,
        },
        "sandbox": {
            "base_url": sandbox.base_url,
            "account_id": sandbox.account_id,
            "api_token": sandbox.api_token,
        },
    }
    with start_program(
        node_program(),
        WORKER / "kit" / "serve.ts",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        try:
            launcher.stdin.write(json.dumps(order) + "\n")
            launcher.stdin.flush()
            line = launcher.stdout.readline()
            assert line, "the launcher ended before its Worker ran; stderr says why"
            yield RunningWorker(**json.loads(line))
        finally:
            launcher.stdin.close()
            launcher.wait(timeout=30)
