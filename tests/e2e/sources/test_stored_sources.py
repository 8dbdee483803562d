"""A collection gives the same snapshot from a server and from what is left of it on a disk."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import ExitCode
from tests.harness.running.workbench import Workbench, points, workbench
from tests.migrate.qdrant.sources import write_local_mode
from tests.servers.on_disk.qdrant_snapshot import (
    snapshot_members,
    write_full_snapshot,
    write_snapshot,
)
from tests.servers.on_disk.qdrant_storage import write_collection
from tests.servers.qdrant_points import StoredCollection

POINTS = 21
NAME = "chunks-4711-2026-11-30-08-15-00.snapshot"

Write = Callable[[StoredCollection, Path], Path]


def folder(collection: StoredCollection, home: Path) -> Path:
    return write_collection(home, collection, shards=3)


def snapshot_file(collection: StoredCollection, home: Path) -> Path:
    return write_snapshot(snapshot_members(folder(collection, home)), home / NAME)


def full_snapshot(collection: StoredCollection, home: Path) -> Path:
    part = snapshot_file(collection, home)
    return write_full_snapshot({collection.name: part}, home / "full.snapshot")


def local_mode(collection: StoredCollection, home: Path) -> Path:
    return write_local_mode(home, collection)


KINDS: dict[str, Write] = {
    "local mode": local_mode,
    "folder": folder,
    "snapshot": snapshot_file,
    "full snapshot": full_snapshot,
}


def read_from(bench: Workbench, path: Path) -> None:
    """Set `source.path` instead of the server, and another --dir."""
    bench.environment.pop("QDRANT_URL", None)
    bench.environment["QDRANT_PATH"] = str(path)
    bench.directory = bench.folder / "from-a-path"


def manifest(snapshot: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(snapshot["path"]) / "manifest.json").read_bytes())
    return found


FILTER = '{"must_not": [{"key": "chunk_index", "match": {"any": [0, 3]}}]}'


@pytest.mark.fault("F01", "M20", "M23")
@pytest.mark.parametrize("settings", [{}, {"Q2V_SOURCE_FILTER": FILTER}], ids=["whole", "part"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_points_give_the_same_root(
    tmp_path: Path, kind: str, settings: dict[str, str]
) -> None:
    with workbench(tmp_path, points(POINTS), settings=settings, provision=False) as bench:
        served = bench.run("snapshot")
        read_from(bench, KINDS[kind](bench.collection, tmp_path / "home"))
        taken = bench.run("snapshot")

    assert (served.exit_code, taken.exit_code) == (0, 0), taken.stderr
    assert taken.document["points"] == (15 if settings else POINTS)
    roots = [manifest(one.document)["content_root"] for one in (served, taken)]
    assert roots[0] == roots[1]


@pytest.mark.fault("M20")
def test_check_says_that_nothing_was_compared_with_the_name_of_an_embedded_store(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(POINTS), provision=False) as bench:
        taken = bench.run("snapshot")
        of_server = folder(bench.collection, tmp_path / "home")
        del bench.environment["QDRANT_URL"]
        bench.environment["QDRANT_PATH"] = str(tmp_path / "embedded")
        restored = bench.run("restore", taken.document["snapshot_id"], "--yes")
        assert restored.exit_code == 0, restored.stderr
        found = []
        for path in (tmp_path / "embedded", of_server):
            bench.environment["QDRANT_PATH"] = str(path)
            checked = bench.run("check", "--collection", "other")
            rows = {row["name"]: row for row in checked.document["checks"]}
            found.append((rows["collection"]["state"], rows["collection"]["found"]))

    said = "an embedded store holds no name, so 'other' was not compared"
    assert found[0][0] == "ok"
    assert said in found[0][1]
    assert found[1][0] == "warn", "a server's folder is named after its collection"
    assert said not in found[1][1]


@pytest.mark.slow
@pytest.mark.fault("M20")
def test_a_whole_move_from_a_snapshot_file(tmp_path: Path) -> None:
    with workbench(tmp_path, points(POINTS)) as bench:
        path = snapshot_file(bench.collection, tmp_path / "home")
        read_from(bench, path)

        planned = bench.run("plan", as_json=False)
        taken = bench.run("snapshot")
        moved = bench.run("migrate")
        compared = bench.run("reconcile")

    assert "is a snapshot file of a server, with shards 0, 1, 2" in planned.stderr
    assert planned.exit_code == ExitCode.DONE, planned.stderr
    assert moved.exit_code == ExitCode.DONE, moved.stderr
    assert compared.document["verdict"] == "equal"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest(taken.document)["source"]["sha256"] == digest


@pytest.mark.slow
@pytest.mark.fault("M20")
def test_another_snapshot_file_is_another_source(tmp_path: Path) -> None:
    with workbench(tmp_path, points(POINTS)) as bench:
        path = snapshot_file(bench.collection, tmp_path / "home")
        read_from(bench, path)
        bench.move()
        bench.collection.points += points(POINTS + 1)[-1:]
        write_snapshot(snapshot_members(folder(bench.collection, tmp_path / "later")), path)

        refused = bench.run("catch-up")

    assert refused.exit_code == ExitCode.FOREIGN
    assert "was read from collection 'chunks'" in refused.stderr


@pytest.mark.slow
@pytest.mark.fault("M20")
def test_nothing_is_restored_into_a_snapshot_file(tmp_path: Path) -> None:
    with workbench(tmp_path, points(POINTS)) as bench:
        path = snapshot_file(bench.collection, tmp_path / "home")
        taken = bench.run("snapshot")
        read_from(bench, path)
        bench.directory = tmp_path / "snapshots"
        before = path.read_bytes()

        refused = bench.run("restore", taken.document["snapshot_id"], "--yes")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "is a file" in refused.stderr
    assert path.read_bytes() == before
