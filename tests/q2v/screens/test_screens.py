"""Every command on a terminal of 80 columns and of 120, as a person has read and accepted it.

After a change: `ACCEPT_SCREENS=1 .venv/bin/python -m pytest tests/q2v/screens`, then read the
difference that git shows.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.terminal import Terminal
from tests.harness.running.workbench import points, workbench
from tests.q2v.screens.bench import FOLDER, SIZES, Bench, check_kept, check_width

pytestmark = pytest.mark.slow  # each is a process of its own


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with workbench(tmp_path, points(60)) as made:
        made.directory = tmp_path / FOLDER
        yield Bench(made, tmp_path)


@pytest.mark.parametrize(("columns", "lines"), SIZES)
class TestReading:
    """Commands that ask nothing and end by themselves."""

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (("check",), ExitCode.DONE),
            (("list",), ExitCode.DONE),
            (("status",), ExitCode.DONE),
            (("explain", "kv_missing"), ExitCode.DONE),
            (("pace",), ExitCode.DONE),
            (("migrate",), ExitCode.USAGE),
            (("verify", "nothing"), ExitCode.USAGE),
        ],
        ids=lambda value: value[0] if isinstance(value, tuple) else "",
    )
    def test_before_the_first_snapshot(
        self, bench: Bench, words: tuple[str, ...], code: ExitCode, columns: int, lines: int
    ) -> None:
        ended, terminal = bench.show(*words, columns=columns, lines=lines)

        assert ended == code, terminal.shown()
        check_width(terminal, bench)
        check_kept(f"before-{words[0]}", terminal, bench)

    def test_a_move_from_snapshot_to_list(self, bench: Bench, columns: int, lines: int) -> None:
        for words in (("snapshot",), ("migrate",), ("reconcile",), ("status",), ("list",)):
            ended, terminal = bench.show(*words, columns=columns, lines=lines)

            assert ended == ExitCode.DONE, terminal.shown()
            check_width(terminal, bench)
            check_kept(f"move-{words[0]}", terminal, bench)


@pytest.mark.parametrize(("columns", "lines"), SIZES)
class TestAsking:
    """The question before the first write."""

    @staticmethod
    def answered(bench: Bench, keys: str, columns: int, lines: int) -> tuple[int, Terminal]:
        assert bench.workbench.run("snapshot").exit_code == ExitCode.DONE

        def answer(terminal: Terminal) -> None:
            terminal.wait_for("anything else writes nothing")
            terminal.press(keys)

        return bench.show("migrate", "--ask", columns=columns, lines=lines, act=answer)

    @pytest.mark.parametrize(
        ("keys", "name"), [("\r", "enter"), ("y\r", "yes"), ("\x03", "interrupted")]
    )
    def test_anything_but_the_name_writes_nothing(
        self, bench: Bench, keys: str, name: str, columns: int, lines: int
    ) -> None:
        before = bench.workbench.state()

        ended, terminal = self.answered(bench, keys, columns, lines)

        assert ended in {ExitCode.USAGE, ExitCode.INTERRUPTED}
        assert bench.workbench.state() == before
        check_width(terminal, bench)
        check_kept(f"asked-{name}", terminal, bench)

    def test_the_name_writes(self, bench: Bench, columns: int, lines: int) -> None:
        ended, terminal = self.answered(bench, f"{bench.workbench.index}\r", columns, lines)

        assert ended == ExitCode.DONE
        assert len(bench.workbench.stored()) == 60
        check_width(terminal, bench)


@pytest.mark.parametrize(("columns", "lines"), SIZES)
class TestWaiting:
    """A wait counts down with its reason above it, and Ctrl-C ends it."""

    def test_a_pause_counts_down_and_an_interrupt_says_that_nothing_is_lost(
        self, bench: Bench, columns: int, lines: int
    ) -> None:
        made = bench.workbench
        assert made.run("snapshot").exit_code == ExitCode.DONE
        assert made.run("pace", "--pause", "--minutes", "30").exit_code == ExitCode.DONE

        def interrupt(terminal: Terminal) -> None:
            terminal.wait_for("q2v pace --resume")
            terminal.press("\x03")

        ended, terminal = bench.show("migrate", columns=columns, lines=lines, act=interrupt)

        assert ended == ExitCode.INTERRUPTED
        check_width(terminal, bench)
        check_kept("interrupted-wait", terminal, bench)


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_what_differs_is_shown_by_class_with_the_first_ids(
    bench: Bench, columns: int, lines: int
) -> None:
    made = bench.workbench
    assert made.move().exit_code == ExitCode.DONE
    made.ask_target(f"vectorize/v2/indexes/{made.index}/delete_by_ids", {"ids": ["file-0001_2"]})

    ended, terminal = bench.show("reconcile", columns=columns, lines=lines)

    assert ended == ExitCode.DRIFT
    check_width(terminal, bench)
    check_kept("drift-reconcile", terminal, bench)
