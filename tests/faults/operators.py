"""An operator who types any command at any time, while the machine fails and others write."""

import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from migrate.errors import ExitCode, MigrationError
from migrate.run.choose.find import find_run
from tests.harness.fakes.steps import NO_SPACE, Fault
from tests.harness.running.target import DIMENSIONS, INDEX
from tests.harness.world import World, open_world

# Id or key -> everything the target holds there.
Contents = dict[str, tuple[object, ...]]

OURS = st.sampled_from(["file-0_0", "file-1_1", "file-4_3"])  # the first one overwrote another
KEYS = st.sampled_from(["file:file-0", "file:file-3"])  # the first one overwrote another
FOREIGN = st.sampled_from(["later-1", "later-2"])
NOTHING_WRITTEN = {"none", "capturing pre-images"}  # phases of a run
NOTHING_TO_WORK_ON = {ExitCode.PRECONDITION, ExitCode.USAGE}


class Operator(RuleBasedStateMachine):
    """The model: what the target must hold after every command, and what each may answer."""

    def __init__(self) -> None:
        super().__init__()
        self._held = contextlib.ExitStack()
        self._folder = Path(tempfile.mkdtemp())
        self._held.callback(shutil.rmtree, self._folder)
        self.world: World = self._held.enter_context(open_world(self._folder, points=20))
        self.before = contents(self.world)
        self.moved: Contents = {}  # once a run has completed: what it leaves
        self.bent: dict[str, str] = {}  # changed behind our back, not yet repaired: id -> class
        self.found: dict[str, str] = {}  # those of them that the newest report names
        self.foreign: Contents = {}  # written by others since the beginning
        self.later: set[str] = set()  # those of them that the run has not found there

    @initialize()
    def take_the_snapshot(self) -> None:
        with self.world.calm():
            self.world.snapshot()

    # --- what the operator types -------------------------------------------------------------

    @rule()
    def migrate(self) -> None:
        phase = self._phase()
        answer = self._type(self.world.migrate)
        if phase == "rolling back":
            assert answer is ExitCode.PRECONDITION
            return
        assert answer is None, answer
        self._note_moved()

    @rule()
    def reconcile(self) -> None:
        phase = self._phase()
        if phase != "completed":
            assert self._type(self.world.reconcile) in NOTHING_TO_WORK_ON
            return
        with self.world.calm():
            report = self.world.reconcile()
        expected = Counter(self.bent.values())
        expected["extra"] = len(self.later)
        assert {name: count for name, count in report.drift.items() if count} == dict(+expected)
        assert report.verdict == ("drift" if +expected else "equal"), report.why
        self.found = dict(self.bent)

    @precondition(lambda self: not self.bent)
    @rule()
    def roll_back(self) -> None:
        phase = self._phase()
        answer = self._type(self.world.roll_back)
        if phase in NOTHING_WRITTEN:
            assert answer in NOTHING_TO_WORK_ON
        else:
            assert answer is None, answer
            self.moved = {}
            assert contents(self.world) == self.before | self.foreign

    @rule(fault=st.sampled_from(list(Fault)), at=st.integers(1, 170))
    def migrate_on_a_bad_machine(self, fault: Fault, at: int) -> None:
        if self._phase() != "rolling back":
            self._type_on_a_bad_machine(self.world.migrate, fault, at)
            if self._phase() == "completed":
                with self.world.calm():
                    self.world.migrate()
                self._note_moved()

    @rule(fault=st.sampled_from(list(Fault)), at=st.integers(1, 160))
    def reconcile_on_a_bad_machine(self, fault: Fault, at: int) -> None:
        if self._phase() == "completed":
            held = contents(self.world)
            self._type_on_a_bad_machine(self.world.reconcile, fault, at)
            assert contents(self.world) == held
            self.reconcile()

    @precondition(lambda self: not self.bent)
    @rule(fault=st.sampled_from(list(Fault)), at=st.integers(1, 100))
    def roll_back_on_a_bad_machine(self, fault: Fault, at: int) -> None:
        if self._phase() not in NOTHING_WRITTEN:
            self._type_on_a_bad_machine(self.world.roll_back, fault, at)
            phase = self._phase()
            if phase == "rolled back":
                assert contents(self.world) == self.before | self.foreign
            if phase in {"rolling back", "rolled back"}:
                self.moved = {}

    # --- what others do ----------------------------------------------------------------------

    # Not while a migrate is half-way: what that comes to is told in
    # `test_overwritten_while_waiting.py`.
    @precondition(lambda self: self.moved and self._phase() == "completed")
    @rule(vector_id=OURS, kind=st.sampled_from(["missing", "mismatched"]))
    def bend_a_vector(self, vector_id: str, kind: str) -> None:
        if kind == "missing":
            self.world.app.store.remove_vector(INDEX, vector_id)
        else:
            values = np.full(DIMENSIONS, 0.5, np.float32)
            self.world.app.store.put_vector(INDEX, vector_id, values, {"by": "somebody"})
        self.bent[vector_id] = kind

    @precondition(lambda self: self.moved and self._phase() == "completed")
    @rule(key=KEYS, kind=st.sampled_from(["kv_missing", "kv_mismatched"]))
    def bend_an_entry(self, key: str, kind: str) -> None:
        if kind == "kv_missing":
            self.world.app.store.remove_kv(self.world.namespace_id, key)
        else:
            self.world.app.store.put_kv(self.world.namespace_id, key, b'["somebody\'s"]')
        self.bent[key] = kind

    @precondition(lambda self: self.moved)
    @rule(vector_id=FOREIGN)
    def write_a_foreign_vector(self, vector_id: str) -> None:
        values = np.full(DIMENSIONS, 0.25, np.float32)
        self.world.app.store.put_vector(INDEX, vector_id, values, {"by": "somebody"})
        if vector_id not in self.foreign:
            self.later.add(vector_id)
        self.foreign[vector_id] = contents(self.world)[vector_id]

    @rule(hours=st.sampled_from([0.1, 2.0, 30.0]))
    def wait(self, hours: float) -> None:
        self.world.clock.wait(hours * 3600)

    # --- what always holds -------------------------------------------------------------------

    @invariant()
    def nothing_of_others_is_touched(self) -> None:
        held = contents(self.world)
        theirs = {one: self.before[one] for one in ("foreign-1", "foreign-2", "file:elsewhere")}
        assert {one: held.get(one) for one in theirs | self.foreign} == theirs | self.foreign

    @invariant()
    def what_was_moved_is_there(self) -> None:
        if self.moved:
            held = contents(self.world)
            for one, value in self.moved.items():
                assert one in self.bent or held.get(one) == value, one

    @invariant()
    def the_budget_and_the_secret_are_kept(self) -> None:
        self.world.check_rate()
        self.world.check_secrecy()

    @override
    def teardown(self) -> None:
        self._held.close()

    # --- helpers -----------------------------------------------------------------------------

    def _note_moved(self) -> None:
        """A migrate has come to its end: what the newest report named is repaired."""
        for one in self.found:
            self.bent.pop(one, None)
        self.found = {}
        held = contents(self.world)
        moved = {one: value for one, value in held.items() if one not in self.foreign}
        if not self.moved:
            assert not self.bent
            self.moved = moved
            self.later = set()
        assert {one for one in moved if one not in self.bent} <= set(self.moved)

    def _phase(self) -> str:
        try:
            with (
                self.world.calm(),
                contextlib.closing(find_run(self.world.directory, None, None)) as run,
            ):
                return run.state().phase
        except MigrationError:
            return "none"

    def _type(self, command: Callable[[], Any]) -> ExitCode | None:
        with self.world.calm():
            try:
                command()
            except MigrationError as error:
                return error.exit_code
        return None

    def _type_on_a_bad_machine(self, command: Callable[[], Any], fault: Fault, at: int) -> None:
        acknowledged, sent = self.world.acknowledged_uploads(), len(self.world.sent_uploads)
        anew = self.found or self._phase() == "rolled back"  # a repair, or another run
        failed: MigrationError | None = None
        with self.world.striking(fault, at):
            try:
                command()
            except MigrationError as error:
                failed = error
        if failed is not None:
            assert failed.exit_code is ExitCode.LOCAL_IO, failed
            assert fault in NO_SPACE or fault is Fault.BROKEN, f"{fault} became {failed}"
        again = acknowledged & set(self.world.sent_uploads[sent:])
        assert anew or not again, "an acknowledged upload was sent again"


def contents(world: World) -> Contents:
    """Everything that the target holds."""
    vectors = {
        vector_id: (values.tobytes(), namespace, repr(metadata))
        for vector_id, values, namespace, metadata in world.app.store.read_vectors(INDEX)
    }
    entries = {
        key: (value, repr(metadata), expiration)
        for key, value, metadata, expiration in world.app.store.read_kv(world.namespace_id)
    }
    return {**vectors, **entries}


def run_operators(examples: int, steps: int) -> None:
    """So many operators, each typing so many commands. Raises with the steps that failed."""
    run_state_machine_as_test(
        Operator,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes minutes
        ),
    )


@click.command()
@click.option("--examples", type=int, default=500, show_default=True, help="How many operators.")
@click.option("--steps", type=int, default=25, show_default=True, help="Steps of each, at most.")
def main(examples: int, steps: int) -> None:
    """Search longer than a check does; a failure prints its steps and is kept for the next run."""
    run_operators(examples, steps)
    click.echo(f"{examples} operators, up to {steps} steps each: every one ended well")


if __name__ == "__main__":
    main()
