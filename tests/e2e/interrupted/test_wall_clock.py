"""A wall clock that jumps by days and by thousands of years changes stamps, and nothing else."""

from itertools import cycle
from pathlib import Path

import pytest

from migrate.clock import SystemClock
from tests.harness.running.target import INDEX
from tests.harness.running.workbench import points, workbench

pytestmark = [pytest.mark.fault("F22"), pytest.mark.fault("G11")]
_true_wall_s = SystemClock.wall_s  # whatever a test puts in its place
_DAY_S, _YEAR_S = 86_400.0, 31_556_952.0
JUMPS_S = (0.0, _DAY_S, -_DAY_S, 20 * _YEAR_S, -50 * _YEAR_S, 9_000 * _YEAR_S, -3_000 * _YEAR_S)


@pytest.fixture
def _jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question for the time gets an answer of another year."""
    jumps = cycle(JUMPS_S)
    monkeypatch.setattr(SystemClock, "wall_s", lambda clock: _true_wall_s(clock) + next(jumps))


@pytest.mark.slow
@pytest.mark.usefixtures("_jumping")
def test_every_command_ends_as_with_a_steady_clock(tmp_path: Path) -> None:
    with workbench(tmp_path, points(30)) as bench:
        # The clock of the service is right.
        expires = int(_true_wall_s(SystemClock()) + 2 * _DAY_S)
        bench.sandbox.store.put_kv(
            bench.namespace_id, "file:file-0001", b'["theirs"]', {"by": "them"}, expires
        )
        before = bench.state()

        moved = bench.run("snapshot"), bench.run("migrate", "--into-non-empty")
        compared = bench.run("reconcile", "--full")
        undone = bench.run("rollback", "--execute")

        assert [result.exit_code for result in (*moved, compared, undone)] == [0, 0, 0, 0]
        assert compared.document["verdict"] == "equal"
        assert bench.state() == before, "the entry with an expiry is back: the service's clock says"


@pytest.mark.slow
def test_the_newest_snapshot_is_the_one_taken_last_even_if_the_clock_was_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workbench(tmp_path, points(5)) as bench:
        first = bench.run("snapshot").document["snapshot_id"]
        past_s = SystemClock().wall_s() - _YEAR_S
        monkeypatch.setattr(SystemClock, "wall_s", lambda _: past_s)
        bench.collection.points.extend(points(9)[5:])
        second = bench.run("snapshot").document["snapshot_id"]

        migrated = bench.run("migrate")

        assert first < second == migrated.document["snapshot_id"]
        assert len(list(bench.sandbox.store.read_vectors(INDEX))) == 9
