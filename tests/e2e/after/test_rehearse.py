"""The rehearsal tells a story whose every step held, and touches nothing else."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from q2v.main import cli
from rehearsal.steps import MARKER
from sandbox.faults.scenarios import FAULT_SCENARIOS
from tests.harness.running.terminal import on_terminal
from tests.harness.running.workbench import chunk, points, unit_vectors, workbench
from tests.q2v.screens.bench import check_lines
from tests.q2v.screens.excerpt import check_samples
from tests.servers.qdrant_points import StoredPoint

# `make check` rehearses one of them, `make faults` all.
OF_EACH_CHECK = "flaky"
SCENARIOS = [
    pytest.param(name, marks=() if name == OF_EACH_CHECK else pytest.mark.search)
    for name in FAULT_SCENARIOS
]


@pytest.mark.slow
def test_a_rehearsal_holds_and_can_be_repeated_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "rehearsal"
    words = ["rehearse", "--dir", str(folder), "--chunks", "150"]
    several = {"Q2V_TARGET_SHARDS": "wiki-0,wiki-1"}
    result = CliRunner().invoke(cli, [*words, "--json"], env=several)
    with on_terminal(*words, environment={}, cwd=tmp_path, columns=100) as terminal:
        code, shown = terminal.end(), terminal.shown()

    assert (result.exit_code, code) == (0, 0), result.stdout
    document = json.loads(result.stdout)
    assert document["held"]
    assert "target.shards was left out" in document["not_rehearsed"][0]
    assert len(document["steps"]) == 17
    again = "".join("".join(shown).split())
    for line in document["steps"][0]["lines"]:
        assert "".join(line.split()) in again, "the corpus has the same bytes every time"
    assert [folder] == list(tmp_path.iterdir())
    told = [line for line in shown if re.match(r"[ \d]\d\. |\d+ of \d+ steps held", line)]
    assert len(told) == 17 + 1, "each title has a line of its own"
    check_samples({"rehearse": "\n".join(told)})
    end = next(at for at, line in enumerate(shown) if line.startswith("17. "))
    check_lines("rehearse", shown[end:], {str(tmp_path): "FOLDER"}, columns=100)


@pytest.mark.slow
@pytest.mark.fault("H03")
def test_with_a_worker_the_planted_differences_are_found_through_the_verifier(
    tmp_path: Path,
) -> None:
    words = ["rehearse", "--dir", str(tmp_path / "r"), "--chunks", "150", "--worker", "--json"]
    result = CliRunner().invoke(cli, words)
    document = json.loads(result.stdout)
    steps = {step["title"]: step["lines"] for step in document["steps"]}
    found = [line for line in steps["Reconcile finds exactly those"] if "read by" in line]

    assert result.exit_code == 0, result.output
    assert document["held"]
    assert "read by the verifier at http://127.0.0.1:" in found[0]
    assert found[0].endswith(", REST 2"), "the two that were changed, and no other"


def test_with_a_worker_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rehearsal.edge.WORKER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(cli, ["rehearse", "--dir", str(tmp_path / "r"), "--worker"])

    assert result.exit_code == ExitCode.PRECONDITION
    assert "Node.js, the folder worker/ of the repository, workerd, esbuild" in result.output
    assert "make worker/node_modules/.installed" in result.output
    both = CliRunner().invoke(
        cli, ["rehearse", "--dir", str(tmp_path / "r"), "--worker", "--fault", "flaky"]
    )
    assert both.exit_code == ExitCode.USAGE


@pytest.mark.slow
@pytest.mark.early
@pytest.mark.fault("G01", "N01", "N04", "N06", "N08", "K01", "K04", "U04")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_fault_scenario_can_be_rehearsed_and_every_step_holds(
    tmp_path: Path, scenario: str
) -> None:
    words = ["rehearse", "--fault", scenario, "--chunks", "100", "--json"]

    result = CliRunner().invoke(cli, [*words, "--dir", str(tmp_path / "rehearsal")])

    assert result.exit_code == 0, result.stdout
    document = json.loads(result.stdout)
    assert (document["held"], document["bad_day"]) == (True, scenario)
    assert len(document["steps"]) == 18
    lines = [line for step in document["steps"] for line in step["lines"]]
    assert any("requests: " in line for line in lines), "it says which faults struck"
    assert any(line.startswith("killed ") for line in lines) == (scenario == "crashy")


@pytest.mark.slow
def test_a_live_rehearsal_reads_the_configured_collection_and_nothing_else(
    tmp_path: Path,
) -> None:
    """Points that cannot move are left out in the rehearsal as they would in the window."""
    odd = StoredPoint(id=9_999, vectors={"": unit_vectors(1)[0].tolist()}, payload={"a": 1})
    plain = [*points(150), odd]
    with workbench(tmp_path, plain, provision=False) as bench:
        bench.directory = tmp_path / "rehearsal"
        sent = len(bench.sandbox.requests)

        result = bench.run("rehearse", "--live")

        assert sent == len(bench.sandbox.requests), "the configured target is left alone"
        assert bench.collection.writes == []
    assert result.exit_code == 0, result.stdout
    assert result.document["held"]
    assert chunk("file-0000", 0) == plain[0].payload


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    result = CliRunner().invoke(cli, ["rehearse", "--dir", str(tmp_path)])

    assert result.exit_code == 2
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / MARKER).exists()
