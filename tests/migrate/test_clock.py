"""The machine's clock keeps the port's promises."""

from migrate.clock import SystemClock
from migrate.ports import Clock


def test_waiting_lasts_at_least_as_long_as_asked() -> None:
    clock: Clock = SystemClock()
    before_s = clock.monotonic_s()

    clock.wait(0.01)
    clock.wait(-1)

    assert clock.monotonic_s() - before_s >= 0.01
    assert clock.wall_s() > 1_700_000_000
