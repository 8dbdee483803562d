"""The screens of the commands around a move, of its typical failures, and of a page of help.

Each world serves both sizes. To accept: as in test_screens.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import pytest

from migrate.errors import ExitCode
from migrate.storage.folder_lock import FolderLock
from q2v.wiring import open_folder
from tests.harness.running.terminal import Terminal
from tests.harness.running.workbench import points, workbench
from tests.q2v.screens.bench import FOLDER, PROGRAM, SIZES, Bench, check_kept, check_width

pytestmark = pytest.mark.slow  # each screen is a process of its own

INDEX, COLLECTION = "Q2V_VECTOR_INDEX", "QDRANT_COLLECTION"
TOKEN = "CLOUDFLARE_API_TOKEN"
# q2v on a clock that does not wait between its attempts.
IMPATIENT = """
from migrate.clock import SystemClock
SystemClock.wait = lambda clock, seconds: None
from q2v.main import main
main()
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A move that was compared and found equal."""
    folder = tmp_path_factory.mktemp("moved")
    with workbench(folder, points(60)) as made:
        made.directory = folder / FOLDER
        assert made.move().exit_code == ExitCode.DONE
        assert made.run("reconcile").exit_code == ExitCode.DONE
        yield Bench(made, folder)


def show(
    bench: Bench,
    name: str,
    *words: str,
    code: ExitCode = ExitCode.DONE,
    act: Callable[[Terminal], None] = lambda _: None,
    after: Callable[[], object] = lambda: None,
    program: Sequence[str] = PROGRAM,
    is_short: bool = False,
) -> None:
    """The command at both sizes, each compared with its kept screen; `after` follows each.

    `is_short`: at the smaller size only, because the other one would show the same.
    """
    differs = []
    for columns, lines in SIZES[:1] if is_short else SIZES:
        ended, terminal = bench.show(*words, columns=columns, lines=lines, act=act, program=program)
        after()
        assert ended == code, terminal.shown()
        check_width(terminal, bench)
        try:
            check_kept(name, terminal, bench)
        except AssertionError as error:  # the other size is to be seen too
            differs.append(str(error))
    assert differs == []


def elsewhere(bench: Bench, folder: Path, **environment: str | None) -> Bench:
    """A bench in another folder, with variables changed or taken away (None)."""
    found = {**bench.workbench.environment, **environment}
    kept = {name: value for name, value in found.items() if value is not None}
    made = replace(bench.workbench, environment=kept, directory=folder / FOLDER)
    return Bench(made, folder)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("verify",), ExitCode.DONE),
        (("report",), ExitCode.DONE),
        (("decommission",), ExitCode.PRECONDITION),
        (("reset-target",), ExitCode.DONE),
        (("verify", "--help"), ExitCode.DONE),
        (("migrate", "--fast"), ExitCode.USAGE),
    ],
)
def test_a_command_that_asks_nothing(bench: Bench, words: tuple[str, ...], code: ExitCode) -> None:
    is_short = len(words) > 1
    name = "-".join(word.strip("-") for word in words)
    show(bench, name, *words, code=code, is_short=is_short)


@pytest.mark.parametrize(
    ("words", "name"),
    [(("runbook", "--out", "RUNBOOK.md"), "runbook"), (("worker", "init", "edge"), "worker")],
)
def test_a_command_that_writes_files(
    bench: Bench, tmp_path: Path, words: tuple[str, ...], name: str
) -> None:
    def clear() -> None:
        rmtree(tmp_path)
        tmp_path.mkdir()

    show(elsewhere(bench, tmp_path), name, *words, after=clear)


def test_a_reset_asks_first_and_enter_writes_nothing(bench: Bench) -> None:
    before = bench.workbench.state()

    def press_enter(terminal: Terminal) -> None:
        terminal.wait_for("anything else writes nothing")
        terminal.press("\r")

    words = ("reset-target", "--execute", "--ask")
    show(bench, "reset-target-enter", *words, code=ExitCode.USAGE, act=press_enter)

    assert bench.workbench.state() == before


def test_init_asks_for_what_is_lacking_and_says_what_comes_next(
    bench: Bench, tmp_path: Path
) -> None:
    lacking = elsewhere(bench, tmp_path, **{INDEX: None, COLLECTION: None})

    def answer(terminal: Terminal) -> None:
        terminal.wait_for("(source.collection)")
        terminal.press("chunks\r")
        terminal.wait_for("(target.vector_index)")
        terminal.press("chunk-vectors\r")

    written = tmp_path / "migration.toml"
    show(lacking, "init", "init", act=answer, after=written.unlink)


def test_status_where_nothing_is_configured(bench: Bench, tmp_path: Path) -> None:
    nothing = dict.fromkeys(bench.workbench.environment)
    show(elsewhere(bench, tmp_path, **nothing), "unconfigured-status", "status")


def test_a_token_that_is_refused(bench: Bench, tmp_path: Path) -> None:
    refused = elsewhere(bench, tmp_path, **{TOKEN: "another-token-" + "0" * 28})
    show(refused, "refused-token", "provision", "--no-preview", code=ExitCode.ACCESS)


def test_a_source_that_does_not_answer(bench: Bench, tmp_path: Path) -> None:
    silent = elsewhere(bench, tmp_path, QDRANT_URL="http://127.0.0.1:1")
    code = ExitCode.UNAVAILABLE
    show(silent, "unavailable", "snapshot", code=code, is_short=True, program=("-c", IMPATIENT))


def test_a_folder_that_another_one_works_in(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 4321)
    monkeypatch.setattr("socket.gethostname", lambda: "window")
    with FolderLock(open_folder(bench.workbench.directory)):
        show(bench, "locked", "snapshot", code=ExitCode.LOCKED, is_short=True)


def test_the_sandbox_says_where_it_listens(bench: Bench, tmp_path: Path) -> None:
    """A line for a program, which may be longer than the terminal."""
    shown: list[str] = []

    def interrupt(terminal: Terminal) -> None:
        terminal.wait_for('00"}')
        shown.extend(terminal.shown())
        terminal.press("\x03")

    here, (columns, lines) = elsewhere(bench, tmp_path), SIZES[0]
    words = ("sandbox", "--state", "state")
    ended, terminal = here.show(*words, columns=columns, lines=lines, act=interrupt)

    assert ended == ExitCode.DONE
    check_kept("sandbox", terminal, here, shown)
