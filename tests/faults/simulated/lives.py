"""One life after the other of each command, in weather and on a machine drawn from a seed.

Whatever happens, the invariants hold after every life of the process. Then the troubles end, and
the command must come to its end.
"""

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from migrate.errors import ExitCode, MigrationError
from sandbox.profile import STRICT, Profile
from tests.faults.storm import Rates, Storm
from tests.harness.fakes.steps import NO_SPACE, Fault, Steps
from tests.harness.world import World, open_world

STORMY_LIVES_MAX = 3  # of each command
CALM_LIVES_MAX = 3
# What a command may say in bad weather. 130 and 143 come from signals, the others are promises.
EXPECTED = {
    ExitCode.UNAVAILABLE,
    ExitCode.BUDGET,
    ExitCode.LOCAL_IO,
    ExitCode.INDETERMINATE,
}
DAY_S = 86_400.0
SETTLED_S = 60.0  # all delays of the sandbox are over; before it a read may show what was


@dataclass(slots=True)
class Outcome:
    """What one seed went through."""

    seed: int
    troubles: int = 0
    lives: int = 0
    strikes: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    hours: float = 0.0  # of virtual time


class Simulation(ABC):
    """One seed."""

    replay: ClassVar[str]  # the command that lives a seed again

    def __init__(self, seed: int) -> None:
        self.outcome = Outcome(seed)
        self._chance = random.Random(seed)

    def run(self, folder: Path) -> Outcome:
        """Live it. Raises AssertionError with the command that replays it."""
        chance = self._chance
        folder.mkdir(exist_ok=True)
        try:
            with open_world(
                folder,
                points=chance.randint(14, 45),
                profile=self._profile(),
                requests_max=chance.choice([80, 250, 1_200]),
            ) as world:
                self._live(world)
        except (AssertionError, MigrationError) as error:
            replay = self.replay.format(self.outcome.seed)
            raise AssertionError(f"seed {self.outcome.seed}: {error}\n  {replay}") from error
        return self.outcome

    def _profile(self) -> Profile:
        chance = self._chance
        return replace(
            STRICT,
            name="simulated",
            seed=self.outcome.seed,
            commit_delay_s=chance.choice([0.0, 3.0, 40.0]),
            count_lag_s=chance.choice([0.0, 60.0]),
            foreign_watermark_rate=chance.choice([0.0, 0.3, 1.0]),
            stale_read_rate=chance.choice([0.0, 0.05, 0.3]),
            kv_partial_rate=chance.choice([0.0, 0.3]),
            kv_visible_after_s=chance.choice([0.0, 6.0]),
            kv_miss_cached_s=chance.choice([0.0, 6.0]),
            requests_per_5min=1_200,
        )

    def _rates(self) -> Rates:
        chance = self._chance
        return Rates(
            lost_before=chance.choice([0.0, 0.05, 0.3]),
            late=chance.choice([0.0, 0.5]),
            lost_after=chance.choice([0.0, 0.05, 0.3]),
            server_error=chance.choice([0.0, 0.05, 0.2]),
            garbage=chance.choice([0.0, 0.05]),
            throttled=chance.choice([0.0, 0.01]),
        )

    @abstractmethod
    def _live(self, world: World) -> None:
        """What the operator does, and what must hold."""

    def _reconcile(self, world: World) -> Callable[[], object]:
        def reconcile() -> None:
            report = world.reconcile()
            # Fails closed, and never cries wolf: nothing differs, however stale the reads are.
            assert report.verdict in {"equal", "indeterminate"}, f"I6: {report.why}"

        return reconcile

    def _storm(self, world: World, command: Callable[[], object]) -> None:
        """Some lives of one command in bad weather, the last one calm: it must end well."""
        storm = Storm(self._rates(), self._chance, world.app, world.clock)
        world.weather = storm
        for _ in range(self._chance.randint(0, STORMY_LIVES_MAX)):
            storm.forgive_unheard(self._stormy_life(world, command))
        storm.pass_by()
        self.outcome.troubles += storm.troubles
        self._clear(world, command)
        world.weather = None

    def _stormy_life(self, world: World, command: Callable[[], object]) -> Steps:
        chance = self._chance
        fault = chance.choice(list(Fault))
        at = chance.randint(1, 200) if chance.random() < 0.5 else 0
        world.clock.jump_wall(chance.choice([0.0, 0.0, DAY_S, -DAY_S, 3600.0]))
        acknowledged, uploads = world.acknowledged_uploads(), len(world.sent_uploads)
        self.outcome.lives += 1
        error: MigrationError | None = None
        with world.striking(fault, at) as steps:
            try:
                command()
            except MigrationError as raised:
                error = raised
        if at and len(steps.done) >= at:
            self.outcome.strikes[fault.name] += 1
        if error is not None:
            self.outcome.exits[int(error.exit_code)] += 1
            assert error.exit_code in EXPECTED, f"exit {int(error.exit_code)}: {error}"
            if error.exit_code is ExitCode.LOCAL_IO:
                assert fault in NO_SPACE or fault is Fault.BROKEN, f"{fault} became {error}"
        self._check(world, acknowledged, uploads)
        return steps

    def _check(self, world: World, acknowledged: set[str], uploads: int) -> None:
        """The invariants that hold at every instant."""
        again = acknowledged & set(world.sent_uploads[uploads:])
        assert not again, "I3: an acknowledged upload was sent again"
        world.check_rate()
        world.check_secrecy()

    def _clear(self, world: World, command: Callable[[], object]) -> None:
        """Liveness: without troubles the command comes to its end."""
        for life in range(1, CALM_LIVES_MAX + 1):
            try:
                with world.calm():
                    command()
            except MigrationError as error:
                # A 429 of the storm may still ask for silence; nothing else is an excuse.
                if error.exit_code is not ExitCode.BUDGET or life == CALM_LIVES_MAX:
                    raise
                world.clock.wait(700.0)
            else:
                return
