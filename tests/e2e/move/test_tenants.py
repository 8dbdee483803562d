"""A part of a collection moves, is proved and comes back as a whole collection does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import ExitCode
from tests.harness.running.workbench import Workbench, changed_point, points, workbench
from tests.servers.qdrant_points import StoredPoint

POINTS = 56  # 8 files of 7 chunks, each file of one tenant, in turn
FILTER = "Q2V_SOURCE_FILTER"


def of_tenant(name: str) -> str:
    return json.dumps({"must": [{"key": "tenant", "match": {"value": name}}]})


A, B = of_tenant("a"), of_tenant("b")
PICKED = '{"must":[{"key":"tenant","match":{"value":"a"}}]}'


def tenants_points() -> list[StoredPoint]:
    return [
        changed_point(point, tenant="ab"[number // 7 % 2])
        for number, point in enumerate(points(POINTS))
    ]


def ids_of(bench: Workbench, tenant: str) -> set[str]:
    """The vector ids of a tenant's points, as the source holds them now."""
    payloads = [point.payload or {} for point in bench.collection.points]
    return {f"{p['file_id']}_{p['chunk_index']}" for p in payloads if p["tenant"] == tenant}


def status_of(bench: Workbench) -> dict[str, Any]:
    return bench.run("status").document


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """Two tenants in one collection, of which the settings name the first."""
    with workbench(tmp_path, tenants_points(), settings={FILTER: A}) as opened:
        yield opened


@pytest.mark.fault("M16")
def test_a_part_is_planned_moved_proved_and_restored(bench: Workbench, tmp_path: Path) -> None:
    plan = bench.run("plan", as_json=False)
    moved = bench.move()
    equal = bench.run("reconcile")
    status, verified = bench.run("status", as_json=False), bench.run("verify", as_json=False)
    del bench.environment["QDRANT_URL"], bench.environment["QDRANT_API_KEY"]
    bench.environment["QDRANT_PATH"] = str(tmp_path / "restored")
    restored = bench.run("restore", status_of(bench)["snapshot_id"], "--yes", as_json=False)

    assert "28 of 56 points" in plan.stdout
    assert moved.exit_code == ExitCode.DONE, moved.stderr
    assert set(bench.stored()) == ids_of(bench, "a")
    assert (equal.document["verdict"], equal.document["counts"]["source"]) == ("equal", 28)
    for shown in (status, verified):
        assert f"the points that match {PICKED}" in shown.stdout
    assert "28 others are left out" in status.stdout
    assert restored.exit_code == ExitCode.DONE, restored.stderr
    assert f"a part of the collection: the points that match {PICKED}" in restored.stdout


@pytest.mark.fault("M17")
def test_a_point_that_leaves_the_part_is_removed_as_a_deleted_one_is(bench: Workbench) -> None:
    assert bench.move().exit_code == ExitCode.DONE
    held = bench.collection.points
    bench.collection.points = [
        changed_point(point, tenant="b") if number < 14 else point
        for number, point in enumerate(held)
    ]
    few = bench.run("catch-up", "--frozen", "--max-delete", "0")
    bench.collection.points[0] = changed_point(held[0], tenant="a")
    caught = bench.run("catch-up", "--frozen")
    equal = bench.run("reconcile")

    assert few.exit_code == ExitCode.DONE  # up to ten may always be deleted
    assert caught.document["added"] == 1, caught.document
    assert set(bench.stored()) == ids_of(bench, "a")
    assert equal.document["verdict"] == "equal"


@pytest.mark.fault("M17")
def test_many_points_that_leave_the_part_are_removed_only_with_consent(bench: Workbench) -> None:
    assert bench.move().exit_code == ExitCode.DONE
    bench.collection.points = [
        changed_point(point, tenant="b") if number < 28 else point
        for number, point in enumerate(bench.collection.points)
    ]
    refused = bench.run("catch-up", "--frozen")
    consented = bench.run("catch-up", "--frozen", "--max-delete", "0.5")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "--max-delete" in refused.stderr
    assert consented.exit_code == ExitCode.DONE, consented.stderr
    assert set(bench.stored()) == ids_of(bench, "a")


@pytest.mark.fault("M17")
@pytest.mark.parametrize("wanted", [B, ""], ids=["another part", "the whole"])
def test_a_command_for_another_part_is_refused_with_both(bench: Workbench, wanted: str) -> None:
    assert bench.move().exit_code == ExitCode.DONE
    snapshot = status_of(bench)["snapshot_id"]
    before = bench.state()
    bench.environment[FILTER] = wanted
    refused = [
        bench.run(*words)
        for words in (
            ("migrate",),
            ("reconcile",),
            ("reconcile", "--no-source"),
            ("catch-up", snapshot),
            ("plan", snapshot),
            ("snapshot", "--flatten"),
            ("snapshot", "--repair-part", "0"),
        )
    ]

    for result in refused:
        assert result.exit_code == ExitCode.FOREIGN, result.stderr
        assert f"holds the points that match {PICKED}, source.filter picks" in result.stderr
        assert f"or set it to {PICKED}" in result.stderr
    assert bench.state() == before


@pytest.mark.fault("M17")
def test_the_run_of_a_part_never_proves_that_the_collection_can_go(bench: Workbench) -> None:
    assert bench.move().exit_code == ExitCode.DONE
    assert bench.run("reconcile").exit_code == ExitCode.DONE
    archived = bench.run("archive")
    checked = bench.run("decommission")

    assert archived.exit_code == ExitCode.DONE, archived.stderr
    rows = {item["name"]: item for item in checked.document["items"]}
    assert checked.exit_code == ExitCode.PRECONDITION
    assert not rows["whole"]["proven"]
    assert "the collection held 28 other points" in rows["whole"]["found"]
    assert "keep the collection" in rows["whole"]["do"]


@pytest.mark.fault("M15")
@pytest.mark.parametrize("words", [("plan",), ("snapshot",), ("snapshot", "--moving")])
def test_a_filter_that_the_server_refuses_is_exit_2_with_its_words(
    bench: Workbench, words: tuple[str, ...]
) -> None:
    bench.collection.filter_refusal = (
        'Index required but not found for "tenant" of one of the following types: [keyword]'
    )
    refused = bench.run(*words)

    assert refused.exit_code == ExitCode.USAGE
    assert "Index required but not found" in refused.stderr
    assert "create a payload index on that field in Qdrant" in refused.stderr
    assert not list(bench.directory.glob("*/manifest.json"))


@pytest.mark.fault("M15")
def test_a_filter_that_picks_nothing_is_named_with_what_it_leaves_out(bench: Workbench) -> None:
    bench.environment[FILTER] = of_tenant("c")
    results = [bench.run("plan"), bench.run("snapshot")]

    for result in results:
        assert result.exit_code == ExitCode.PRECONDITION
        assert "matches source.filter" in result.stderr
        assert "leaves out 56 points" in result.stderr
