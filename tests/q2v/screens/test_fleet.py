"""The screens of a fleet: its plan, a stop, a move that fails, and how each stands.

To accept: as in test_screens.py. One world for all, as each screen is several processes.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.e2e.fleet.bench import FleetBench, fleet_bench
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.terminal import Terminal, on_terminal
from tests.q2v.screens.bench import SIZES, check_lines, check_width_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[FleetBench]:
    """Two moves, one after the other; the index of the second is too narrow."""
    with fleet_bench(
        tmp_path,
        {"docs": 60, "wiki": 40},
        dimensions=lambda name: 32 if name == "wiki" else DIMENSIONS,
    ) as made:
        made.shared = ["at_once = 1", "pause_s = 0"]
        made.write()
        yield made


def show(
    bench: FleetBench,
    name: str,
    *words: str,
    code: ExitCode,
    act: Callable[[Terminal], None] = lambda _: None,
    size: tuple[int, int] = SIZES[0],
) -> None:
    """The command, compared with its kept screen."""
    columns, lines = size
    with on_terminal(
        "fleet",
        *words,
        environment=bench.environment,
        cwd=bench.folder,
        columns=columns,
        lines=lines,
    ) as terminal:
        act(terminal)
        ended = terminal.end()
    assert ended == code, terminal.shown()
    check_width_in(terminal, bench.folder)
    check_lines(name, terminal.shown(), {str(bench.folder): "FOLDER"}, columns=columns)


def test_a_fleet_from_its_plan_to_the_move_that_has_to_be_looked_into(bench: FleetBench) -> None:
    released = threading.Event()

    def interrupt(terminal: Terminal) -> None:
        terminal.wait_for("docs: snapshot begun")
        assert asked.wait(60)
        terminal.press("\x03")

    asked = threading.Event()

    def hold(_: object) -> None:
        asked.set()
        released.wait(60)

    show(bench, "fleet-plan", "plan", code=ExitCode.PRECONDITION)
    bench.collections["docs"].before_page = hold
    show(bench, "fleet-interrupted", "run", code=ExitCode.INTERRUPTED, act=interrupt)
    released.set()
    bench.collections["docs"].before_page = None
    show(bench, "fleet-run", "run", code=ExitCode.PRECONDITION)
    for size in SIZES:
        show(bench, "fleet-status", "status", code=ExitCode.DONE, size=size)
    show(bench, "fleet-again", "run", "--again", "docs", code=ExitCode.PRECONDITION)
