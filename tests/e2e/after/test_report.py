"""`q2v report`: one page about a run, made of the files that other commands wrote."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import Result

COUNT = 60


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    """A collection that was moved and compared."""
    with workbench(tmp_path / "bench", points(COUNT)) as bench:
        assert bench.move().exit_code == ExitCode.DONE
        assert bench.run("reconcile").exit_code == ExitCode.DONE
        yield bench


def page_of(result: Result) -> str:
    """The page that a command wrote."""
    assert result.exit_code == ExitCode.DONE, result.stderr
    return Path(result.document["page"]).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_of_a_run_lies_beside_its_plan(bench: Workbench) -> None:
    result = bench.run("report")

    page = page_of(result)
    run = Path(result.document["page"]).parent
    assert (run / "plan.json").is_file()
    assert result.document["verdict"] == "equal"
    assert result.document["run_id"] == run.name
    assert result.document["next"].startswith("run `q2v gate")
    assert "The target holds what the run should have written" in page
    assert bench.index in page


@pytest.mark.slow
def test_the_same_files_give_the_same_bytes(bench: Workbench, tmp_path: Path) -> None:
    first = bench.run("report")
    second = bench.run("report", "--out", str(tmp_path / "other.html"))

    assert first.document["sha256"] == second.document["sha256"]
    assert page_of(first) == page_of(second)


@pytest.mark.slow
def test_the_page_says_what_the_reports_say(bench: Workbench) -> None:
    report = bench.run("reconcile").document

    page = page_of(bench.run("report"))

    drawn = json.dumps(report["counts"])
    assert all(f">{count:,}</text>" in page for count in report["counts"].values()), drawn
    assert "reconcile 2 of run" in page


@pytest.mark.slow
def test_gate_and_parity_are_in_the_page_of_a_run(bench: Workbench) -> None:
    bench.run("parity", "--live", "--sample", "20")
    gate = bench.run("gate", "--until", "2036-01-01T00:00+00:00")

    page = page_of(bench.run("report"))

    assert all(row["title"] in page for row in gate.document["rows"])
    assert "Does search answer the same?" in page
    assert "gate/001.json" in page
    assert "parity/001.json" in page


@pytest.mark.slow
@pytest.mark.fault("J07")
def test_a_rolled_back_run_is_not_shown_as_equal(bench: Workbench) -> None:
    bench.run("rollback", "--execute", "--yes")

    result = bench.run("report")

    assert result.document["verdict"] == "outdated"
    assert "After it, the run was rolled back" in page_of(result)


@pytest.mark.slow
@pytest.mark.fault("X13")
def test_no_content_is_in_a_page_unless_it_was_asked_for(bench: Workbench) -> None:
    first = min(bench.stored())
    bench.ask_target(f"vectorize/v2/indexes/{bench.index}/delete_by_ids", {"ids": [first]})
    assert bench.run("reconcile").exit_code == ExitCode.DRIFT

    without = page_of(bench.run("report"))
    shown = page_of(bench.run("report", "--show-payloads"))

    assert first in without
    assert '"payloads":{}' in without
    assert '"payloads":{}' not in shown
    assert "chunk_index" in shown


@pytest.mark.parametrize("saved", [False, True])
def test_without_a_run_the_page_is_about_the_plan_that_is_named(
    tmp_path: Path, saved: bool
) -> None:
    kept, out = tmp_path / "plan.q2v.json", tmp_path / "plan.html"
    with workbench(tmp_path / "bench", points(COUNT)) as bench:
        plan = bench.run("plan", *(("--out", str(kept)) if saved else ()))
        if not saved:
            kept.write_text(plan.stdout, encoding="utf-8")

        nowhere = bench.run("report", "--plan", str(kept))
        result = bench.run("report", "--plan", str(kept), "--out", str(out))

    assert nowhere.exit_code == ExitCode.USAGE
    page = page_of(result)
    assert result.document["verdict"] == plan.document["verdict"]["word"]
    assert f"{COUNT} of {COUNT} points can move" in page


@pytest.mark.slow
def test_what_parity_printed_is_shown_once(bench: Workbench, tmp_path: Path) -> None:
    kept, out = tmp_path / "parity.json", tmp_path / "parity.html"
    kept.write_text(bench.run("parity", "--sample", "20").stdout, encoding="utf-8")
    title = "Does search answer the same?"

    of_run = page_of(bench.run("report", "--parity", str(kept)))
    alone = page_of(
        bench.run("report", "--parity", str(kept), "--out", str(out), "--dir", str(tmp_path))
    )

    assert of_run.count(title) == 1
    assert alone.count(title) == 1
    assert str(kept) in alone


def test_a_saved_plan_that_was_changed_is_refused(tmp_path: Path) -> None:
    kept, out = tmp_path / "plan.q2v.json", tmp_path / "plan.html"
    with workbench(tmp_path / "bench", points(COUNT)) as bench:
        bench.run("plan", "--out", str(kept))
        kept.write_bytes(kept.read_bytes().replace(b'"points":60', b'"points":61'))

        result = bench.run("report", "--plan", str(kept), "--out", str(out))

    assert result.exit_code == ExitCode.DAMAGED
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--plan", "--parity"])
@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", '{"rules": {}, "vectors": 1}', None])
def test_a_file_that_is_no_such_document_is_refused(
    bench: Workbench, tmp_path: Path, option: str, content: str | None
) -> None:
    file = tmp_path / "other.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")

    result = bench.run("report", option, str(file))

    assert result.exit_code in {ExitCode.USAGE, ExitCode.DAMAGED}
    assert str(file) in result.stderr
    assert not list(bench.directory.rglob("runs/*/report.html"))


@pytest.mark.slow
def test_no_page_is_written_into_a_snapshot_by_name(bench: Workbench) -> None:
    (parts,) = bench.directory.glob("*/parts")

    result = bench.run("report", "--out", str(parts / "report.html"))

    assert result.exit_code == ExitCode.USAGE
    assert not (parts / "report.html").exists()
