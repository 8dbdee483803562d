"""Somebody overwrites what a migrate waits to read: it claims nothing, and there is a way out."""

from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from migrate.errors import IndeterminateError
from tests.faults.operators import contents
from tests.harness.network import Trouble
from tests.harness.running.target import DIMENSIONS, INDEX
from tests.harness.world import World, open_world


@pytest.mark.slow
@pytest.mark.fault("U04", "B03", "R09")
def test_what_others_overwrite_meanwhile_is_indeterminate_and_a_rollback_leads_out(
    tmp_path: Path,
) -> None:
    with open_world(tmp_path, points=20) as world:
        limits = replace(world.settings.limits, settle_timeout_s=60.0)  # of looks a second apart
        world.settings = replace(world.settings, limits=limits)
        before = contents(world)
        victim = _overwritten_once_uploaded(world)
        with world.calm():
            world.snapshot()
        for _ in range(2):
            with world.calm(), pytest.raises(IndeterminateError):
                world.migrate()
        theirs = contents(world)[victim]

        with world.calm():
            report = world.roll_back()
        assert [one for one in report.conflicts if victim in one] == list(report.conflicts)
        assert contents(world) == before | {victim: theirs}, "theirs is kept, the rest is as it was"

        world.weather = None
        with world.calm():
            world.migrate()
            assert world.reconcile().verdict == "equal"


def _overwritten_once_uploaded(world: World) -> str:
    """The id that somebody overwrites at the first look at the watermark: the last one uploaded."""
    last = list(world.source.points.values())[-1]
    victim = f"{last['file_id']}_{last['chunk_index']}"
    struck: list[bool] = []

    def weather(_: int, request: httpx.Request) -> Trouble | None:
        if request.url.path.endswith("/info") and not struck:
            struck.append(True)
            values = np.full(DIMENSIONS, 0.5, np.float32)
            world.app.store.put_vector(INDEX, victim, values, {"by": "somebody"})
        return None

    world.weather = weather
    return victim
