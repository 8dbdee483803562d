"""What a fleet shows: a row for each move, the sums, the next command; and the page for people."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from migrate.clock import SystemClock
from migrate.errors import LocalStorageError
from migrate.storage.journal_file import JournalFile
from migrate.storage.local_folder import LocalFolder
from q2v.commands.fleet.command import told_of_the_end
from q2v.commands.fleet.shown import ended_in_words, show_plan, show_report
from q2v.fleet.model import Move
from q2v.fleet.run import FleetRun
from q2v.fleet.schedule import standings
from q2v.invocation import Invocation
from q2v.main import cli
from reconcile.page import render_fleet
from tests.migrate.cloudflare.clients import Talker
from tests.q2v.fleet.test_schedule import NOW_S, ended, fleet, move, state


def row(name: str, phase: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name,
        "phase": phase,
        "why": "",
        "verdict": None,
        "points": None,
        "moved": None,
        "quarantined": None,
        "kv_entries": None,
        "drift": 0,
        "requests": None,
        "worked_s": 0.0,
        "exit_code": 0,
        "config": f"{name}.toml",
        "folder": f"fleet/{name}",
        "vector_index": f"{name}-index",
        "account": "81f5a2d08797b265",
        "page": None,
        "next": None,
        "steps": [],
    }
    return found | more


def report() -> dict[str, Any]:
    step = {
        "step": "migrate",
        "exit_code": 5,
        "tries": 1,
        "begun_at": "2026-12-01T20:00:00+00:00",
        "ended_at": "2026-12-01T20:01:00+00:00",
        "log": "logs/wiki/00004-migrate.log",
    }
    rows = [
        row(
            "docs",
            "done",
            verdict="equal",
            points=1_000,
            moved=998,
            quarantined=2,
            requests=40,
            worked_s=90.0,
            page="fleet/docs/s/runs/r/report.html",
        ),
        row(
            "wiki",
            "stopped",
            why="migrate ended with 5: <b>the index</b> is too narrow",
            next="use a fresh index name (`q2v provision` creates it)",
            exit_code=5,
            steps=[step],
        ),
        row("blog", "not begun", why="because of wiki: migrate ended with 5"),
    ]
    return {
        "at": "2026-12-01T20:02:00+00:00",
        "fleet": "fleet.toml",
        "folder": "fleet",
        "steps": None,
        "exit_code": 5,
        "counts": {"moves": 3, "done": 1, "rolled back": 0},
        "sums": {
            "points": 1_000,
            "moved": 998,
            "quarantined": 2,
            "kv_entries": 0,
            "requests": 40,
        },
        "moves": rows,
    }


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_report_has_a_row_for_each_move_and_the_next_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_report(report(), as_json=False)

    assert shown(capsys) == [
        "ok       docs  done, equal; 998 of 1,000 points moved; 2 quarantined; 1 min 30 s",
        "fail     wiki  stopped; migrate ended with 5: <b>the index</b> is too narrow",
        "               -> use a fresh index name (`q2v provision` creates it)",
        "skipped  blog  not begun; because of wiki: migrate ended with 5",
        "",
        "1 of 3 moves done: 998 vectors moved, 2 quarantined, 40 requests",
        "page: fleet/report.html",
        "",
        "next: do first what the line -> of wiki says; then `q2v fleet run`",
    ]


def test_what_is_rolled_back_is_neither_done_nor_moved(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left for a plain `q2v fleet run`, so it is not the next command."""
    again = "`q2v fleet run --again docs` moves it again"
    undone = row("docs", "rolled back", why="it is undone", points=10, moved=0, next=again)
    document = report() | {
        "counts": {"moves": 1, "done": 0, "rolled back": 1},
        "sums": {"points": 10, "moved": 0, "quarantined": 0, "kv_entries": 0, "requests": 4},
        "moves": [undone],
    }
    show_report(document, as_json=False)

    assert shown(capsys) == [
        "undone  docs  rolled back; it is undone",
        "              -> `q2v fleet run --again docs` moves it again",
        "",
        "0 of 1 move done, 1 rolled back: 0 vectors moved, 0 quarantined, 4 requests",
        "page: fleet/report.html",
    ]
    assert "rolled back" in render_fleet(document)


def test_other_steps_are_in_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    document = report() | {"steps": ["rollback --execute"], "fleet": "all.toml"}
    show_report(document, as_json=False)
    assert shown(capsys)[-2:] == [
        "next: do first what the line -> of wiki says; then",
        "  `q2v fleet run 'rollback --execute' --file all.toml`",
    ]


def test_the_command_alone_is_next_where_it_leads_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A move whose tries are used up or whose window is closed needs no more than that."""
    tried = row("docs", "tries used up", why="migrate ended with 7", next="check it", exit_code=7)
    closed = row("wiki", "window over", why="it was open until 20:00")
    document = report() | {
        "counts": {"moves": 2, "done": 0, "rolled back": 0},
        "moves": [tried, closed],
    }
    show_report(document, as_json=False)

    assert shown(capsys)[-1] == "next: q2v fleet run"


def test_the_page_names_each_move_escapes_texts_and_loads_nothing() -> None:
    page = render_fleet(report())

    for name in ("docs", "wiki", "blog"):
        assert name in page
    assert "&lt;b&gt;the index&lt;/b&gt;" in page
    assert "<b>the index" not in page
    assert 'href="docs/s/runs/r/report.html"' in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert render_fleet(report()) == page


def test_a_plan_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    planned = {
        "verdict": "fits", "vectors": 100, "quarantined": 0, "requests": 11, "minutes": 2.0,
        "exit_code": 0, "why": "", "next": None, "reasons": [], "warnings": [],
    }  # fmt: skip
    warned = planned | {
        "name": "blog",
        "verdict": "needs a decision",
        "reasons": ["5 points cannot move"],
        "warnings": ["disk: 2 GB are free"],
    }
    failed = planned | {"name": "wiki", "verdict": None, "exit_code": 6, "why": "no rights"}
    account = {
        "account": "81f5a2d08797b265", "moves": 2, "requests_per_5min": 900, "requests": 11,
        "minutes": 2.0, "rollback_requests": 8, "rollback_minutes": 2.0,
    }  # fmt: skip
    outlook = {
        "moves": [planned | {"name": "docs"}, failed, warned],
        "accounts": [account],
        "sums": {"vectors": 100, "quarantined": 0, "usd_per_month": 0.25},
        "exit_code": 6,
        "fleet": "fleet.toml",
        "folder": "fleet",
    }
    show_plan(outlook, as_json=False)

    lines = shown(capsys)
    assert (
        lines[0] == "ok    docs  fits, 100 vectors, 0 quarantined, 11 requests, about 2 min alone"
    )
    assert lines[1] == "fail  wiki  exit code 6: no rights"
    assert lines[2].startswith("warn  blog  needs a decision, 100 vectors")
    assert [line.strip() for line in lines[4:6]] == [
        "-> 5 points cannot move",
        "-> disk: 2 GB are free",
    ]
    assert "11 requests at 900 in" in " ".join(lines)
    assert not [line for line in lines if line.startswith("next:")]


@pytest.mark.fault("E09")
def test_a_step_is_only_for_run_and_again_names_a_move(tmp_path: Path) -> None:
    (tmp_path / "docs.toml").write_text('[target]\naccount_id = "a"\nvector_index = "docs"\n')
    (tmp_path / "fleet.toml").write_text('[[move]]\nconfig = "docs.toml"\n')
    place = ["--file", str(tmp_path / "fleet.toml"), "--dir", str(tmp_path / "fleet")]

    for words, said in (
        (["plan", "migrate"], "expected none"),
        (["run", "--again", "dosc"], "expected one of docs"),
        (["run", "--accept", "dosc"], "expected one of docs"),
        (["run", "--accept", "docs", "--again", "docs"], "expected one of them"),
        (["plan", "--accept", "docs"], "found --accept"),
        (["status", "--again", "docs"], "found --again"),
        (["plan", "--no-wait"], "found --no-wait"),
        (["run", "migrat"], "'migrat'"),
        (["run"], "stdin is not a terminal"),
    ):
        ended = CliRunner().invoke(cli, ["fleet", *words, *place], obj=Invocation())
        assert ended.exit_code == 2, ended.output
        assert said in ended.output
    assert not (tmp_path / "fleet").exists()


def test_before_the_first_start_no_page_is_named(tmp_path: Path) -> None:
    (tmp_path / "docs.toml").write_text('[target]\naccount_id = "a"\nvector_index = "docs"\n')
    (tmp_path / "fleet.toml").write_text('[[move]]\nconfig = "docs.toml"\n')
    place = ["--file", str(tmp_path / "fleet.toml"), "--dir", str(tmp_path / "fleet")]

    ended = CliRunner().invoke(cli, ["fleet", "status", *place], obj=Invocation())

    assert ended.exit_code == 0, ended.output
    assert "0 of 1 move done" in ended.output
    assert "report.html" not in ended.output


def test_a_move_without_a_run_has_nothing_to_undo(tmp_path: Path) -> None:
    """No command is started for it, and as a failure it would hold those that it comes after."""
    (tmp_path / "docs.toml").write_text('[target]\naccount_id = "a"\nvector_index = "docs"\n')
    (tmp_path / "fleet.toml").write_text('[[move]]\nconfig = "docs.toml"\n')
    place = ["--file", str(tmp_path / "fleet.toml"), "--dir", str(tmp_path / "fleet")]

    for words in (["run", "rollback --execute", "--yes"], ["status"]):
        ended = CliRunner().invoke(cli, ["fleet", *words, *place], obj=Invocation())

        assert ended.exit_code == 0, ended.output
        assert "ok  docs  done; there is no run to undo" in ended.output
        assert "1 of 1 move done" in ended.output
    assert not (tmp_path / "fleet" / "logs").exists()


def test_a_stop_says_how_far_each_move_is() -> None:
    def of(name: str) -> Move:
        return move(name, after=("docs",) if name == "late" else ())

    moves = fleet(*(of(name) for name in ("docs", "wiki", "blog", "late", "news")))
    known = state(
        ended("docs", "snapshot", 0), ended("docs", "migrate", 5),
        ended("wiki", "snapshot", 0), ended("wiki", "migrate", 143, counts=False),
        ended("blog", "snapshot", 0), ended("blog", "migrate", 0),
    )  # fmt: skip

    found = ended_in_words(moves, known, standings(moves, known, NOW_S))

    assert found == (
        "1 move done: blog; 1 move to be continued: wiki at migrate; "
        "1 move failed: docs at migrate; 2 moves not begun: late, news"
    )


def test_an_error_of_the_fleet_names_the_command_that_continues_it(tmp_path: Path) -> None:
    """The command that was typed may have an --again, which would start a move over once more."""
    journal = JournalFile(LocalFolder(tmp_path), "fleet.jsonl")
    run = FleetRun(fleet(move("docs")), journal, SystemClock(), Talker())
    run.begin("reconcile", is_new=True, again=["docs"])

    with pytest.raises(LocalStorageError) as found, told_of_the_end(run):
        raise LocalStorageError("full", remedy="free some space, then run the same command again")
    journal.close()

    assert found.value.remedy == "free some space, then run `q2v fleet run reconcile` again"
