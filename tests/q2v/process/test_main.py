"""Ends of a command: which code, which words, on which stream."""

import errno
import importlib.util
import json
import re
import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from typing_extensions import override

from migrate import errors
from migrate.errors import ExitCode, MigrationError, UnreadablePointError
from q2v import options
from q2v.commands import COMMANDS, LazyCommand
from q2v.invocation import current_invocation
from q2v.main import LazyGroup, cli
from q2v.output.logs import PROCESS_MASKER
from q2v.output.render import render

CLASSES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MigrationError)
]


def build(kind: type[MigrationError], what: str) -> MigrationError:
    """An error of the class."""
    if issubclass(kind, UnreadablePointError):
        return kind(what, remedy="do this", point_id="7", point_id_type="int")
    return kind(what, remedy="do this")


def group_of(body: Callable[[], object]) -> LazyGroup:
    """q2v with one throw-away command, loaded as the real ones are."""

    @click.command()
    @options.folder_option
    @options.json_option
    @options.yes_option
    def command(*, folder: Path, as_json: bool, yes: bool) -> None:
        """Do what the test says."""
        body()

    class OneCommand(LazyGroup):
        """Its command is at hand; nothing is imported."""

        @override
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return command if cmd_name == "try" else None

    return OneCommand(name="q2v", table={"try": LazyCommand("none:none", "Try it.")})


def run(tmp_path: Path, body: Callable[[], object], *words: str, answer: str = "") -> Result:
    """Run the throw-away command."""
    arguments = ["try", "--dir", str(tmp_path / "snapshots"), *words]
    return CliRunner().invoke(group_of(body), arguments, input=answer)


def raise_it(error: BaseException) -> Callable[[], object]:
    """A body that ends with this error."""

    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_error_class_ends_with_its_code_and_two_lines(
    tmp_path: Path, kind: type[MigrationError]
) -> None:
    result = run(tmp_path, raise_it(build(kind, "part 3: it\nbroke\x1b[2J")))

    assert result.exit_code == kind.exit_code
    assert result.stderr == "q2v: part 3: it\\nbroke\\x1b[2J\nnext: do this\n"
    assert result.stdout == ""


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_with_json_the_error_is_also_the_one_document(
    tmp_path: Path, kind: type[MigrationError]
) -> None:
    result = run(tmp_path, raise_it(build(kind, "it broke")), "--json")

    expected = {"exit_code": int(kind.exit_code), "what": "it broke", "next": "do this"}
    assert json.loads(result.stdout) == {"error": expected}
    assert result.stderr == "q2v: it broke\nnext: do this\n"


@pytest.mark.parametrize("resumes", [True, False])
@pytest.mark.parametrize(
    ("said", "alone"),
    [
        ("run the same command again: it resumes", "run the same command again"),
        ("wait: it resumes where this one ended; or stop `q2v a: b`", "wait; or stop `q2v a: b`"),
        ("do this", "do this"),
    ],
)
def test_only_a_command_that_resumes_says_that_it_does(
    tmp_path: Path, said: str, alone: str, *, resumes: bool
) -> None:
    group = group_of(raise_it(errors.RemoteUnavailableError("it broke", remedy=said)))
    group.table["try"] = replace(group.table["try"], resumes=resumes)
    words = ["try", "--dir", str(tmp_path / "snapshots")]

    result = CliRunner().invoke(group, words)

    assert result.stderr == f"q2v: it broke\nnext: {said if resumes else alone}\n"


def test_commands_that_keep_nothing_of_a_failed_try_do_not_resume() -> None:
    begins_again = {name for name, command in COMMANDS.items() if not command.resumes}

    assert {"init", "check", "plan", "status"} <= begins_again
    assert not begins_again & {"snapshot", "catch-up", "migrate", "reconcile", "rollback", "fleet"}


def test_a_failure_says_how_many_requests_were_sent(tmp_path: Path) -> None:
    def body() -> None:
        current_invocation().sent.extend([lambda: 3, lambda: 4])
        raise errors.LocalStorageError("disk full", remedy="free space")

    assert json.loads(run(tmp_path, body, "--json").stdout)["requests"] == 7


def test_a_document_that_is_out_already_stays_the_only_one(tmp_path: Path) -> None:
    def body() -> None:
        render({"verdict": "drift"}, [], as_json=True)
        raise errors.LocalStorageError("disk full", remedy="free space")

    result = run(tmp_path, body, "--json")

    assert json.loads(result.stdout) == {"verdict": "drift"}
    assert result.exit_code == ExitCode.LOCAL_IO


@pytest.mark.parametrize("code", [0, 3, 4, 13])
def test_a_command_chooses_its_code_by_its_report(tmp_path: Path, code: int) -> None:
    result = run(tmp_path, lambda: click.get_current_context().exit(code))

    assert result.exit_code == code
    assert result.output == ""


@pytest.mark.fault("G04", "G05", "G06")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_an_error_of_the_operating_system_is_local_io(tmp_path: Path, number: int) -> None:
    result = run(tmp_path, raise_it(OSError(number, "the system says so", "some/file")))

    assert result.exit_code == ExitCode.LOCAL_IO
    assert "some/file the system says so" in result.stderr
    assert re.search(r"^next: .+", result.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (click.UsageError("no"), ExitCode.USAGE),
        (click.BadParameter("no"), ExitCode.USAGE),
        (click.FileError("some", "no"), ExitCode.USAGE),
        (MemoryError(), ExitCode.LOCAL_IO),
        (AssertionError(), ExitCode.INTERNAL),
        (SystemExit(3), ExitCode.INTERNAL),
        (ExceptionGroup("two", [ValueError()]), ExitCode.INTERNAL),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_other_end_has_a_code_of_its_own(
    tmp_path: Path, error: BaseException, code: ExitCode
) -> None:
    """A library that calls `sys.exit(3)` must not look like a quarantine."""
    result = run(tmp_path, raise_it(error))

    assert result.exit_code == code
    assert len(result.stderr.splitlines()) == 2


def test_an_unanswered_question_is_no_yes(tmp_path: Path) -> None:
    result = run(tmp_path, lambda: click.confirm("Really?", abort=True))

    assert result.exit_code == ExitCode.USAGE
    assert "pass --yes" in result.stderr


@pytest.mark.fault("X02", "X03")
def test_a_bug_leaves_a_masked_traceback_in_a_private_file(tmp_path: Path) -> None:
    secret = "hunter2-main"
    PROCESS_MASKER.register(secret)

    def body() -> None:
        local = secret
        raise ZeroDivisionError("-".join(["bug", local]))

    first, second = run(tmp_path, body), run(tmp_path, body, "--json")

    logs = [tmp_path / "snapshots" / f"q2v-crash-{counter}.log" for counter in (1, 2)]
    for result, log in zip((first, second), logs, strict=True):
        assert result.exit_code == ExitCode.INTERNAL
        assert str(log) in result.stderr
        assert secret not in result.output
        text = log.read_text()
        assert "ZeroDivisionError: bug-***" in text
        assert "in body" in text
        assert secret not in text
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_where_no_file_can_be_written_the_traceback_goes_to_stderr() -> None:
    group = group_of(raise_it(ZeroDivisionError("bug\x1b[2J")))

    result = CliRunner().invoke(group, ["try", "--dir", "/proc/no-folder-here", "--json"])

    assert result.exit_code == ExitCode.INTERNAL
    assert "ZeroDivisionError: bug\\x1b[2J\n" in result.stderr
    assert json.loads(result.stdout)["error"]["exit_code"] == 1


@pytest.mark.fault("X03")
def test_a_link_in_the_place_of_a_crash_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "q2v-crash-1.log").symlink_to(tmp_path / "elsewhere")

    result = run(tmp_path, raise_it(ZeroDivisionError()))

    assert "q2v-crash-2.log" in result.stderr
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        (["no-such"], "No such command 'no-such'"),
        (["snapsot"], "Did you mean 'snapshot'?"),
        (["--no-such"], "No such option"),
        (["--json"], "No such option"),
    ],
)
def test_wrong_words_are_usage_errors(words: list[str], finding: str) -> None:
    result = CliRunner().invoke(cli, words)

    assert result.exit_code == ExitCode.USAGE
    assert finding in result.stderr
    assert "next: see q2v --help" in result.stderr


def test_an_option_of_a_command_before_its_name_is_shown_its_place() -> None:
    before = CliRunner().invoke(cli, ["--config", "F", "status"])
    after = CliRunner().invoke(cli, ["status", "--no-such"])

    assert "stands after its name: q2v COMMAND --config\n" in before.stderr
    assert after.stderr.endswith("next: see q2v status --help\n")


@pytest.mark.parametrize(
    ("command", "choice"),
    [("worker", "init, remove-steps"), ("fleet", "plan, run, status")],
)
def test_the_words_of_an_argument_that_is_missing_are_one_line(command: str, choice: str) -> None:
    result = CliRunner().invoke(cli, [command])

    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.splitlines()[0].endswith(f"Choose from: {choice}")
    assert "\\" not in result.stderr


def test_a_port_that_is_taken_is_named_with_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        words = ["sandbox", "--port", str(port), "--state", str(tmp_path / "state")]
        result = CliRunner().invoke(cli, words)

    assert result.exit_code == ExitCode.USAGE
    first, second = result.stderr.splitlines()
    assert first == f"q2v: port {port} of 127.0.0.1 cannot be opened: Address already in use"
    assert second == (
        "next: name another with --port (0 takes a free one), or end the program that listens there"
    )


def test_wrong_words_with_json_give_the_document_too(tmp_path: Path) -> None:
    result = run(tmp_path, lambda: None, "--json", "--no-such")

    assert result.exit_code == ExitCode.USAGE
    assert "No such option" in json.loads(result.stdout)["error"]["what"]


def test_json_after_the_end_of_options_is_an_argument(tmp_path: Path) -> None:
    result = run(tmp_path, lambda: None, "--", "--json")

    assert result.exit_code == ExitCode.USAGE
    assert result.stdout == ""


def test_without_a_command_the_help_is_shown_and_nothing_has_succeeded() -> None:
    result = CliRunner().invoke(cli, [])

    assert result.exit_code == ExitCode.USAGE
    assert "Commands:" in result.stderr


def test_help_lists_every_command_and_the_table_agrees_with_it() -> None:
    result = CliRunner().invoke(cli, ["--help"])

    assert result.exit_code == ExitCode.DONE
    context = click.Context(cli)
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.summary)}$", result.stdout, re.MULTILINE)
        if importlib.util.find_spec(entry.place.partition(":")[0]) is not None:
            command = cli.get_command(context, name)
            assert isinstance(command, click.Command)
