"""Every file that q2v leaves behind has its place in the layout."""

from pathlib import Path

from migrate.storage.layout import PLACES, find_place
from tests.harness.world import open_world

# What a migration without a failure, a forced repair and an embedded source does not leave.
OF_A_CATCH_UP = {
    "<snapshot>/changes.parquet",
    "<snapshot>/begun.jsonl",
    "<snapshot>/runs/<run>/difference.parquet",
    "<snapshot>/runs/<run>/pre-images/removed.parquet",
}
NOT_LEFT = {
    ".source/",
    ".spill/",
    "q2v-crash-<n>.log",
    "<snapshot>/runs/<run>/STOP",
    # Of a catch-up: `test_a_catch_up_leaves_its_own_places_too`.
    *OF_A_CATCH_UP,
    "<snapshot>/runs/<run>/.spill/",
    # Of commands after the move, with tests of their own.
    "<snapshot>/runs/<run>/gate/<n>.json",
    "<snapshot>/runs/<run>/monitor/journal.jsonl",
    "<snapshot>/runs/<run>/monitor/<class>.ids",
    "<snapshot>/runs/<run>/reconcile/<n>/forced-<n>.ids",
}


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
