"""The report adds up what the commands of a move have printed, over several indexes too."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import ExitCode
from q2v.fleet.file import read_fleet
from q2v.fleet.model import Fleet, HeldRun, Stage
from q2v.fleet.report import make_report
from q2v.fleet.schedule import standings
from q2v.fleet.state import FleetState, fold_fleet

pytestmark = pytest.mark.fault("E07")

SETTINGS = """
[target]
account_id = "0123456789abcdef0123456789abcdef"
shards = ["docs-0", "docs-1"]
"""
STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("snapshot", {"points": 10}),
    ("migrate [docs-0]", {"points": 10, "acknowledged": 6, "quarantined": 0, "requests": 5}),
    ("migrate [docs-1]", {"points": 10, "acknowledged": 3, "quarantined": 1, "requests": 4}),
    ("reconcile [docs-0]", {"verdict": "equal", "drift": {"missing": 0}}),
    ("reconcile [docs-1]", {"verdict": "equal", "drift": {"missing": 0}}),
)


def fleet(folder: Path) -> Fleet:
    (folder / "docs.toml").write_text(SETTINGS)
    (folder / "fleet.toml").write_text('[[move]]\nconfig = "docs.toml"\n')
    return read_fleet(folder / "fleet.toml", folder / "fleet")


def done(of: Fleet, changes: dict[str, dict[str, Any]]) -> FleetState:
    """All steps have ended with 0, and have printed these documents."""
    (of.directory / "logs").mkdir(parents=True)
    entries: list[dict[str, object]] = [
        {"type": "opened", "format": 1},
        {"type": "started", "order": "", "is_new": False, "at_s": 0.0},
    ]
    for number, (step, document) in enumerate(STEPS):
        name = f"logs/{number}.json"
        printed = document | changes.get(step, {})
        (of.directory / name).write_text(json.dumps(printed))
        common: dict[str, object] = {"move": "docs", "step": step}
        begun = {"at_s": 1.0, "config_sha256": of.moves[0].config_sha256, "log": "a.log"}
        entries.append({"type": "begun", **common, **begun, "document": name})
        entries.append({"type": "ended", **common, "at_s": 3.0, "code": 0, "counts": True})
    return fold_fleet(entries)


def report(of: Fleet, state: FleetState) -> dict[str, Any]:
    return make_report(of, state, standings(of, state, 10.0), now_s=10.0)


def test_the_steps_of_a_move_over_several_indexes(tmp_path: Path) -> None:
    steps = [step.name for step in fleet(tmp_path).moves[0].steps]
    assert steps == [step for step, _ in STEPS]


def test_a_move_over_several_indexes_adds_up(tmp_path: Path) -> None:
    of = fleet(tmp_path)
    found = report(of, done(of, {}))

    (row,) = found["moves"]
    assert found["exit_code"] == 0
    assert (row["phase"], row["verdict"], row["adds_up"]) == ("done", "equal", True)
    assert (row["points"], row["moved"], row["quarantined"], row["requests"]) == (10, 9, 1, 9)
    assert [one["moved"] for one in row["indexes"]] == [6, 3]
    assert row["worked_s"] == 10.0


@pytest.mark.parametrize("acknowledged", [2, 4])
def test_rows_that_are_in_no_index_or_in_two_are_drift(tmp_path: Path, acknowledged: int) -> None:
    of = fleet(tmp_path)
    found = report(of, done(of, {"migrate [docs-1]": {"acknowledged": acknowledged}}))

    (row,) = found["moves"]
    assert found["exit_code"] == ExitCode.DRIFT
    assert (row["phase"], row["adds_up"]) == ("stopped", False)
    assert f"found {6 + acknowledged} moved and 1 quarantined" in row["why"]
    assert found["counts"]["done"] == 0


def test_the_verdict_is_that_of_the_worst_index(tmp_path: Path) -> None:
    of = fleet(tmp_path)
    found = report(of, done(of, {"reconcile [docs-1]": {"verdict": "drift"}}))
    assert found["moves"][0]["verdict"] == "drift"


def holding(of: Fleet, first: HeldRun, second: HeldRun) -> dict[str, Any]:
    """The report of a move whose steps are done, with these runs in its folder."""
    state = done(of, {})
    state.held["docs"] = {"docs-0": first, "docs-1": second}
    return report(of, state)


def run(stage: Stage, verdict: str | None = "equal") -> HeldRun:
    return HeldRun(stage=stage, created_s=2.0, verdict=verdict)


def test_what_is_rolled_back_counts_nothing_and_leads_to_again(tmp_path: Path) -> None:
    of = fleet(tmp_path)
    found = holding(of, run(Stage.ROLLED_BACK), run(Stage.ROLLED_BACK))

    (row,) = found["moves"]
    assert (row["phase"], row["verdict"], row["adds_up"]) == ("rolled back", None, None)
    assert (row["points"], row["moved"], row["quarantined"], row["requests"]) == (10, 0, 0, 9)
    assert (found["exit_code"], found["counts"]["done"]) == (0, 0)
    assert (found["counts"]["rolled back"], found["sums"]["moved"]) == (1, 0)
    place = f"--file {of.path} --dir {of.directory}"
    assert row["next"] == f"`q2v fleet run --again docs {place}` moves it again"


def test_of_a_move_that_is_half_undone_the_other_half_counts(tmp_path: Path) -> None:
    of = fleet(tmp_path)
    found = holding(of, run(Stage.STANDS), run(Stage.ROLLED_BACK))

    (row,) = found["moves"]
    assert (row["phase"], row["adds_up"], row["moved"]) == ("rolling back", None, 6)
    assert row["why"] == "it is rolled back in docs-1, and not in docs-0"
    assert (found["exit_code"], row["exit_code"]) == (ExitCode.PRECONDITION,) * 2
    undo, _, again = row["next"].partition("; then ")
    assert undo.startswith("`q2v rollback --execute --config ")
    assert undo.endswith(" --vector-index docs-0` undoes what is left")
    assert "--again docs" in again


@pytest.mark.parametrize(("verdict", "code"), [("drift", 4), ("indeterminate", 13)])
def test_a_later_reconcile_has_the_word(tmp_path: Path, verdict: str, code: int) -> None:
    of = fleet(tmp_path)
    found = holding(of, run(Stage.STANDS), run(Stage.STANDS, verdict))

    (row,) = found["moves"]
    assert (row["phase"], row["verdict"], row["exit_code"]) == ("stopped", verdict, code)
    assert found["exit_code"] == code
    assert row["next"].startswith("`q2v status --config ")


def test_without_a_later_reconcile_a_new_run_has_no_verdict(tmp_path: Path) -> None:
    of = fleet(tmp_path)
    (row,) = holding(of, run(Stage.STANDS), run(Stage.STANDS, None))["moves"]
    assert (row["phase"], row["verdict"], row["adds_up"]) == ("done", None, True)


def test_a_document_that_was_cut_off_counts_as_none(tmp_path: Path) -> None:
    of = fleet(tmp_path)
    state = done(of, {})
    (of.directory / "logs" / "2.json").write_text('{"acknowl')

    (row,) = report(of, state)["moves"]
    assert (row["moved"], row["adds_up"]) == (6, None)


def test_a_changed_file_leads_to_a_choice(tmp_path: Path) -> None:
    of = fleet(tmp_path)
    state = done(of, {})
    state.move("docs").step("reconcile [docs-1]").code = 7
    (move,) = of.moves
    changed = replace(of, moves=(replace(move, config_sha256="another"),))

    (row,) = report(changed, state)["moves"]
    place = f"--file {changed.path} --dir {changed.directory}"
    assert row["phase"] == "settings changed"
    assert f"`q2v fleet run --accept docs {place}` continues" in row["next"]
    assert f"`q2v fleet run --again docs {place}` takes the steps over" in row["next"]


def tried(of: Fleet, *tries: tuple[int, dict[str, Any]]) -> FleetState:
    """The snapshot was tried so often: exit codes, and what each try printed."""
    (of.directory / "logs").mkdir(parents=True)
    entries: list[dict[str, object]] = [{"type": "opened", "format": 1}]
    entries.append({"type": "started", "order": "", "is_new": False, "at_s": 0.0})
    for number, (code, document) in enumerate(tries):
        name = f"logs/{number}.json"
        (of.directory / name).write_text(json.dumps(document))
        common: dict[str, object] = {"move": "docs", "step": "snapshot"}
        begun = {"at_s": 1.0, "config_sha256": of.moves[0].config_sha256, "log": "a.log"}
        entries.append({"type": "begun", **common, **begun, "document": name})
        entries.append({"type": "ended", **common, "at_s": 3.0, "code": code, "counts": True})
    return fold_fleet(entries)


def test_the_requests_of_every_try_are_added_up(tmp_path: Path) -> None:
    of = fleet(tmp_path)
    error = {"exit_code": 7, "what": "no answer", "next": "wait"}
    state = tried(of, (7, {"error": error, "requests": 20}), (9, {"requests": 4}), (0, {"x": 1}))

    found = report(of, state)

    assert found["moves"][0]["requests"] == 24
    assert found["sums"]["requests"] == 24


def test_the_same_command_is_that_of_the_fleet(tmp_path: Path) -> None:
    of = fleet(tmp_path)
    said = "free some disk space, then run the same command again"
    state = tried(of, (9, {"error": {"exit_code": 9, "what": "full", "next": said}}))

    (row,) = report(of, state)["moves"]

    place = f"--file {of.path} --dir {of.directory}"
    assert row["next"] == f"free some disk space, then run `q2v fleet run {place}` again"


def test_a_document_that_was_damaged_ends_no_fleet(tmp_path: Path) -> None:
    of = fleet(tmp_path)
    odd = {
        "points": "x",
        "requests": {"a": 1},
        "error": [1],
        "next": 5,
        "drift": 7,
        "verdict": ["x"],
    }
    state = done(of, {step: odd for step, _ in STEPS})

    (row,) = report(of, state)["moves"]

    assert (row["phase"], row["moved"], row["points"], row["verdict"]) == ("done", 9, None, None)
    assert (row["adds_up"], row["exit_code"]) == (None, 0)
