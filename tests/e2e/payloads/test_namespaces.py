"""Tenants in one collection move into namespaces of one index, over sockets, and come back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.profile import INSTANT
from tests.e2e.processes import wait_until
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import (
    Workbench,
    changed_point,
    chunk,
    unit_vectors,
    workbench,
)
from tests.servers.qdrant_points import StoredPoint

SETTINGS = {
    "Q2V_MAPPING_NAMESPACE": "{tenant.id}",
    "Q2V_LIMITS_VECTORS_PER_UPLOAD": "5",
    "Q2V_TARGET_METADATA_INDEXES": "file_id:string",
}
LATER = "2036-01-01T00:00+00:00"
TENANTS = ("acme", 7)


def points(count: int = 24) -> list[StoredPoint]:
    """Files of three chunks, one of this tenant and one of that."""
    return [
        StoredPoint(
            id=number,
            vectors={"": values.tolist()},
            payload=chunk(
                f"file-{number // 3}", number % 3, tenant={"id": TENANTS[number // 3 % 2]}
            ),
        )
        for number, values in enumerate(unit_vectors(count))
    ]


def expected(stored: list[StoredPoint]) -> dict[str, str]:
    """Vector id -> namespace."""
    found = {}
    for point in stored:
        payload: dict[str, Any] = dict(point.payload or {})
        found[f"{payload['file_id']}_{payload['chunk_index']}"] = str(payload["tenant"]["id"])
    return found


def namespaces(bench: Workbench) -> dict[str, str | None]:
    """Vector id -> namespace, read behind the API."""
    return {one: name for one, _, name, _ in bench.sandbox.store.read_vectors(bench.index)}


def entry_namespaces(bench: Workbench) -> dict[str, object]:
    """KV key -> metadata, read behind the API."""
    return {key: more for key, _, more, _ in bench.sandbox.store.read_kv(bench.namespace_id)}


def put(bench: Workbench, vector_id: str, namespace: str | None) -> None:
    """Move a vector into a namespace, as another writer would."""
    values, metadata = bench.stored()[vector_id]
    bench.sandbox.store.put_vector(bench.index, vector_id, values, metadata, namespace)


@pytest.mark.slow
@pytest.mark.fault("M13")
def test_two_tenants_move_into_their_namespaces_and_everything_comes_back(tmp_path: Path) -> None:
    stored = points()
    with workbench(tmp_path, stored, settings=SETTINGS) as bench:
        former = [0.5] * DIMENSIONS
        bench.sandbox.store.put_vector(bench.index, "file-0_0", former, {"old": 1}, "trial")
        bench.sandbox.store.put_kv(
            bench.namespace_id, "file:file-0", b"[]", metadata={"namespace": "trial"}
        )
        before = bench.state()
        assert bench.run("snapshot").exit_code == 0
        assert bench.run("migrate", "--into-non-empty").exit_code == 0
        moved, entries = namespaces(bench), entry_namespaces(bench)
        equal = bench.run("reconcile")
        asked = bench.run("gate", "--until", LATER).document
        monitor = bench.run("monitor")
        undone = bench.run("rollback", "--execute", "--yes")

        assert moved == expected(stored)
        assert entries["file:file-0"] == {"namespace": "acme"}
        assert entries["file:file-1"] == {"namespace": "7"}
        assert entries["_vector_count"] is None
        assert equal.document["verdict"] == "equal"
        answers = {row["verdict"] for row in asked["rows"] if "queries" in row["criterion"]}
        assert answers == {"pass"}
        assert monitor.exit_code == 0, monitor.stdout
        assert undone.exit_code == 0, undone.stderr
        assert bench.state() == before


@pytest.mark.slow
@pytest.mark.fault("M13")
@pytest.mark.parametrize("namespace", ["7", None])
def test_a_vector_in_the_namespace_of_another_tenant_is_found_and_mended(
    tmp_path: Path, namespace: str | None
) -> None:
    stored = points()
    with workbench(tmp_path, stored, settings=SETTINGS) as bench:
        assert bench.move().exit_code == 0
        put(bench, "file-2_1", namespace)

        monitor = bench.run("monitor", "--sample", "1000")
        drift = bench.run("reconcile")
        mended = bench.run("migrate")

        assert monitor.exit_code == 4
        assert monitor.document["findings"]["contents"] == 1
        assert (drift.exit_code, drift.document["differs"]) == (4, {"file-2_1": ["namespace"]})
        assert mended.exit_code == 0, mended.stderr
        assert namespaces(bench) == expected(stored)
        assert bench.run("reconcile", "--fresh").document["verdict"] == "equal"


@pytest.mark.slow
@pytest.mark.fault("M13")
def test_a_catch_up_moves_a_file_to_its_new_tenant_and_a_rollback_moves_it_back(
    tmp_path: Path,
) -> None:
    stored = points()
    with workbench(tmp_path, stored, settings=SETTINGS) as bench:
        before = bench.state()
        assert bench.move().exit_code == 0
        for number in range(3):
            bench.collection.points[number] = changed_point(stored[number], tenant={"id": "globex"})

        caught = bench.run("catch-up", "--frozen")
        moved, entries = namespaces(bench), entry_namespaces(bench)
        equal = bench.run("reconcile")
        undone = bench.run("rollback", "--execute", "--yes")

        assert caught.exit_code == 0, caught.stderr
        assert moved == expected(bench.collection.points)
        assert {moved[f"file-0_{number}"] for number in range(3)} == {"globex"}
        assert entries["file:file-0"] == {"namespace": "globex"}
        assert equal.document["verdict"] == "equal"
        assert undone.exit_code == 0, undone.stderr
        assert bench.state() == before


@pytest.mark.slow
@pytest.mark.fault("M13")
def test_a_killed_migrate_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    stored = points()
    profile = replace(INSTANT, name="slow-commits", commit_delay_s=0.2)
    with workbench(tmp_path, stored, profile=profile, settings=SETTINGS) as bench:
        assert bench.run("snapshot").exit_code == 0
        process = bench.start("migrate")
        wait_until(process, lambda: bool(bench.uploads()))
        process.kill()
        process.communicate()

        assert bench.run("migrate").exit_code == 0
        assert namespaces(bench) == expected(stored)
        assert bench.run("reconcile").document["verdict"] == "equal"


@pytest.mark.fault("M14")
def test_a_plan_counts_namespaces_and_names_what_two_tenants_cannot_share(tmp_path: Path) -> None:
    stored = points(12)
    stored[1] = changed_point(stored[1], tenant={"id": 7})  # its file is acme's
    stored[11] = changed_point(stored[11], tenant={"id": "é" * 40})
    settings = {**SETTINGS, "Q2V_LIMITS_VECTORS_PER_UPLOAD": "1000"}
    with workbench(tmp_path, stored, settings=settings, provision=False) as bench:
        document = bench.run("plan").document
        text = bench.run("plan", "--details", as_json=False).stdout

    assert document["quarantined"] == {"file_in_namespaces": 3, "namespace_too_long": 1}
    assert document["namespaces"] == {
        "count": 2,
        "largest": [{"namespace": "7", "vectors": 5}, {"namespace": "acme", "vectors": 3}],
    }
    assert "7 5, acme 3" in text
    assert "the file 'file-0' has vectors in the namespaces '7' and 'acme'" in text


@pytest.mark.fault("M18")
def test_a_project_for_a_worker_opens_a_store_for_each_tenant(tmp_path: Path) -> None:
    with workbench(tmp_path, points(3), settings=SETTINGS) as bench:
        assert bench.run("snapshot").exit_code == 0
        made = bench.run("worker", "init", str(tmp_path / "project"))

    assert made.exit_code == 0, made.stderr
    assert any("'{tenant.id}'" in note for note in made.document["notes"])
    module = (tmp_path / "project" / "src" / "migration.ts").read_text(encoding="utf-8")
    assert "openStore(env: Env, namespace: string)" in module


def test_a_template_that_is_none_is_refused_where_it_was_given(tmp_path: Path) -> None:
    settings = {**SETTINGS, "Q2V_MAPPING_NAMESPACE": "{point_id}"}
    with workbench(tmp_path, points(1), settings=settings, provision=False) as bench:
        refused = bench.run("plan")

    assert refused.exit_code == 2
    assert (
        'mapping.namespace from environment Q2V_MAPPING_NAMESPACE: found "{point_id}"'
        in refused.stderr
    )


@pytest.mark.slow
def test_a_run_without_namespaces_keeps_the_formats_of_former_versions(tmp_path: Path) -> None:
    with workbench(tmp_path, points(3)) as bench:
        assert bench.move().exit_code == 0
        (plan,) = bench.directory.glob("*/runs/*/plan.json")

    document = json.loads(plan.read_bytes())
    assert document["format"] == 2
    assert "namespace" not in document["mapping"]
