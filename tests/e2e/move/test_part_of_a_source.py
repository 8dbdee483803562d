"""After a move, too, a source that shows a part of what it counts is named, and never compared."""

from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.workbench import points, workbench
from tests.servers.qdrant_points import Points


@pytest.mark.slow
@pytest.mark.fault("F01", "F10", "R07")
def test_reconcile_refuses_a_source_whose_count_its_pages_never_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_one(page: Points) -> Points:
        return [point for point in page if point.id != 7]

    monkeypatch.setattr("migrate.snapshot.counting.PAUSE_S", 0.0)
    with workbench(tmp_path, points(21)) as bench:
        assert bench.move().exit_code == ExitCode.DONE
        bench.collection.bend_page = without_one
        part = bench.run("reconcile")
        bench.collection.bend_page = None
        whole = bench.run("reconcile")

    assert part.exit_code == ExitCode.PRECONDITION
    assert "counts 21 points and its pages hold 20, the same in 4 readings" in part.stderr
    assert whole.exit_code == ExitCode.DONE
    assert whole.document["verdict"] == "equal"
