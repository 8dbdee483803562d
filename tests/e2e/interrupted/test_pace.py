"""`q2v pace` holds a command that runs in another process, and lets it go on."""

import json
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.workbench import points, workbench
from tests.harness.running.workspace import ending


@pytest.mark.fault("E06")
def test_a_paused_migrate_sends_nothing_and_finishes_after_the_resume(tmp_path: Path) -> None:
    with workbench(tmp_path, points(60)) as bench:
        assert bench.run("snapshot").exit_code == ExitCode.DONE
        paused = bench.run("pace", "--pause", "--minutes", "30")
        assert paused.document["requests_per_5min"] == 0
        before = len(bench.sandbox.requests)

        with ending(bench.start("migrate", "--progress", "json")) as process:
            assert process.stderr is not None
            said = ""
            while "q2v pace --resume" not in said:  # the process waits
                said = json.loads(process.stderr.readline()).get("text", "")
            sent_meanwhile = len(bench.sandbox.requests) - before
            resumed = bench.run("pace", "--resume")
            stdout, _ = process.communicate()

        assert sent_meanwhile == 0
        assert resumed.document["left_s"] is None
        assert process.returncode == ExitCode.DONE, stdout
        assert len(bench.stored()) == 60


@pytest.mark.fault("F13")
def test_two_orders_at_once_are_refused(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5), provision=False) as bench:
        bench.directory.mkdir()
        result = bench.run("pace", "--pause", "--resume")

    assert result.exit_code == ExitCode.USAGE
