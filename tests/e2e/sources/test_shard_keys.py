"""A collection with custom sharding moves, follows changes, and comes back, each key with it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.running.workbench import Workbench, chunk, unit_vectors, workbench
from tests.servers.qdrant_points import StoredCollection, StoredPoint, make_keyed
from tests.servers.qdrant_rest import rest_server

KEYS: tuple[int | str, ...] = ("acme", 7, "7")
RULE = {"Q2V_MAPPING_TRANSFORM": json.dumps([{"shard_key": "tenant"}])}
SETTINGS = {
    **RULE,
    "Q2V_MAPPING_NAMESPACE": "{tenant}",
    "Q2V_LIMITS_VECTORS_PER_UPLOAD": "5",
    "Q2V_TARGET_METADATA_INDEXES": "file_id:string",
}


def points(count: int = 24, keys: tuple[int | str, ...] = ("acme", 7)) -> list[StoredPoint]:
    """Files of three chunks, one under this key and one under that."""
    return [
        StoredPoint(
            id=number,
            vectors={"": values.tolist()},
            payload=chunk(f"file-{number // 3}", number % 3),
            shard_key=keys[number // 3 % len(keys)],
        )
        for number, values in enumerate(unit_vectors(count))
    ]


@contextmanager
def keyed(folder: Path, stored: list[StoredPoint], settings: dict[str, str]) -> Iterator[Workbench]:
    with workbench(folder, stored, settings=settings) as bench:
        make_keyed(bench.collection, *KEYS)
        yield bench


def namespaces(bench: Workbench) -> dict[str, str | None]:
    """Vector id -> namespace, read behind the API."""
    return {one: name for one, _, name, _ in bench.sandbox.store.read_vectors(bench.index)}


def move_point(bench: Workbench, number: int, key: int | str) -> None:
    """Put a point under another key, as its writer does: there, and no longer here."""
    bench.collection.points = [
        replace(one, shard_key=key) if one.id == number else one for one in bench.collection.points
    ]


@pytest.mark.slow
@pytest.mark.fault("M26")
def test_tenants_by_shard_key_move_into_namespaces_and_everything_comes_back(
    tmp_path: Path,
) -> None:
    stored = points()
    with keyed(tmp_path, stored, SETTINGS) as bench:
        before = bench.state()
        plan = bench.run("plan")
        assert (plan.exit_code, plan.document["shard_keys"]) == (0, 2), plan.stderr
        (rule,) = plan.document["transforms"]
        assert (rule["rule"], rule["points"]) == ("shard key as tenant", 24)
        assert bench.move().exit_code == 0
        moved = namespaces(bench)
        tenants = {metadata["tenant"] for _, metadata in bench.stored().values() if metadata}
        equal = bench.run("reconcile")
        monitor = bench.run("monitor")
        undone = bench.run("rollback", "--execute", "--yes")

        assert moved == {f"file-{n // 3}_{n % 3}": ("acme", "7")[n // 3 % 2] for n in range(24)}
        assert tenants == {"acme", 7}
        assert equal.document["verdict"] == "equal"
        assert monitor.exit_code == 0, monitor.stdout
        assert undone.exit_code == 0, undone.stderr
        assert bench.state() == before


@pytest.mark.slow
@pytest.mark.fault("M26")
def test_a_point_that_moves_to_another_key_is_found_and_followed(tmp_path: Path) -> None:
    settings = {**SETTINGS, "Q2V_MAPPING_NAMESPACE": ""}
    with keyed(tmp_path, points(), settings) as bench:
        assert bench.move().exit_code == 0
        move_point(bench, 4, "acme")
        drift = bench.run("reconcile")
        followed = bench.run("catch-up", "--frozen")
        equal = bench.run("reconcile", "--fresh")

        assert (drift.exit_code, drift.document["source_drift"]["changed"]) == (4, 1)
        assert followed.exit_code == 0, followed.stderr
        _, metadata = bench.stored()["file-1_1"]
        assert (metadata or {})["tenant"] == "acme"
        assert equal.document["verdict"] == "equal"


@pytest.mark.slow
@pytest.mark.fault("M34")
def test_without_the_rule_the_plan_says_what_the_vectors_do_not_hold(tmp_path: Path) -> None:
    with keyed(tmp_path, points(), {}) as bench:
        shown = bench.run("plan", "--details", as_json=False)
        assert "points are under 2 shard keys, and no vector will hold its key" in shown.stdout
        assert "2, in no vector (--details)" in bench.run("plan", as_json=False).stdout
        bench.environment |= RULE
        assert "2, in the field 'tenant'" in bench.run("plan", as_json=False).stdout


@pytest.mark.fault("M34")
def test_a_payload_that_has_the_field_is_left_out_with_its_name(tmp_path: Path) -> None:
    stored = points()
    stored[5] = replace(stored[5], payload={**(stored[5].payload or {}), "tenant": "mine"})
    with keyed(tmp_path, stored, RULE) as bench:
        (left,) = bench.run("plan").document["quarantined_points"]
        assert (left["reason"], left["field"], left["point_id"]) == ("field_taken", "tenant", "5")


@pytest.mark.fault("M27")
def test_a_collision_is_named_and_nothing_is_sealed(tmp_path: Path) -> None:
    stored = points()
    stored.append(replace(stored[5], shard_key="acme" if stored[5].shard_key == 7 else 7))
    with keyed(tmp_path, stored, RULE) as bench:
        for command in ("plan", "snapshot"):
            refused = bench.run(command)
            assert refused.exit_code == 5, refused.stdout
            assert "5 (under 'acme' and 7)" in refused.stderr or "5 (under 7 and 'acme')" in (
                refused.stderr
            )
            assert "docs/sources.md" in refused.stderr
        assert not [*bench.directory.glob("*/manifest.json")]


@pytest.mark.slow
@pytest.mark.fault("M26")
def test_a_restored_collection_moves_as_the_first_one_did(tmp_path: Path) -> None:
    stored = points()
    with keyed(tmp_path, stored, {}) as bench:
        taken = bench.run("snapshot")
        again = StoredCollection(name="again", is_writable=True, is_missing=True)
        with rest_server(again) as server:
            bench.environment["QDRANT_URL"] = server.url
            words = ("restore", taken.document["snapshot_id"], "--collection", "again", "--yes")
            restored = bench.run(*words)
        assert restored.exit_code == 0, restored.stderr
        assert {(one.id, one.shard_key) for one in again.points} == {
            (one.id, one.shard_key) for one in stored
        }
        assert again.shard_keys == [7, "7", "acme"]
        assert taken.document["points"] == len(again.points)


@pytest.mark.slow
@pytest.mark.fault("M26")
def test_later_writes_are_kept_and_said_not_to_go_back(tmp_path: Path) -> None:
    with keyed(tmp_path, points(), RULE) as bench:
        assert bench.move().exit_code == 0
        values, metadata = bench.stored()["file-1_0"]
        changed = {**(metadata or {}), "text": "changed by others"}
        bench.sandbox.store.put_vector(bench.index, "file-1_0", values, changed, None)
        exported = bench.run("rollback", "--export-later-writes")
        refused = bench.run("restore", exported.document["path"], "--append", "--yes")

        assert exported.exit_code == 0, exported.stderr
        assert exported.document["later"]["changed"] == 1
        assert refused.exit_code == 5
        assert "does not hold the shard key of a point" in refused.stderr


@pytest.mark.slow
@pytest.mark.fault("M28")
def test_a_key_that_is_made_while_reconcile_reads_the_source_gives_no_verdict(
    tmp_path: Path,
) -> None:
    """Its points would not be read: the keys were listed before."""
    with keyed(tmp_path, points(), RULE) as bench:
        assert bench.move().exit_code == 0

        def make(collection: StoredCollection) -> None:
            make_keyed(collection, *KEYS, "late")

        bench.collection.before_page = make
        refused = bench.run("reconcile")
        bench.collection.before_page = None

        assert refused.exit_code == 5, refused.document
        assert "changed while it was read: 'late' was made" in refused.stderr
        assert bench.run("reconcile").document["verdict"] == "equal"


@pytest.mark.fault("M26")
def test_parity_knows_the_file_that_the_shard_key_names(tmp_path: Path) -> None:
    settings = {**SETTINGS, "Q2V_MAPPING_GROUP_KEY": "tenant", "Q2V_KV_KEY_TEMPLATE": "t:{tenant}"}
    with keyed(tmp_path, points(keys=("acme", "7")), settings) as bench:
        assert bench.run("snapshot").exit_code == 0
        measured = bench.run("parity", "--at", "32")

        assert measured.exit_code == 0, measured.stderr
        kept = measured.document["curve"]["32"]
        assert {one["name"] for one in kept["worst_files"]} == {"acme", "7"}
