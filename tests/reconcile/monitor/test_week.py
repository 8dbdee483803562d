"""A week after the cutover, on a virtual clock: the Worker writes all the time, nothing alerts.

Then one thing goes wrong on each day, and the next look says which.
"""

import random
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.model.records import VectorId
from migrate.runtime import Runtime
from reconcile.monitor.history import observe
from reconcile.monitor.look import LookRules
from reconcile.monitor.monitor import MonitorReport, monitor
from tests.harness.fakes.clock import VirtualClock
from tests.harness.move import COUNTER, Move, new_move
from tests.reconcile.monitor.worker import Worker
from tests.reconcile.plants import KEYS, payloads

INDEXES = {"file_id": "string"}
EVERY_S = 3_600.0
LOOKS = 7 * 24

pytestmark = pytest.mark.fault("W02", "W05")


class BusyClock(VirtualClock):
    """While anything waits, the Worker takes its next steps."""

    worker: Worker | None = None

    @override
    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        if self.worker is not None:
            self.worker.rest()


class Week:
    """Looks once an hour."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.move = new_move(folder)
        self.move.source.points = payloads()
        self.move.vectors.metadata_indexes = dict(INDEXES)
        self.clock = BusyClock()
        self.move.clock = self.clock
        self.move.plan()
        self.move.migrate()
        files = {
            key.removeprefix("file:"): [
                str(one) for one in self.move.vectors.stored if one.startswith(key[5:] + "_")
            ]
            for key in KEYS
        }
        self.worker = Worker(self.move, random.Random(seed), files)
        self.clock.worker = self.worker
        self._calls = 0
        self.move.calls.before = self._meanwhile

    def _meanwhile(self, number: int, what: str) -> None:
        """Between two requests of a look the Worker takes a step now and then."""
        self._calls += 1
        if self._calls % 5 == 0:
            self.worker.step()

    def hour(self) -> MonitorReport:
        """An hour with some changes, the last of which is under way while the look is taken."""
        for _ in range(self.worker.random.randint(0, 3)):
            self.worker.begin()
            self.worker.rest()
        self.worker.begin()
        report = self.look()
        self.worker.rest()
        return report

    def look(self) -> MonitorReport:
        """The look at the end of an hour; what the Worker has begun continues meanwhile."""
        super(BusyClock, self.clock).wait(EVERY_S)
        with self.move.opened() as run:
            rules = LookRules(
                indexes=INDEXES, ttl_s=None, sample=20, seed=int(self.clock.wall_s()), settle_s=60
            )
            runtime = Runtime(clock=self.clock, progress=self.move.progress)
            return monitor(run, self.move.target(), rules, runtime, max_drop=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.search)])
def test_a_week_of_writes_is_green(tmp_path: Path, seed: int) -> None:
    week = Week(tmp_path, seed)
    reports = [week.hour() for _ in range(LOOKS + 1)]

    assert [one.looked.why for one in reports if one.exit_code] == []
    assert len({one.looked.vectors for one in reports}) > 20, "the Worker wrote"
    assert observe(reports[-1].history, now_s=week.clock.wall_s()).is_green


def lose_a_vector(move: Move) -> str:
    named = min(move.vectors.stored)
    del move.vectors.stored[VectorId(named)]
    return "dangling"


def lose_an_entry(move: Move) -> str:
    key = min(key for key in move.kv.stored if key != COUNTER)
    del move.kv.stored[key]
    return "orphaned"


def lose_the_index(move: Move) -> str:
    move.vectors.metadata_indexes = {}
    return "indexes"


@pytest.mark.slow
def test_on_the_day_on_which_something_breaks_the_next_look_says_so(tmp_path: Path) -> None:
    week = Week(tmp_path, 3)
    for break_it in (lose_a_vector, lose_an_entry, lose_the_index):
        assert week.hour().exit_code == 0
        kept = dict(week.move.vectors.stored), dict(week.move.kv.stored)
        expected = break_it(week.move)

        broken = week.look()
        assert expected in broken.looked.findings, broken.looked.why
        assert broken.exit_code == 4

        week.move.vectors.metadata_indexes = dict(INDEXES)
        week.move.vectors.stored, week.move.kv.stored = kept
        week.worker.files = {
            key.removeprefix("file:"): [
                str(one) for one in kept[0] if one.rpartition("_")[0] == key.removeprefix("file:")
            ]
            for key in kept[1]
            if key != COUNTER
        }
