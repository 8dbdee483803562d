"""What docs/troubleshooting.md quotes is found by `q2v explain`, with the same exit code."""

import json
import re
import sys
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.programs import run_program

ROOT = Path(__file__).parents[2]


def section(title: str) -> str:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_message_is_one_that_ends_a_command_with_this_code() -> None:
    known = json.loads((ROOT / "q2v" / "runbook" / "messages.json").read_text(encoding="utf-8"))
    rows = re.findall(
        r"^\| `([^`]+)` \| (\d+) \|", section("The ten most likely messages"), re.MULTILINE
    )
    found = {
        (words, each["exit_code"])
        for words, _ in rows
        for each in known
        if words in each["message"]
    }

    assert len(rows) == 10
    assert [row for row in rows if (row[0], int(row[1])) not in found] == []


def test_every_exit_code_but_those_of_a_stop_has_its_first_thing_to_do() -> None:
    cells = re.findall(r"^\| ([\d, ]+) \|", section("By exit code"), re.MULTILINE)
    named = [int(code) for cell in cells for code in cell.split(",")]
    not_failures = {0, 130, 143}  # done, and stopped by a signal

    assert sorted(named) == sorted(int(code) for code in ExitCode if code not in not_failures)


@pytest.mark.slow
def test_what_the_page_asks_explain_is_answered() -> None:
    asked = re.findall(r"^q2v explain ([^#\n]+?) *#", section("Ask q2v"), re.MULTILINE)

    assert len(asked) == 3
    for words in asked:
        done = run_program(sys.executable, "-m", "q2v", "explain", words.strip('"'), cwd=ROOT)
        assert done.returncode == 0, done.stderr
