"""A disk that fails while the gate is asked is no answer of the target."""

from pathlib import Path

import pytest

from migrate.errors import LocalStorageError
from tests.harness.fakes.steps import Fault
from tests.harness.world import open_world


@pytest.mark.slow
@pytest.mark.fault("G05", "J06")
def test_a_disk_that_fails_while_the_target_is_asked_stops_the_gate(tmp_path: Path) -> None:
    with open_world(tmp_path, points=14) as world:
        with world.calm():
            world.snapshot()
            world.migrate()
            world.reconcile()
        with world.calm() as undisturbed:
            assert world.gate().verdict == "go"
        steps = undisturbed.done
        reads = [at for at, step in enumerate(steps) if step.name.endswith(".parquet")]
        assert reads
        for at in reads:
            with (
                world.striking(Fault.BROKEN, at + 1),
                pytest.raises(LocalStorageError, match="Input/output error"),
            ):
                world.gate()
        with world.calm():
            assert world.gate().verdict == "go"
