"""Payloads that metadata cannot hold move by declared rules, which a plan shows beforehand."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.running.workbench import Workbench, unit_vectors, workbench
from tests.servers.qdrant_points import StoredPoint

RULES: list[dict[str, object]] = [
    {"drop": ["internal"]},
    {"rename": "metadata.source", "to": "source"},
    {"flatten": "metadata", "separator": "_"},
    {"to_text": [], "of": ["big_integers", "number_lists"]},
    {"nulls": "leave_out"},
    {"drop": ["nowhere"]},
]
SETTINGS = {
    "Q2V_MAPPING_TRANSFORM": json.dumps(RULES),
    "Q2V_MAPPING_ID_TEMPLATE": "{point_id}",
    "Q2V_MAPPING_GROUP_KEY": "metadata.source",
    "Q2V_MAPPING_ORDER_KEY": "metadata.loc.start",
    "Q2V_MAPPING_HASH_KEY": "sha256",
    "Q2V_KV_KEY_TEMPLATE": "file:{metadata.source}",
    "Q2V_TARGET_METADATA_INDEXES": "source:string",
}
LATER = "2036-01-01T00:00+00:00"


def payload(number: int) -> dict[str, Any]:
    """What no index of the target takes as it is: null, a list of numbers, objects three deep."""
    return {
        "internal": {"deep": {"deeper": [number]}},
        "metadata": {
            "source": f"file-{number % 3}",
            "loc": {"start": number, "lines": {"from": number, "to": None}},
        },
        "sha256": f"{number:064x}",
        "snowflake": 2**60 + number,
        "tags": [number, 7],
    }


def moved_metadata(number: int) -> dict[str, Any]:
    return {
        "source": f"file-{number % 3}",
        "metadata_loc_start": number,
        "metadata_loc_lines_from": number,
        "sha256": f"{number:064x}",
        "snowflake": str(2**60 + number),
        "tags": [str(number), "7"],
    }


def points(count: int) -> list[StoredPoint]:
    return [
        StoredPoint(id=number, vectors={"": values.tolist()}, payload=payload(number))
        for number, values in enumerate(unit_vectors(count))
    ]


def verdicts(bench: Workbench) -> set[str]:
    document = bench.run("gate", "--until", LATER).document
    return {row["verdict"] for row in document["rows"] if "queries" in row["criterion"]}


def test_a_payload_moves_by_rules_and_comes_back_as_it_was(tmp_path: Path) -> None:
    stored = points(30)
    with workbench(tmp_path, stored, settings=SETTINGS) as bench:
        before = bench.state()
        assert bench.move().exit_code == 0
        assert bench.run("reconcile").document["verdict"] == "equal"

        found = {name: metadata for name, (_, metadata) in bench.stored().items()}
        entries = bench.entries()
        asked, monitor = verdicts(bench), bench.run("monitor")
        undone = bench.run("rollback", "--execute", "--yes")

        assert found == {str(number): moved_metadata(number) for number in range(30)}
        assert json.loads(entries["file:file-1"]) == [str(number) for number in range(1, 30, 3)]
        assert asked == {"pass"}
        assert monitor.exit_code == 0, monitor.stdout
        assert undone.exit_code == 0, undone.stderr
        assert bench.state() == before


@pytest.mark.slow
@pytest.mark.fault("M10")
def test_a_plan_shows_what_each_rule_does(tmp_path: Path) -> None:
    with workbench(tmp_path, points(30), settings=SETTINGS) as bench:
        masked = bench.run("plan").document["transforms"]
        shown = bench.run("plan", "--show-values").document["transforms"]
        text = bench.run("plan", "--details", as_json=False)

    assert [(one["rule"], one["points"]) for one in masked] == [
        ("drop internal", 30),
        ("rename metadata.source to source", 30),
        ("flatten metadata with '_', all levels", 30),
        ("to text big_integers, number_lists", 30),
        ("nulls left out", 30),
        ("drop nowhere", 0),
    ]
    assert [len(one["examples"]) for one in masked] == [3, 3, 3, 3, 3, 0]
    assert masked[1]["examples"][2] == {
        "point_id": "2",
        "changes": [
            {"field": "metadata.source", "before": "text of 6 characters", "after": None},
            {"field": "source", "before": None, "after": "text of 6 characters"},
        ],
    }
    assert shown[3]["examples"][0]["changes"] == [
        {"field": "snowflake", "before": str(2**60), "after": f'"{2**60}"'},
        {"field": "tags", "before": "[0,7]", "after": '["0","7"]'},
    ]
    assert "note: rule 6 (drop nowhere) changes no point; correct it, or remove it" in text.stdout
    assert "rule 2 (rename metadata.source to source) changes 30 points, for example" in text.stdout
    assert "file-2" not in text.stdout


@pytest.mark.fault("M08")
def test_a_rule_that_would_overwrite_a_field_quarantines_the_point(tmp_path: Path) -> None:
    stored = points(3)
    stored[1].payload["source"] = "of its own"  # type: ignore[index]
    with workbench(tmp_path, stored, settings=SETTINGS) as bench:
        document = bench.run("plan").document

    (point,) = document["quarantined_points"]
    assert (point["point_id"], point["reason"], point["field"]) == ("1", "field_taken", "source")
    assert "rename metadata.source to source" in point["detail"]


@pytest.mark.fault("M09")
def test_a_table_that_is_no_rule_is_refused_where_it_was_given(tmp_path: Path) -> None:
    settings = {**SETTINGS, "Q2V_MAPPING_TRANSFORM": '[{"drop": ["a"]}, {"rename": "a"}]'}
    with workbench(tmp_path, points(1), settings=settings, provision=False) as bench:
        refused = bench.run("plan")

    assert refused.exit_code == 2
    assert (
        "mapping.transform from environment Q2V_MAPPING_TRANSFORM: rule 2: to: found None"
        in refused.document["error"]["what"]
    )


@pytest.mark.slow
@pytest.mark.fault("M11", "L01")
def test_what_the_new_side_added_comes_back_as_payloads_are_and_can_move_again(
    tmp_path: Path,
) -> None:
    rules = [*RULES, {"constant": "origin", "value": "qdrant"}]
    settings = {**SETTINGS, "Q2V_MAPPING_TRANSFORM": json.dumps(rules)}
    new = {**moved_metadata(77), "origin": "qdrant"}
    with workbench(tmp_path, points(12), settings=settings) as bench:
        assert bench.move().exit_code == 0
        bench.sandbox.store.put_vector(bench.index, "77", unit_vectors(80)[77], new)
        exported = bench.run("rollback", "--export-later-writes")
        bench.collection.is_writable = True
        restored = bench.run("restore", exported.document["path"], "--append", "--yes")
        plan = bench.run("plan")

    assert restored.exit_code == 0, restored.stderr
    (back,) = [one.payload for one in bench.collection.points if one.key.text == "77"]
    assert back == {
        "metadata": {"source": "file-2", "loc": {"start": 77, "lines": {"from": 77}}},
        "sha256": f"{77:064x}",
        "snowflake": str(2**60 + 77),  # what a rule has changed cannot be told from metadata
        "tags": ["77", "7"],
    }
    assert plan.document["quarantined"] == {}


@pytest.mark.slow
@pytest.mark.fault("M11", "W01")
@pytest.mark.parametrize(
    "rule",
    [{"drop": ["metadata.source"]}, {"truncate": "metadata.source", "characters": 3}],
    ids=["drop", "truncate"],
)
def test_the_monitor_looks_for_no_file_in_metadata_that_has_lost_it(
    tmp_path: Path, rule: dict[str, object]
) -> None:
    """Every vector would count as one of another file, in a target that is as it was moved."""
    rules = [rule, *(one for one in RULES if "rename" not in one)]
    settings = {
        **SETTINGS,
        "Q2V_MAPPING_TRANSFORM": json.dumps(rules),
        "Q2V_TARGET_METADATA_INDEXES": "sha256:string",
    }
    with workbench(tmp_path, points(12), settings=settings) as bench:
        assert bench.move().exit_code == 0
        good = bench.run("monitor")
        bench.sandbox.store.remove_vector(bench.index, "3")
        bad = bench.run("monitor")

    assert (good.exit_code, good.document["verdict"]) == (0, "consistent"), good.stdout
    assert bad.document["first"]["dangling"] == ["3"]
