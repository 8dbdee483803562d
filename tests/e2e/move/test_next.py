"""What is printed after `next:` is run as printed, and leads on until a decision is asked for."""

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode, RemoteUnavailableError
from migrate.run.folder import RunFolder
from migrate.run.journal import Kind
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder_lock import FolderLock
from migrate.storage.local_folder import LocalFolder
from q2v import wiring
from q2v.main import cli
from reconcile.session_folder import open_session
from tests.harness.fakes.silence import Silence
from tests.harness.paths import path_of
from tests.harness.running.target import DIMENSIONS, INDEX
from tests.harness.running.workbench import Workbench, changed_point, points, workbench

COMMANDS_MAX = 8


def follow(bench: Workbench) -> tuple[list[str], str]:
    """Run what `status` says comes next until it is a decision: the commands, the situation."""
    done: list[str] = []
    while len(done) < COMMANDS_MAX:
        status = bench.run("status").document
        if status["next_argv"] is None:
            return done, status["situation"]
        assert status["next_argv"][0] == "q2v"
        result = bench.run(*status["next_argv"][1:])
        assert result.exit_code in {0, 3, 4}, result.stderr
        done.append(status["next_argv"][1])
        # A command that ends says the same as `status` after it.
        after = bench.run("status").document
        assert (after["situation"], after["next"]) == (
            result.document["situation"],
            result.document["next"],
        )
    pytest.fail(f"no end: {done}")


def change_the_source(bench: Workbench) -> None:
    bench.collection.points[3] = changed_point(points(20)[3], text="changed")


def add_a_stray(bench: Workbench) -> None:
    bench.sandbox.store.put_vector(INDEX, "stray", np.ones(DIMENSIONS, np.float32), {})


def remove_one_of_ours(bench: Workbench) -> None:
    bench.sandbox.store.remove_vector(INDEX, "file-0001_2")


def newest_run(bench: Workbench) -> RunFolder:
    path = max(bench.directory.glob("*/runs/*/plan.json")).parent
    return RunFolder(LocalFolder(path), Snapshot(LocalFolder(path.parent.parent)))


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A finished run."""
    with workbench(tmp_path_factory.mktemp("next"), points(20)) as bench:
        assert bench.move().exit_code == 0
        yield bench


@pytest.mark.fault("F11")
def test_from_nothing_to_the_cutover(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        assert follow(bench) == (["snapshot", "migrate", "reconcile"], "equal")


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_source_that_moved_asks_for_a_catch_up_and_that_leads_on(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        change_the_source(bench)

        assert follow(bench) == (["reconcile"], "source_moved")
        again = bench.run("migrate").document
        assert (again["round"], again["situation"]) == ("none", "source_moved")
        assert "q2v catch-up --frozen" in again["next"]

        assert bench.run("catch-up", "--frozen").exit_code == 0
        assert follow(bench) == (["reconcile"], "equal"), "the advice works"


@pytest.mark.slow
@pytest.mark.fault("F11", "C01")
def test_a_moving_snapshot_leads_to_the_freeze(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        assert bench.run("snapshot", "--moving").exit_code == 0
        assert follow(bench) == (["migrate"], "moving")

        change_the_source(bench)
        assert bench.run("catch-up").document["situation"] == "moving"
        assert bench.run("catch-up", "--frozen").exit_code == 0
        assert follow(bench) == (["reconcile"], "equal")


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_what_others_added_asks_for_a_decision(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        add_a_stray(bench)

        assert follow(bench) == (["reconcile"], "others")
        again = bench.run("migrate").document
        assert (again["round"], again["situation"]) == ("none", "others")

        bench.sandbox.store.remove_vector(INDEX, "stray")
        assert bench.run("reconcile").document["situation"] == "equal", "the advice works"


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_finished_repair_is_compared_again(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        remove_one_of_ours(bench)

        assert follow(bench) == (["reconcile", "migrate", "reconcile"], "equal")


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_repair_that_did_not_last_asks_who_else_writes(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        remove_one_of_ours(bench)
        bench.run("reconcile")
        repaired = bench.run("migrate").document
        assert (repaired["round"], repaired["situation"]) == ("repair", "written")
        remove_one_of_ours(bench)
        bench.run("reconcile")

        assert follow(bench) == ([], "drift_again")


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_an_interrupted_rollback_is_finished_whatever_is_tried(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        with closing(newest_run(bench)) as run:
            run.journal.append({"type": Kind.ROLLBACK_OPENED.value, "manifest_sha256": "0" * 64})

        for command in ("migrate", "reconcile"):
            refused = bench.run(command)
            assert refused.exit_code == ExitCode.PRECONDITION
            assert "`q2v rollback --execute --dir" in refused.document["error"]["next"]
        assert follow(bench) == (["rollback"], "rolled_back")

        refused = bench.run("reconcile")
        assert refused.exit_code == ExitCode.PRECONDITION
        again = f"`q2v migrate --dir {bench.directory}` moves the snapshot again"
        assert again in refused.document["error"]["next"]
        assert bench.run("migrate").exit_code == 0, "the advice works"
        assert follow(bench) == (["reconcile"], "equal")


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_an_interrupted_reconcile_comes_before_the_former_verdict(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        assert bench.run("reconcile").document["situation"] == "equal"
        with closing(newest_run(bench)) as run, FolderLock(LocalFolder(bench.directory)):
            open_session(
                run,
                "interrupted",
                Runtime(clock=wiring.system_clock(), progress=Silence()),
                fresh=True,
            ).close()

        assert bench.run("status").document["situation"] == "reconcile_begun"
        assert follow(bench) == (["reconcile"], "equal")


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_half_written_run_is_named_when_a_newer_snapshot_lies_beside_it(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        first = bench.run("snapshot").document["path"]
        bench.run("migrate")
        with closing(newest_run(bench)) as run:  # as a kill leaves it: the last entry is missing
            lines = path_of(run.journal.file).read_bytes().splitlines(keepends=True)
            path_of(run.journal.file).write_bytes(b"".join(lines[:-1]))
        change_the_source(bench)
        bench.run("snapshot")

        status = bench.run("status", first + "/runs/" + run.folder.name).document

        assert status["situation"] == "run_begun"
        assert status["next_argv"][1:3] == ["migrate", first]
        assert bench.run(*status["next_argv"][1:]).document["snapshot_id"] in first


@pytest.mark.fault("F11")
@pytest.mark.parametrize("part", ["", "runs", "runs/RUN", "parts"])
@pytest.mark.parametrize("command", ["status", "snapshot", "migrate", "reconcile", "rollback"])
def test_a_folder_inside_of_a_snapshot_is_refused_with_the_right_one(
    command: str, part: str, moved: Workbench
) -> None:
    with closing(newest_run(moved)) as run:
        place = path_of(run.snapshot.folder) / part.replace("RUN", run.folder.name)

    refused = replace(moved, directory=place).run(command)

    assert refused.exit_code == ExitCode.USAGE
    assert refused.document["error"]["next"] == f"pass --dir {moved.directory}"


@pytest.mark.fault("F11")
def test_an_empty_folder_is_named_in_full(tmp_path: Path, moved: Workbench) -> None:
    shown = replace(moved, directory=tmp_path / "x").run("status", as_json=False)

    assert shown.exit_code == 0
    assert f"folder    {tmp_path / 'x'}" in shown.stdout
    assert "name that folder with --dir" in shown.stdout


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_the_next_command_has_the_folder_the_file_and_the_flags_of_this_one(
    tmp_path: Path,
) -> None:
    """As far as it takes them: `--max-quarantine` is no flag of reconcile."""
    config = tmp_path / "my settings.toml"
    config.write_text("[limits]\nrequests_per_5min = 1000\n")
    words = ["--config", str(config), "--vector-index", INDEX]
    with workbench(tmp_path, points(20)) as bench:
        bench.run("snapshot")
        moved = bench.run("migrate", *words, "--max-quarantine", "5").document

        expected = ["q2v", "reconcile", "--dir", str(bench.directory), *words]
        assert expected == moved["next_argv"]
        assert bench.run(*moved["next_argv"][1:]).document["verdict"] == "equal"


@pytest.mark.slow
@pytest.mark.fault("F09", "F11")
def test_the_advice_about_a_target_that_is_not_empty_leads_into_a_fresh_one(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        change_the_source(bench)
        refused = bench.move()
        bench.environment["Q2V_VECTOR_INDEX"] = "fresh"
        namespace = bench.environment.pop("Q2V_KV_NAMESPACE_ID")
        provisioned = bench.run("provision").document["kv_namespace_id"]
        bench.environment["Q2V_KV_NAMESPACE_ID"] = provisioned
        moved = bench.run("migrate")
        compared = bench.run("reconcile")

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "set target.vector_index to a new name, leave target.kv_namespace_id" in refused.stderr
    assert provisioned != namespace
    assert moved.exit_code == ExitCode.DONE
    assert compared.document["verdict"] == "equal"


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_fresh_index_after_a_complete_run_leads_to_migrate_and_no_further(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.move()
        bench.environment["Q2V_VECTOR_INDEX"] = "fresh"
        del bench.environment["Q2V_KV_NAMESPACE_ID"]
        provisioned = bench.run("provision").document
        bench.environment["Q2V_KV_NAMESPACE_ID"] = provisioned["kv_namespace_id"]
        nexts = [provisioned, bench.run("check").document, bench.run("plan").document]

        assert [document["situation"] for document in nexts] == ["snapshot_sealed"] * 3
        assert follow(bench) == (["migrate", "reconcile"], "equal")

        bench.environment["Q2V_VECTOR_INDEX"] = INDEX  # that of the older run: no circle
        assert bench.run("status").document["situation"] == "equal"


def advised(text: str) -> list[list[str]]:
    """The commands that a text names in backquotes, as words to paste."""
    return [shlex.split(command) for command in re.findall(r"`q2v ([^`]+)`", text)]


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_run_into_a_filled_index_begins_again_as_printed(tmp_path: Path) -> None:
    """The former contents are back, so that the next run has to be allowed the same."""
    with workbench(tmp_path, points(20)) as bench:
        add_a_stray(bench)
        bench.run("snapshot")
        moved = bench.run("migrate", "--into-non-empty")
        undone = bench.run("rollback", "--execute")
        (words,) = advised(undone.document["next"])
        not_compared = bench.run("reconcile")
        again = bench.run(*words)

    assert (moved.exit_code, undone.exit_code) == (0, 0), moved.stderr
    assert undone.document["situation"] == "rolled_back"
    assert words[:2] == ["migrate", "--into-non-empty"]
    assert advised(not_compared.document["error"]["next"]) == [words]
    assert (again.exit_code, again.document["acknowledged"]) == (0, 20)


@pytest.mark.slow
@pytest.mark.fault("F11")
def test_a_run_that_was_cut_before_it_read_the_filled_index_resumes_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> NoReturn:
        raise RemoteUnavailableError("the line is cut", remedy="wait")

    with workbench(tmp_path, points(20)) as bench:
        add_a_stray(bench)
        bench.run("snapshot")
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["migrate.migrate"], "capture_pre_images", cut)
            stopped = bench.run("migrate", "--into-non-empty")
        begun = newest_run(bench).plan.run_id
        words = bench.run("status").document["next_argv"]
        resumed = bench.run(*words[1:])

    assert stopped.exit_code == ExitCode.UNAVAILABLE
    assert words[:3] == ["q2v", "migrate", "--into-non-empty"]
    assert (resumed.exit_code, resumed.document["run_id"]) == (0, begun)


@pytest.mark.fault("F11")
@pytest.mark.parametrize("as_json", [True, False])
def test_the_advice_of_a_refusal_works_when_it_is_pasted(tmp_path: Path, as_json: bool) -> None:
    """It names the folder, the settings file and the flags of the command that was refused."""
    config = tmp_path / "mine.toml"
    config.write_text("[limits]\nreads_in_flight = 4\n")
    with workbench(tmp_path / "snapshots of mine", points(20)) as bench:
        typed = ["--config", str(config), "--collection", "chunks"]
        refused = bench.run("migrate", *typed, as_json=as_json)
        said = refused.document["error"]["next"] if as_json else refused.stderr
        (words,) = advised(said)
        done = CliRunner().invoke(cli, words, env=bench.environment)

    assert refused.exit_code == ExitCode.USAGE
    assert words == ["snapshot", "--dir", str(bench.directory), *typed]
    assert done.exit_code == 0, done.stderr


@pytest.mark.fault("F11")
def test_notes_name_the_folder_as_well(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20), provision=False) as bench:
        noted = advised(bench.run("plan", "--details", as_json=False).stdout)

    assert ["provision", "--dir", str(bench.directory)] in noted
    assert all("--dir" in words for words in noted)
