"""Every file that q2v leaves behind has its place in the layout."""

from pathlib import Path

from migrate.storage.layout import PLACES, find_place
from tests.harness.world import open_world

# What a migration without a failure, a forced repair and an embedded source does not leave.
NOT_LEFT = {
    ".source/",
    ".spill/",
    "q2v-crash-<n>.log",
    "<snapshot>/runs/<run>/STOP",
    "<snapshot>/runs/<run>/.spill/",
    "<snapshot>/runs/<run>/reconcile/<n>/forced-<n>.ids",
}


def test_a_whole_migration_leaves_every_place_and_no_other(tmp_path: Path) -> None:
    with open_world(tmp_path) as world, world.calm():
        world.snapshot()
        world.migrate()
        world.reconcile()
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
