"""`q2v snapshot` seals a whole collection or nothing, from a folder and from a server."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from migrate.errors import ExitCode
from q2v.main import cli
from tests.servers.on_disk.qdrant_storage import write_collection
from tests.servers.qdrant_points import Points, StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server

POINTS = 85


def stored() -> StoredCollection:
    points = [StoredPoint(number, {"": [float(number), *[0.5] * 31]}) for number in range(POINTS)]
    return StoredCollection(name="docs", vectors={"size": 32, "distance": "Dot"}, points=points)


def run(command: str, snapshots: Path, **environment: str) -> Result:
    return CliRunner().invoke(
        cli,
        [command, "--dir", str(snapshots), "--json"],
        env={"QDRANT_COLLECTION": "docs", "Q2V_TRANSPORT": "rest", **environment},
    )


@pytest.mark.fault("F01")
def test_a_servers_folder_is_sealed_whole_and_one_shard_of_it_is_not(tmp_path: Path) -> None:
    folder = write_collection(
        tmp_path / "storage", stored(), shards=2, place=lambda point: int(int(point.id) >= 60)
    )
    part = run("snapshot", tmp_path / "s", QDRANT_PATH=str(folder / "0"))
    whole = run("snapshot", tmp_path / "s", QDRANT_PATH=str(folder))

    assert part.exit_code == ExitCode.PRECONDITION
    assert f"set source.path to {folder}" in part.stderr
    assert whole.exit_code == ExitCode.DONE, whole.stderr
    document = json.loads(whole.stdout)
    assert document["points"] == POINTS
    manifest = json.loads((Path(document["path"]) / "manifest.json").read_bytes())
    assert manifest["shards"] == [{"number": 0, "points": 60}, {"number": 1, "points": 25}]
    assert manifest["config"]["config"]["params"]["shard_number"] == 2
    assert list((tmp_path / "s" / ".source").iterdir()) == []


@pytest.mark.fault("F01", "F10")
@pytest.mark.parametrize("command", ["snapshot", "plan"])
def test_a_server_whose_pages_hold_less_than_it_counts_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def without_the_last(page: Points) -> Points:
        return [point for point in page if int(point.id) < 60]

    monkeypatch.setattr("migrate.snapshot.counting.PAUSE_S", 0.0)
    collection = stored()
    collection.bend_page = without_the_last
    collection.params["replication_factor"] = 2
    with rest_server(collection) as server:
        result = run(command, tmp_path, QDRANT_URL=server.url)

    assert result.exit_code == ExitCode.PRECONDITION
    assert "counts 85 points and its pages hold 60, the same in 4 readings" in result.stderr
    assert "replicas of a shard that do not hold the same points" in result.stderr


@pytest.mark.fault("F01")
def test_a_server_with_deferred_points_is_not_sealed(tmp_path: Path) -> None:
    collection = stored()
    collection.info["update_queue"] = {"deferred_points": 7}
    with rest_server(collection) as server:
        result = run("snapshot", tmp_path, QDRANT_URL=server.url)

    assert result.exit_code == ExitCode.PRECONDITION
    assert "7 points that stay invisible until they are optimized" in result.stderr
