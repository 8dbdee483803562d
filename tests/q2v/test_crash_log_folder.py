"""A crash log lies in the folder that the command works in, whatever the command calls it."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from q2v import commands
from q2v.main import cli
from tests.harness.running.programs import output_of_python

# All that work in a folder.
COMMANDS = [name for name in commands.COMMANDS if name != "explain"]
# The options of each command are parsed; where its work would begin, there is a bug. Each has a
# folder of its own to work in, and its words in the settings that are the second argument.
SCRIPT = """
import contextlib, json, os, sys
import click
from q2v.main import cli, main

def bug(*args, **kwargs):
    raise RuntimeError("a bug")

codes = {}
for name, words in json.loads(sys.argv[1]).items():
    command = type(cli).get_command(cli, click.Context(cli), name)
    command.callback = bug
    cli.get_command = lambda context, name, command=command: command
    os.chdir(name)
    sys.argv = ["q2v", name, *words]
    with open(f"../{name}.stderr", "w") as file, contextlib.redirect_stderr(file):
        try:
            main()
        except SystemExit as end:
            codes[name] = end.code
    os.chdir("..")
print(json.dumps(codes))
"""
FOLDER = "the folder"


def words_of(command: str, folder: Path) -> list[str]:
    """Arguments that the command can parse."""
    flag = "--state" if command == "sandbox" else "--dir"
    named = {"restore": ["a snapshot"], "worker": ["init", "a project"], "fleet": ["run"]}.get(
        command, []
    )
    return [*named, flag, str(folder)]


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """The folder in which every command has crashed, one process for all; their exit codes."""
    within = tmp_path_factory.mktemp("crashed")
    for command in COMMANDS:
        (within / command).mkdir()
    given = json.dumps(
        {command: words_of(command, within / command / FOLDER) for command in COMMANDS}
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    told = output_of_python("-c", SCRIPT, given, cwd=within, env=environment)
    return within, json.loads(told)


@pytest.mark.fault("F15")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_crash_log_lies_in_the_commands_folder(
    command: str, crashed: tuple[Path, dict[str, int]]
) -> None:
    within, codes = crashed
    folder = within / command / FOLDER
    stderr = (within / f"{command}.stderr").read_text(encoding="utf-8")

    assert codes[command] == ExitCode.INTERNAL, stderr
    assert [folder / "q2v-crash-1.log"] == list(folder.iterdir())
    assert [folder] == list((within / command).iterdir()), "nothing is written elsewhere"
    assert str(folder / "q2v-crash-1.log") in stderr


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
