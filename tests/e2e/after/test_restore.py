"""`q2v restore`: the backup of the plan, as an operator types it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.workbench import Workbench, points, workbench

POINTS = 60


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[tuple[Workbench, str]]:
    """A collection that has a snapshot and was deleted, and the snapshot's id."""
    with workbench(tmp_path, points(POINTS), provision=False) as bench:
        taken = bench.run("snapshot")
        assert taken.exit_code == 0, taken.stderr
        bench.collection.is_missing = bench.collection.is_writable = True
        bench.collection.points = []
        yield bench, taken.document["snapshot_id"]


@pytest.mark.slow
@pytest.mark.fault("Y01")
def test_a_deleted_collection_comes_back(lost: tuple[Workbench, str]) -> None:
    bench, snapshot_id = lost

    planned = bench.run("restore", snapshot_id, "--dry-run")
    written = bench.collection.writes.copy()
    report = bench.run("restore", snapshot_id, "--yes")
    again = bench.run("restore", snapshot_id, "--yes")
    sealed = bench.run("verify", snapshot_id)
    fresh = bench.run("snapshot")

    assert (planned.exit_code, planned.document["unequal"], written) == (0, POINTS, [])
    assert report.exit_code == 0, report.stderr
    assert report.document["equal"] is True
    assert (report.document["written"], report.document["created"]) == (POINTS, True)
    assert (again.document["written"], again.document["already_there"]) == (0, POINTS)
    assert fresh.document["set_digest"] == sealed.document["set_digest"]


def test_it_asks_before_it_writes(lost: tuple[Workbench, str]) -> None:
    bench, snapshot_id = lost

    report = bench.run("restore", snapshot_id)

    assert report.exit_code == ExitCode.USAGE
    assert "writes 60 points into the new collection 'chunks'" in report.stderr
    assert bench.collection.writes == []


def test_another_name_is_taken_from_the_flag_alone(lost: tuple[Workbench, str]) -> None:
    bench, snapshot_id = lost
    bench.collection.name = "chunks-again"
    bench.environment["QDRANT_COLLECTION"] = "not this one"

    report = bench.run("restore", snapshot_id, "--collection", "chunks-again", "--yes")

    assert report.exit_code == 0, report.stderr
    assert report.document["target"]["collection"] == "chunks-again"


@pytest.mark.fault("Y03")
def test_points_of_others_stop_it_until_append(lost: tuple[Workbench, str]) -> None:
    bench, snapshot_id = lost
    bench.run("restore", snapshot_id, "--yes")
    bench.collection.points += points(POINTS + 1)[-1:]

    refused = bench.run("restore", snapshot_id, "--yes")
    report = bench.run("restore", snapshot_id, "--yes", "--append")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "not empty" in refused.stderr
    assert (report.exit_code, report.document["others"]) == (0, 1)


@pytest.mark.fault("Y01")
def test_a_point_that_the_server_loses_is_named(lost: tuple[Workbench, str]) -> None:
    bench, snapshot_id = lost
    bench.collection.is_stored = lambda point: point.key.number != 7

    report = bench.run("restore", snapshot_id, "--yes")
    in_words = bench.run("restore", snapshot_id, "--yes", as_json=False)

    assert (report.exit_code, in_words.exit_code) == (ExitCode.DRIFT, ExitCode.DRIFT)
    assert report.document["unequal_points"] == ["7"]
    assert "not equal: point 7" in in_words.stdout


@pytest.mark.slow
@pytest.mark.fault("Y01")
def test_an_embedded_store_is_made_from_a_snapshot(
    lost: tuple[Workbench, str], tmp_path: Path
) -> None:
    bench, snapshot_id = lost
    del bench.environment["QDRANT_URL"]
    bench.environment["QDRANT_PATH"] = str(tmp_path / "store")

    report = bench.run("restore", snapshot_id, "--yes")
    fresh = bench.run("snapshot")

    assert report.exit_code == 0, report.stderr
    assert fresh.document["set_digest"] == report.document["set_digest"]


@pytest.mark.fault("Y01")
def test_another_name_is_no_other_collection_of_the_store_that_was_read(
    lost: tuple[Workbench, str], tmp_path: Path
) -> None:
    bench, snapshot_id = lost
    del bench.environment["QDRANT_URL"]
    bench.environment["QDRANT_PATH"] = str(tmp_path / "store")
    assert bench.run("restore", snapshot_id, "--yes").exit_code == 0
    of_store = bench.run("snapshot").document["snapshot_id"]
    named = ("restore", of_store, "--collection", "back", "--yes")

    refused = bench.run(*named)
    dry = bench.run(*named, "--dry-run")
    same = bench.run("restore", of_store, "--yes")
    fresh = bench.run(*named, "--source-path", str(tmp_path / "back"))

    for report in (refused, dry):
        assert report.exit_code == ExitCode.USAGE
        assert "is the store that the snapshot was taken from" in report.stderr
        assert "--source-path" in report.stderr
    assert (same.exit_code, same.document["already_there"]) == (0, POINTS)
    assert (fresh.exit_code, fresh.document["written"]) == (0, POINTS)
