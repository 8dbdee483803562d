"""The crash-point sweep: every fault at every step of every stage, then the same command again.

Pairs strike a second time, in the life that should have mended the first.

`.venv/bin/python -m tests.faults.sweep` runs all of it and prints N; with `--stage`, `--fault` and
`--step` it replays one case, with `--then-fault` and `--then-step` a pair.
"""

import hashlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click
import orjson

from migrate.errors import ExitCode, MigrationError, UsageError
from migrate.run.choose.find import find_run, find_snapshot
from migrate.run.journal import Store
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.snapshot.sealed.verify import verify_points
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.layout import BUDGET, archive_name
from migrate.storage.local_folder import LocalFolder
from q2v.rules.scope import other_index
from reconcile.gate.record import is_newest_go
from reconcile.monitor.history import read_history
from tests.harness import several_world
from tests.harness.fakes.stepped_store import stored_indexes
from tests.harness.fakes.steps import NO_SPACE, Fault, Kind, Step
from tests.harness.several_world import SeveralWorld
from tests.harness.tiers import some_of_each
from tests.harness.world import POINTS, RESTORED, TARGET, World, WorldClock, open_world

WRITES = ("upsert", "delete_by_ids", "bulk", "bulk/delete")  # how a path of a write ends
REPLAY = ".venv/bin/python -m tests.faults.sweep --stage '{}' --fault {} --step {}"
SEVERAL_EVERY = 40
KILLS = 3  # `make check` strikes so much more often with a kill than with another fault
REPLAY_PAIR = f"{REPLAY} --then-fault {{}} --then-step {{}}"


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
    of: type[World] = World
    points: int = POINTS
    every: int = 1  # `make check` strikes at one in so many steps; `make faults` at each

    @contextmanager
    def open(self, folder: Path, *, clock: WorldClock | None = None) -> Iterator[World]:
        """The world of this stage that lies in a folder."""
        with open_world(folder, clock=clock, of=self.of, points=self.points) as world:
            yield world


@dataclass(slots=True)
class Truth:
    """What an undisturbed life looks like."""

    state_before_run: str  # of the target, before anything of ours
    state: str  # of the target, after it
    content_root: str
    exported: list[str]  # content roots of the exports of later writes
    journals: list[list[bytes]]  # of every run, after it
    archives: dict[str, str]  # name -> SHA-256 of the file, after it
    steps: list[Step]
    # Of the lives so far, see `_is_new`.
    left: set[str] = field(default_factory=set)  # what a strike left behind
    ends: set[str] = field(default_factory=set)


def _check_snapshot(world: World, truth: Truth) -> None:
    assert world.content_root() == truth.content_root, (
        "I8: other bytes than an undisturbed snapshot"
    )
    assert world.state() == truth.state_before_run, "a snapshot wrote to the target"


def _check_migrate(world: World, truth: Truth) -> None:
    assert world.state() == truth.state, "I5: the target is not what an undisturbed run leaves"


def _check_reconcile(world: World, truth: Truth) -> None:
    _check_only_read(world, truth)


def _migrate_each(world: World) -> None:
    for _ in world.each_index():
        world.migrate()


def _roll_back_each(world: World) -> None:
    for _ in world.each_index():
        _roll_back(world)


def _check_each_moved(world: World, truth: Truth) -> None:
    _check_migrate(world, truth)
    if not _is_new(world, truth.ends):
        return
    for _ in world.each_index():
        with world.calm():
            _reconcile(world)


def _check_each_undone(world: World, truth: Truth) -> None:
    assert world.state() == truth.state_before_run, "I7: an index is not as it was"


def _check_undone(world: World, truth: Truth) -> None:
    assert world.state() == truth.state_before_run, "I7: the target is not as it was"
    if not _is_new(world, truth.ends):
        return
    requests = len(world.requests)
    with world.calm():
        _roll_back(world)
    written = [one for one in world.requests[requests:] if one.method != "GET"]
    assert not written, "I7: a second rollback sent something"


def _is_new(world: World, known: set[str]) -> bool:
    """Whether no life before came to the same bytes in every file and the same target.

    The command that follows finds nothing else; the requests of the last five minutes make it wait
    and decide nothing. So it is run once for each state, of which a hundred lives have some.
    A write that was sent makes another state too: what only reads is held to send none.
    """
    digest = hashlib.sha256(f"{world.state()} {world.clock.boots} {_writes(world)}".encode())
    for path in sorted(one for one in world.folder.rglob("*") if one.is_file()):
        name = path.relative_to(world.folder)
        if name.parts[0] != TARGET:
            content = b"" if path.parent.name == BUDGET else path.read_bytes()
            digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    is_new = digest.hexdigest() not in known
    known.add(digest.hexdigest())
    return is_new


def _writes(world: World) -> list[str]:
    """The path of every write that the target was sent."""
    return [one.path for one in world.requests if one.path.endswith(WRITES)]


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


def _check_caught_up(world: World, truth: Truth) -> None:
    _check_migrate(world, truth)
    if _is_new(world, truth.ends):
        with world.calm():
            _reconcile(world)


def _archives(world: World) -> dict[str, str]:
    """Name -> SHA-256 of every archive."""
    paths = world.directory.path.glob(archive_name("*", "*"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _check_archived(world: World, truth: Truth) -> None:
    assert truth.archives, "an undisturbed life leaves an archive"
    assert _archives(world) == truth.archives, "I8: other bytes than an undisturbed archive"


def _gate(world: World) -> None:
    report = world.gate()
    assert report.verdict == "go", [(row.criterion.word, row.found) for row in report.rows]


def _check_gated(world: World, truth: Truth) -> None:
    # It asks for the right to write with requests that the target refuses.
    assert world.state() == truth.state, "a gate wrote to the target"
    with closing(find_run(world.directory, None, None)) as run:
        assert is_newest_go(run), "the record does not say what the gate said"


def _look(world: World) -> None:
    report = world.monitor()
    assert report.looked.verdict == "consistent", report.looked.why


def _check_looked(world: World, truth: Truth) -> None:
    _check_only_read(world, truth)
    with closing(find_run(world.directory, None, None)) as run:
        history = read_history(run)
    verdicts = [one.verdict for one in history]
    assert verdicts in (["consistent"], ["consistent"] * 2), f"the history holds {verdicts}"


def _check_restored(world: World, truth: Truth) -> None:
    """A reader that is not the restore finds the points of the snapshot, and a third life none."""
    with world.calm():
        again = world.restore()
    assert (again.written, again.equal) == (0, True), "a restore that is finished wrote points"
    found = world.folder / "again"
    with world.store().open_source() as source:
        report = take_snapshot(source, LocalFolder(found), SnapshotOptions(), world.runtime())
    digest = find_snapshot(world.directory, None, None).manifest.set_digest
    assert report.set_digest == digest, "I8: the restored collection is not the snapshot"
    assert stored_indexes(world.folder / RESTORED) == ["file_id"], "a payload index is missing"
    assert world.state() == truth.state, "a restore wrote to the target"


def _check_only_read(world: World, truth: Truth) -> None:
    assert world.state() == truth.state, "a command that only reads wrote to the target"
    assert not _writes(world), f"a command that only reads sent {_writes(world)[0]}"


def _check_emptied(world: World, truth: Truth) -> None:
    assert world.state() == truth.state, "the target is not what an undisturbed reset leaves"
    if not _is_new(world, truth.ends):
        return
    requests = len(world.requests)
    with world.calm():
        world.reset_target()
    writes = [one for one in world.requests[requests:] if one.path.endswith(WRITES)]
    assert not writes, "a second reset sent a write"


def _check_exported(world: World, truth: Truth) -> None:
    roots = {one.manifest.content_root for one in world.exports()}
    assert roots == set(truth.exported), "I8: another export than an undisturbed one"
    _check_only_read(world, truth)
    if not _is_new(world, truth.ends):
        return
    with world.calm():
        report = world.roll_back(leave_later_writes=False)
    assert (report.later_writes, report.not_exported) == (26, ()), "the export is no consent"


BEFORE_AN_EXPORT = (World.snapshot, World.migrate, World.go_on)
BEFORE_A_CATCH_UP = (World.snapshot, World.migrate, World.edit_source)
STAGES = {
    stage.name: stage
    for stage in (
        Stage("snapshot", (), World.snapshot, _check_snapshot),
        Stage("migrate", (World.snapshot,), World.migrate, _check_migrate),
        Stage("reconcile", (World.snapshot, World.migrate), _reconcile, _check_reconcile),
        Stage(
            "archive", (World.snapshot, World.migrate, _reconcile), World.archive, _check_archived
        ),
        Stage("catch-up", BEFORE_A_CATCH_UP, World.catch_up, _check_caught_up),
        Stage(
            "catch-up, then rollback",
            BEFORE_A_CATCH_UP,
            World.catch_up,
            _check_undone,
            _roll_back,
        ),
        Stage("gate", (World.snapshot, World.migrate, _reconcile), _gate, _check_gated),
        Stage("monitor", (World.snapshot, World.migrate), _look, _check_looked),
        Stage("reset-target", (World.snapshot, World.migrate), World.reset_target, _check_emptied),
        Stage("restore", (World.snapshot,), World.restore, _check_restored),
        Stage("export", BEFORE_AN_EXPORT, World.export_later, _check_exported),
        Stage("rollback", (World.snapshot, World.migrate), _roll_back, _check_undone),
        Stage(
            "migrate, then rollback", (World.snapshot,), World.migrate, _check_undone, _roll_back
        ),
        Stage(
            "migrate into two indexes",
            (World.snapshot,),
            _migrate_each,
            _check_each_moved,
            of=SeveralWorld,
            points=several_world.POINTS,
            every=SEVERAL_EVERY,
        ),
        Stage(
            "migrate into two indexes, then rollback",
            (World.snapshot,),
            _migrate_each,
            _check_each_undone,
            _roll_back_each,
            of=SeveralWorld,
            points=several_world.POINTS,
            every=SEVERAL_EVERY,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class StageTemplate:
    """A stage's world just before it, ready to be copied, and the truth about it."""

    stage: Stage
    path: Path
    elapsed_s: float  # of the world's clock when the template was left
    truth: Truth

    @contextmanager
    def world(self, folder: Path) -> Iterator[World]:
        """A copy of the template, alive."""
        shutil.copytree(self.path, folder)
        with self.stage.open(folder, clock=WorldClock(elapsed_s=self.elapsed_s)) as world:
            yield world
        shutil.rmtree(folder)


def build_template(stage: Stage, folder: Path) -> StageTemplate:
    """Live undisturbed once: up to the stage for the template, through it for the truth."""
    template, lived = folder / "template", folder / "lived"
    template.mkdir(parents=True)
    with stage.open(template) as world:
        state_before_run = world.state()
        for command in stage.before:
            with world.calm():
                command(world)
        elapsed_s = world.clock.monotonic_s()
    shutil.copytree(template, lived)
    with stage.open(lived, clock=WorldClock(elapsed_s=elapsed_s)) as world:
        with world.calm() as steps:
            stage.act(world)
        truth = Truth(
            state_before_run=state_before_run,
            state=world.state(),
            content_root=world.content_root(),
            exported=[one.manifest.content_root for one in world.exports()],
            journals=world.journals(),
            archives=_archives(world),
            steps=steps.done,
        )
    return StageTemplate(stage, template, elapsed_s, truth)


Case = tuple[Fault, int]  # what strikes, and at which step


def check_case(template: StageTemplate, fault: Fault, at: int, folder: Path) -> None:
    """One life with the fault at that step, the next one without; raises AssertionError.

    What a life leaves is checked, and the next one lived, once for each state.
    """
    try:
        with template.world(folder) as world:
            _live(world, template.stage.act, fault, at)
            world.check_secrecy()
            if _is_new(world, template.truth.left):
                _check_at_once(world, template.truth)
                _live_on(world, template)
    except (AssertionError, MigrationError) as error:
        replay = REPLAY.format(template.stage.name, fault.name, at)
        raise AssertionError(f"{error}\n  at {template.truth.steps[at - 1]}: {replay}") from error


def check_pair(template: StageTemplate, first: Case, second: Case, folder: Path) -> None:
    """Two lives with a fault each, the third without; raises AssertionError.

    The second life may end before its step: then nothing strikes in it.
    """
    try:
        with template.world(folder) as world:
            _live(world, template.stage.act, *first)
            _check_at_once(world, template.truth)
            kept = _whole_journals(world)
            _live(world, template.stage.undo or template.stage.act, *second)
            for before, now in zip(kept, _whole_journals(world), strict=False):
                expect(now[: len(before)] == before, "I2: a journal has changed")
            _check_each_index(world)
            world.check_secrecy()
            _live_on(world, template)
    except (AssertionError, MigrationError) as error:
        (one, at), (other, then) = first, second
        replay = REPLAY_PAIR.format(template.stage.name, one.name, at, other.name, then)
        raise AssertionError(f"{error}\n  {replay}") from error


def _live(world: World, act: Callable[[World], object], fault: Fault, at: int) -> None:
    """A command with the fault in it. What is raised on purpose must be the disk's fault."""
    acknowledged, uploads = world.acknowledged_uploads(), len(world.sent_uploads)
    left_by_a_kill = temporary_files(world)  # of an earlier life
    error: MigrationError | None = None
    with world.striking(fault, at):
        try:
            act(world)
        except MigrationError as raised:
            error = raised
    if error is not None:
        expect(error.exit_code is ExitCode.LOCAL_IO, f"exit {error.exit_code}, not 9: {error}")
        expect(fault in NO_SPACE or fault is Fault.BROKEN, f"{fault} became {error}")
        left = set(temporary_files(world)) - set(left_by_a_kill)
        expect(fault is Fault.BROKEN or not left, f"G04: temporary files left: {left}")
    again = acknowledged & set(world.sent_uploads[uploads:])
    expect(not again, f"I3: acknowledged uploads sent again: {again}")


def _live_on(world: World, template: StageTemplate) -> None:
    """The same command again, or the one that undoes, on a disk that works."""
    _live(world, template.stage.undo or template.stage.act, Fault.KILL, at=0)
    template.stage.check(world, template.truth)
    world.check_rate()
    world.check_secrecy()
    expect(not temporary_files(world), f"temporary files left: {temporary_files(world)}")


def expect(holds: bool, what: str) -> None:
    """Fail with these words unless it is so."""
    assert holds, what


def temporary_files(world: World) -> list[Path]:
    """What `durable_file` has not finished."""
    return list(world.directory.path.rglob(".*.q2v-tmp"))


def _check_at_once(world: World, truth: Truth) -> None:
    """What holds before anybody has repaired anything."""
    for lines, journal in zip(world.journals(), truth.journals, strict=False):
        whole = [line for line in lines if line.endswith(b"\n")]
        expect(whole == journal[: len(whole)], "I2: no prefix of an undisturbed journal")
        if lines != whole:
            torn_well = journal[len(whole)].startswith(lines[-1])
            expect(torn_well, "I2: a torn tail of something else")
    partly = _archives(world).items() - truth.archives.items()
    expect(not partly, f"an archive that is not whole: {partly}")
    for folder in sealed_folders(world.directory):
        for _ in Snapshot(folder).read(with_vectors=()):
            pass  # I4: whatever a manifest names is there and verifies
    for export in world.exports():
        verify_points(export, world.progress)
    _check_each_index(world)
    world.check_secrecy()


def _check_each_index(world: World) -> None:
    for index in world.each_index():
        _check_partition(world)
        _check_references(world, index)


def _check_partition(world: World) -> None:
    """I1: every point is in exactly one of pending, in doubt, acknowledged, left behind."""
    try:
        run = find_run(world.directory, None, None, own=world.own)
    except UsageError:
        return  # no run yet
    with closing(run):
        state, written_rows = run.state(), run.written_rows
        left_behind = frozenset(run.excluded_rows())
    if not state.rounds:
        return
    spans = [(one.first, one.end) for one in state.rounds[0].pending.ranges]
    spans += [
        (one.first, one.end) for one in state.rounds[0].batches[Store.VECTORS] if not one.refused
    ]
    points = run.plan.points
    rows = [row for first, end in spans for row in range(first, min(end, points))]
    written = set(range(points)) if written_rows is None else written_rows
    moving = sorted(row for row in rows if row not in left_behind and row in written)
    expect(
        moving == sorted(written - left_behind),
        f"I1: no partition of {points} points: {spans}, left behind {sorted(left_behind)}",
    )


def _whole_journals(world: World) -> list[list[bytes]]:
    return [[line for line in lines if line.endswith(b"\n")] for lines in world.journals()]


def _check_references(world: World, index: str) -> None:
    """I4: a KV entry of ours names vectors that are there; the counter comes after the entries."""
    index_of, counter_key = other_index(world.settings), world.counter_key
    entries = {
        key: value
        for key, value, _, _ in world.app.store.read_kv(world.namespace_id)
        if index_of(key) is None
    }
    vectors = {vector_id for vector_id, *_ in world.app.store.read_vectors(index)}
    files = {key: orjson.loads(value) for key, value in entries.items() if key.startswith("file:")}
    for key, ids in files.items():
        if ids not in (["old"], ["x"]):  # what was there before us
            assert vectors.issuperset(ids), f"I4: {key} names vectors that are not there"
    if entries[counter_key] != b"4":
        assert len(files) == world.files_of(index), "I4: the counter was written before the entries"


def faults_at(step: Step) -> list[Fault]:
    """What can strike at a step."""
    return [fault for fault in Fault if step.takes(fault)]


def share_of(template: StageTemplate) -> Iterator[Case]:
    """The cases of `make check`: at some steps of each kind one fault, and every fault somewhere.

    Of two stages with one command each takes every second one of these steps.
    """
    steps, stage = template.truth.steps, template.stage
    if stage.every > 1:
        first = 1 if stage.undo is None else 1 + stage.every // 2
        chosen = list(range(first, len(steps) + 1, stage.every))
    else:
        chosen = some_of_each([(step.kind, step.place) for step in steps], is_no_question)
        if any(one.act is stage.act and one is not stage for one in STAGES.values()):
            chosen = chosen[stage.undo is not None :: 2]
    times = Counter[Fault]()
    for at in chosen:
        fault = min(
            faults_at(steps[at - 1]),
            key=lambda one: times[one] / (KILLS if one is Fault.KILL else 1),
        )
        times[fault] += 1
        yield fault, at
    if stage.every > 1:
        return
    for fault in Fault:
        takes = [at for at, step in enumerate(steps, start=1) if step.takes(fault)]
        if takes and not times[fault]:
            yield fault, takes[len(takes) // 2]


def is_no_question(kind: tuple[Kind, str]) -> bool:
    """Whether it is a touch of the disk, or a request that writes."""
    what, place = kind
    return what is not Kind.SEND or place.endswith(WRITES)


def all_of(template: StageTemplate) -> Iterator[Case]:
    """Every fault at every step."""
    for at, step in enumerate(template.truth.steps, start=1):
        for fault in faults_at(step):
            yield fault, at


def pairs_of(template: StageTemplate, count: int, seed: int) -> Iterator[tuple[Case, Case]]:
    """So many pairs by chance, every first step as likely as another."""
    chance = random.Random(f"{seed}/{template.stage.name}")
    steps = template.truth.steps
    struck = [at for at, step in enumerate(steps, start=1) if faults_at(step)]
    for _ in range(count):
        at = chance.choice(struck)
        first = chance.choice(faults_at(steps[at - 1])), at
        yield first, (chance.choice(list(Fault)), chance.randint(1, len(steps)))


FAULT_NAMES = click.Choice([fault.name for fault in Fault])


@click.command()
@click.option("--stage", "stage_name", type=click.Choice(list(STAGES)), help="Only this stage.")
@click.option("--fault", type=FAULT_NAMES, help="Only this fault.")
@click.option("--step", type=int, help="Only this step.")
@click.option("--then-fault", type=FAULT_NAMES, help="Only this pair, with --then-step.")
@click.option("--then-step", type=int, default=0, help="The step of the second life.")
@click.option("--pairs", type=int, default=500, show_default=True, help="Pairs of each stage.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which pairs.")
def main(
    *,
    stage_name: str | None,
    fault: str | None,
    step: int | None,
    then_fault: str | None,
    then_step: int,
    pairs: int,
    seed: int,
) -> None:
    """Sweep; print N, the cases and the failures."""
    failures = 0
    for stage in [STAGES[stage_name]] if stage_name else STAGES.values():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            template = build_template(stage, folder)
            checks: list[Callable[[Path], None]] = []
            if then_fault is not None and fault is not None and step is not None:
                pair = (Fault[fault], step), (Fault[then_fault], then_step)
                checks.append(partial(check_pair, template, *pair))
            else:
                checks += [
                    partial(check_case, template, one, at)
                    for one, at in all_of(template)
                    if fault in (None, one.name) and step in (None, at)
                ]
                if fault is None and step is None:
                    some = pairs_of(template, pairs, seed)
                    checks += [partial(check_pair, template, *pair) for pair in some]
            failures += _count_failures(checks, folder / "life")
        sends = sum(one.kind is Kind.SEND for one in template.truth.steps)
        click.echo(
            f"{stage.name}: N = {len(template.truth.steps)} steps ({sends} requests), "
            f"{len(checks)} cases"
        )
    raise SystemExit(bool(failures))


def _count_failures(checks: list[Callable[[Path], None]], folder: Path) -> int:
    failures = 0
    for check in checks:
        try:
            check(folder)
        except AssertionError as error:
            failures += 1
            click.echo(error)
            shutil.rmtree(folder, ignore_errors=True)
    return failures


if __name__ == "__main__":
    main()
