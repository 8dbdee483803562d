"""The crash-point sweep: every fault at every step of every stage, then the same command again.

`python -m tests.faults.sweep` runs all of it and prints N; with `--stage`, `--fault` and `--step`
it replays one case.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import orjson

from migrate.adapters.snapshot_folder import Snapshot, sealed_folders
from migrate.errors import ExitCode, MigrationError
from tests.faults.steps import NO_SPACE, Fault, Kind, Step
from tests.faults.world import World, WorldClock, open_world

REPLAY = "python -m tests.faults.sweep --stage '{}' --fault {} --step {}"


@dataclass(frozen=True, slots=True)
class Stage:
    """One thing an operator does, what comes before it, and what must hold in the end.

    `undo` is what is done after the fault in place of the same command again.
    """

    name: str
    before: tuple[Callable[[World], object], ...]
    act: Callable[[World], object]
    check: Callable[[World, "Truth"], None]
    undo: Callable[[World], object] | None = None


@dataclass(slots=True)
class Truth:
    """What an undisturbed life looks like."""

    state_before_run: str  # of the target, before anything of ours
    state_at_start: str  # of the target, before the stage
    state: str  # of the target, after it
    content_root: str
    journal: list[bytes]  # the newest run's, after it
    steps: list[Step]


def _check_snapshot(world: World, truth: Truth) -> None:
    assert world.content_root() == truth.content_root, (
        "I8: other bytes than an undisturbed snapshot"
    )
    assert world.state() == truth.state_before_run, "a snapshot wrote to the target"


def _check_migrate(world: World, truth: Truth) -> None:
    assert world.state() == truth.state, "I5: the target is not what an undisturbed run leaves"


def _check_reconcile(world: World, truth: Truth) -> None:
    assert world.state() == truth.state, "a reconcile wrote to the target"
    writes = [one for one in world.requests if one.path.endswith(("upsert", "delete_by_ids"))]
    assert not writes, "a reconcile sent a write"


def _check_undone(world: World, truth: Truth) -> None:
    assert world.state() == truth.state_before_run, "I7: the target is not as it was"
    requests = len(world.requests)
    with world.calm():
        _roll_back(world)
    written = [one for one in world.requests[requests:] if one.method != "GET"]
    assert not written, "I7: a second rollback sent something"


def _roll_back(world: World) -> None:
    """As an operator would: where nothing was written yet, the tool says so."""
    try:
        report = world.roll_back()
    except MigrationError as error:
        if error.exit_code in {ExitCode.PRECONDITION, ExitCode.USAGE}:
            return
        raise
    assert not report.conflicts, f"I7: our own writes taken for somebody else's: {report.conflicts}"


def _reconcile(world: World) -> None:
    report = world.reconcile()
    assert report.verdict == "equal", f"I6: {report.verdict}: {report.why}"


STAGES = {
    stage.name: stage
    for stage in (
        Stage("snapshot", (), World.snapshot, _check_snapshot),
        Stage("migrate", (World.snapshot,), World.migrate, _check_migrate),
        Stage("reconcile", (World.snapshot, World.migrate), _reconcile, _check_reconcile),
        Stage("rollback", (World.snapshot, World.migrate), _roll_back, _check_undone),
        Stage(
            "migrate, then rollback", (World.snapshot,), World.migrate, _check_undone, _roll_back
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Bench:
    """A stage's world just before it, ready to be copied, and the truth about it."""

    stage: Stage
    template: Path
    elapsed_s: float  # of the world's clock when the template was left
    truth: Truth

    def cases(self, fault: Fault) -> list[int]:
        """The steps at which the fault can strike, from 1."""
        return [at for at, step in enumerate(self.truth.steps, start=1) if step.takes(fault)]

    @contextmanager
    def world(self, folder: Path) -> Iterator[World]:
        """A copy of the template, alive."""
        shutil.copytree(self.template, folder)
        with open_world(folder, clock=WorldClock(elapsed_s=self.elapsed_s)) as world:
            yield world
        shutil.rmtree(folder)


def build_bench(stage: Stage, folder: Path) -> Bench:
    """Live undisturbed once: up to the stage for the template, through it for the truth."""
    template, lived = folder / "template", folder / "lived"
    template.mkdir(parents=True)
    with open_world(template) as world:
        state_before_run = world.state()
        for command in stage.before:
            with world.calm():
                command(world)
        elapsed_s = world.clock.monotonic_s()
        state_at_start = world.state()
    shutil.copytree(template, lived)
    with open_world(lived, clock=WorldClock(elapsed_s=elapsed_s)) as world:
        with world.calm() as steps:
            stage.act(world)
        truth = Truth(
            state_before_run=state_before_run,
            state_at_start=state_at_start,
            state=world.state(),
            content_root=world.content_root(),
            journal=world.journal_lines(),
            steps=steps.done,
        )
    return Bench(stage, template, elapsed_s, truth)


def check_case(bench: Bench, fault: Fault, at: int, folder: Path) -> None:
    """One life with the fault at that step, the next one without; raises AssertionError."""
    try:
        with bench.world(folder) as world:
            _live(world, bench.stage, fault, at)
            _check_at_once(world, bench.truth)
            _live_on(world, bench)
    except (AssertionError, MigrationError) as error:
        replay = REPLAY.format(bench.stage.name, fault.name, at)
        raise AssertionError(f"{error}\n  at {bench.truth.steps[at - 1]}: {replay}") from error


def _live(world: World, stage: Stage, fault: Fault, at: int) -> None:
    """The stage with the fault in it. What is raised on purpose must be the disk's fault."""
    error: MigrationError | None = None
    with world.striking(fault, at):
        try:
            stage.act(world)
        except MigrationError as raised:
            error = raised
    if error is not None:
        expect(error.exit_code is ExitCode.LOCAL_IO, f"exit {error.exit_code}, not 9: {error}")
        expect(fault in NO_SPACE or fault is Fault.BROKEN, f"{fault} became {error}")
        expect(fault is Fault.BROKEN or not temporary_files(world), "G04: temporary files left")


def _live_on(world: World, bench: Bench) -> None:
    """The same command again, or the one that undoes, on a disk that works."""
    acknowledged = world.acknowledged_uploads()
    uploads = len(world.uploads())
    with world.calm():
        (bench.stage.undo or bench.stage.act)(world)
    again = acknowledged & set(world.uploads()[uploads:])
    expect(not again, f"I3: acknowledged uploads sent again: {again}")
    bench.stage.check(world, bench.truth)
    world.check_rate()
    world.check_secrecy()
    expect(not temporary_files(world), f"temporary files left: {temporary_files(world)}")


def expect(holds: bool, what: str) -> None:
    """Fail with these words unless it is so."""
    assert holds, what


def temporary_files(world: World) -> list[Path]:
    """What `durable_file` has not finished."""
    return list(world.directory.rglob(".*.q2v-tmp"))


def _check_at_once(world: World, truth: Truth) -> None:
    """What holds before anybody has repaired anything."""
    lines = world.journal_lines()
    whole = [line for line in lines if line.endswith(b"\n")]
    expect(whole == truth.journal[: len(whole)], "I2: no prefix of an undisturbed journal")
    if lines != whole:
        torn_well = truth.journal[len(whole)].startswith(lines[-1])
        expect(torn_well, "I2: a torn tail of something else")
    for folder in sealed_folders(world.directory):
        for _ in Snapshot(folder).read(with_vectors=()):
            pass  # I4: whatever a manifest names is there and verifies
    _check_references(world)
    world.check_secrecy()


def _check_references(world: World) -> None:
    """I4: a KV entry of ours names vectors that are there; the counter comes after the entries."""
    entries = {key: value for key, value, _, _ in world.app.store.read_kv(world.namespace_id)}
    vectors = {vector_id for vector_id, *_ in world.app.store.read_vectors("small")}
    files = {key: orjson.loads(value) for key, value in entries.items() if key.startswith("file:")}
    for key, ids in files.items():
        if ids not in (["old"], ["x"]):  # what was there before us
            assert vectors.issuperset(ids), f"I4: {key} names vectors that are not there"
    if entries[world.settings.kv.counter_key] != b"4":
        assert len(files) == 6, "I4: the counter was written before the entries"


def faults_at(step: Step) -> list[Fault]:
    """What can strike at a step."""
    return [fault for fault in Fault if step.takes(fault)]


def share_of(bench: Bench) -> Iterator[tuple[Fault, int]]:
    """The cases of `make check`: a kill at every step, and one other fault, in turns."""
    for at, step in enumerate(bench.truth.steps, start=1):
        possible = faults_at(step)
        if Fault.KILL in possible:
            yield Fault.KILL, at
        others = [fault for fault in possible if fault is not Fault.KILL]
        if others:
            yield others[at % len(others)], at


def all_of(bench: Bench) -> Iterator[tuple[Fault, int]]:
    """Every fault at every step."""
    for at, step in enumerate(bench.truth.steps, start=1):
        for fault in faults_at(step):
            yield fault, at


@click.command()
@click.option("--stage", "stage_name", type=click.Choice(list(STAGES)), help="Only this stage.")
@click.option(
    "--fault", type=click.Choice([fault.name for fault in Fault]), help="Only this fault."
)
@click.option("--step", type=int, help="Only this step.")
def main(stage_name: str | None, fault: str | None, step: int | None) -> None:
    """Sweep; print N, the cases and the failures."""
    failures = 0
    for stage in [STAGES[stage_name]] if stage_name else STAGES.values():
        with tempfile.TemporaryDirectory() as folder:
            bench = build_bench(stage, Path(folder))
            cases = [
                (one, at)
                for one, at in all_of(bench)
                if fault in (None, one.name) and step in (None, at)
            ]
            for one, at in cases:
                try:
                    check_case(bench, one, at, Path(folder) / "life")
                except AssertionError as error:
                    failures += 1
                    click.echo(error)
                    shutil.rmtree(Path(folder) / "life", ignore_errors=True)
        sends = sum(one.kind is Kind.SEND for one in bench.truth.steps)
        click.echo(
            f"{stage.name}: N = {len(bench.truth.steps)} steps ({sends} requests), "
            f"{len(cases)} cases"
        )
    raise SystemExit(bool(failures))


if __name__ == "__main__":
    main()
