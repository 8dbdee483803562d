"""What the progress announces is what is done: "ended at 10 of 356" looks like a failure."""

from pathlib import Path

import pytest
from typing_extensions import override

from tests.harness.fakes.silence import Silence
from tests.harness.running.target import INDEX
from tests.harness.world import World, open_world

WORK = "writing the KV index"


class Counting(Silence):
    """Keeps how much of each piece of work was left when it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.left: dict[str, int] = {}
        self._now = ""

    @override
    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        super().start(what, total=total, unit=unit, requests=requests)
        self._now, self.left[what] = what, total or 0

    @override
    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        super().advance(count, bytes_=bytes_, earlier=earlier)
        self.left[self._now] -= count


def counting(world: World) -> Counting:
    """From now on the world's progress."""
    made = Counting()
    world.progress = made
    return made


@pytest.mark.slow
def test_a_catch_up_and_a_repair_announce_the_entries_that_they_write(tmp_path: Path) -> None:
    with open_world(tmp_path) as world, world.calm():
        world.snapshot()
        moved = counting(world)
        world.migrate()
        world.edit_source()
        caught_up = counting(world)
        world.catch_up()
        world.app.store.remove_vector(INDEX, "file-0_1")
        world.reconcile()
        repaired = counting(world)
        world.migrate()

    assert [one.left[WORK] for one in (moved, caught_up, repaired)] == [0, 0, 0]
