"""What comes after a move into several indexes is about one and leaves the others alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from migrate.mapping.shards import binding_part, shard_of
from migrate.storage.folder_lock import FolderLock
from migrate.storage.local_folder import LocalFolder
from q2v import wiring
from reconcile.monitor.history import DAYS_WANTED
from tests.e2e.after.test_decommission import LaterClock
from tests.e2e.several_indexes.bench import INDEXES, Several, check_moved, several
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import chunk, points

pytestmark = pytest.mark.slow  # each moves a collection into three indexes
STORED = points(60, per_file=3)


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[Several]:
    with several(tmp_path, STORED) as both:
        assert both.bench.run("snapshot").exit_code == 0
        both.all("migrate")
        yield both


def write_later(both: Several, index: str) -> str:
    """Another writer adds a file to an index; returns its name."""
    name = next(one for one in map("new-{}".format, range(99)) if shard_of(one, INDEXES) == index)
    store, namespace = both.bench.sandbox.store, both.bench.namespace_id
    store.put_vector(index, f"{name}_0", [0.5] * DIMENSIONS, chunk(name, 0))
    store.put_kv(namespace, f"file:{name}", json.dumps([f"{name}_0"]).encode(), {"index": index})
    return name


@pytest.mark.fault("M40")
def test_later_writes_into_one_index_are_exported_from_it_and_stop_its_rollback_alone(
    moved: Several,
) -> None:
    name = write_later(moved, "wiki-1")

    other = moved.run("rollback", "wiki-0", "--execute", "--yes")
    refused = moved.run("rollback", "wiki-1", "--execute", "--yes")
    exported = moved.run("rollback", "wiki-1", "--export-later-writes")
    undone = moved.run("rollback", "wiki-1", "--execute", "--yes")

    assert other.exit_code == 0, other.stderr
    assert refused.exit_code == ExitCode.PRECONDITION
    assert f"'{name}_0'" in refused.stderr
    assert (exported.exit_code, exported.document["points"]) == (0, 1), exported.stderr
    assert undone.exit_code == 0, undone.stderr
    assert moved.ids("wiki-1") == {f"{name}_0"}
    assert set(moved.entries()) >= {f"file:{name}", "_vector_count:wiki-2"}
    assert moved.run("reconcile", "wiki-2").document["verdict"] == "equal"


@pytest.mark.search
@pytest.mark.fault("M40")
def test_each_saved_plan_is_carried_out_after_the_runs_of_the_others(tmp_path: Path) -> None:
    with several(tmp_path, STORED) as both:
        assert both.bench.run("snapshot").exit_code == 0
        plans = {index: str(tmp_path / f"{index}.plan.json") for index in INDEXES}
        (snapshot,) = (path.parent.name for path in both.bench.directory.glob("*/manifest.json"))
        for index, out in plans.items():
            planned = both.run("plan", index, snapshot, "--out", out)
            assert planned.exit_code == 0, planned.stderr

        results = {index: both.run("migrate", index, out) for index, out in plans.items()}
        wrong = both.run("migrate", "wiki-0", plans["wiki-1"])

        assert [one.exit_code for one in results.values()] == [0, 0, 0], results["wiki-1"].stderr
        assert wrong.exit_code == ExitCode.PRECONDITION
        check_moved(both, STORED)


def test_the_target_is_reset_index_by_index(moved: Several) -> None:
    previewed = moved.run("reset-target", "wiki-0")
    emptied = moved.run("reset-target", "wiki-0", "--execute")

    assert previewed.document["left"] == {"vectors": 0, "keys": 0, "first": []}
    assert emptied.exit_code == 0, emptied.stderr
    assert moved.ids("wiki-0") == set()
    assert moved.run("reconcile", "wiki-1").document["verdict"] == "equal"
    assert not any(more == {"index": "wiki-0"} for _, more in moved.entries().values())


@pytest.mark.search
@pytest.mark.fault("M40")
def test_an_index_that_others_have_deleted_is_filled_again_by_the_way_that_is_advised(
    moved: Several,
) -> None:
    moved.bench.sandbox.store.vectors.delete_index("wiki-1")
    gone = moved.run("reconcile", "wiki-1")
    assert moved.run("provision", "wiki-1").exit_code == 0
    fresh = moved.run("reconcile", "wiki-1")
    ended = moved.run("rollback", "wiki-1", "--execute", "--yes")
    again = moved.run("migrate", "wiki-1")

    for refused, said in ((gone, "no longer exists"), (fresh, "not the one that the plan names")):
        assert refused.exit_code == ExitCode.PRECONDITION
        assert said in refused.document["error"]["what"]
        for command in ("provision", "rollback --execute", "migrate"):
            assert f"`q2v {command} " in refused.document["error"]["next"]
    assert (ended.exit_code, again.exit_code) == (0, 0), again.stderr
    moved.all("reconcile")
    check_moved(moved, STORED)


@pytest.mark.fault("M40")
def test_a_command_has_its_index_alone_and_one_without_an_index_the_folder(moved: Several) -> None:
    directory = LocalFolder(moved.bench.directory)
    with FolderLock(directory, "wiki-0"):
        taken = moved.run("reconcile", "wiki-0")
        beside = moved.run("reconcile", "wiki-1")
        whole = moved.bench.run("snapshot")
    with FolderLock(directory):
        shared = moved.run("reconcile", "wiki-1")

    assert taken.exit_code == ExitCode.LOCKED
    assert "on index 'wiki-0'" in taken.stderr
    assert beside.exit_code == 0, beside.stderr
    assert whole.exit_code == shared.exit_code == ExitCode.LOCKED


def test_what_is_printed_names_the_index_that_was_typed_and_its_run(moved: Several) -> None:
    status = {index: moved.run("status", index).document for index in INDEXES}
    by_name = moved.bench.run("status", status["wiki-1"]["run_id"]).document
    archived = moved.run("archive", "wiki-2")
    compared = moved.run("reconcile", "wiki-0")
    parity = moved.run("parity", "wiki-0", "--live")
    listed = moved.bench.run("list").document
    named = moved.bench.run("reconcile", status["wiki-1"]["run_id"])
    undone = moved.bench.run("rollback", status["wiki-1"]["run_id"])

    for index, found in status.items():
        assert found["run_id"].endswith(f"-{index}")
        assert found["next_argv"][:2] == ["q2v", "reconcile"]
        assert found["next_argv"][-2:] == ["--vector-index", index]
        assert sum(found["elsewhere"].values()) + found["acknowledged"] == len(STORED)
    assert by_name["run_id"] == status["wiki-1"]["run_id"]
    assert (named.exit_code, named.document["run_id"]) == (0, status["wiki-1"]["run_id"])
    assert named.document["next_argv"][-2:] == ["--vector-index", "wiki-2"]
    assert undone.document["next_argv"][-2:] == ["--vector-index", "wiki-1"]
    assert archived.exit_code == ExitCode.PRECONDITION  # it is not reconciled
    assert "-wiki-2" in archived.stderr
    assert compared.exit_code == 0, compared.stderr
    assert (parity.exit_code, parity.document["strangers"]) == (0, 0), parity.stderr
    (snapshot,) = listed["snapshots"]
    assert [one["index"] for one in snapshot["runs"]] == list(INDEXES)


def test_each_index_has_a_binding(tmp_path: Path) -> None:
    with several(tmp_path, STORED[:3]) as both:
        config = tmp_path / "wrangler.toml"
        for index in INDEXES:
            made = both.run("provision", index, "--wrangler", str(config), "--yes")
            assert made.exit_code == 0, made.stderr

        text = config.read_text(encoding="utf-8")

    for index in INDEXES:
        assert f'binding = "VECTORIZE_INDEX_{binding_part(index)}"' in text
    assert text.count("kv_namespaces") == 1


def test_a_file_that_belongs_to_no_index_of_the_run_is_left_to_its_own_run(
    moved: Several,
) -> None:
    """A wrong entry of a file of another index changes nothing for this run."""
    name = next(
        str((one.payload or {})["file_id"])
        for one in STORED
        if shard_of(str((one.payload or {})["file_id"]), INDEXES) == "wiki-2"
    )
    moved.bench.sandbox.store.remove_kv(moved.bench.namespace_id, f"file:{name}")

    assert moved.run("reconcile", "wiki-0").document["verdict"] == "equal"
    assert moved.run("reconcile", "wiki-2").document["drift"]["kv_missing"] == 1


@pytest.mark.search
@pytest.mark.fault("W06")
def test_the_source_goes_when_every_index_is_proven(
    moved: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    LaterClock.days = 0.0
    monkeypatch.setattr(wiring, "system_clock", LaterClock)
    moved.all("reconcile")
    moved.all("gate", "--until", "2036-01-01T00:00+00:00")
    for day in range(DAYS_WANTED + 1):
        LaterClock.days = float(day)
        for index in INDEXES[:2]:
            assert moved.run("monitor", index).exit_code == 0
    assert moved.bench.run("archive").exit_code == 0
    one = moved.run("decommission", "wiki-0")
    LaterClock.days = 0.0
    for day in range(DAYS_WANTED + 1):
        LaterClock.days = float(day)
        assert moved.run("monitor", "wiki-2").exit_code == 0
    assert moved.bench.run("archive").exit_code == 0
    done = moved.all("decommission")

    (lacking,) = (item for item in one.document["items"] if not item["proven"])
    assert one.exit_code == ExitCode.PRECONDITION
    assert (lacking["name"], lacking["found"]) == ("other indexes", "unproven: wiki-2: week")
    assert {result.document["done"] for result in done.values()} == {True}
