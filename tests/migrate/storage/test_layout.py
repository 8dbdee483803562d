"""Every file that q2v leaves behind has its place in the layout."""

from pathlib import Path

import pytest

from migrate.storage.layout import PLACES, find_place
from tests.harness.fakes.steps import Fault
from tests.harness.world import open_world

pytestmark = pytest.mark.slow

# What a migration without a failure, a forced repair and an embedded source does not leave.
OF_A_CATCH_UP = {
    "<snapshot>/changes.parquet",
    "<snapshot>/begun.jsonl",
    "<snapshot>/runs/<run>/difference.parquet",
    "<snapshot>/runs/<run>/pre-images/removed.parquet",
}
_EXPORT = "<snapshot>/runs/<run>/rollback/later/<export>"
OF_AN_EXPORT = {
    "<snapshot>/runs/<run>/rollback/files-to-embed.txt",
    "<snapshot>/runs/<run>/rollback/files-to-embed.json",
    f"{_EXPORT}/journal.jsonl",
    f"{_EXPORT}/manifest.json",
    f"{_EXPORT}/parts/part-<n>.parquet",
    f"{_EXPORT}/later.parquet",
    f"{_EXPORT}/kv.parquet",
}
UNTIL_THE_SEAL = {f"{_EXPORT}/listed-<n>.ids", f"{_EXPORT}/read/part-<n>.parquet"}
NOT_LEFT = {
    ".source/",
    ".spill/",
    # With several vector indexes: tests/e2e/several_indexes.
    ".lock-<index>",
    ".spill-<index>/",
    "q2v-crash-<n>.log",
    "<snapshot>/runs/<run>/STOP",
    # Of a catch-up: `test_a_catch_up_leaves_its_own_places_too`.
    *OF_A_CATCH_UP,
    # Of an export: `test_an_export_leaves_its_own_places_too`.
    *OF_AN_EXPORT,
    *UNTIL_THE_SEAL,
    "<snapshot>/runs/<run>/.spill/",
    # Of commands after the move, with tests of their own.
    "<snapshot>/parity/<n>.json",
    "<snapshot>/parity/.queries-<digest>.npz",
    "<snapshot>/runs/<run>/parity/<n>.json",
    "<snapshot>/runs/<run>/gate/<n>.json",
    "<snapshot>/runs/<run>/report.html",
    "<snapshot>/runs/<run>/monitor/journal.jsonl",
    "<snapshot>/runs/<run>/monitor/<class>.ids",
    "<snapshot>/runs/<run>/reconcile/<n>/forced-<n>.ids",
    # In an object store: tests/migrate/object_store/test_snapshot.py.
    "<snapshot>/opened.json",
    "<snapshot>/records/part-<n>.json",
}


@pytest.mark.slow
def test_a_whole_migration_leaves_every_place_and_no_other(tmp_path: Path) -> None:
    with open_world(tmp_path) as world, world.calm():
        world.snapshot()
        world.migrate()
        world.reconcile()
        world.archive()
        world.roll_back()
    left = [path for path in (tmp_path / "snapshots").rglob("*") if path.is_file()]
    places = {
        str(path.relative_to(tmp_path / "snapshots")): find_place(
            path.relative_to(tmp_path / "snapshots").as_posix()
        )
        for path in left
    }

    assert [path for path, place in places.items() if place is None] == []
    found = {place.path for place in places.values() if place is not None}
    assert found == {place.path for place in PLACES} - NOT_LEFT


@pytest.mark.slow
def test_a_catch_up_leaves_its_own_places_too(tmp_path: Path) -> None:
    with open_world(tmp_path) as world, world.calm():
        world.snapshot()
        world.migrate()
        world.source.points.pop(10)
        world.source.points[20] = {**world.source.points[20], "shift": 1}
        world.catch_up()
    root = tmp_path / "snapshots"
    places = [find_place(p.relative_to(root).as_posix()) for p in root.rglob("*") if p.is_file()]

    assert None not in places
    assert {place.path for place in places if place is not None} >= OF_A_CATCH_UP


@pytest.mark.slow
def test_an_export_leaves_its_own_places_too(tmp_path: Path) -> None:
    root = tmp_path / "snapshots"

    def found() -> set[str]:
        files = [path for path in root.rglob("*") if path.is_file() and path.suffix != ".q2v-tmp"]
        places = [find_place(path.relative_to(root).as_posix()) for path in files]
        assert None not in places
        return {place.path for place in places if place is not None}

    with open_world(tmp_path) as world:
        with world.calm():
            world.snapshot()
            world.migrate()
            world.go_on()
        steps = 0
        while not found() >= UNTIL_THE_SEAL:
            steps += 10
            with world.striking(Fault.KILL, at=steps):
                world.export_later()
        with world.calm():
            world.export_later()

        assert found() >= OF_AN_EXPORT
        assert not found() & UNTIL_THE_SEAL
