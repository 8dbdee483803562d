"""The runbook of a migration is a document that can be followed: this test follows it.

It runs the commands that stand in the page, in their order, against the sandbox with the strict
profile, with a writer until the freeze. At the gate it aborts once and takes the page's way back.
Before a step the accident happens that the page shows there, and ends the command as shown.

After a change of what a command prints: `ACCEPT_RUNBOOK=1 .venv/bin/python -m pytest
tests/e2e/after/test_runbook.py`, then `.venv/bin/python -m tools.runbook_page > RUNBOOK.md`, and
read the difference that git shows.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.clock import SystemClock
from migrate.model.stamps import iso_stamp
from q2v import wiring
from q2v.main import main
from q2v.runbook.timeline import steps, way_back
from reconcile.monitor.history import DAY_S, DAYS_WANTED
from sandbox.profile import STRICT
from tests.harness.running.terminal import on_terminal
from tests.harness.running.workbench import Workbench, chunk, points, unit_vectors, workbench
from tests.q2v.screens.excerpt import check_samples, excerpt
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tools.runbook_page import NAMES

POINTS = 60
LOST, LATER = "file-0001_2", "written-later_0"
COLUMNS = 100
COUNTER_KEY = "_vector_count"
TROUBLES = {
    step.name: step.trouble
    for step in [*steps(NAMES, ""), *way_back(NAMES)]
    if step.trouble is not None
}
BLOCK = re.compile(r"<!-- step: ([a-z-]+) exits: ([\d ]+) -->\n```sh\n(.+?)\n```", re.DOTALL)
# The same behaviour with shorter delays, as `make rehearse` has it.
PROFILE = replace(
    STRICT,
    commit_delay_s=0.3,
    count_lag_s=0.5,
    foreign_watermark_after_s=0.3,
    stale_age_s=0.3,
    kv_visible_after_s=0.3,
    kv_miss_cached_s=0.3,
)
# A read of KV that differs is made again when KV must show the last write.
SETTINGS = {"Q2V_LIMITS_KV_SETTLE_S": str(PROFILE.kv_visible_after_s + PROFILE.kv_miss_cached_s)}


@dataclass(frozen=True)
class Block:
    """A command as it stands in the page."""

    step: str
    exits: tuple[int, ...]
    words: tuple[str, ...]  # without `q2v`


def blocks(page: str) -> list[Block]:
    """Every command of the page's steps, in order."""
    found = []
    for step, exits, command in BLOCK.findall(page):
        program, *words = shlex.split(command)
        assert program == "q2v"
        found.append(Block(step, tuple(map(int, exits.split())), tuple(words)))
    return found


class Writer:
    """Adds and changes a point before every page that is read, until the freeze."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._turns = 0
        self._vectors = unit_vectors(500)

    def __call__(self, collection: StoredCollection) -> None:
        if self.is_stopped:
            return
        self._turns += 1
        first, *rest = collection.points
        changed = replace(first, payload={**(first.payload or {}), "text": f"turn {self._turns}"})
        new = StoredPoint(
            id=100_000 - self._turns,
            vectors={"": self._vectors[self._turns % 500].tolist()},
            payload=chunk(f"later-{self._turns // 3}", self._turns % 3),
        )
        collection.points = [changed, *rest, new]


class LaterClock(SystemClock):
    """The time of this machine, and some days."""

    days = 0.0

    @override
    def wall_s(self) -> float:
        """Seconds since 1970."""
        return super().wall_s() + self.days * DAY_S


Accident = Callable[[Workbench, Writer], AbstractContextManager[None]]


@contextmanager
def an_index_of_another_shape(bench: Workbench, _: Writer) -> Iterator[None]:
    """Takes the name that the settings have."""
    bench.sandbox.store.create_vector_index(bench.index, 32, "cosine")
    yield
    bench.sandbox.store.vectors.delete_index(bench.index)


def a_setting(name: str, value: str) -> Accident:
    """Another value of a variable."""

    @contextmanager
    def accident(bench: Workbench, _: Writer) -> Iterator[None]:
        before = bench.environment.get(name)
        bench.environment[name] = value
        yield
        del bench.environment[name]
        if before is not None:
            bench.environment[name] = before

    return accident


@contextmanager
def half_of_the_source(bench: Workbench, writer: Writer) -> Iterator[None]:
    """Points are gone."""
    kept = bench.collection.points
    bench.collection.points = kept[: len(kept) // 2]
    writer.is_stopped = True
    yield
    bench.collection.points = kept
    writer.is_stopped = False


@contextmanager
def a_writer(_: Workbench, writer: Writer) -> Iterator[None]:
    """The freeze is not one."""
    yield
    writer.is_stopped = True


@contextmanager
def a_lost_vector(bench: Workbench, _: Writer) -> Iterator[None]:
    """Another program deletes one; `q2v migrate` repairs it."""
    bench.sandbox.store.remove_vector(bench.index, LOST)
    yield
    repaired = bench.run("migrate")
    assert repaired.exit_code == 0, repaired.stderr


@contextmanager
def a_wrong_counter(bench: Workbench, _: Writer) -> Iterator[None]:
    """As a Worker leaves it that stops before its last write."""
    value = bench.entries()[COUNTER_KEY]
    bench.sandbox.store.put_kv(bench.namespace_id, COUNTER_KEY, b"7")
    yield
    bench.sandbox.store.put_kv(bench.namespace_id, COUNTER_KEY, value)


@contextmanager
def a_write_of_the_new_side(bench: Workbench, _: Writer) -> Iterator[None]:
    """A vector that the run did not write."""
    values, metadata = bench.stored()[LOST]
    bench.sandbox.store.put_vector(bench.index, LATER, values, dict(metadata or {}))
    yield
    bench.sandbox.store.remove_vector(bench.index, LATER)


@contextmanager
def nothing_at_all(_: Workbench, __: Writer) -> Iterator[None]:
    """It is too early."""
    yield


# Before a step: what goes wrong, and the commands of which steps are run then.
ACCIDENTS: Mapping[str, tuple[Accident, tuple[str, ...]]] = {
    "plan": (an_index_of_another_shape, ("plan", "provision")),
    "snapshot-moving": (a_setting("QDRANT_API_KEY", "former-key"), ("snapshot-moving",)),
    "catch-up": (half_of_the_source, ("catch-up",)),
    "catch-up-frozen": (a_writer, ("catch-up-frozen",)),
    "reconcile": (a_lost_vector, ("reconcile", "gate", "archive")),
    "back-preview": (a_setting("Q2V_VECTOR_INDEX", "another-index"), ("back-preview",)),
    "back-execute": (a_write_of_the_new_side, ("back-execute",)),
    "monitor": (a_wrong_counter, ("monitor",)),
    "archive": (nothing_at_all, ("decommission",)),
}
NO_PATIENCE = a_setting("Q2V_LIMITS_SETTLE_TIMEOUT_S", "0")


@dataclass
class Operator:
    """Follows the page; what is run for the first time is run on a terminal."""

    bench: Workbench
    writer: Writer
    page: Mapping[str, Block]
    screens: dict[str, str] = field(default_factory=dict)

    def take(self, some: Sequence[Block]) -> None:
        """Run commands; each has to end as the page says."""
        for block in some:
            if block.step == "rehearse":
                continue  # tests/e2e/after/test_rehearse.py runs it
            if block.step in self.screens:
                known = self.bench.run_as_typed(block.words)
                assert known.exit_code in block.exits, (block, known.stdout, known.stderr)
                continue
            accident, meant = ACCIDENTS.get(block.step, (nothing_at_all, ()))
            with accident(self.bench, self.writer):
                for step in meant:
                    self.fail(self.page[step])
            code, shown = self.show(block)
            assert code in block.exits, (block, shown)
            self.screens[block.step] = excerpt(shown)
            if block.step == "provision":
                (namespace,) = re.findall(r"Q2V_KV_NAMESPACE_ID=(\w+)", "".join(shown)) or [None]
                if namespace is not None:
                    self.bench.environment["Q2V_KV_NAMESPACE_ID"] = namespace

    def fail(self, block: Block) -> None:
        """Run a command that has to end as the page says of the trouble."""
        code, shown = self.show(block)
        trouble = TROUBLES[block.step]
        assert code == trouble.exit_code, (block, shown)
        self.screens[f"{block.step} {code}"] = excerpt(shown, whole=True)

    def show(self, block: Block) -> tuple[int, list[str]]:
        """A command as it stands, on a terminal; its exit code and the lines that it shows."""
        program = (
            f"from tests.e2e.after.test_runbook import run_later; run_later({LaterClock.days})"
        )
        with on_terminal(
            *block.words,
            environment=self.bench.environment,
            cwd=self.bench.folder,
            columns=COLUMNS,
            program=("-c", program) if LaterClock.days else ("-m", "q2v"),
        ) as terminal:
            return terminal.end(), terminal.shown()


def run_later(days: float) -> None:
    """`q2v` on a later day."""
    LaterClock.days = days
    wiring.system_clock = LaterClock
    main()


@pytest.fixture
def evening(tmp_path: Path) -> Iterator[tuple[Workbench, Writer]]:
    """A collection that others write to, and nothing at the target."""
    writer = Writer()
    with workbench(
        tmp_path, points(POINTS), profile=PROFILE, settings=SETTINGS, provision=False
    ) as bench:
        bench.collection.before_page = writer
        yield bench, writer


@pytest.mark.slow
@pytest.mark.fault("J05")
def test_the_page_leads_through_the_evening_and_back_and_through_it_again(
    evening: tuple[Workbench, Writer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, writer = evening
    out = tmp_path / "runbook.md"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LaterClock, "days", 0.0)
    monkeypatch.setattr(wiring, "system_clock", LaterClock)
    begins = iso_stamp(SystemClock().wall_s() + 60)
    made = bench.run_as_typed(("runbook", "--at", begins, "--out", str(out), "--json"))
    assert made.exit_code == 0, made.stderr
    page = out.read_text(encoding="utf-8")
    found = blocks(page)
    names = [block.step for block in found]
    operator = Operator(bench, writer, {block.step: block for block in found})
    before = {step.name for step in way_back(NAMES)}
    ahead = [block for block in found if block.step not in before]
    back = [block for block in found if block.step in before]
    gate = names.index("gate")

    operator.take(ahead[: gate + 1])
    state = bench.state()
    operator.take(back)
    assert (bench.stored(), bench.entries()) == ({}, {}), "as before the first write"
    with NO_PATIENCE(bench, writer):
        operator.fail(operator.page["migrate"])
    operator.take(ahead[names.index("migrate") : names.index("monitor")])

    assert bench.state() == state
    moved = [point.payload or {} for point in bench.collection.points]
    assert set(bench.stored()) == {f"{one['file_id']}_{one['chunk_index']}" for one in moved}
    assert len(moved) > POINTS, "the writer wrote"
    for day in range(DAYS_WANTED + 1):
        LaterClock.days = float(day)
        operator.take([operator.page["monitor"]])
    operator.take(ahead[names.index("monitor") + 1 :])
    check_samples(operator.screens)


@pytest.mark.slow
def test_every_step_is_in_the_page_with_its_time_and_its_way_back(tmp_path: Path) -> None:
    with workbench(tmp_path, points(10), provision=False) as bench:
        result = bench.run("runbook", "--at", "2026-12-05T20:00+00:00")
        shown = bench.run("runbook", as_json=False).stdout
        refused = bench.run("runbook", "--until", "23:30")

    page = result.document["runbook"]
    for step in [*steps(NAMES, ""), *way_back(NAMES)]:
        assert f"(`{step.name}`)" in page
        assert step.title in page
    assert "2026-11-28 20:00, T-7 days" in page
    assert "2026-12-12" in page
    assert "10 points" not in page
    assert "| points | 10, of which 10 move in 2 files; 0 are left out |" in page
    assert "`chunk-vectors`" in page
    assert "q2v gate --until 23:30" in shown
    assert refused.exit_code == 2
    assert bench.directory.name in page, "commands name the folder"
