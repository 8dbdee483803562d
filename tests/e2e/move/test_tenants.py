"""A part of a collection moves, is proved and comes back as a whole collection does."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import ExitCode
from tests.harness.running.workbench import Workbench, changed_point, points, workbench
from tests.harness.running.workspace import REPOSITORY, Result
from tests.servers.qdrant_points import StoredPoint

RECIPE = REPOSITORY / "docs" / "part-of-a-collection.md"
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


@pytest.mark.slow
@pytest.mark.fault("M16")
def test_a_part_is_planned_moved_proved_and_restored(bench: Workbench, tmp_path: Path) -> None:
    plan, page = bench.run("plan", as_json=False), bench.run("runbook", as_json=False)
    moved = bench.move()
    equal = bench.run("reconcile")
    status, verified = bench.run("status", as_json=False), bench.run("verify", as_json=False)
    del bench.environment["QDRANT_URL"], bench.environment["QDRANT_API_KEY"]
    bench.environment["QDRANT_PATH"] = str(tmp_path / "restored")
    restored = bench.run("restore", status_of(bench)["snapshot_id"], "--yes", as_json=False)

    assert "28 of 56 points" in plan.stdout
    assert f"| only the points that match | `{PICKED}` |" in page.stdout
    assert moved.exit_code == ExitCode.DONE, moved.stderr
    assert set(bench.stored()) == ids_of(bench, "a")
    assert (equal.document["verdict"], equal.document["counts"]["source"]) == ("equal", 28)
    for shown in (status, verified):
        assert f"the points that match {PICKED}" in shown.stdout
    assert "28 others are left out" in status.stdout
    assert restored.exit_code == ExitCode.DONE, restored.stderr
    assert f"a part of the collection: the points that match {PICKED}" in restored.stdout


@pytest.mark.slow
def test_the_plan_of_the_next_tenant_names_the_next_command_of_that_tenant(
    bench: Workbench,
) -> None:
    assert bench.move().exit_code == ExitCode.DONE

    bench.environment[FILTER] = B
    planned = bench.run("plan")
    bench.environment[FILTER] = A
    moved = bench.run("plan")

    assert planned.document["situation"] == "no_snapshot"
    assert planned.document["next"].startswith("q2v snapshot")
    assert moved.document["situation"] == "written"


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


# --- one tenant after the other -------------------------------------------------------------------


def recipe() -> Iterator[list[str]]:
    """The commands of "Moving one tenant", as words."""
    section = RECIPE.read_text(encoding="utf-8").partition("## Moving one tenant")[2]
    for block in re.findall(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE):
        yield from map(shlex.split, block.splitlines())


@dataclass
class Tenants:
    """Follows the recipe; knows the run of each tenant."""

    bench: Workbench
    runs: dict[str, str] = field(default_factory=dict)  # RUN_OF_A -> path
    results: list[tuple[list[str], Result]] = field(default_factory=list)

    def follow(self, words: list[str]) -> None:
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.bench.environment[name] = value
            return
        result = self.bench.run(*(self.runs.get(word, word) for word in words[1:]))
        assert result.exit_code == ExitCode.DONE, (words, result.stderr)
        self.results.append((words, result))
        if words[1] == "migrate":
            self.runs[f"RUN_OF_{'AB'[len(self.runs)]}"] = status_of(self.bench)["path"]

    def counter(self) -> bytes:
        return self.bench.entries()["_vector_count"]


@pytest.mark.slow
@pytest.mark.fault("M17")
def test_the_documented_move_of_two_tenants_and_the_way_back_of_the_second(
    bench: Workbench,
) -> None:
    tenants, held = Tenants(bench), []
    for words in recipe():
        tenants.follow(words)
        if words[1] in {"migrate", "rollback"}:
            held.append((set(bench.stored()), tenants.counter(), bench.entries()))

    both = ids_of(bench, "a") | ids_of(bench, "b")
    (first, count, entries), (second, of_both, _), (after, left, entries_left) = held
    assert (first, count) == (ids_of(bench, "a"), b"28")
    assert (second, of_both) == (both, b"56")
    assert (after, left, entries_left) == (first, b"28", entries)
    reports = [result.document for words, result in tenants.results if words[1] == "reconcile"]
    assert [one["verdict"] for one in reports] == ["equal"] * 4
    run_of_b = Path(tenants.runs["RUN_OF_B"]).name
    assert [one.get("other_runs") for one in reports[::3]] == [None, None]
    assert reports[2]["other_runs"] == [run_of_b]
    assert reports[2]["counts"]["kv_counter"] == len(both)


@pytest.fixture
def both(bench: Workbench) -> Tenants:
    """Both tenants moved, and the settings name the first."""
    tenants = Tenants(bench)
    for words in recipe():
        tenants.follow(words)
        if "RUN_OF_A" in words:
            return tenants
    raise AssertionError("the recipe proves the first tenant again")


@pytest.mark.slow
@pytest.mark.fault("M17")
def test_the_run_of_one_tenant_is_not_superseded_by_that_of_the_other(both: Tenants) -> None:
    situations = {
        name: both.bench.run("status", run).document["situation"] for name, run in both.runs.items()
    }

    assert len({*situations.values()}) == 1
    assert "superseded" not in situations["RUN_OF_A"]


@pytest.mark.slow
@pytest.mark.fault("M17")
def test_a_repair_of_one_tenant_counts_the_vectors_of_the_other(both: Tenants) -> None:
    bench, run = both.bench, both.runs["RUN_OF_A"]
    bench.sandbox.store.remove_vector(bench.index, min(ids_of(bench, "a")))
    bench.sandbox.store.put_kv(bench.namespace_id, "_vector_count", b"1")
    drift = bench.run("reconcile", run)
    repaired = bench.run("migrate", str(Path(run).parent.parent), "--into-non-empty")
    counted = both.counter()
    equal = bench.run("reconcile", run)
    bench.environment[FILTER] = B
    of_b = bench.run("reconcile", both.runs["RUN_OF_B"])

    assert drift.exit_code == ExitCode.DRIFT
    assert repaired.exit_code == ExitCode.DONE, repaired.stderr
    assert counted == b"56"
    assert [equal.document["verdict"], of_b.document["verdict"]] == ["equal", "equal"]


@pytest.mark.slow
@pytest.mark.fault("M17")
def test_after_the_other_is_rolled_back_a_repair_counts_its_own_again(both: Tenants) -> None:
    bench, run = both.bench, both.runs["RUN_OF_A"]
    snapshot = str(Path(run).parent.parent)
    for count in (b"1", b"2"):
        bench.sandbox.store.put_kv(bench.namespace_id, "_vector_count", count)
        assert bench.run("reconcile", run).exit_code == ExitCode.DRIFT
        assert bench.run("migrate", snapshot, "--into-non-empty").exit_code == ExitCode.DONE
        if count == b"1":
            undone = bench.run("rollback", both.runs["RUN_OF_B"], "--execute")
            assert undone.exit_code == ExitCode.DONE, undone.stderr

    assert both.counter() == b"28"
    assert bench.run("reconcile", run).document["verdict"] == "equal"


@pytest.mark.slow
@pytest.mark.fault("M17")
def test_a_catch_up_of_one_tenant_leaves_the_other_and_both_stay_provable(both: Tenants) -> None:
    bench = both.bench
    held = bench.collection.points
    bench.collection.points = [changed_point(held[0], tenant="none"), *held[1:]]
    caught = bench.run("catch-up", "--frozen")
    equal = bench.run("reconcile")
    bench.environment[FILTER] = B
    of_b = bench.run("reconcile", both.runs["RUN_OF_B"])

    assert caught.exit_code == ExitCode.DONE, caught.stderr
    assert set(bench.stored()) == ids_of(bench, "a") | ids_of(bench, "b")
    assert both.counter() == b"55"
    assert [equal.document["verdict"], of_b.document["verdict"]] == ["equal", "equal"]


@pytest.mark.slow
@pytest.mark.fault("M17")
def test_an_older_tenant_is_not_rolled_back_under_the_newer_one(both: Tenants) -> None:
    before = both.bench.state()
    refused = both.bench.run("rollback", both.runs["RUN_OF_A"], "--execute")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert both.bench.state() == before


def advised(result: Result, *commands: str) -> list[list[str]]:
    """The words of every such command that the output advises."""
    found = re.findall(r"`(q2v [^`]+)`", result.stdout + result.stderr)
    found += re.findall(r"^next: (q2v .*)$", result.stdout + result.stderr, re.MULTILINE)
    return [words for words in map(shlex.split, found) if words[1] in commands]


OF_A_RUN = ("reconcile", "gate", "monitor", "rollback", "status", "archive", "decommission")


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_advice_about_the_run_of_an_older_tenant_names_that_run(both: Tenants) -> None:
    bench, run = both.bench, both.runs["RUN_OF_A"]
    snapshot = str(Path(run).parent.parent)
    equal = bench.run("reconcile", run, as_json=False)
    preview = bench.run("rollback", run, as_json=False)
    refused = bench.run("rollback", run, "--execute", as_json=False)
    in_the_way = "file-0000_0"
    values, _ = bench.stored()[in_the_way]
    bench.sandbox.store.put_vector(bench.index, in_the_way, values, {"by": "another"})
    kept = bench.run("rollback", run, "--execute", "--leave-later-writes", as_json=False)

    assert refused.exit_code == ExitCode.PRECONDITION
    assert kept.exit_code == ExitCode.DRIFT
    for result in (equal, preview, refused, kept):
        commands = advised(result, *OF_A_RUN)
        assert commands, result
        assert {words[2] for words in commands} == {run}
        assert {words[2] for words in advised(result, "migrate")} <= {snapshot}
    assert set(bench.stored()) == ids_of(bench, "b") | {in_the_way}


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_the_advised_export_is_of_the_run_that_was_named(both: Tenants) -> None:
    bench, run = both.bench, both.runs["RUN_OF_A"]
    refused = bench.run("rollback", run, "--execute", as_json=False)
    [export] = advised(refused, "rollback")
    exported = bench.run_as_typed(export[1:])
    undone = bench.run("rollback", run, "--execute")

    assert exported.exit_code == ExitCode.DONE, exported.stderr
    assert undone.exit_code == ExitCode.DONE, undone.stderr
    assert Path(undone.document["later_export"]).is_relative_to(Path(run).parent.parent.parent)
    assert set(bench.stored()) == ids_of(bench, "b")


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_run_with_a_later_catch_up_is_refused_with_the_end_of_its_own_chain(
    both: Tenants,
) -> None:
    bench, run = both.bench, both.runs["RUN_OF_A"]
    bench.collection.points[0] = changed_point(bench.collection.points[0], tenant="none")
    assert bench.run("catch-up", "--frozen").exit_code == ExitCode.DONE
    newest = status_of(bench)["path"]
    bench.environment[FILTER] = B
    bench.collection.points[10] = changed_point(bench.collection.points[10], tenant="none")
    assert bench.run("catch-up", "--frozen").exit_code == ExitCode.DONE
    refused = bench.run("rollback", run, "--execute", as_json=False)
    situation = bench.run("status", run, as_json=False)

    assert refused.exit_code == ExitCode.PRECONDITION
    assert [words[2:4] for words in advised(refused, "rollback")] == [[newest, "--execute"]]
    assert [words[2] for words in advised(situation, "status")] == [newest]


@pytest.mark.slow
@pytest.mark.fault("F03", "F11")
def test_the_plan_of_the_next_tenant_leads_to_an_index_that_is_missing(bench: Workbench) -> None:
    """The commands are run as they are printed; the index holds the vectors of the first tenant."""
    assert bench.move().exit_code == ExitCode.DONE
    bench.environment[FILTER] = B
    bench.environment["Q2V_TARGET_METADATA_INDEXES"] = "file_id:string,tenant:string"
    checked, done = bench.run("check"), []
    while (following := bench.run("plan").document)["next_argv"]:
        words = following["next_argv"][1:]
        result = bench.run_as_typed(words)
        assert result.exit_code == ExitCode.DONE, (words, result.stderr)
        done.append(words[0])
        if words[0] == "snapshot":
            break

    assert done == ["provision", "snapshot"]
    assert checked.document["next_argv"][1:3] == ["provision", "--into-non-empty"]


@pytest.mark.slow
@pytest.mark.fault("M17", "F11")
def test_a_repair_that_would_take_ids_from_another_tenant_is_a_decision(bench: Workbench) -> None:
    """Both tenants have files of the same names; the second has written over the first."""
    bench.collection.points = [
        changed_point(point, file_id=f"file-{number // 14}", chunk_index=number % 7)
        for number, point in enumerate(bench.collection.points)
    ]
    assert bench.move().exit_code == ExitCode.DONE
    first = status_of(bench)["path"]
    bench.environment[FILTER] = B
    assert bench.run("snapshot").exit_code == ExitCode.DONE
    assert bench.run("migrate", "--into-non-empty").exit_code == ExitCode.DONE
    of_b = bench.run("reconcile")
    bench.environment[FILTER] = A
    drift = bench.run("reconcile", first)

    assert of_b.document["verdict"] == "equal"
    assert (drift.exit_code, drift.document["shared"]) == (ExitCode.DRIFT, 28 + 4)
    assert drift.document["situation"] == "shared"
    assert drift.document["next_argv"] is None
    assert "mapping.id_template" in drift.document["next"]


@pytest.mark.slow
@pytest.mark.fault("M17")
def test_a_file_of_two_tenants_is_drift_of_the_first(bench: Workbench) -> None:
    bench.collection.points = [
        changed_point(point, tenant="b") if number == 3 else point
        for number, point in enumerate(bench.collection.points)
    ]
    assert bench.move().exit_code == ExitCode.DONE
    first = status_of(bench)["path"]
    bench.environment[FILTER] = B
    assert bench.run("snapshot").exit_code == ExitCode.DONE
    assert bench.run("migrate", "--into-non-empty").exit_code == ExitCode.DONE
    bench.environment[FILTER] = A
    drift = bench.run("reconcile", first)

    assert drift.exit_code == ExitCode.DRIFT
    assert drift.document["drift"]["kv_mismatched"] == 1
    assert (drift.document["shared"], drift.document["situation"]) == (1, "shared")


@pytest.mark.slow
@pytest.mark.fault("M17")
def test_a_file_keeps_its_entry_when_its_former_tenant_catches_up_last(both: Tenants) -> None:
    bench, runs = both.bench, {}
    bench.collection.points = [
        changed_point(point, tenant="b") if number < 7 else point
        for number, point in enumerate(bench.collection.points)
    ]
    for tenant in (B, A):
        bench.environment[FILTER] = tenant
        assert bench.run("catch-up", "--frozen").exit_code == ExitCode.DONE
        runs[tenant] = status_of(bench)["path"]
    held = bench.state()
    entry, counted = bench.entries()["file:file-0000"], both.counter()
    verdicts = []
    for tenant, run in runs.items():
        bench.environment[FILTER] = tenant
        verdicts.append(bench.run("reconcile", run).document["verdict"])

    assert set(bench.stored()) == ids_of(bench, "a") | ids_of(bench, "b")
    assert json.loads(entry) == [f"file-0000_{number}" for number in range(7)]
    assert counted == b"56"
    assert verdicts == ["equal", "equal"]
    assert bench.state() == held


@pytest.mark.slow
@pytest.mark.fault("M17")
def test_the_counter_does_not_count_a_tenant_that_was_rolled_back_under_a_newer_one(
    both: Tenants,
) -> None:
    bench, run_of_b = both.bench, both.runs["RUN_OF_B"]
    undone = bench.run("rollback", both.runs["RUN_OF_A"], "--execute", "--leave-later-writes")
    bench.environment[FILTER] = B
    drift = bench.run("reconcile", run_of_b)
    repaired = bench.run("migrate", str(Path(run_of_b).parent.parent), "--into-non-empty")
    equal = bench.run("reconcile", run_of_b)

    assert undone.exit_code == ExitCode.DONE, undone.stderr
    assert set(bench.stored()) == ids_of(bench, "b")
    assert drift.exit_code == ExitCode.DRIFT
    assert [name for name, count in drift.document["drift"].items() if count] == ["counter"]
    assert repaired.exit_code == ExitCode.DONE, repaired.stderr
    assert both.counter() == b"28"
    assert equal.document["verdict"] == "equal"
