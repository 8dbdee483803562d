"""What is printed in a move over three indexes is run as printed, and leads to the end."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import ExitCode
from tests.e2e.several_indexes.bench import INDEXES, Several, check_moved, several
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import changed_point, chunk, points
from tests.harness.running.workspace import Result

STORED = points(30, per_file=2)
STEPS_MAX = 16
LATER = "2036-01-01T00:00+00:00"


def follow(both: Several, result: Result) -> tuple[list[str], dict[str, Any]]:
    """Run what comes next, as it is printed, until it is a decision: the commands, the last."""
    done: list[str] = []
    while (argv := result.document["next_argv"]) is not None:
        assert len(done) < STEPS_MAX, done
        result = both.bench.run_as_typed([*argv[1:], "--json"])
        assert result.exit_code == 0, (argv, result.stderr)
        done.append(of_an_index(argv))
    return done, result.document


def of_an_index(argv: list[str]) -> str:
    """The command and the index that it names."""
    named = [argv[argv.index("--vector-index") + 1]] if "--vector-index" in argv else []
    return " ".join([argv[1], *named])


def in_backquotes(text: str) -> list[list[str]]:
    return [shlex.split(found) for found in re.findall(r"`(q2v [^`]+)`", text)]


def all_of(command: str) -> list[str]:
    return [f"{command} {index}" for index in INDEXES]


@pytest.mark.slow
@pytest.mark.fault("F11", "M42")
def test_following_what_comes_next_moves_and_compares_every_index(tmp_path: Path) -> None:
    with several(tmp_path, STORED) as both:
        begun = both.bench.run("status")
        done, last = follow(both, begun)
        gates: list[str] = []
        while last["situation"] == "equal":
            (argv,) = in_backquotes(last["next"].replace("TIME", LATER))
            gate = both.bench.run_as_typed([*argv[1:], "--json"])
            assert gate.exit_code == 0, gate.stderr
            gates.append(of_an_index(argv))
            last = gate.document
        seen = both.bench.run("status")
        shown = both.bench.run("status", as_json=False).stdout

        check_moved(both, STORED)
    assert done[:4] == ["snapshot", *all_of("migrate")]
    assert sorted(done[4:]) == all_of("reconcile")
    assert sorted(gates) == all_of("gate")
    assert last["situation"] == seen.document["situation"] == "go"
    assert "now: the newest gate of each vector index says go" in shown
    assert [one["vector_index"] for one in seen.document["indexes"]] == list(INDEXES)
    assert (seen.document["points"], seen.document["adds_up"]) == (len(STORED), True)
    assert sum(one["vectors"] for one in seen.document["indexes"]) == len(STORED)


@pytest.mark.search
@pytest.mark.fault("F11", "M42")
def test_a_moving_snapshot_and_a_catch_up_lead_through_every_index(tmp_path: Path) -> None:
    stored = list(STORED)
    with several(tmp_path, stored) as both:
        taken = both.bench.run("snapshot", "--moving")
        moved, last = follow(both, taken)
        stored[3] = changed_point(stored[3], text="changed")
        (_, argv) = in_backquotes(last["next"])
        caught = both.bench.run_as_typed([*argv[1:], "--json"])
        done, end = follow(both, caught)

        assert moved == all_of("migrate")
        assert last["situation"] == "moving"
        assert argv[:3] == ["q2v", "catch-up", "--frozen"]
        assert caught.exit_code == 0, caught.stderr
        others = [index for index in INDEXES if index not in argv]
        assert done[:2] == [f"migrate {index}" for index in others]
        assert sorted(done[2:]) == all_of("reconcile")
        assert end["situation"] == "equal"
        check_moved(both, stored)


@pytest.mark.fault("F11", "M42")
def test_what_commands_without_an_index_advise_names_one(tmp_path: Path) -> None:
    with several(tmp_path, STORED) as both:
        taken = both.bench.run("snapshot")
        verified = both.bench.run("verify")
        both.run("migrate", "wiki-0")
        later = both.bench.run("verify")
        (archived,) = (both.bench.run("archive"),)
        listed = both.bench.run("list", as_json=False).stdout

        for result in (taken, verified):
            assert of_an_index(result.document["next_argv"]) == "migrate wiki-0"
        assert of_an_index(later.document["next_argv"]) == "migrate wiki-1"
        assert later.document["next_vector_index"] == "wiki-1"
        assert archived.exit_code == ExitCode.PRECONDITION
        (reconcile, archive) = in_backquotes(archived.document["error"]["next"])
        assert of_an_index(reconcile) == "reconcile wiki-0"
        assert "--vector-index" not in archive
        command = listed.splitlines()[-1].removeprefix("next: `").split("`")[0]
        assert both.bench.run_as_typed(shlex.split(command)[1:]).exit_code == 0


@pytest.mark.search
@pytest.mark.fault("F11", "M42")
def test_each_index_that_provision_has_not_made_comes_next(tmp_path: Path) -> None:
    with several(tmp_path, STORED) as both:
        for index in INDEXES[1:]:
            both.bench.sandbox.store.vectors.delete_index(index)
        first = both.run("provision", "wiki-0")
        done, last = follow(both, first)

    assert done[:2] == ["provision wiki-1", "provision wiki-2"]
    assert done[2] == "snapshot"
    assert last["situation"] == "equal"


@pytest.mark.slow
@pytest.mark.fault("F11", "M42")
def test_after_the_rollback_of_one_the_way_to_undo_all_is_named(tmp_path: Path) -> None:
    with several(tmp_path, STORED) as both:
        before = both.states()
        assert both.bench.run("snapshot").exit_code == 0
        both.all("migrate")
        result = both.run("rollback", "wiki-1", "--execute", "--yes")
        reset = both.run("reset-target", "wiki-1", "--execute")
        kept = {more["index"] for _, more in both.entries().values() if isinstance(more, dict)}
        undone = []
        while "--execute" in result.document["next"]:
            argv = in_backquotes(result.document["next"])[-1]
            result = both.bench.run_as_typed([*argv[1:], "--yes", "--json"])
            assert result.exit_code == 0, result.stderr
            undone.append(of_an_index(argv))
        shown = both.run("rollback", "wiki-1")
        seen = both.bench.run("status").document
        after = both.states()

    assert (reset.exit_code, reset.document["left"]["keys"]) == (0, 0), reset.stderr
    assert kept == {"wiki-0", "wiki-2"}, "the keys of the others are neither counted nor deleted"
    assert undone == ["rollback wiki-0", "rollback wiki-2"]
    assert {one["phase"] for one in seen["indexes"]} == {"rolled back"}
    assert after == before
    assert shown.document["already_done"]
    assert (shown.document["vectors_deleted"], shown.document["requests"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.fault("M42")
def test_an_index_that_is_not_empty_is_emptied_and_keeps_its_name(tmp_path: Path) -> None:
    with several(tmp_path, STORED) as both:
        both.bench.sandbox.store.put_vector("wiki-1", "stray", [0.5] * DIMENSIONS, chunk("x", 0))
        assert both.bench.run("snapshot").exit_code == 0
        refused = both.run("migrate", "wiki-1")
        allowed = tmp_path / "allowed"
        allowed.write_text("stray\n")
        shown = both.run("reset-target", "wiki-1", "--allow", str(allowed))
        screen = both.bench.run("reset-target", "--vector-index", "wiki-1", as_json=False).stdout
        reset, *_ = in_backquotes(refused.document["error"]["next"])
        emptied = both.bench.run_as_typed([*reset[1:], "--execute", "--allow", str(allowed)])
        moved = both.run("migrate", "wiki-1")

    assert refused.exit_code == ExitCode.PRECONDITION
    advice = refused.document["error"]["next"]
    assert "target.vector_index to a new name" not in advice
    assert "target.shards to new names, all of them" in advice
    assert of_an_index(reset) == "reset-target wiki-1"
    assert shown.document["allowed"]["vectors"] == 1
    assert "another name for target.vector_index" not in screen
    assert emptied.exit_code == 0, emptied.stderr
    assert moved.exit_code == 0, moved.stderr


@pytest.mark.slow
@pytest.mark.fault("A04", "M42")
def test_an_archive_is_final_when_the_runs_into_all_indexes_are(tmp_path: Path) -> None:
    with several(tmp_path, STORED) as both:
        assert both.bench.run("snapshot").exit_code == 0
        for index in ("wiki-0", "wiki-1"):
            both.run("migrate", index)
            both.run("reconcile", index)
        lacking = both.run("archive", "wiki-0")
        partly = both.run("archive", "wiki-0", "--not-final", "--out", str(tmp_path / "part"))
        both.run("migrate", "wiki-2")
        uncompared = both.run("archive", "wiki-0")
        both.run("reconcile", "wiki-2")
        final = both.bench.run("archive")
        verified = both.bench.run("verify", final.document["path"])
        checked = {index: both.run("decommission", index).document for index in INDEXES}

    assert lacking.exit_code == uncompared.exit_code == ExitCode.PRECONDITION
    assert "into vector index 'wiki-2'" in lacking.stderr
    assert "`q2v migrate --vector-index wiki-2" in lacking.document["error"]["next"]
    assert "'wiki-2'" in partly.document["why_not_final"]
    assert "`q2v reconcile --vector-index wiki-2" in uncompared.document["error"]["next"]
    assert (final.exit_code, final.document["final"]) == (0, True), final.stderr
    assert verified.exit_code == 0, verified.stderr
    for index, found in checked.items():
        items = {one["name"]: one for one in found["items"]}
        assert items["archive"]["proven"], index
        assert not items["other indexes"]["proven"]
        others = [one for one in INDEXES if one != index]
        assert all(one in items["other indexes"]["found"] for one in others)
