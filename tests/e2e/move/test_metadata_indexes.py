"""A declared metadata index is one that filters can use, or a command says what to do."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.running.target import DIMENSIONS, INDEX
from tests.harness.running.workbench import Workbench, points, workbench

POINTS = 30


def _call(bench: Workbench, path: str, body: dict[str, object]) -> dict[str, Any]:
    """A request to the sandbox past q2v."""
    return bench.ask_target(f"vectorize/v2/indexes/{INDEX}/{path}", body)


def _found(bench: Workbench, where: dict[str, object]) -> set[str]:
    """What a Worker would find by this filter."""
    vector = [1.0] * DIMENSIONS
    answer = _call(bench, "query", {"vector": vector, "topK": 100, "filter": where})
    return {match["id"] for match in answer["result"]["matches"]}


@pytest.mark.slow
@pytest.mark.fault("F03")
def test_an_index_added_after_the_upload_is_warned_of_found_and_filled(tmp_path: Path) -> None:
    first_chunks = {f"file-{number:04d}_0" for number in range(5)}
    with workbench(tmp_path, points(POINTS)) as bench:
        moved = bench.move()
        before = bench.run("reconcile")
        bench.environment["Q2V_TARGET_METADATA_INDEXES"] = "file_id:string,chunk_index:number"
        declared = bench.run("status")
        planned = bench.run("plan", "--details", as_json=False)
        absent = bench.run("migrate")
        refused = bench.run("provision")
        shown = bench.run("provision", "--dry-run")
        provisioned = bench.run("provision", "--into-non-empty")
        told = bench.run("status")
        again = bench.run("provision")
        late = _found(bench, {"chunk_index": 0})
        compared = bench.run("reconcile")
        repaired = bench.run("migrate")
        filled = _found(bench, {"chunk_index": 0})
        after = bench.run("reconcile")

    assert (moved.exit_code, before.exit_code) == (0, 0)
    assert "`q2v provision --into-non-empty" in planned.stdout
    assert absent.exit_code == 5
    assert "metadata indexes are missing: chunk_index" in absent.stderr
    assert "q2v provision --into-non-empty" in absent.stderr
    assert refused.exit_code == 5
    assert "would not find those vectors by it until they are written again" in refused.stderr
    assert "q2v provision --into-non-empty" in refused.stderr
    assert shown.exit_code == 0
    assert "'chunk_index'" in shown.document["warnings"][0]
    assert shown.document["missing"] == ["metadata index 'chunk_index' (number)"]
    assert provisioned.exit_code == 0
    (warning,) = provisioned.document["warnings"]
    assert "'chunk_index'" in warning
    assert f"`q2v reconcile --dir {bench.directory}`, then `q2v migrate --dir" in warning
    assert again.document["warnings"] == []
    for shown in (declared, provisioned, told, again):
        assert shown.document["next_argv"][:2] == ["q2v", "reconcile"]
    assert late == set()
    assert compared.exit_code == 4
    assert compared.document["drift"]["metadata_indexes"] == 1
    assert (repaired.exit_code, repaired.document["round"]) == (0, "repair")
    assert filled == first_chunks
    assert after.exit_code == 0
    assert [one["state"] for one in after.document["metadata_indexes"]] == ["found", "found"]
    before_upload = {
        one["name"]: one["before_upload"] for one in after.document["metadata_indexes"]
    }
    assert before_upload == {"file_id": True, "chunk_index": False}


@pytest.mark.slow
@pytest.mark.fault("F03")
def test_an_index_that_was_dropped_is_drift_and_no_repair_before_it_is_there(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(POINTS)) as bench:
        bench.move()
        _call(bench, "metadata_index/delete", {"propertyName": "file_id"})
        compared = bench.run("reconcile", as_json=False)
        uploads = len(bench.uploads())
        refused = bench.run("migrate")
        uploads_then = len(bench.uploads())
        provisioned = bench.run("provision", "--into-non-empty")
        repaired = bench.run("migrate")
        after = bench.run("reconcile")
        found = _found(bench, {"file_id": "file-0001"})

    assert compared.exit_code == 4
    assert "metadata index 'file_id' (string): there is none, so a filter" in compared.stdout
    in_folder = f"--dir {bench.directory}`"
    assert (
        f"`q2v provision --into-non-empty {in_folder} creates it, then `q2v migrate {in_folder}"
        in compared.stdout
    )
    assert "next: q2v migrate" in compared.stdout
    assert (refused.exit_code, uploads_then) == (5, uploads)
    assert "q2v provision --into-non-empty" in refused.stderr
    assert provisioned.exit_code == 0
    assert (repaired.exit_code, after.exit_code) == (0, 0)
    assert found == {f"file-0001_{number}" for number in range(7)}


@pytest.mark.slow
@pytest.mark.fault("F03")
def test_texts_where_numbers_are_declared_end_in_5_before_anything_is_written(
    tmp_path: Path,
) -> None:
    settings = {"Q2V_TARGET_METADATA_INDEXES": "last_modified:number"}
    with workbench(tmp_path, points(POINTS), settings=settings) as bench:
        planned = bench.run("plan")
        moved = bench.move()
        stored = bench.stored()
        bench.environment["Q2V_TARGET_METADATA_INDEXES"] = "last_modified:string"
        other_type = bench.run("provision")

    assert (planned.exit_code, moved.exit_code) == (5, 5)
    assert json.loads(planned.stdout.splitlines()[0])["metadata_types"] == {
        "last_modified": {"string": POINTS}
    }
    assert "last_modified as number: string 30" in moved.stderr
    assert "target.metadata_indexes" in moved.stderr
    assert stored == {}
    assert other_type.exit_code == 5
    assert (
        f"wrangler vectorize delete-metadata-index {INDEX} --property-name=last_modified"
        in other_type.stderr
    )


@pytest.mark.slow
@pytest.mark.fault("F03", "F11")
def test_an_index_that_provision_creates_again_is_compared_before_the_cutover(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(POINTS)) as bench:
        bench.move()
        compared = bench.run("reconcile")
        _call(bench, "metadata_index/delete", {"propertyName": "file_id"})
        provisioned = bench.run("provision", "--into-non-empty")
        drift = bench.run("reconcile")

    assert compared.document["verdict"] == "equal"
    assert provisioned.document["situation"] == "index_added"
    assert provisioned.document["next_argv"][:2] == ["q2v", "reconcile"]
    assert (drift.exit_code, drift.document["drift"]["metadata_indexes"]) == (4, 1)


@pytest.mark.slow
@pytest.mark.fault("F03")
def test_an_index_that_finds_nothing_can_be_waived_by_its_name(tmp_path: Path) -> None:
    settings = {"Q2V_TARGET_METADATA_INDEXES": "file_id:string,last_modified:number"}
    waiver = ("--waive-index", "last_modified")
    with workbench(tmp_path, points(POINTS), settings=settings) as bench:
        refused = bench.run("plan")
        bench.run("provision")
        bench.run("snapshot")
        unknown = bench.run("migrate", "--waive-index", "page")
        planned = bench.run("plan", *waiver)
        moved = bench.run("migrate", *waiver)
        again = bench.run("migrate")
        compared = bench.run("reconcile")
        caught_up = bench.run("catch-up")

    assert refused.exit_code == 5
    assert "--waive-index last_modified" in refused.stderr
    assert unknown.exit_code == 2
    assert "no metadata index to waive is declared on page" in unknown.stderr
    assert (planned.exit_code, moved.exit_code, again.exit_code) == (0, 0, 0)
    assert planned.document["metadata_types"]["last_modified"] == {"string": POINTS}
    states = {one["name"]: one["state"] for one in compared.document["metadata_indexes"]}
    assert states == {"file_id": "found", "last_modified": "not asked"}
    assert compared.document["verdict"] == "equal"
    assert caught_up.exit_code == 0


@pytest.mark.slow
@pytest.mark.fault("F03")
def test_a_type_that_was_changed_in_the_settings_is_noticed_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(POINTS)) as bench:
        bench.move()
        bench.environment["Q2V_TARGET_METADATA_INDEXES"] = "file_id:number"
        uploads = len(bench.uploads())
        refused = bench.run("migrate")
        uploads_then = len(bench.uploads())

    assert (refused.exit_code, uploads_then) == (5, uploads)
    assert "file_id (is a string, number is declared)" in refused.stderr
