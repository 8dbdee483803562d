"""A pipe, socket, device or folder in the place of a file ends with its name, never in a wait."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from q2v.main import cli
from tests.e2e.older.older_files import older_run, read_target
from tests.harness.running.workbench import points, workbench

pytestmark = [pytest.mark.fault("F22"), pytest.mark.fault("G06")]
RUN_FILES = (
    "journal.jsonl",
    "plan.json",
    "quarantine.jsonl",
    "targets.parquet",
    "pre-images/kv.parquet",
    "reconcile/001/report.json",
    "reconcile/001/missing.ids",
)
SNAPSHOT_FILES = ("manifest.json", "parts/part-00000.parquet")
REFUSED = {ExitCode.USAGE, ExitCode.LOCAL_IO, ExitCode.DAMAGED}


@pytest.mark.parametrize("name", [*RUN_FILES, *SNAPSHOT_FILES])
def test_a_named_pipe_in_place_of_a_file_ends_the_command_before_a_write(
    tmp_path: Path, name: str
) -> None:
    with older_run(tmp_path, "complete-with-drift") as older:
        folder = older.run_folder if name in RUN_FILES else older.run_folder.parents[1]
        path = folder / name
        path.unlink()
        os.mkfifo(path, 0o600)
        before = older.target()

        ended = older.run("migrate")

        assert ended.exit_code in REFUSED, (ended.exit_code, ended.stderr)
        assert older.target() == before
        assert ended.stderr.strip(), "the operator reads why"


def test_a_rollback_reads_no_report_and_says_what_it_undid(tmp_path: Path) -> None:
    with older_run(tmp_path, "complete-and-equal") as older:
        report = max((older.run_folder / "reconcile").iterdir()) / "report.json"
        report.unlink()
        os.mkfifo(report)

        undone = older.run("rollback", "--execute")

        assert undone.exit_code == 0, undone.stderr
        assert undone.document["executed"] is True
        assert read_target("before.json") == older.target()


@pytest.mark.parametrize("option", ["--config", "--force"])
def test_a_named_pipe_as_a_file_of_the_operator_is_refused_by_name(
    tmp_path: Path, option: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with older_run(tmp_path, "complete-and-equal") as older:
        words = {"--config": ["status"], "--force": ["rollback", "--execute"]}[option]

        ended = older.run(*words, option, str(pipe))

        assert ended.exit_code in REFUSED
        assert str(pipe) in ended.stderr


def _folder(path: Path) -> None:
    path.mkdir()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # a socket's address has 107 bytes at most
        server.bind(path.name)


def _device(path: Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero


@pytest.mark.parametrize("make", [os.mkfifo, _folder, _socket, _device])
def test_a_settings_file_of_another_kind_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        make(tmp_path / "migration.toml")
    except PermissionError:
        assert make is _device, "only a device needs rights that a user may lack"
        (tmp_path / "migration.toml").symlink_to("/dev/zero")

    ended = CliRunner().invoke(cli, ["status", "--dir", str(tmp_path / "snapshots")])

    assert ended.exit_code == ExitCode.USAGE
    assert "migration.toml" in ended.stderr


@pytest.mark.parametrize("words", [("init",), ("provision", "--ask"), ("migrate", "--ask")])
def test_a_question_without_any_stdin_is_refused_in_words(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """The caller has closed it: Python then has no stdin at all."""
    closed = "import sys; sys.stdin = None; from q2v.__main__ import run; run()"
    with workbench(tmp_path, points(5)) as bench:
        assert bench.run("snapshot").exit_code == ExitCode.DONE
        named = ("--out", str(tmp_path / "new.toml")) if words == ("init",) else ()
        index = bench.environment["Q2V_VECTOR_INDEX"]
        if words == ("init",):
            del bench.environment["Q2V_VECTOR_INDEX"]
        refused = bench.run_process(*words, *named, program=closed)
        bench.environment["Q2V_VECTOR_INDEX"] = index

    assert refused.exit_code == ExitCode.USAGE, refused.stderr
    assert "internal error" not in refused.stderr
