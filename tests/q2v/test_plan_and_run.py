"""The plan's figures are those of the run that follows, and each number has one place.

The run is the tool's own, over the sandbox in the strict profile at the delays of the live service,
whose tenth that profile has; time passes only in waits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest
from typing_extensions import override

from migrate.plan.estimate import SETTLE_S_MIN, Estimate
from migrate.plan.make import PlanFindings, check_snapshot, open_id_table
from migrate.ports import Clock
from migrate.run.choose.find import find_snapshot
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.folder_lock import FolderLock
from migrate.upload.report import MigrateReport
from q2v.output.render import format_bytes
from q2v.rules.stages import plan_rules
from reconcile.report.report import ReconcileReport
from sandbox.profile import STRICT
from tests.harness.fakes.silence import Silence
from tests.harness.network import Trouble
from tests.harness.running.workbench import points, workbench
from tests.harness.world import World, open_world

POINTS = 6_000
BUDGET = 100  # requests in five minutes: the work takes many times as long as settling
REQUEST_S = 0.3  # between a request and its answer
OFF_MAX = 0.1
LIVE = replace(
    STRICT,
    name="strict, as slow as the live service",
    commit_delay_s=10 * STRICT.commit_delay_s,
    count_lag_s=10 * STRICT.count_lag_s,
    stale_age_s=10 * STRICT.stale_age_s,
    list_cursor_life_s=10 * STRICT.list_cursor_life_s,
    kv_visible_after_s=10 * STRICT.kv_visible_after_s,
    kv_miss_cached_s=10 * STRICT.kv_miss_cached_s,
)


class Slow(Trouble):
    """Every request takes its time."""

    def __init__(self, world: World) -> None:
        self._world = world

    @override
    def before(self) -> None:
        self._world.clock.wait(REQUEST_S)


@dataclass(frozen=True, slots=True)
class Played:
    """A plan, and the evening that followed it."""

    findings: PlanFindings
    figures: Estimate
    moved: MigrateReport
    compared: ReconcileReport
    minutes: float  # of migrate and reconcile
    waited: float  # minutes of these, until the index showed what was written
    requests: int
    upload_requests: int
    upload_bytes: int
    announced: dict[str, int]  # piece of work -> requests, by the progress


class Announced(Silence):
    """Keeps what the progress announced of each piece of work: most requests, minutes."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.requests: dict[str, int] = {}
        self._clock = clock
        self._begun: list[tuple[str, float]] = []

    @override
    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        super().start(what, total=total, unit=unit, requests=requests)
        self.requests[what] = max(requests, self.requests.get(what, 0))
        self._begun.append((what, self._clock.monotonic_s()))

    def minutes(self, what: str) -> float:
        """The time of all pieces of work of this name."""
        ends = [begun for _, begun in self._begun[1:]] + [self._clock.monotonic_s()]
        pieces = zip(self._begun, ends, strict=True)
        return sum(end - begun for (name, begun), end in pieces if name == what) / 60


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("evening")
    with open_world(folder, points=POINTS, profile=LIVE, requests_max=BUDGET) as world:
        limits = replace(
            world.settings.limits,
            vectors_per_upload=2_500,
            requests_per_5min=BUDGET,
            poll_s=5.0,
        )
        world.settings = replace(world.settings, limits=limits)
        slow, announced = Slow(world), Announced(world.clock)
        world.progress = announced
        world.weather = lambda number, request: slow
        with world.calm():
            take(world)
            rules = plan_rules(world.settings)
            snapshot = find_snapshot(world.directory, None, None)
            with open_id_table(world.directory, POINTS) as table:
                values, findings = check_snapshot(snapshot, rules, table, world.runtime())
            assert rules.window is not None
            figures = rules.window.estimate(
                findings.load(values, rules.writes), request_s=REQUEST_S
            )
            began_s, sent = world.clock.monotonic_s(), len(world.requests)
            moved = world.migrate()
            compared = world.reconcile()
            minutes = (world.clock.monotonic_s() - began_s) / 60
            waited = announced.minutes("waiting until processed")
        requests = world.requests[sent:]
        uploads = [one for one in requests if one.path.endswith("/upsert")]
        yield Played(
            findings,
            figures,
            moved,
            compared,
            minutes,
            waited,
            len(requests),
            len(uploads),
            sum(one.body_bytes for one in uploads),
            announced.requests,
        )


def take(world: World) -> None:
    """A snapshot in parts of the usual size."""
    with FolderLock(world.directory):
        take_snapshot(world.source, world.directory, SnapshotOptions(), world.runtime())


def off(planned: float, found: float) -> float:
    return abs(planned - found) / found


@pytest.mark.slow
def test_counts_are_exact(played: Played) -> None:
    figures, moved = played.figures, played.moved

    assert figures.vectors == played.findings.vectors == moved.acknowledged == POINTS
    assert figures.files == played.findings.files == moved.kv_entries
    assert figures.upload_requests == played.upload_requests
    assert figures.contents_read == played.compared.coverage.checked
    assert played.compared.verdict == "equal"


def test_bytes_requests_and_minutes_are_those_of_the_run(played: Played) -> None:
    figures = played.figures
    requests = figures.migrate_requests + figures.planned_reconcile_requests

    assert off(figures.upload_bytes, played.upload_bytes) < OFF_MAX
    assert off(requests, played.requests) < OFF_MAX, played.requests
    assert off(figures.window_minutes, played.minutes) < OFF_MAX, played.minutes
    work = figures.window_minutes - figures.settle_minutes
    assert off(work, played.minutes - played.waited) < OFF_MAX, played.waited
    assert SETTLE_S_MIN <= played.waited * 60 <= figures.settle_minutes * 60


def test_the_progress_announces_the_requests_of_the_plan(played: Played) -> None:
    announced, figures = played.announced, played.figures

    assert announced["uploading"] == figures.upload_requests
    assert announced["writing the KV index"] == figures.kv_requests
    assert announced["reading vectors back"] == figures.content_requests


@pytest.mark.slow
def test_the_screen_shows_the_numbers_of_the_document(tmp_path: Path) -> None:
    settings = {"Q2V_LIMITS_VECTORS_PER_UPLOAD": "7"}
    with workbench(tmp_path, points(300), settings=settings) as bench:
        shown = bench.run("plan", as_json=False).stdout
        saved = bench.run("plan", "--out", str(tmp_path / "agreed.json")).document
        held = orjson.loads((tmp_path / "agreed.json").read_bytes())
        assert bench.move().exit_code == 0
        plan = orjson.loads(next(bench.directory.glob("*/runs/*/plan.json")).read_bytes())

    # At another moment a request may take another time, and nothing else differs.
    figures = saved["estimate"]
    assert held["shown"]["estimate"] == figures
    lines = {line[:14].strip(): line[14:] for line in shown.splitlines() if line[:1] != " "}
    first = f"{figures['upload_requests']} uploads, {format_bytes(figures['upload_bytes'])}; "
    assert lines["upload"].startswith(f"{first}{figures['migrate_requests']} requests, about ")
    assert lines["reconcile"].startswith(f"{figures['planned_reconcile_requests']} requests, ")
    assert lines["rollback"].startswith(f"{figures['rollback_requests']} requests, about ")
    assert lines["points"] == f"{saved['points']}, {saved['vectors']} of them move"
    assert lines["files"].startswith(f"{saved['files']}, ")
    assert (plan["points"], plan["vectors"], plan["files"]) == (
        saved["points"],
        saved["vectors"],
        saved["files"],
    )
