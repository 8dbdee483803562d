"""A crash log lies in the folder that the command works in, whatever the command calls it."""

import os
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from q2v.commands import COMMANDS
from q2v.main import cli
from tests.harness.running.programs import run_python

# The command's own options are parsed; where its work would begin, there is a bug.
SCRIPT = """
    import sys, click
    from q2v.main import cli, main
    command = cli.get_command(click.Context(cli), sys.argv[1])

    def bug(*args, **kwargs):
        raise RuntimeError("a bug")

    command.callback = bug
    cli.get_command = lambda context, name: command
    main()
"""


@pytest.mark.slow
@pytest.mark.fault("F15")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_crash_log_lies_in_the_commands_folder(command: str, tmp_path: Path) -> None:
    folder = tmp_path / "the folder"
    flag = "--state" if command == "sandbox" else "--dir"
    named = ["a snapshot"] if command == "restore" else []
    done = run_python(
        *("-c", textwrap.dedent(SCRIPT), command, *named, flag, str(folder)),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert done.returncode == ExitCode.INTERNAL, done.stderr
    assert [folder / "q2v-crash-1.log"] == list(folder.iterdir())
    assert [folder] == list(tmp_path.iterdir()), "nothing is written elsewhere"
    assert str(folder / "q2v-crash-1.log") in done.stderr


@pytest.mark.fault("F15")
def test_a_crash_log_alone_does_not_keep_a_rehearsal_out_of_its_folder(tmp_path: Path) -> None:
    """Something of the operator's does, and is still there afterwards."""
    folder = tmp_path / "rehearsal"
    folder.mkdir()
    (folder / "q2v-crash-1.log").write_text("of a former one")
    words = ["rehearse", "--live", "--dir", str(folder)]

    unconfigured = CliRunner().invoke(cli, words)
    assert "source.collection" in unconfigured.stderr + unconfigured.stdout
    assert "holds something other than a rehearsal" not in unconfigured.stderr

    other = tmp_path / "other"
    other.mkdir()
    (other / "q2v-crash-1.log").write_text("of a former one")
    (other / "thesis.txt").write_text("mine")
    refused = CliRunner().invoke(cli, ["rehearse", "--live", "--dir", str(other)])
    assert "holds something other than a rehearsal" in refused.stderr
    assert (other / "thesis.txt").read_text() == "mine"
