"""What a shell completes, and the short form of help."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from q2v.commands import COMMANDS
from q2v.main import cli


def completions(*words: str) -> list[str]:
    """What the shell offers for the last word, without the kind of each entry."""
    environment = {
        "_Q2V_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["q2v", *words]),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(cli, [], env=environment, prog_name="q2v")
    assert result.exit_code == 0, result.output
    return [line.partition(",")[2] for line in result.stdout.split()]


@pytest.mark.parametrize(
    ("shell", "line"),
    [("bash", "complete -o nosort -F"), ("zsh", "#compdef q2v"), ("fish", "complete --no-files")],
)
def test_each_shell_gets_its_script(shell: str, line: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from q2v.__main__ import run; run()"],
        env={**os.environ, "_Q2V_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert line in done.stdout
    assert f"_Q2V_COMPLETE={shell}_complete" in done.stdout


def test_commands_are_completed() -> None:
    assert list(COMMANDS) == completions("")
    assert completions("re") == ["reconcile", "report", "restore", "reset-target", "rehearse"]


def test_the_flags_that_a_command_takes_are_completed_and_no_others() -> None:
    assert completions("plan", "--so") == ["--source-url", "--source-path"]
    assert completions("status", "--so") == []
    assert "--show-settings" in completions("plan", "--")


def test_the_words_of_a_setting_are_completed() -> None:
    assert completions("snapshot", "--transport", "g") == ["grpc"]
    assert completions("plan", "--reduce", "") == ["none", "matryoshka"]


@pytest.mark.parametrize("command", COMMANDS)
def test_h_is_help(command: str) -> None:
    runner = CliRunner()

    short, long = runner.invoke(cli, [command, "-h"]), runner.invoke(cli, [command, "--help"])

    assert short.exit_code == ExitCode.DONE
    assert long.output == short.output
    assert "-h, --help" in short.output
