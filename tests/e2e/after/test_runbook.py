"""The runbook of a migration is a document that can be followed: this test follows it.

It runs the commands that stand in the page, in their order, against the sandbox with the strict
profile, with a writer until the freeze. At the gate it aborts once and takes the page's way back.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.clock import SystemClock
from migrate.model.stamps import iso_stamp
from q2v import wiring
from q2v.runbook.timeline import steps, way_back
from reconcile.monitor.history import DAY_S, DAYS_WANTED
from sandbox.profile import STRICT
from tests.harness.running.workbench import Workbench, chunk, points, unit_vectors, workbench
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tools.runbook_page import NAMES

POINTS = 60
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


@dataclass
class Operator:
    """Follows the page."""

    bench: Workbench
    writer: Writer

    def take(self, some: Sequence[Block]) -> None:
        """Run commands; each has to end as the page says."""
        for block in some:
            if block.step == "catch-up-frozen":
                self.writer.is_stopped = True  # the step before it
            if block.step == "rehearse":
                continue  # tests/e2e/after/test_rehearse.py runs it
            result = self.bench.run_as_typed(block.words)
            assert result.exit_code in block.exits, (block, result.stdout, result.stderr)
            if block.step == "provision":
                (namespace,) = re.findall(r"Q2V_KV_NAMESPACE_ID=(\w+)", result.stdout) or [None]
                if namespace is not None:
                    self.bench.environment["Q2V_KV_NAMESPACE_ID"] = namespace


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
    begins = iso_stamp(SystemClock().wall_s() + 60)
    made = bench.run("runbook", "--at", begins, "--out", str(out))
    assert made.exit_code == 0, made.stderr
    page = out.read_text(encoding="utf-8")
    found = blocks(page)
    names = [block.step for block in found]
    operator = Operator(bench, writer)
    before = {step.name for step in way_back(NAMES)}
    ahead = [block for block in found if block.step not in before]
    back = [block for block in found if block.step in before]
    gate = names.index("gate")

    operator.take(ahead[: gate + 1])
    state = bench.state()
    operator.take(back)
    assert (bench.stored(), bench.entries()) == ({}, {}), "as before the first write"
    operator.take(ahead[names.index("migrate") : names.index("monitor")])

    assert bench.state() == state
    moved = [point.payload or {} for point in bench.collection.points]
    assert set(bench.stored()) == {f"{one['file_id']}_{one['chunk_index']}" for one in moved}
    assert len(moved) > POINTS, "the writer wrote"
    monkeypatch.setattr(wiring, "system_clock", LaterClock)
    (watch,) = [block for block in ahead if block.step == "monitor"]
    for day in range(DAYS_WANTED + 1):
        LaterClock.days = float(day)
        operator.take([watch])
    operator.take(ahead[names.index("monitor") + 1 :])


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
