"""A file that is named for a result replaces nothing but an earlier result of its kind."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.workbench import Workbench, points, workbench

pytestmark = pytest.mark.fault("F30")

CONTENT = b"[source]\ncollection = 'mine'\n"
IRREGULAR = replace(points(30)[29], payload={"chunk_index": 1})  # without the field of its file
WORDS = {
    "plan": ("plan", "--out"),
    "runbook": ("runbook", "--out"),
    "report": ("report", "--out"),
    "log": ("status", "--log-file"),
}
# The process may write no file of more than 100 bytes, as on a disk that becomes full.
# Python would leave the code that it compiles cut off there, for all later processes.
FULL = """
import resource
import sys
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
from q2v.__main__ import run
run()
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with workbench(tmp_path_factory.mktemp("named"), [*points(29), IRREGULAR]) as made:
        moved = made.move()
        assert moved.exit_code == ExitCode.QUARANTINED, moved.stderr
        yield made


def put_file(path: Path) -> None:
    path.write_bytes(CONTENT)


def put_link(path: Path) -> None:
    path.with_name("behind").write_bytes(CONTENT)
    path.symlink_to(path.with_name("behind"))


def put_pipe(path: Path) -> None:
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.mkdir()


def put_device(path: Path) -> None:
    """A link cannot be followed to it, so the device itself is named."""
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("put", [put_file, put_link, put_pipe, put_folder, put_device])
def test_what_is_no_result_of_the_command_is_left_as_it_is(
    bench: Workbench, tmp_path: Path, put: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    named = tmp_path / "named"
    put(named)
    before = (named.lstat().st_mode, named.lstat().st_ino, len(bench.sandbox.requests))

    refused = bench.run(*words, str(named))

    assert refused.exit_code == ExitCode.USAGE, refused.stderr
    assert str(named) in refused.stderr
    after = (named.lstat().st_mode, named.lstat().st_ino, len(bench.sandbox.requests))
    assert after == before, "it is the same file, and nothing was asked before"
    kept = [path for path in tmp_path.iterdir() if path.is_file() and not path.is_symlink()]
    assert all(path.read_bytes() == CONTENT for path in kept)


def test_the_list_of_what_is_left_out_replaces_no_other_file(
    bench: Workbench, tmp_path: Path
) -> None:
    others = tmp_path / "agreed.quarantine.jsonl"
    others.write_bytes(CONTENT)

    refused = bench.run("plan", "--out", str(tmp_path / "agreed.plan"))

    assert refused.exit_code == ExitCode.USAGE
    assert str(others) in refused.stderr
    assert others.read_bytes() == CONTENT
    assert not (tmp_path / "agreed.plan").exists()


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_a_folder_that_does_not_exist_is_noticed_before_the_work(
    bench: Workbench, tmp_path: Path, words: tuple[str, ...]
) -> None:
    before = len(bench.sandbox.requests)

    refused = bench.run(*words, str(tmp_path / "none" / "named"))

    assert refused.exit_code == ExitCode.USAGE, refused.stderr
    assert f"there is no folder {tmp_path / 'none'}" in refused.stderr
    assert len(bench.sandbox.requests) == before


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_an_earlier_result_and_an_empty_file_are_replaced(
    bench: Workbench, tmp_path: Path, words: tuple[str, ...]
) -> None:
    named = tmp_path / "named"
    named.touch()

    first = bench.run(*words, str(named))
    second = bench.run(*words, str(named))

    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert named.stat().st_size


def test_the_list_of_what_is_left_out_is_emptied_when_nothing_is(
    bench: Workbench, tmp_path: Path
) -> None:
    out, left_out = tmp_path / "agreed.plan", tmp_path / "agreed.quarantine.jsonl"
    first = bench.run("plan", "--out", str(out)).document
    assert first["quarantine_file"] == str(left_out)
    assert left_out.read_bytes().count(b"\n") == 1

    bench.collection.points = points(29)
    second = bench.run("plan", "--out", str(out))
    bench.collection.points = [*points(29), IRREGULAR]

    assert second.exit_code == 0, second.stderr
    assert "quarantine_file" not in second.document
    assert left_out.read_bytes() == b""


def test_a_log_on_a_full_disk_ends_with_one_warning_and_the_command_continues(
    bench: Workbench, tmp_path: Path
) -> None:
    log = tmp_path / "evening.log"
    undisturbed = bench.run("status")

    ended = bench.run_process("status", "--log-file", str(log), program=FULL)

    assert ended.exit_code == undisturbed.exit_code, ended.stderr
    assert ended.document["run_id"] == undisturbed.document["run_id"]
    assert ended.stderr.count(f"--log-file {log} ends here") == 1
    assert log.stat().st_size <= 100
