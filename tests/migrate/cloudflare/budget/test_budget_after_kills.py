"""Real processes, real kills, and what the service counts: no window holds more than the budget."""

import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrate.model.limits import REQUEST_WINDOW_S
from sandbox.server import RunningSandbox, running_sandbox
from tests.harness.running.programs import start_python

REQUESTS_MAX = 45
SPEED = 60.0  # the processes' clock: 300 s take 5
KILLS = 12
DEADLINE_S = 240.0  # of the whole test, on a machine that does much else


@contextmanager
def _sender(sandbox: RunningSandbox, budget: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sandbox.base_url, sandbox.account_id, sandbox.api_token, str(budget)]
    with start_python(
        *("-m", "tests.migrate.cloudflare.budget.sender", *words, str(REQUESTS_MAX), str(SPEED)),
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def _wait_for_requests(sandbox: RunningSandbox, count: int) -> None:
    """Until the sandbox has answered so many in all."""
    waiting = threading.Event()
    for _ in range(int(DEADLINE_S / 0.02)):
        if len(sandbox.requests) >= count:
            return
        waiting.wait(0.02)
    raise AssertionError(f"{len(sandbox.requests)} requests, expected {count}")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("F21", "G13", "I9")
def test_no_window_holds_more_than_the_budget_whatever_is_killed(tmp_path: Path) -> None:
    """Counted where it matters: by the time at which each request reached the service."""
    chance = random.Random(21)
    # Requests take their time to arrive, so that kills find them on their way; the last do not.
    with running_sandbox(tmp_path / "target", fault="slow:ms=200") as sandbox:
        budget = tmp_path / "budget" / "requests"
        for _ in range(KILLS):
            before = len(sandbox.requests)
            with _sender(sandbox, budget):
                _wait_for_requests(sandbox, before + chance.randrange(1, 9))
        sandbox.order(None)
        with _sender(sandbox, budget):
            _wait_for_requests(sandbox, len(sandbox.requests) + REQUESTS_MAX + 10)
        arrived = [request.at for request in sandbox.requests]

    window_s = REQUEST_WINDOW_S / SPEED
    later = arrived[REQUESTS_MAX:]
    gaps = [last - first for first, last in zip(arrived, later, strict=False)]
    assert min(gaps) >= window_s, f"{REQUESTS_MAX + 1} requests in {min(gaps) * SPEED:.3f} s"
