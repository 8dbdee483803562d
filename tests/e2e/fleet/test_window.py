"""Ten moves under a budget that all of them together exceed, on a clock that runs faster."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.clock import SystemClock
from migrate.errors import ExitCode
from migrate.model.limits import REQUEST_WINDOW_S
from q2v.main import cli
from tests.e2e.fleet.bench import FleetBench, fleet_bench

RATE = 60  # seconds of every process of q2v in one of this machine
REQUESTS_MAX, POINTS = 20, 20  # two requests of each move in five minutes
MOVES = [f"move-{number}" for number in range(10)]
# Python imports this module at the start of every process that has its folder on its path.
FASTER = """
import time
from migrate.clock import SystemClock
wait = SystemClock.wait
SystemClock.wall_s = lambda clock: {wall_s} + (time.time() - {wall_s}) * {rate}
SystemClock.monotonic_s = lambda clock: {monotonic_s} + (time.monotonic() - {monotonic_s}) * {rate}
SystemClock.wait = lambda clock, seconds: wait(clock, seconds / {rate})
"""


def make_faster(bench: FleetBench) -> None:
    folder = bench.folder / "faster"
    folder.mkdir()
    now = SystemClock()
    text = FASTER.format(wall_s=now.wall_s(), monotonic_s=now.monotonic_s(), rate=RATE)
    (folder / "sitecustomize.py").write_text(text)
    bench.environment |= {
        "PYTHONPATH": str(folder),
        "Q2V_LIMITS_POLL_S": "5",
        "Q2V_LIMITS_KV_SETTLE_S": "5",
    }


def make_namespace(bench: FleetBench, name: str) -> str:
    """A KV namespace of its own for a move, so that its requests can be told from others."""
    made: str = bench.ask("storage/kv/namespaces", {"title": name})["result"]["id"]
    file = bench.folder / f"{name}.toml"
    file.write_text(file.read_text().replace(bench.namespace_id, made))
    return made


def take_snapshots(bench: FleetBench) -> None:
    """In this process: a snapshot sends nothing to the account."""
    for name in bench.collections:
        place = ["--config", str(bench.folder / f"{name}.toml")]
        place += ["--dir", str(bench.directory / name)]
        taken = CliRunner().invoke(cli, ["snapshot", *place], env=bench.environment)
        assert taken.exit_code == 0, taken.output


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("E07", "I9")
def test_ten_moves_never_exceed_the_window_and_none_starves(tmp_path: Path) -> None:
    with fleet_bench(tmp_path, dict.fromkeys(MOVES, POINTS)) as bench:
        bench.shared = [
            f"at_once = {len(MOVES)}",
            'steps = ["migrate"]',
            "[[budget]]",
            f'account_id = "{bench.sandbox.account_id}"',
            f"requests_per_5min = {REQUESTS_MAX}",
        ]
        bench.write()
        namespaces = {name: make_namespace(bench, name) for name in MOVES}
        take_snapshots(bench)
        make_faster(bench)
        before = len(bench.sandbox.requests)

        ended = bench.run("run")

        sent = sorted(bench.sandbox.requests[before:], key=lambda request: request.at)
        moved = {name: bench.vectors(name) for name in MOVES}
        logs = [log.read_text() for log in bench.directory.glob("logs/*/*.log")]

    assert ended.exit_code == ExitCode.DONE, ended.stdout
    assert moved == dict.fromkeys(MOVES, POINTS)
    # On a busy machine the faster clock may end an attempt before the sandbox has all of it.
    unheard = sum(log.count(" failed: ") for log in logs)
    assert len(sent) <= ended.document["sums"]["requests"] <= len(sent) + unheard

    assert len(sent) > 3 * REQUESTS_MAX, "the window has to bind"
    assert any("sent in the last 300 s" in log for log in logs)
    for first, last in zip(sent, sent[REQUESTS_MAX:], strict=False):
        assert last.at - first.at >= REQUEST_WINDOW_S / RATE

    check_turns([name for one in sent for name in MOVES if is_of(one.path, name, namespaces[name])])


def is_of(path: str, name: str, namespace: str) -> bool:
    """Whether a request is that of a move: to its index, or to its namespace."""
    return not {f"{name}-index", namespace}.isdisjoint(path.split("/"))


def check_turns(by: list[str]) -> None:
    """Of all requests, by move: while a move works it is among those of each three windows.

    One that wakes late, on a busy machine, is passed over, and is the first in the next window.
    The turns themselves are tested on a simulated clock: tests/migrate/cloudflare/budget.
    """
    checked, many = 0, 3 * REQUESTS_MAX
    for at in range(REQUESTS_MAX, len(by) - many):
        block = by[at : at + many]
        works = set(by[:at]) & set(by[at + many :])
        assert works <= set(block), f"no turn in {block}"
        checked += len(works)
    assert checked > len(by), "several work at the same time"
