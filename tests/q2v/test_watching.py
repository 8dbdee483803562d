"""Options of every command that works: its log, its progress for machines, programs at its end."""

import json
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.secrecy import assert_secret_absent
from tests.harness.running.workbench import API_TOKEN, Workbench, points, workbench

pytestmark = pytest.mark.fault("E05")

STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 .+")
# Keeps its input, and prints something.
PROGRAM = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read()); print('x')"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with workbench(tmp_path_factory.mktemp("running"), points(40)) as made:
        assert made.run("snapshot").exit_code == ExitCode.DONE
        yield made


def program(folder: Path) -> tuple[str, Path]:
    """A command line that keeps its input, and the file in which it does."""
    script, kept = folder / "program.py", folder / "kept"
    script.write_text(PROGRAM)
    return f"{sys.executable} {script} {kept}", kept


def test_the_log_has_every_line_with_its_time_and_no_secret(
    bench: Workbench, tmp_path: Path
) -> None:
    log = tmp_path / "evening.log"
    first = bench.run("status", "--log-file", str(log), as_json=False)
    refused = bench.run("migrate", "--log-file", str(log), "--deadline-s", "1", as_json=False)

    assert (first.exit_code, refused.exit_code) == (ExitCode.DONE, ExitCode.PRECONDITION)
    lines = log.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not STAMPED.fullmatch(line)] == []
    texts = [line.split(" ", 1)[1] for line in lines]
    for shown in (first.stdout, refused.stderr):
        assert set(filter(None, shown.splitlines())) <= set(texts)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert_secret_absent(API_TOKEN, [tmp_path], [])


def test_a_log_that_cannot_be_written_stops_the_command_before_it_begins(
    bench: Workbench, tmp_path: Path
) -> None:
    before = len(bench.sandbox.requests)

    as_folder = bench.run("migrate", "--log-file", str(tmp_path))
    without_folder = bench.run("migrate", "--log-file", str(tmp_path / "none" / "log"))

    assert as_folder.exit_code == ExitCode.USAGE
    assert without_folder.exit_code == ExitCode.USAGE
    assert len(bench.sandbox.requests) == before


@pytest.mark.parametrize(
    ("flag", "words", "code"),
    [
        ("--on-success", ("status",), ExitCode.DONE),
        ("--on-failure", ("migrate", "--deadline-s", "1"), ExitCode.PRECONDITION),
    ],
)
def test_a_program_gets_the_end_on_its_input(
    bench: Workbench, tmp_path: Path, flag: str, words: tuple[str, ...], code: ExitCode
) -> None:
    typed, kept = program(tmp_path)

    result = bench.run(*words, flag, typed)

    assert result.exit_code == code
    assert json.loads(kept.read_text(encoding="utf-8")) == {
        "command": words[0],
        "exit_code": int(code),
        "meaning": code.meaning,
        "folder": str(bench.directory),
    }
    assert len(result.stdout.splitlines()) == 1  # the document alone


@pytest.mark.parametrize(
    ("flag", "words"),
    [("--on-failure", ("status",)), ("--on-success", ("migrate", "--deadline-s", "1"))],
)
def test_the_program_for_the_other_end_is_not_started(
    bench: Workbench, tmp_path: Path, flag: str, words: tuple[str, ...]
) -> None:
    typed, kept = program(tmp_path)

    bench.run(*words, flag, typed)

    assert not kept.exists()


@pytest.mark.parametrize("flag", ["--on-success", "--on-failure"])
def test_a_program_that_does_not_exist_is_refused_before_the_work(
    bench: Workbench, flag: str
) -> None:
    before = len(bench.sandbox.requests)

    result = bench.run("migrate", flag, "no-such-program-q2v")

    assert result.exit_code == ExitCode.USAGE
    assert flag in result.stderr
    assert len(bench.sandbox.requests) == before


def test_a_program_that_fails_changes_nothing_about_the_end(bench: Workbench) -> None:
    result = bench.run("status", "--on-success", "false")

    assert result.exit_code == ExitCode.DONE
    assert "false ended with exit code 1" in result.stderr


def test_for_machines_the_progress_is_one_json_object_a_line(bench: Workbench) -> None:
    result = bench.run("plan", "--progress", "json")

    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert {"start", "end"} <= {one["event"] for one in events}
    assert all(one["at"].endswith("+00:00") for one in events)
    ended = {one["what"]: (one["done"], one["total"]) for one in events if one["event"] == "end"}
    assert ended["checking points"] == (40, 40)
    assert result.document["vectors"] == 40


PRINTS = "import sys; print('one\\ntwo'); print('three \\x1b[31m', file=sys.stderr); sys.exit(4)"


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--no-such-option"),
        ("status", "--log-file", "no-such-folder/log"),
        ("status", "--config", "no-such-file.toml"),
        ("plan", "--dimensions", "many"),
        ("migrate", "--max-delete", "many"),
        ("migrate", "--deadline-s", "1"),
        ("migrate", "no-such-snapshot"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("is_last", [True, False], ids=["last", "first"])
def test_a_command_that_is_refused_starts_the_program_and_tells_machines(
    bench: Workbench, tmp_path: Path, words: tuple[str, ...], is_last: bool
) -> None:
    """Whatever was wrong, and wherever the options stand."""
    typed, kept = program(tmp_path)
    watching = ("--progress=json", "--on-failure", typed)
    name, *others = words

    result = bench.run(name, *((*others, *watching) if is_last else (*watching, *others)))

    assert json.loads(kept.read_text(encoding="utf-8"))["exit_code"] == result.exit_code != 0
    events = [json.loads(line) for line in result.stderr.splitlines()]
    said = [one["text"] for one in events if one["event"] == "say"]
    assert any(text.startswith("q2v: ") for text in said)
    assert any(text.startswith("next: ") for text in said)
    assert "x" in said, "what the program has printed"


def test_the_program_of_an_option_that_a_command_does_not_have_is_not_started(
    bench: Workbench, tmp_path: Path
) -> None:
    typed, kept = program(tmp_path)

    refused = bench.run_as_typed(["explain", "drift", "--on-failure", typed])

    assert refused.exit_code == ExitCode.USAGE
    assert not kept.exists()


def test_for_machines_stderr_holds_events_alone(bench: Workbench, tmp_path: Path) -> None:
    """Also of a library that warns, and a program that prints and fails."""
    script = tmp_path / "prints.py"
    script.write_text(PRINTS)
    code = (
        "import logging, warnings, q2v.__main__ as q, q2v.commands.inspect.status as status\n"
        "shown = status.render\n"
        "def show(*words, **named):\n"
        "    warnings.warn('overflow'); logging.getLogger('library').warning('odd\\nline')\n"
        "    return shown(*words, **named)\n"
        "status.render = show\n"
        "q.run()"
    )
    ended = bench.run_process(
        "status", "--progress", "json", "--on-success", f"{sys.executable} {script}", program=code
    )

    assert ended.exit_code == ExitCode.DONE, ended.stderr
    events = [json.loads(line) for line in ended.stderr.splitlines()]
    texts = [one["text"] for one in events]
    assert {"one", "two", "three \\x1b[31m"} <= set(texts)
    assert any("UserWarning: overflow" in text for text in texts)
    assert any("WARNING library: odd" in text for text in texts)
    assert any("ended with exit code 4" in text for text in texts)
