"""A fleet as real processes: who is stopped, who goes on, what is resumed, what is reported."""

import json
import os
import re
import shlex
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from migrate.model.limits import REQUEST_WINDOW_S
from tests.e2e.fleet.bench import (
    FleetBench,
    commands_of,
    fleet_bench,
    make_index,
    names_of,
    rows,
)
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.terminal import on_terminal
from tests.harness.running.workspace import ending

TRIES, PIECE_S = 6_000, 0.05
STEPS = ("snapshot", "migrate", "reconcile")


def wait_until(happens: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(TRIES):
        if happens():
            return
        waiting.wait(PIECE_S)
    raise AssertionError("it did not happen")


def counts_hold(bench: FleetBench, most: int) -> bool:
    """Whether the service never received more than `most` requests in five minutes."""
    arrived = sorted(request.at for request in bench.sandbox.requests)
    later = arrived[most:]
    return all(
        last - first >= REQUEST_WINDOW_S for first, last in zip(arrived, later, strict=False)
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.fault("E07", "E08", "I9")
def test_ten_moves_share_a_budget_and_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    """One index is too narrow, one source is away at first, and the fleet is killed half-way."""
    counts = {f"move-{number}": 15 + number for number in range(10)}
    with fleet_bench(
        tmp_path, counts, dimensions=lambda name: 32 if name == "move-3" else DIMENSIONS
    ) as bench:
        bench.shared = [
            "at_once = 4",
            "pause_s = 0",
            "tries = 50",
            "[[budget]]",
            f'account_id = "{bench.sandbox.account_id}"',
            "requests_per_5min = 600",
        ]
        bench.write()
        away = iter(range(3))
        bench.collections["move-5"].is_away = lambda: next(away, None) is not None

        with ending(bench.start("run")) as first:
            journal = bench.directory / "fleet.jsonl"
            wait_until(lambda: journal.exists() and len(names_of(bench.entries(), "ended")) >= 6)
            second = bench.run("run")
            first.kill()
        assert second.exit_code == ExitCode.LOCKED
        wait_until(lambda: not commands_of(bench.directory))
        done_before = {
            (one["move"], one["step"])
            for one in bench.entries()
            if one["type"] == "ended" and one["code"] == 0
        }
        begun_before = len(names_of(bench.entries(), "begun"))
        resumed = bench.run("run")
        begun = names_of(bench.entries(), "begun")[begun_before:]

        report = resumed.document
        found = rows(report)
        assert resumed.exit_code == ExitCode.PRECONDITION
        assert list(found) == list(counts)
        assert not done_before & set(begun), "what has ended with 0 is not done again"
        assert {name for name, row in found.items() if row["phase"] == "done"} == (
            set(counts) - {"move-3"}
        )
        assert "32 dimensions" in found["move-3"]["why"]
        assert [step["exit_code"] for step in found["move-3"]["steps"]] == [0, 5, None]
        for name, count in counts.items():
            assert bench.vectors(name) == (0 if name == "move-3" else count)
            assert found[name]["verdict"] == (None if name == "move-3" else "equal")
        assert report["sums"]["moved"] == sum(counts.values()) - counts["move-3"]
        assert counts_hold(bench, 600)
        page = (bench.directory / "report.html").read_text()
        kept = json.loads((bench.directory / "report.json").read_text())
    for name in counts:
        assert f">{name}<" in page
    assert kept["moves"] == report["moves"]
    assert "script" not in page.replace("script-src", "")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("E08", "I9")
def test_a_small_budget_holds_all_and_a_stop_ends_the_commands_too(tmp_path: Path) -> None:
    """Three moves need more than ten requests; the eleventh is not sent, and SIGTERM ends all."""
    with fleet_bench(tmp_path, {"docs": 20, "wiki": 20, "blog": 20}) as bench:
        bench.shared += [
            "[[budget]]",
            f'account_id = "{bench.sandbox.account_id}"',
            "requests_per_5min = 10",
        ]
        bench.write()
        before = len(bench.sandbox.requests)

        with ending(bench.start("run")) as fleet:
            logs = bench.directory / "logs"
            wait_until(
                lambda: sum("waiting" in log.read_text() for log in logs.glob("*/*.log")) == 3
            )
            sent = len(bench.sandbox.requests) - before
            fleet.send_signal(signal.SIGTERM)
            _, stderr = fleet.communicate()
        entries = bench.entries()
        status = bench.run("status")

        assert sent == 10
        assert fleet.returncode == ExitCode.TERMINATED, stderr
        told = " ".join(stderr.split())
        assert "3 moves to be continued: docs at migrate, wiki at migrate, blog at migrate" in told
        again = shlex.join(["q2v", *bench.words("run", as_json=False)])
        assert f"next: `{again}` continues" in told
        assert not commands_of(bench.directory)
        stopped = [one for one in entries if one["type"] == "ended" and not one["counts"]]
        assert {one["code"] for one in stopped} == {ExitCode.TERMINATED}
        assert {one["move"] for one in stopped} == {"docs", "wiki", "blog"}
        assert {row["phase"] for row in status.document["moves"]} == {"ready"}
        assert (bench.directory / "report.html").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("E08")
def test_a_second_signal_ends_the_fleet_at_once_and_status_says_the_rest(tmp_path: Path) -> None:
    """The first one says so, while the command that it waits for still reads a page."""
    with fleet_bench(tmp_path, {"docs": 20}) as bench:
        asked, released = threading.Event(), threading.Event()

        def hold(_: object) -> None:
            asked.set()
            released.wait(60)

        bench.collections["docs"].before_page = hold
        with ending(bench.start("run")) as fleet:
            assert asked.wait(60)
            fleet.send_signal(signal.SIGINT)
            assert fleet.stderr is not None
            said = next(line for line in fleet.stderr if line.startswith("stopping"))
            fleet.send_signal(signal.SIGINT)
            code = fleet.wait(60)
        released.set()
        wait_until(lambda: not commands_of(bench.directory))
        (command,) = re.findall(r"`([^`]+)`", said)
        status = bench.run_as_typed(command)

    assert code == -signal.SIGINT
    assert status.exit_code == ExitCode.DONE
    assert "warn docs ready" in " ".join(status.stdout.split())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("E08")
def test_the_commands_end_when_the_fleet_is_killed_and_none_is_said_to_run(tmp_path: Path) -> None:
    def phases() -> set[str]:
        return {row["phase"] for row in bench.run("status").document["moves"]}

    with fleet_bench(tmp_path, {"docs": 20, "wiki": 20}) as bench:
        released = threading.Event()
        bench.collections["docs"].before_page = lambda _: released.wait(60)  # type: ignore[assignment]
        with ending(bench.start("run")) as fleet:
            wait_until(lambda: len(commands_of(bench.directory)) >= 1)
            assert "running" in phases()
            fleet.kill()
            released.set()
        wait_until(lambda: not commands_of(bench.directory))
        assert "running" not in phases()

        for process in commands_of(bench.directory):
            os.kill(process, signal.SIGKILL)
        assert bench.run("run").exit_code == ExitCode.DONE


@pytest.mark.slow
@pytest.mark.fault("E07")
def test_a_journal_that_is_lost_leaves_logs_that_are_not_written_over(tmp_path: Path) -> None:
    with fleet_bench(tmp_path, {"docs": 5}) as bench:
        bench.more["docs"] = ['steps = ["snapshot"]']
        bench.write()
        first = bench.run("run")
        (bench.directory / "fleet.jsonl").unlink()
        logs = {path: path.read_bytes() for path in bench.directory.glob("logs/*/*")}
        second = bench.run("run")

        assert (first.exit_code, second.exit_code) == (0, 0), second.stderr
        assert {path: path.read_bytes() for path in logs} == logs
        (step,) = rows(second.document)["docs"]["steps"]
        assert step["log"] == "logs/docs/00002-snapshot.log"


@pytest.mark.slow
@pytest.mark.fault("E09")
def test_the_question_names_every_index_that_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "wiki.toml").write_text(
        '[target]\naccount_id = "a"\nshards = ["wiki-0", "wiki-1"]\n'
    )
    (tmp_path / "fleet.toml").write_text('[[move]]\nconfig = "wiki.toml"\n')
    with on_terminal("fleet", "run", environment={}, cwd=tmp_path) as terminal:
        terminal.wait_for("type the name of the file")
        terminal.press("no\r")
        code = terminal.end()

    assert "-> wiki-0, wiki-1" in " ".join(" ".join(terminal.shown()).split())
    assert code == ExitCode.USAGE
    assert not (tmp_path / "fleet").exists()


@pytest.mark.slow
@pytest.mark.fault("E07")
def test_a_closed_window_and_changed_settings_are_said_and_nothing_is_begun(tmp_path: Path) -> None:
    with fleet_bench(tmp_path, {"docs": 5}) as bench:
        bench.more["docs"] = ['window = "2036-01-01T00:00Z/2036-01-02T00:00Z"']
        bench.write()
        closed = bench.run("run", "--no-wait")
        bench.more["docs"] = ['window = "2016-01-01T00:00Z/2016-01-02T00:00Z"']
        bench.write()
        over = bench.run("run")
        entries = bench.entries()

    assert (closed.exit_code, over.exit_code) == (ExitCode.BUDGET, ExitCode.BUDGET)
    assert rows(closed.document)["docs"]["phase"] == "window closed"
    assert rows(over.document)["docs"]["phase"] == "window over"
    assert not names_of(entries, "begun")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("E07", "E09")
def test_plan_run_other_steps_and_settings_that_change(tmp_path: Path) -> None:
    with fleet_bench(tmp_path, {"docs": 20, "wiki": 30}) as bench:
        planned = bench.run("plan")
        bench.shared.append("tries = 1")
        bench.write()
        bench.collections["wiki"].is_away = lambda: True
        moved = bench.run("run")
        bench.collections["wiki"].is_away = lambda: False
        with (tmp_path / "wiki.toml").open("a") as file:
            file.write("[limits]\nvectors_per_upload = 2_499\n")
        changed = bench.run("run")
        accepted = bench.run("run", "--accept", "wiki")
        nothing = bench.run("run")
        compared = bench.run("run", "reconcile")
        undone = bench.run("run", "rollback --execute")
        left = {name: bench.vectors(name) for name in bench.collections}
        begun = names_of(bench.entries(), "begun")

    assert planned.exit_code == ExitCode.DONE, planned.stdout
    outlook = planned.document
    assert outlook["sums"]["vectors"] == 50
    assert outlook["accounts"][0]["requests"] == sum(row["requests"] for row in outlook["moves"])
    assert outlook["accounts"][0]["minutes"] >= max(row["minutes"] for row in outlook["moves"])
    assert moved.exit_code == ExitCode.UNAVAILABLE, moved.stdout
    assert rows(moved.document)["wiki"]["phase"] == "tries used up"
    assert changed.exit_code == ExitCode.PRECONDITION
    assert rows(changed.document)["docs"]["phase"] == "done"
    commands = re.findall(r"`([^`]+)`", rows(changed.document)["wiki"]["next"])
    assert [shlex.split(command) for command in commands] == [
        ["q2v", *bench.words("run", flag, "wiki", as_json=False)]
        for flag in ("--accept", "--again")
    ]
    assert accepted.exit_code == nothing.exit_code == ExitCode.DONE, accepted.stdout
    assert rows(accepted.document)["wiki"]["moved"] == 30
    assert compared.exit_code == ExitCode.DONE, "other steps are a round of their own"
    assert undone.exit_code == ExitCode.DONE, undone.stdout
    assert left == {"docs": 0, "wiki": 0}
    assert begun.count(("docs", "snapshot")) == 1
    assert begun.count(("docs", "reconcile")) == 2
    assert begun.count(("wiki", "snapshot")) == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("E07", "E09")
def test_a_move_that_is_rolled_back_is_neither_done_nor_moved_until_again(tmp_path: Path) -> None:
    with fleet_bench(tmp_path, {"docs": 20, "wiki": 30}) as bench:
        moved = bench.run("run")
        undone = bench.run("run", "rollback --execute")
        begun = len(names_of(bench.entries(), "begun"))
        plain = bench.run("run")
        begun_by_plain = len(names_of(bench.entries(), "begun")) - begun
        status = bench.run("status", as_json=False)
        advice = re.findall(r"`([^`]+)`", rows(plain.document)["docs"]["next"])
        again = bench.run_as_typed(advice[0])
        then = bench.run("status")
        emptied = bench.run("run", "reset-target --execute")
        last = bench.run("run")
        left = {name: bench.vectors(name) for name in bench.collections}
        page = (bench.directory / "report.html").read_text()

    assert (moved.exit_code, undone.exit_code) == (ExitCode.DONE, ExitCode.DONE), undone.stdout
    assert plain.exit_code == ExitCode.DONE
    assert begun_by_plain == 0
    for row in plain.document["moves"]:
        assert (row["phase"], row["verdict"], row["moved"]) == ("rolled back", None, 0)
    assert plain.document["counts"]["done"] == 0
    assert plain.document["sums"]["moved"] == 0
    assert "0 of 2 moves done, 2 rolled back: 0 vectors moved" in status.stdout
    assert "equal" not in status.stdout

    assert again.exit_code == ExitCode.DONE, again.stderr
    found = rows(then.document)
    assert (found["docs"]["phase"], found["docs"]["verdict"]) == ("done", "equal")
    assert (found["docs"]["moved"], found["wiki"]["phase"]) == (20, "rolled back")
    assert then.document["sums"]["moved"] == 20

    # The namespace is shared: the other reset may have seen the keys of docs, which is exit 4.
    assert rows(emptied.document)["docs"]["phase"] == "done", emptied.stdout
    assert {row["phase"] for row in last.document["moves"]} == {"rolled back"}
    assert left == {"docs": 0, "wiki": 0}
    assert "rolled back" in page


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.fault("E07", "E08")
def test_a_collection_over_several_indexes_is_one_move_whose_rows_add_up(tmp_path: Path) -> None:
    with fleet_bench(tmp_path, {"docs": 70, "wiki": 10}) as bench:
        shards = ("docs-0", "docs-1", "docs-2")
        for name in shards:
            make_index(bench, name)
        settings = (tmp_path / "docs.toml").read_text()
        named = 'vector_index = "docs-index"'
        listed = f"shards = {json.dumps(shards)}"
        (tmp_path / "docs.toml").write_text(settings.replace(named, listed))
        planned = bench.run("plan")
        moved = bench.run("run")
        held = {name: len(list(bench.sandbox.store.read_vectors(name))) for name in shards}
        refused = bench.run("run", "--again", "docs")
        undo = re.findall(r"`([^`]+)`", refused.document["error"]["next"])[0]
        taken_back = bench.run_as_typed(undo)
        held_then = {name: len(list(bench.sandbox.store.read_vectors(name))) for name in shards}
        undone = bench.run("run", "rollback --execute")
        left = {name: len(list(bench.sandbox.store.read_vectors(name))) for name in shards}
        begun = names_of(bench.entries(), "begun")

    assert planned.exit_code == ExitCode.DONE, planned.stdout
    assert rows(planned.document)["docs"]["vectors"] == 70
    row = rows(moved.document)["docs"]
    assert moved.exit_code == ExitCode.DONE, moved.stdout
    assert (row["points"], row["moved"], row["adds_up"], row["verdict"]) == (70, 70, True, "equal")
    assert {one["vector_index"]: one["moved"] for one in row["indexes"]} == held
    assert sum(held.values()) == 70
    assert all(held.values())
    assert begun.count(("docs", "snapshot")) == 1
    assert [step for move, step in begun if move == "docs" and step.startswith("migrate")] == [
        f"migrate [{name}]" for name in shards
    ]
    assert refused.exit_code == ExitCode.PRECONDITION
    assert "the next of 3 runs" in refused.document["error"]["next"]
    assert taken_back.exit_code == ExitCode.DONE, taken_back.stderr
    assert held_then == held | {"docs-2": 0}, "the newest run comes first"
    assert undone.exit_code == ExitCode.DONE, undone.stdout
    assert left == dict.fromkeys(shards, 0)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.fault("E07", "E09")
def test_a_move_that_makes_its_target_is_taken_back_and_made_again(tmp_path: Path) -> None:
    """`docs` has neither index nor namespace; `wiki` comes after it, so it is undone before it."""
    with fleet_bench(tmp_path, {"docs": 20, "wiki": 10, "late": 5}) as bench:
        text = (tmp_path / "docs.toml").read_text().replace("docs-index", "docs-new")
        text = text.replace("kv_namespace_id", "# kv_namespace_id")
        (tmp_path / "docs.toml").write_text(text)
        bench.more["docs"] = ['steps = ["provision --no-preview", "snapshot", "migrate"]']
        bench.more["wiki"] = ['steps = ["snapshot", "migrate"]', 'after = ["docs"]']
        bench.more["late"] = ['steps = ["reconcile"]']
        bench.write()

        moved = bench.run("run")
        pages = {name: len(one.limits) for name, one in bench.collections.items()}
        planned = bench.run("run", "plan")
        pages_after = {name: len(one.limits) for name, one in bench.collections.items()}
        refused = bench.run("run", "--again", "docs")
        held = len(list(bench.sandbox.store.read_vectors("docs-new")))
        undo = re.findall(r"`([^`]+)`", refused.document["error"]["next"])[0]
        taken_back = bench.run_as_typed(undo)
        again = bench.run("run", "--again", "docs")
        undone = bench.run("run", "rollback --execute")
        begun = names_of(bench.entries(), "begun")
        left = len(list(bench.sandbox.store.read_vectors("docs-new")))

    found = rows(moved.document)
    assert moved.exit_code == ExitCode.USAGE, "late has no run to compare"
    assert [found[name]["phase"] for name in ("docs", "wiki", "late")] == [
        "done",
        "done",
        "stopped",
    ]
    assert found["docs"]["moved"] == 20
    namespace = found["docs"]["kv_namespace_id"]
    assert namespace not in {None, found["wiki"]["kv_namespace_id"]}

    assert rows(planned.document)["docs"]["phase"] == "done", planned.stdout
    assert pages_after["docs"] == pages["docs"], "the snapshot was planned, and not the source"
    assert pages_after["wiki"] == pages["wiki"]
    assert pages_after["late"] > pages["late"], "without a snapshot the source is read"

    assert refused.exit_code == ExitCode.PRECONDITION
    assert held == 20
    assert namespace in undo
    assert taken_back.exit_code == ExitCode.DONE, taken_back.stderr
    assert rows(again.document)["docs"]["moved"] == 20

    assert undone.exit_code == ExitCode.DONE, undone.stdout
    assert begun[-2:] == [("wiki", "rollback --execute"), ("docs", "rollback --execute")]
    assert rows(undone.document)["late"]["why"] == "there is no run to undo"
    assert left == 0
