"""The plan as a preflight: the target first, one screen, a verdict in words."""

import json
import re
from pathlib import Path

import pytest

from migrate.plan import target_shape
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import Workbench, points, workbench

LINES_MAX, WIDTH_MAX = 24, 80


def screen(bench: Workbench, *words: str) -> list[str]:
    """What a person sees, without the address of the test's own folder."""
    shown = bench.run("plan", *words, as_json=False)
    return shown.stdout.splitlines()


def pages_read(bench: Workbench) -> list[str]:
    return [request for request in bench.collection.requests if "scroll" in request]


def test_the_common_case_is_one_screen_that_ends_with_the_next_command(tmp_path: Path) -> None:
    with workbench(tmp_path, points(40), provision=False) as bench:
        lines = screen(bench)
        verdict = bench.run("plan").document["verdict"]

    assert len(lines) <= LINES_MAX
    # A folder or an address of any length is kept whole, so that it can be pasted.
    own = (str(tmp_path), "127.0.0.1")
    assert [
        line for line in lines if len(line) > WIDTH_MAX and not any(o in line for o in own)
    ] == []
    labels = [line.split("  ")[0] for line in lines if line and not line.startswith(" ")]
    header = ["source", "snapshot", "vector index", "KV namespace", "verdict"]
    figures = ["points", "files", "dimensions", "upload", "reconcile", "rollback", "wait", "cost"]
    assert labels[: len(header) + len(figures)] == [*header, *figures]
    assert lines[-1].startswith("next: q2v provision")
    assert verdict["word"] == "fits"
    assert "has to create the vector index and the KV namespace first" in verdict["reasons"][0]


@pytest.mark.fault("F28")
def test_a_target_that_is_not_configured_is_said_in_the_verdict_with_the_settings(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(20)) as bench:
        del bench.environment["CLOUDFLARE_API_TOKEN"]
        verdict = bench.run("plan").document["verdict"]
        lines = screen(bench)

    assert verdict["word"] == "target not configured"
    assert verdict["reasons"][0].startswith("target.api_token (CLOUDFLARE_API_TOKEN) is not set")
    assert any(line.startswith("verdict       target not configured: target.api") for line in lines)


@pytest.mark.fault("F28")
@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"CLOUDFLARE_API_TOKEN": "another-token-9d1e"}, 6, "token"),
        ({"Q2V_DIMENSIONS": "32", "Q2V_REDUCE": "matryoshka"}, 5, f"has {DIMENSIONS} dimensions"),
    ],
    ids=["token", "shape"],
)
def test_a_target_that_refuses_is_known_before_a_point_is_read(
    tmp_path: Path, changed: dict[str, str], code: int, words: str
) -> None:
    with workbench(tmp_path, points(20)) as bench:
        bench.environment |= changed
        refused = bench.run("plan")

        assert refused.exit_code == code, refused.stderr
        assert words in refused.stderr
        assert pages_read(bench) == []


def test_a_plan_that_does_not_fit_says_so_first_and_fails(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        refused = bench.run("plan", "--deadline-s", "1", as_json=False)

    assert refused.exit_code == 5
    assert "verdict       does not fit: the window has 0 min" in refused.stdout
    assert "next: " not in refused.stdout


@pytest.mark.slow
def test_points_that_are_left_out_and_an_index_in_use_are_decisions(tmp_path: Path) -> None:
    stored = points(20)
    stored[3].payload["chunk_index"] = -1  # type: ignore[index]
    with workbench(tmp_path, stored) as bench:
        before = bench.run("plan").document["verdict"]
        assert bench.move().exit_code == 3
        after = bench.run("plan").document["verdict"]
        assert bench.run("rollback", "--execute", "--yes").exit_code == 0

    assert before["word"] == after["word"] == "needs a decision"
    assert len(before["reasons"]) == len(after["reasons"]) == 1
    assert before["reasons"][0].startswith("1 (field_range 1) of 20 points cannot move")


@pytest.mark.parametrize(("limit", "word"), [(20, "fits"), (19, "needs a decision")])
def test_more_vectors_than_an_index_takes_are_a_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, word: str
) -> None:
    monkeypatch.setattr(target_shape, "VECTORS_PER_INDEX_MAX", limit)
    with workbench(tmp_path, points(20)) as bench:
        found = bench.run("plan").document["verdict"]

    assert found["word"] == word
    if word != "fits":
        (reason,) = found["reasons"]
        assert reason.startswith("20 vectors are too many for an index of 19: divide its files ")


@pytest.mark.slow
def test_settings_and_details_are_shown_when_asked_for(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        plain, settings = screen(bench), screen(bench, "--settings")
        details = screen(bench, "--details")
        values = bench.run("plan").document["settings"]

    shown = [line for line in settings if " = " in line and line not in plain]
    assert len(shown) == len(values)
    assert shown[0].endswith(("(environment QDRANT_URL)", "(environment QDRANT_COLLECTION)"))
    assert any(line.startswith("note: the counter (") for line in details)
    assert not any(line.startswith("note: ") for line in plain)


def test_details_show_how_sizes_are_spread_and_what_breaks_each_limit(tmp_path: Path) -> None:
    stored = points(70)
    stored[3].payload["text"] = "x" * 11_000  # type: ignore[index]
    with workbench(tmp_path, stored) as bench:
        lines = screen(bench, "--details")
        document = bench.run("plan").document

    histograms = {one["name"]: one for one in document["histograms"]}
    assert list(histograms) == ["metadata bytes", "id bytes", "chunks a file", "norm"]
    assert sum(histograms["metadata bytes"]["counts"]) == document["vectors"] == 69
    assert sum(histograms["chunks a file"]["counts"]) == document["files"]
    (limit,) = [one for one in document["limits"] if one["broken"]]
    assert (limit["name"], limit["limit"], limit["examples"]) == (
        "metadata of a vector",
        10_240,
        [str(stored[3].id)],
    )
    largest = histograms["metadata bytes"]["highest"]
    assert (
        f"  metadata of a vector: at most 10,240 B; found {largest}; broken by 1 point: "
        f"{stored[3].id}"
    ) in lines
    assert any(line.startswith("norm: ") for line in lines)


@pytest.mark.parametrize(("fits", "code"), [(True, 0), (False, 3)])
def test_the_whole_list_of_points_that_are_left_out_is_a_file(
    tmp_path: Path, fits: bool, code: int
) -> None:
    stored = points(60)
    for point in stored[:40]:
        point.payload["chunk_index"] = -1  # type: ignore[index]
    file = tmp_path / "agreed.json"
    most = ("--max-quarantine", "40" if fits else "3")
    with workbench(tmp_path, stored) as bench:
        planned = bench.run("plan", *most, "--out", str(file), as_json=False)
        listed = (tmp_path / "agreed.quarantine.jsonl").read_text().splitlines()

    assert planned.exit_code == code
    assert file.exists() == fits
    assert [json.loads(line)["point_id"] for line in listed] == [str(p.id) for p in stored[:40]]
    assert re.search(r"^left out\s+\S+agreed\.quarantine\.jsonl$", planned.stdout, re.MULTILINE)
