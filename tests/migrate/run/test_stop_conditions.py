"""Reasons to stop before the next write."""

from pathlib import Path

import pytest

from migrate.errors import BudgetExhaustedError, ExitCode
from migrate.run.stop_conditions import StopConditions
from migrate.storage.layout import STOP
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.clock import VirtualClock


@pytest.mark.fault("U08")
def test_a_stop_file_stops_until_it_is_removed(tmp_path: Path) -> None:
    signs = StopConditions(LocalFolder(tmp_path), clock=VirtualClock(), deadline_s=None)
    signs.check()
    (tmp_path / STOP).touch()
    with pytest.raises(BudgetExhaustedError, match="stop file") as caught:
        signs.check()
    (tmp_path / STOP).unlink()

    signs.check()
    assert caught.value.exit_code == ExitCode.BUDGET


@pytest.mark.fault("U08", "G11")
def test_both_sides_of_the_deadline(tmp_path: Path) -> None:
    clock = VirtualClock()
    clock.wait(50)
    signs = StopConditions(LocalFolder(tmp_path), clock=clock, deadline_s=100)
    clock.wait(100)
    signs.check()
    clock.wait(0.5)

    with pytest.raises(BudgetExhaustedError, match="deadline_s"):
        signs.check()
