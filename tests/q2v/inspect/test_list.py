"""`q2v list`: everything below --dir, whole or not, with what is known of it."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import ExitCode
from migrate.storage.folder_lock import FolderLock, process_at_work
from migrate.storage.local_folder import LocalFolder
from tests.harness.running.workbench import Workbench, points, workbench

pytestmark = pytest.mark.fault("E03")


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A move, compared twice, with a catch-up on top."""
    with workbench(tmp_path_factory.mktemp("list"), points(60)) as bench:
        assert bench.move().exit_code == ExitCode.DONE
        bench.ask_target(
            f"vectorize/v2/indexes/{bench.index}/delete_by_ids", {"ids": ["file-0001_2"]}
        )
        assert bench.run("reconcile").exit_code == ExitCode.DRIFT
        assert bench.run("migrate").exit_code == ExitCode.DONE
        assert bench.run("reconcile").exit_code == ExitCode.DONE
        bench.collection.points.pop()
        assert bench.run("catch-up", "--frozen").exit_code == ExitCode.DONE
        yield bench


@pytest.mark.fault("G08")
def test_a_q2v_that_works_in_the_folder_is_named_and_waited_for(tmp_path: Path) -> None:
    me = f"pid {os.getpid()} on {socket.gethostname()}"
    with workbench(tmp_path, points(5)) as bench:
        with FolderLock(LocalFolder(bench.directory)):
            begun = [bench.run(name, as_json=False) for name in ("status", "list")]
        assert bench.move().exit_code == ExitCode.DONE
        with FolderLock(LocalFolder(bench.directory)):
            moved = [bench.run(name, as_json=False) for name in ("status", "list")]
            document = bench.run("status").document
            assert bench.run("list").document["at_work"] == me
        free = [bench.run(name, as_json=False) for name in ("status", "list")]
        after = bench.run("status").document

    for result in (*begun, *moved):
        assert result.exit_code == ExitCode.DONE
        assert f"another q2v works here: {me}" in result.stdout
    for result in (*begun, moved[0]):
        assert "next: wait until it has ended; then `q2v status" in result.stdout
    for result in free:
        assert "works here" not in result.stdout
    assert (document["at_work"], document["next_argv"]) == (me, None)
    assert "at_work" not in after
    assert after["next_argv"]


def test_a_lock_of_one_of_several_indexes_counts_for_that_index(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "snapshots")
    assert process_at_work(folder) is None
    assert not folder.path.exists(), "it makes nothing"
    with FolderLock(folder, "one"):
        assert process_at_work(folder) == process_at_work(folder, "one") is not None
        assert process_at_work(folder, "two") is None
    assert process_at_work(folder) is None
    with FolderLock(folder):
        assert process_at_work(folder, "two") is not None


def listed(bench: Workbench) -> list[dict[str, Any]]:
    result = bench.run("list")
    assert result.exit_code == ExitCode.DONE, result.stderr
    snapshots: list[dict[str, Any]] = result.document["snapshots"]
    return snapshots


def test_a_folder_that_is_empty_or_missing_says_so_and_names_the_first_command(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(5), provision=False) as bench:
        missing = bench.run("list", as_json=False)
        status = bench.run("status", as_json=False)
        assert not bench.directory.exists()
        bench.directory.mkdir()
        empty = bench.run("list", as_json=False)

    for result in (missing, empty):
        assert f"no snapshot in {bench.directory}" in result.stdout
        assert f"q2v snapshot --dir {bench.directory}" in result.stdout
    assert "folder does not exist" in " ".join(missing.stdout.split())
    assert "folder does not exist" in " ".join(status.stdout.split())
    assert "does not exist" not in empty.stdout


@pytest.mark.slow
def test_snapshots_runs_and_reconciles_stand_below_each_other(moved: Workbench) -> None:
    first, second = listed(moved)

    assert (first["state"], first["points"], first["collection"]) == ("sealed", 60, "chunks")
    assert first["bytes"] == sum(
        path.stat().st_size for path in Path(first["path"]).glob("parts/*.parquet")
    )
    (run,) = first["runs"]
    assert (run["phase"], run["vectors"], run["index"]) == ("completed", 60, moved.index)
    assert [(one["verdict"], one["drift"]) for one in run["reconciles"]] == [
        ("drift", {"missing": 1}),
        ("equal", {}),
    ]
    assert second["parent"] == Path(first["path"]).name
    assert [one["vectors"] for one in second["runs"]] == [59]


def test_for_people_each_has_its_line(moved: Workbench) -> None:
    text = moved.run("list", as_json=False).stdout

    for words in ("60 points", "drift", "missing 1", "equal", "difference to", "2 snapshots in"):
        assert words in text
    assert [line for line in text.splitlines() if len(line) > 80 and "/" not in line] == []


def test_a_snapshot_that_was_begun_is_listed_as_that(tmp_path: Path) -> None:
    with workbench(tmp_path, points(60), provision=False) as bench:
        assert bench.run("snapshot").exit_code == ExitCode.DONE
        next(bench.directory.glob("*/manifest.json")).unlink()

        assert [one["state"] for one in listed(bench)] == ["begun"]


@pytest.mark.parametrize(
    ("damaged", "says"),
    [
        ("manifest.json", "state"),
        ("runs/*/plan.json", "phase"),
        ("runs/*/reconcile/001/report.json", "verdict"),
    ],
)
def test_what_is_damaged_says_so_in_its_place_and_hides_nothing_else(
    moved: Workbench, damaged: str, says: str
) -> None:
    """The newest snapshot that has such a file: of a chain, the later ones need the earlier."""
    file = max(moved.directory.glob(f"*/{damaged}"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    try:
        snapshots = listed(moved)
    finally:
        file.write_bytes(content)

    runs = [run for snapshot in snapshots for run in snapshot["runs"]]
    places = [*snapshots, *runs, *(one for run in runs for one in run["reconciles"])]
    (place,) = [one for one in places if str(one.get(says, "")).startswith("cannot be read")]
    assert file.name in place[says]
    assert [one["state"] for one in snapshots if one is not place] == ["sealed"] * (
        len(snapshots) - (place in snapshots)
    )
