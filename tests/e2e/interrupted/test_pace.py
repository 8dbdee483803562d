"""`q2v pace` holds a command that runs in another process, and lets it go on."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.workbench import points, workbench
from tests.harness.running.workspace import ending


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.fault("E06", "I9")
def test_commands_in_two_folders_share_the_budget_that_both_name(tmp_path: Path) -> None:
    """Every request that reached the service is in the one file, and an order holds for both."""
    shared = tmp_path / "account"
    with workbench(tmp_path, points(20)) as bench:
        before = len(bench.sandbox.requests)
        for name in ("one", "two"):
            bench.directory = tmp_path / name
            assert bench.run("snapshot").exit_code == ExitCode.DONE
            moved = bench.run("migrate", "--dry-run", "--budget", str(shared), as_json=False)
            assert moved.exit_code == ExitCode.DONE, moved.stderr
            assert f"--budget {shared}" in moved.stdout
        sent = len(bench.sandbox.requests) - before
        bench.run("pace", "--pause", "--budget", str(shared))
        bench.directory = tmp_path / "one"
        bench.environment["Q2V_BUDGET_DIR"] = str(shared)
        paused = bench.run("pace").document

    with closing(sqlite3.connect(shared / "requests")) as rows:
        (counted,) = rows.execute("SELECT count(*) FROM spent WHERE why = 'request'").fetchone()
    assert counted == sent > 0
    assert paused["requests_per_5min"] == 0
    assert not list(tmp_path.glob("[ot]*/.budget/requests"))


@pytest.mark.fault("F13")
def test_two_orders_at_once_are_refused(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5), provision=False) as bench:
        bench.directory.mkdir()
        result = bench.run("pace", "--pause", "--resume")

    assert result.exit_code == ExitCode.USAGE


@pytest.mark.fault("F13")
def test_minutes_without_an_order_are_refused(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5), provision=False) as bench:
        alone = bench.run("pace", "--minutes", "5")
        with_resume = bench.run("pace", "--resume", "--minutes", "5")

    assert (alone.exit_code, with_resume.exit_code) == (ExitCode.USAGE, ExitCode.USAGE)
    assert "--minutes" in alone.stderr


@pytest.mark.fault("E06")
def test_a_folder_in_which_no_command_has_worked_is_said_and_not_made_by_a_question(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(5), provision=False) as bench:
        asked = bench.run("pace", as_json=False)
        assert not bench.directory.exists()
        paused = bench.run("pace", "--pause", as_json=False)
        again = bench.run("pace").document

    for one in (asked, paused):
        assert f"no command has sent a request in {bench.directory} yet" in one.stdout
    assert again["requests_per_5min"] == 0
