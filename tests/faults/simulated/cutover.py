"""A whole cutover in virtual time, its troubles drawn from a seed.

Snapshot, migrate, reconcile and rollback, each in bad weather and then in calm; in between a
difference is planted, which has to be found, named and repaired.
"""

import numpy as np
from typing_extensions import override

from reconcile.report.report import ReconcileReport
from tests.faults.simulated.lives import SETTLED_S, Simulation
from tests.harness.running.target import INDEX
from tests.harness.world import World


class CutoverSimulation(Simulation):
    """One seed."""

    replay = ".venv/bin/python -m tests.faults.simulation --kind cutover --seed {}"

    @override
    def _live(self, world: World) -> None:
        before = world.state()
        self._storm(world, world.snapshot)
        self._storm(world, world.migrate)
        self._storm(world, self._reconcile(world))
        self._plant_and_find(world)
        self._storm(world, world.roll_back)
        self._clear(world, world.roll_back)
        world.clock.wait(SETTLED_S)
        assert world.state() == before, "I7: the target is not as it was"
        self.outcome.hours = world.clock.monotonic_s() / 3600

    def _plant_and_find(self, world: World) -> None:
        """One difference behind everybody's back: found, named, repaired."""
        victim = self._chance.choice(["file-1_0", "file-2_1"])
        kind = self._chance.choice(["missing", "mismatched"])
        if kind == "missing":
            world.app.store.remove_vector(INDEX, victim)
        else:
            for vector_id, values, namespace, metadata in world.app.store.read_vectors(INDEX):
                if vector_id == victim:
                    bent = values + np.float32(1.0)
                    world.app.store.put_vector(INDEX, victim, bent, metadata, namespace)
        world.clock.wait(SETTLED_S)
        reports: list[ReconcileReport] = []
        self._clear(world, lambda: reports.append(world.reconcile()))
        assert reports[-1].verdict == "drift", f"I6: {kind} {victim} not found: {reports[-1].why}"
        found = {name: count for name, count in reports[-1].drift.items() if count}
        assert found == {kind: 1}, f"I6: planted {kind} {victim}, found {found}"
        self._clear(world, world.migrate)
        self._clear(world, self._reconcile(world))
