"""`make X` does what `q2v X` does, and says the exit code that make itself cannot give."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from q2v.exit_code import explain_exit_code
from q2v.main import cli
from tests.harness.running.programs import run_program

ROOT = Path(__file__).parents[2]
OTHER_TARGETS = {"check": "preflight"}  # `make check` is all that CI asks for


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make with the programs of a folder in the place of those in .venv/bin."""
    return run_program(
        *("make", "--no-print-directory", "-o", ".venv/.installed", f"BIN={folder}", *words),
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
    )


def programs(folder: Path, script: str) -> Path:
    """A folder with this `q2v`, and the Python that runs the tests."""
    folder.mkdir()
    (folder / "python").symlink_to(sys.executable)
    program = folder / "q2v"
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    return folder


@pytest.mark.fault("F15")
@pytest.mark.parametrize("code", [each for each in ExitCode if each] + [137])
def test_make_says_the_exit_code_in_words(code: int, tmp_path: Path) -> None:
    done = make(programs(tmp_path / "bin", f"exit {int(code)}"), "reconcile")

    assert done.returncode == 2, "as make ends for any failure"
    assert explain_exit_code(code) in done.stderr
    assert f"exit code {int(code)}: " in done.stderr


@pytest.mark.fault("F15")
@pytest.mark.parametrize("command", list(cli.table))
def test_a_target_passes_its_arguments_on_and_is_quiet_on_success(
    command: str, tmp_path: Path
) -> None:
    target = OTHER_TARGETS.get(command, command)
    done = make(programs(tmp_path / "bin", 'printf "%s|" "$@"'), target, "ARGS=--dir 'a b' --json")

    said = [line for line in done.stderr.splitlines() if not line.startswith("make: Warning")]
    assert (done.returncode, said) == (0, []), "a clock that jumped is make's own business"
    assert done.stdout == f"{command}|--dir|a b|--json|"


@pytest.mark.fault("F15")
def test_the_runbook_says_which_exit_code_make_gives() -> None:
    text = (ROOT / "RUNBOOK.md").read_text(encoding="utf-8")

    assert re.search(r"every\s+failure of `make X` is exit 2", text)
    assert '`make X ARGS="..."` and `.venv/bin/q2v X ...` are the same' not in text


@pytest.mark.fault("F15")
def test_without_a_browser_make_says_what_to_install(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "make", "mkdir", "id"):  # and neither a Chromium nor apt-get
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)

    done = run_program(
        *("make", "--no-print-directory", "-o", ".venv/.installed"),
        *("-o", "worker/node_modules/.installed", "browser-test"),
        cwd=ROOT,
        env={"PATH": str(tools), "MAKEFLAGS": ""},
    )

    assert done.returncode == 2
    assert "put a Chromium into PATH" in done.stdout
    assert "passed" not in done.stdout
