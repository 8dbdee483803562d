"""One collection moves into three indexes, a run for each, and comes back; over sockets."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from migrate.mapping.shards import shard_of
from tests.e2e.several_indexes.bench import (
    INDEXES,
    Several,
    check_moved,
    file_of,
    index_of,
    several,
    vector_id,
)
from tests.harness.running.workbench import changed_point, chunk, points
from tests.servers.qdrant_points import StoredPoint

LATER = "2036-01-01T00:00+00:00"
STOP_AFTER_THE_SECOND_UPLOAD = """
import os
from migrate.upload import sending
send = sending.Sender._send_upload
def send_and_end(self, worker, ordinal, upload):
    sent = send(self, worker, ordinal, upload)
    if ordinal == 1:
        os._exit(137)
    return sent
sending.Sender._send_upload = send_and_end
from q2v.__main__ import run
run()
"""


@pytest.mark.slow
@pytest.mark.fault("M40")
def test_three_runs_move_a_collection_into_three_indexes_and_all_of_it_comes_back(
    tmp_path: Path,
) -> None:
    stored = points(140, per_file=4)
    stored[5] = replace(stored[5], payload={"file_id": 7})  # no file: its id picks the judge
    good = [one for one in stored if one is not stored[5]]
    with several(tmp_path, stored) as both:
        before = both.states()
        assert both.bench.run("snapshot").exit_code == 0
        planned = both.all("plan", str(newest(both)))
        moved = {index: both.run("migrate", index, "--waive", "field_type") for index in INDEXES}
        reconciled = both.all("reconcile")
        gates = both.all("gate", "--until", LATER)
        monitored = both.all("monitor")
        reports = both.all("report")

        assert [one.exit_code for one in moved.values()] == [0, 0, 0], moved["wiki-0"].stderr
        check_moved(both, good)
        for index, plan in planned.items():
            found = plan.document
            quarantined = sum(found["quarantined"].values())
            elsewhere = found["elsewhere"]
            assert found["points"] == 140
            assert found["vectors"] + quarantined + sum(elsewhere.values()) == 140
            assert set(elsewhere) == set(INDEXES) - {index}
        assert sum(one.document["vectors"] for one in planned.values()) == 139
        assert sum(sum(one.document["quarantined"].values()) for one in planned.values()) == 1
        assert {one.document["verdict"] for one in reconciled.values()} == {"equal"}
        assert {one.document["verdict"] for one in gates.values()} == {"go"}
        assert {json.dumps(one.document["findings"]) for one in monitored.values()} == {"{}"}
        pages = [Path(one.document["page"]).read_text(encoding="utf-8") for one in reports.values()]
        for number, page in enumerate(pages, start=1):
            assert f"number {number} of 3 vector indexes: wiki-0, wiki-1, wiki-2" in page
            assert "elsewhere" in page

        undone = both.run("rollback", "wiki-1", "--execute", "--yes")
        left = {index: both.run("reconcile", index, "--fresh") for index in ("wiki-0", "wiki-2")}

        assert undone.exit_code == 0, undone.stderr
        assert both.ids("wiki-1") == set()
        assert {one.document["verdict"] for one in left.values()} == {"equal"}
        assert not any(
            more == {"index": "wiki-1"} or key.endswith(":wiki-1")
            for key, (_, more) in both.entries().items()
        )
        for index in ("wiki-0", "wiki-2"):
            gone = both.run("rollback", index, "--execute", "--yes")
            assert gone.exit_code == 0, gone.stderr
        assert both.states() == before


def newest(both: Several) -> Path:
    return max(path.parent for path in both.bench.directory.glob("*/manifest.json"))


@pytest.mark.slow
@pytest.mark.fault("M42")
def test_without_the_name_of_an_index_a_command_names_the_flag_and_the_list(
    tmp_path: Path,
) -> None:
    with several(tmp_path, points(8)) as both:
        assert both.bench.run("snapshot").exit_code == 0
        for command in ("migrate", "reconcile", "rollback", "gate", "monitor", "decommission"):
            refused = both.bench.run(command)

            assert refused.exit_code == ExitCode.USAGE, command
            assert "wiki-0, wiki-1, wiki-2" in refused.stderr
            assert "--vector-index wiki-0" in refused.stderr
        stranger = both.run("migrate", "wiki-9")

    assert stranger.exit_code == ExitCode.USAGE
    assert "expected one of target.shards" in stranger.stderr


@pytest.mark.slow
@pytest.mark.fault("F29", "M42")
def test_a_saved_plan_says_which_index_it_is_for(tmp_path: Path) -> None:
    stored, file = points(40), str(tmp_path / "agreed.json")
    with several(tmp_path, stored) as both:
        assert both.bench.run("snapshot").exit_code == 0
        assert both.run("plan", "wiki-2", str(newest(both)), "--out", file).exit_code == 0
        empty = both.states()
        other = both.run("migrate", "wiki-0", file)
        both.bench.environment["Q2V_LIMITS_VECTORS_PER_UPLOAD"] = "6"
        moved = both.bench.run("migrate", file)
        both.bench.environment["Q2V_LIMITS_VECTORS_PER_UPLOAD"] = "5"
        untouched = both.states()
        done = both.bench.run("migrate", file)

        assert other.exit_code == moved.exit_code == ExitCode.PRECONDITION
        assert "vector index: planned wiki-2, now wiki-0" in other.document["error"]["what"]
        assert "with --vector-index wiki-2, or" in other.document["error"]["next"]
        assert "--out FILE --vector-index wiki-2" in flat(moved.document["error"]["next"])
        assert untouched == empty
        assert done.exit_code == 0, done.stderr
        assert done.document["route"]["target"]["vector_index"] == "wiki-2"
        assert both.ids("wiki-2") == {vector_id(one) for one in stored if index_of(one) == "wiki-2"}
        assert both.ids("wiki-0") == both.ids("wiki-1") == set()


def flat(advice: str) -> str:
    """Without the flags that name folders."""
    return re.sub(r" --(dir|local|config) \S+", "", advice)


@pytest.mark.slow
@pytest.mark.fault("M40")
def test_a_vector_that_is_lost_in_one_index_changes_that_verdict_alone(tmp_path: Path) -> None:
    stored = points(60, per_file=3)
    with several(tmp_path, stored) as both:
        assert both.bench.run("snapshot").exit_code == 0
        both.all("migrate")
        lost = next(vector_id(one) for one in stored if index_of(one) == "wiki-2")
        both.bench.sandbox.store.remove_vector("wiki-2", lost)

        verdicts = {index: both.run("reconcile", index).document for index in INDEXES}
        mended = both.run("migrate", "wiki-2")

        assert {index: one["verdict"] for index, one in verdicts.items()} == {
            "wiki-0": "equal",
            "wiki-1": "equal",
            "wiki-2": "drift",
        }
        assert mended.exit_code == 0, mended.stderr
        check_moved(both, stored)
        both.all("reconcile", "--fresh")


@pytest.mark.slow
@pytest.mark.fault("M41")
@pytest.mark.parametrize("metadata", [None, {"index": "wiki-0"}, {"index": "elsewhere"}])
def test_an_entry_that_leads_to_another_index_is_drift_and_is_mended(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    stored = points(60, per_file=3)
    with several(tmp_path, stored) as both:
        assert both.bench.run("snapshot").exit_code == 0
        both.all("migrate")
        wrong = next(file_of(one) for one in stored if index_of(one) == "wiki-1")
        value, _ = both.entries()[f"file:{wrong}"]
        both.bench.sandbox.store.put_kv(
            both.bench.namespace_id,
            f"file:{wrong}",
            json.dumps(value, separators=(",", ":")).encode(),
            metadata,
        )

        drift = both.run("reconcile", "wiki-1")
        others = [both.run("reconcile", one).document["verdict"] for one in ("wiki-0", "wiki-2")]
        mended = both.run("migrate", "wiki-1")

        assert drift.exit_code == ExitCode.DRIFT
        assert drift.document["differs"] == {f"file:{wrong}": ["kv metadata"]}
        assert others == ["equal", "equal"]
        assert mended.exit_code == 0, mended.stderr
        check_moved(both, stored)


@pytest.mark.slow
@pytest.mark.fault("M40")
def test_two_indexes_are_written_at_once_and_a_killed_run_continues(tmp_path: Path) -> None:
    stored = points(150, per_file=3)
    with several(tmp_path, stored) as both:
        assert both.bench.run("snapshot").exit_code == 0
        killed = both.bench.start(
            "migrate", "--vector-index", "wiki-0", program=STOP_AFTER_THE_SECOND_UPLOAD
        )
        beside = both.bench.start("migrate", "--vector-index", "wiki-1")
        ends = [one.communicate()[1] for one in (killed, beside)]
        assert (killed.returncode, beside.returncode) == (137, 0), ends

        again = both.run("migrate", "wiki-0")
        last = both.run("migrate", "wiki-2")

        assert again.exit_code == 0, again.stderr
        assert last.exit_code == 0, last.stderr
        check_moved(both, stored)
        both.all("reconcile")


@pytest.mark.slow
@pytest.mark.fault("M40")
def test_a_catch_up_moves_changes_into_each_index_also_from_one_to_another(
    tmp_path: Path,
) -> None:
    stored = points(60, per_file=3)
    with several(tmp_path, stored) as both:
        assert both.bench.run("snapshot").exit_code == 0
        both.all("migrate")
        target = next(
            one for one in (f"moved-{n}" for n in range(99)) if shard_of(one, INDEXES) == "wiki-2"
        )
        here = next(at for at, one in enumerate(stored) if index_of(one) == "wiki-0")
        stored[here] = changed_point(stored[here], file_id=target, chunk_index=0)
        stored.pop()
        stored.append(StoredPoint(id=900, vectors=stored[0].vectors, payload=chunk("new-file", 0)))

        caught = both.run("catch-up", "wiki-0", "--frozen")
        others = [both.run("catch-up", index, "--frozen") for index in ("wiki-1", "wiki-2")]

        assert caught.exit_code == 0, caught.stderr
        assert [one.exit_code for one in others] == [0, 0], others[0].stderr
        assert {one.document["snapshot_id"] for one in (caught, *others)} == {
            caught.document["snapshot_id"]
        }
        check_moved(both, stored)
        both.all("reconcile")
        for index in INDEXES:
            assert both.run("rollback", index, "--execute", "--yes").exit_code == 0
        assert all(both.ids(index) == set() for index in INDEXES)
        assert both.entries() == {}


@pytest.mark.slow
@pytest.mark.fault("M42")
def test_another_list_or_another_mapping_is_refused_while_a_run_stands(tmp_path: Path) -> None:
    with several(tmp_path, points(40)) as both:
        assert both.bench.run("snapshot").exit_code == 0
        assert both.run("migrate", "wiki-0").exit_code == 0
        listed = both.bench.environment["Q2V_TARGET_SHARDS"]

        both.bench.environment["Q2V_TARGET_SHARDS"] = "wiki-0,wiki-1"
        shorter = both.run("migrate", "wiki-1")
        both.bench.environment["Q2V_TARGET_SHARDS"] = listed
        both.bench.environment["Q2V_MAPPING_GROUP_KEY"] = "file_path"
        both.bench.environment["Q2V_KV_KEY_TEMPLATE"] = "file:{file_path}"
        other = both.run("migrate", "wiki-1")

        for refused in (shorter, other):
            assert refused.exit_code == ExitCode.FOREIGN, refused.stderr
        assert "target.shards wiki-0, wiki-1, wiki-2" in shorter.stderr
        assert "group_key 'file_id', the settings say 'file_path'" in other.stderr
        assert both.ids("wiki-1") == set()
