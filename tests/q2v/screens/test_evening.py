"""The screens of a whole evening: one world for each size, and one command after the other in it.

To accept: as in test_screens.py.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.terminal import Terminal
from tests.harness.running.workbench import changed_point, points, workbench
from tests.q2v.screens.bench import ANSI, FOLDER, SIZES, Bench, check_kept, check_width

pytestmark = pytest.mark.slow  # each screen is a process of its own

NEVER = "2099-01-01T00:00+00:00"  # the end of the window


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    settings = {"Q2V_TARGET_METADATA_INDEXES": "file_id:string"}
    with workbench(tmp_path, points(60), provision=False, settings=settings) as made:
        made.directory = tmp_path / FOLDER
        yield Bench(made, tmp_path)


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_an_evening_and_its_way_back(bench: Bench, columns: int, lines: int) -> None:
    made, differs = bench.workbench, []

    def show(name: str, *words: str, code: ExitCode = ExitCode.DONE) -> None:
        ended, terminal = bench.show(*words, columns=columns, lines=lines)
        assert ended == code, terminal.shown()
        check_width(terminal, bench)
        try:
            check_kept(f"evening-{name}", terminal, bench)
        except AssertionError as error:  # the others are to be seen too
            differs.append(str(error))

    def run(*words: str) -> None:
        assert made.run(*words).exit_code == ExitCode.DONE

    show("provision", "provision", "--no-preview")
    made.provision()
    run("snapshot")
    show("plan", "plan")
    show("parity", "parity", "--at", "32")
    run("migrate")
    made.collection.points[3] = changed_point(made.collection.points[3], file_name="other.txt")
    show("catch-up", "catch-up", "--frozen")
    run("reconcile")
    show("gate", "gate", "--until", NEVER, code=ExitCode.DONE)
    show("monitor", "monitor")
    show("rollback-preview", "rollback")
    show("archive", "archive", "--not-final", "--out", "evening.q2v.tar.zst")
    show("rollback", "rollback", "--execute")
    newest = max(made.directory.glob("2*-0*"))
    made.collection.is_writable = True
    del made.collection.points[20:]  # what a restore has to bring back
    show("restore", "restore", f"{FOLDER}/{newest.name}", "--yes")

    assert differs == []


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_an_answer_that_asks_to_wait_is_counted_down(
    tmp_path: Path, columns: int, lines: int
) -> None:
    with workbench(tmp_path, points(60), fault="429:after=24") as made:
        made.directory = tmp_path / FOLDER
        bench = Bench(made, tmp_path)
        assert made.run("snapshot").exit_code == ExitCode.DONE

        counted_down: list[str] = []

        def interrupt(terminal: Terminal) -> None:
            terminal.wait_for("s to go")
            counted_down.extend(terminal.shown())
            terminal.press("\x03")

        ended, terminal = bench.show("migrate", columns=columns, lines=lines, act=interrupt)

        assert ended == ExitCode.INTERRUPTED, terminal.shown()
        check_width(terminal, bench)
        check_kept("retry", terminal, bench, counted_down)


def test_the_gate_on_a_pipe_has_no_line_beyond_80_columns(bench: Bench) -> None:
    made = bench.workbench
    made.provision()
    assert made.move().exit_code == ExitCode.DONE
    assert made.run("reconcile").exit_code == ExitCode.DONE

    shown = made.run("gate", "--until", NEVER, as_json=False).stdout

    long = [line for line in shown.splitlines() if len(line) > 80]
    place = str(made.directory)
    assert [line for line in long if place not in line and "next: " not in line] == []
    assert json.loads(made.run("gate", "--until", NEVER).stdout)["verdict"] == "go"
    assert not ANSI.search(shown)
