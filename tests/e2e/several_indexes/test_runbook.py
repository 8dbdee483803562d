"""The runbook of a move over several indexes has each command for each, and sums that add up."""

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.several_indexes.bench import INDEXES, Several, check_moved, several
from tests.harness.running.workbench import points

STORED = points(40, per_file=3)
BLOCK = re.compile(r"<!-- step: ([a-z-]+) exits: [\d ]+ -->\n```sh\n(.+?)\n```")
ROW = re.compile(
    r"^\| (?:`([\w-]+)`|(together)) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", re.MULTILINE
)
ONCE = {"rehearse", "snapshot-moving", "archive"}
LATER = "2036-01-01T00:00+00:00"


def written(both: Several) -> str:
    result = both.bench.run("runbook", "--at", "2035-12-31T20:00+00:00", "--until", LATER)
    assert result.exit_code == 0, result.stderr
    return str(result.document["runbook"])


@pytest.mark.slow
@pytest.mark.fault("M42")
def test_each_index_has_its_row_and_its_command(tmp_path: Path) -> None:
    with several(tmp_path, STORED) as both:
        assert both.bench.run("snapshot").exit_code == 0
        page = written(both)
        one = both.run("runbook", "wiki-1").document["runbook"]
        planned = both.all(
            "plan", next(iter(both.bench.directory.glob("*/manifest.json"))).parent.name
        )

    commands = [(step, shlex.split(command)) for step, command in BLOCK.findall(page)]
    times = Counter(step for step, _ in commands)
    for step, argv in commands:
        assert ("--vector-index" in argv) == (step not in ONCE), step
        assert times[step] == (1 if step in ONCE else len(INDEXES)), step
    named = {
        step: [argv[argv.index("--vector-index") + 1] for one, argv in commands if one == step]
        for step in times
        if step not in ONCE
    }
    assert set(map(tuple, named.values())) == {INDEXES}
    rows = {
        name or "together": [int(one.replace(",", "")) for one in counts]
        for name, sums, *counts in ROW.findall(page)
    }
    assert list(rows) == [*INDEXES, "together"]
    for index, plan in planned.items():
        assert rows[index][0] == plan.document["vectors"]
    assert rows["together"] == [sum(rows[index][at] for index in INDEXES) for at in range(3)]
    assert rows["together"][0] == len(STORED)
    assert "Runbook: chunks to wiki-1\n" in one
    assert "--vector-index wiki-0" not in one


@pytest.mark.search
@pytest.mark.fault("M42")
def test_the_commands_of_the_page_move_every_index_and_bring_it_back(tmp_path: Path) -> None:
    with several(tmp_path, STORED) as both:
        before = both.states()
        page = written(both)
        for step, command in BLOCK.findall(page):
            if step in {"rehearse", "decommission"} or step.startswith("back-"):
                continue
            result = both.bench.run_as_typed([*shlex.split(command)[1:], "--json"])
            assert result.exit_code == 0, (command, result.stderr)
        check_moved(both, STORED)
        for step, command in BLOCK.findall(page):
            if step in {"back-preview", "back-execute"}:
                result = both.bench.run_as_typed([*shlex.split(command)[1:], "--json"])
                assert result.exit_code == 0, (command, result.stderr)
        after = both.states()

    assert after == before
