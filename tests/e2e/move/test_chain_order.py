"""The runs of a chain keep their order: the newest is continued, and undone first."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from migrate.migrate import migrate
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import Workbench, chunk, points, unit_vectors, workbench
from tests.harness.running.workspace import NAMESPACE
from tests.servers.qdrant_points import StoredPoint

VALUES = unit_vectors(400)
LATER = "2036-01-01T00:00+00:00"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """Sixty points, moved."""
    with workbench(tmp_path, points(60)) as bench:
        assert bench.move().exit_code == 0
        yield bench


def _change(bench: Workbench) -> None:
    """Change a point, and add one of a new file."""
    held = bench.collection.points
    bench.collection.points = [
        *(replace(one, vectors={"": VALUES[300].tolist()}) if one.id == 5 else one for one in held),
        StoredPoint(id=1_000, vectors={"": VALUES[301].tolist()}, payload=chunk("new", 0)),
    ]


def _catch_up(bench: Workbench) -> None:
    caught = bench.run("catch-up", "--frozen")
    assert caught.exit_code == 0, caught.stderr


def _snapshots(bench: Workbench) -> list[Path]:
    return sorted(one.parent for one in bench.directory.glob("*/manifest.json"))


def _kill_in(name: str, bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop a catch-up when it calls this function of `migrate.migrate`."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[migrate.__module__], name, stop)
        assert bench.run("catch-up", "--frozen").exit_code == 130


@pytest.mark.slow
@pytest.mark.parametrize("at", ["capture_pre_images", "open_round"])
@pytest.mark.parametrize("names_base", [False, True])
def test_a_catch_up_whose_base_is_undone_is_planned_again(
    at: str, names_base: bool, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = next(_snapshots(bench)[0].glob("runs/*"))
    _change(bench)
    _kill_in(at, bench, monkeypatch)

    undone = bench.run("rollback", *([str(base)] if names_base else []), "--execute")
    again = bench.run("migrate")

    assert undone.exit_code == 0, undone.stderr
    assert again.exit_code == 0, again.stderr
    assert len(bench.stored()) == 61
    assert bench.run("reconcile", "--full").document["verdict"] == "equal"


@pytest.mark.slow
def test_an_older_snapshot_is_not_written_over_a_catch_up(bench: Workbench) -> None:
    older = _snapshots(bench)[0]
    run = next(older.glob("runs/*"))
    _change(bench)
    _catch_up(bench)
    held = bench.state()

    compared = bench.run("reconcile", str(run), "--no-source", "--full")
    repaired = bench.run("migrate", str(older))

    assert compared.document["verdict"] == "drift"
    assert repaired.exit_code == 5, repaired.stderr
    assert "continues from" in repaired.stderr
    assert bench.state() == held


@pytest.mark.slow
def test_a_second_branch_of_a_chain_is_not_written(bench: Workbench) -> None:
    older = _snapshots(bench)[0]
    _change(bench)
    _catch_up(bench)
    held = bench.state()
    bench.collection.points = bench.collection.points[:-1]

    branch = bench.run("catch-up", str(older), "--frozen")

    assert branch.exit_code == 5, branch.stderr
    assert "continues from" in branch.stderr
    assert bench.state() == held


@pytest.mark.slow
def test_a_conflict_that_is_forced_later_leaves_nothing_of_the_chain(
    bench: Workbench, tmp_path: Path
) -> None:
    _change(bench)
    _catch_up(bench)
    bench.sandbox.store.put_vector(bench.index, "new_0", np.ones(DIMENSIONS, np.float32), {})
    forced = tmp_path / "forced"
    forced.write_text("new_0\n")

    undone = bench.run("rollback", "--execute")
    left = list(bench.stored())
    again = bench.run("rollback", "--execute", "--force", str(forced))

    assert undone.exit_code == 4, undone.stderr
    assert undone.document["conflicts"] == ["new_0"]
    assert left == ["new_0"]
    assert again.exit_code == 0, again.stderr
    assert bench.stored() == {}
    assert bench.entries() == {}


@pytest.mark.slow
def test_a_forced_conflict_touches_no_vector_that_was_there_before_the_chain(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(60)) as bench:
        before = np.ones(DIMENSIONS, np.float32)
        bench.sandbox.store.put_vector(bench.index, "file-0000_5", before, {})
        bench.run("snapshot")
        assert bench.run("migrate", "--into-non-empty").exit_code == 0
        _change(bench)
        _catch_up(bench)
        bench.sandbox.store.put_vector(bench.index, "new_0", before, {})
        forced = tmp_path / "forced"
        forced.write_text("new_0\n")
        assert bench.run("rollback", "--execute").exit_code == 4

        again = bench.run("rollback", "--execute", "--force", str(forced))

        assert again.exit_code == 0, again.stderr
        assert list(bench.stored()) == ["file-0000_5"]
        assert bench.stored()["file-0000_5"][0].tolist() == before.tolist()


@pytest.mark.slow
def test_nothing_new_for_one_index_is_everything_for_another(bench: Workbench) -> None:
    bench.environment["Q2V_VECTOR_INDEX"] = "another-index"
    del bench.environment[NAMESPACE]
    bench.provision()

    caught = bench.run("catch-up", "--frozen")

    assert caught.exit_code == 0, caught.stderr
    assert len(bench.stored()) == 60


@pytest.mark.slow
def test_a_collection_that_has_become_empty_is_caught_up_with(bench: Workbench) -> None:
    bench.collection.points = []

    refused = bench.run("catch-up", "--frozen", "--max-delete", "1")
    caught = bench.run("catch-up", "--frozen", "--max-delete", "1", "--allow-empty")

    assert refused.exit_code == 5
    assert "--allow-empty" in refused.stderr
    assert caught.exit_code == 0, caught.stderr
    assert bench.stored() == {}
    assert bench.run("rollback", "--execute").exit_code == 0
    assert bench.entries() == {}


@pytest.mark.slow
def test_after_a_flattening_the_chain_is_continued(bench: Workbench) -> None:
    _change(bench)
    _catch_up(bench)
    assert bench.run("reconcile", "--full").document["verdict"] == "equal"

    flat = bench.run("snapshot", "--flatten")
    status = bench.run("status")
    nothing = bench.run("catch-up", "--frozen")
    bench.collection.points = bench.collection.points[1:]
    caught = bench.run("catch-up", "--frozen")
    undone = bench.run("rollback", "--execute")

    assert flat.exit_code == 0, flat.stderr
    assert "cutover" in flat.document["next"]
    assert "cutover" in status.document["next"]
    assert (nothing.exit_code, nothing.document["sealed"]) == (0, False), nothing.stderr
    assert (caught.exit_code, caught.document["deleted"]) == (0, 1), caught.stderr
    assert undone.exit_code == 0, undone.stderr
    assert len(undone.document["runs"]) == 3
    assert bench.stored() == {}


@pytest.mark.slow
def test_points_left_out_are_an_exit_code_while_nothing_changes(bench: Workbench) -> None:
    held = bench.collection.points
    bench.collection.points = [replace(held[0], payload=None), *held[1:]]

    codes = [bench.run("catch-up", "--frozen", "--max-quarantine", "1") for _ in range(2)]
    waived = bench.run("migrate", "--waive", "field_missing")
    accepted = bench.run("catch-up", "--frozen", "--max-quarantine", "1")

    assert [one.exit_code for one in codes] == [3, 3], codes[0].stderr
    assert codes[1].document["exit_code"] == 3
    assert (waived.exit_code, accepted.exit_code) == (0, 0), waived.stderr


@pytest.mark.slow
@pytest.mark.fault("C11")
def test_a_refused_migrate_leaves_no_run(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.sandbox.store.put_vector(bench.index, "theirs", VALUES[0], {})
        bench.run("snapshot")

        refused = bench.run("migrate")
        left = list(bench.directory.glob("*/runs/*"))
        status = bench.run("status")
        moved = bench.run("migrate", "--into-non-empty")

    assert refused.exit_code == 5
    assert "not empty" in refused.stderr
    assert left == []
    assert status.document["situation"] == "snapshot_sealed"
    assert moved.exit_code == 0, moved.stderr
    assert moved.document["run_id"].startswith("000-")


@pytest.mark.slow
@pytest.mark.fault("C11")
def test_a_catch_up_that_would_delete_too_much_leaves_no_run(bench: Workbench) -> None:
    bench.collection.points = bench.collection.points[:20]

    refused = bench.run("catch-up", "--frozen")

    assert refused.exit_code == 5
    assert "would delete" in refused.stderr
    assert list(_snapshots(bench)[-1].glob("runs/*")) == []
    assert bench.run("catch-up", "--frozen", "--max-delete", "1").exit_code == 0


@pytest.mark.slow
@pytest.mark.fault("C12")
def test_a_damaged_later_snapshot_does_not_stop_what_is_about_a_whole_one(bench: Workbench) -> None:
    assert bench.run("reconcile", "--full").exit_code == 0
    first = bench.run("verify").document["path"]
    run = str(next(Path(first).glob("runs/*")))
    manifest = Path(bench.run("snapshot").document["path"]) / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-20])

    about_it = {
        " ".join(words[:1]): bench.run(*words)
        for words in (
            ("verify", first),
            ("plan", first),
            ("migrate", first),
            ("reconcile", run),
            ("monitor", run),
            ("status", run),
            ("archive", run, "--not-final"),
            ("catch-up", first, "--frozen"),
            ("rollback", run),
        )
    }
    gate = bench.run("gate", run, "--until", LATER)
    checklist = bench.run("decommission", run)
    undone = bench.run("rollback", run, "--execute")
    newest = bench.run("verify")

    assert {name: one.exit_code for name, one in about_it.items()} == dict.fromkeys(about_it, 0)
    assert gate.exit_code == 13, "stale: a damaged snapshot may continue from this one"
    assert {row["verdict"] for row in gate.document["rows"]} == {"stale"}
    assert checklist.exit_code == 5
    assert (undone.exit_code, bench.stored()) == (0, {})
    assert newest.exit_code == 10
