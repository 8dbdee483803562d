"""The documents of a page are read from the folders of a real move."""

from dataclasses import replace
from pathlib import Path

import pytest

from migrate.errors import ArtefactDamagedError
from reconcile.page import of_run, render_page
from tests.harness.move import COUNTER, RECONCILE_RULES, Move, finished_move
from tests.harness.paths import path_of


def drifted(folder: Path) -> Move:
    """A move with one vector missing, one changed by hand, and a wrong counter."""
    move = finished_move(folder)
    first, second, *_ = move.vectors.stored
    del move.vectors.stored[first]
    held = move.vector(second)
    move.put(replace(held, metadata={**(held.metadata or {}), "more": 1}))
    del move.kv.stored[COUNTER]
    return move


def test_the_page_of_a_reconcile_names_every_id_and_what_differs(tmp_path: Path) -> None:
    move = drifted(tmp_path)
    first, second = "file-0_0", "file-1_0"

    report = move.reconcile()

    page = (path_of(report.folder) / "report.html").read_text(encoding="utf-8")
    assert "Found 1 missing vector, 1 different vector and 1 wrong counter." in page
    assert f'"ids":["{first}"],"name":"missing"' in page
    assert f'"ids":["{second}"],"name":"mismatched"' in page
    assert f'"ids":["{COUNTER}"],"name":"counter"' in page
    assert f'"{second}":["metadata.more"]' in page


def test_the_page_names_the_report_that_is_written_after_it(tmp_path: Path) -> None:
    move = drifted(tmp_path)

    report = move.reconcile()

    page = (path_of(report.folder) / "report.html").read_text(encoding="utf-8")
    with move.opened() as run:
        folder = run.reconciles.child("001")
        assert folder.file("report.json").hash()[1] in page
        assert run.journal.file.hash()[1] in page


def test_the_page_says_who_compared(tmp_path: Path) -> None:
    move = finished_move(tmp_path)
    made_by = {"tool": "q2v 0.1.0", "commit": "abc", "operator": "anna@desk"}

    report = move.reconcile(replace(RECONCILE_RULES, made_by=made_by))

    page = (path_of(report.folder) / "report.html").read_text(encoding="utf-8")
    assert report.document()["made_by"] == made_by
    assert "q2v 0.1.0, commit abc" in page
    assert "anna@desk" in page


@pytest.mark.slow
def test_the_page_of_a_run_has_its_newest_reconcile_and_all_before_it(tmp_path: Path) -> None:
    move = drifted(tmp_path)
    move.reconcile()
    move.migrate()
    move.reconcile()

    with move.opened() as run:
        documents = of_run(run)

    assert [one["verdict"] for one in documents.reconciles] == ["drift", "equal"]
    assert documents.report == documents.reconciles[-1]
    assert documents.rows == ()
    assert documents.outdated == ""


def test_a_reconcile_before_the_last_write_is_outdated(tmp_path: Path) -> None:
    move = finished_move(tmp_path)
    move.reconcile()
    move.roll_back()

    with move.opened() as run:
        page = render_page(of_run(run))

    assert "After it, the run was rolled back" in page


def test_a_run_that_was_never_compared_says_so(tmp_path: Path) -> None:
    with finished_move(tmp_path).opened() as run:
        page = render_page(of_run(run))

    assert "No reconcile of this run has been finished" in page


@pytest.mark.parametrize("name", ["missing.ids", "report.json", "mismatched.ids"])
def test_a_changed_file_is_damage_and_no_other_verdict(tmp_path: Path, name: str) -> None:
    move = drifted(tmp_path)
    file = path_of(move.reconcile().folder) / name
    file.write_bytes(file.read_bytes().replace(b"drift", b"equal") + b"more\n")

    with move.opened() as run, pytest.raises(ArtefactDamagedError, match=name):
        of_run(run)


def test_a_report_without_its_conclusion_is_left_out(tmp_path: Path) -> None:
    move = drifted(tmp_path)
    move.reconcile()
    again = move.reconcile(fresh=True)
    journal = path_of(again.folder) / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))

    with move.opened() as run:
        documents = of_run(run)

    assert [one["ordinal"] for one in documents.reconciles] == [1]


def test_a_missing_id_file_is_damage_and_not_an_empty_list(tmp_path: Path) -> None:
    move = drifted(tmp_path)
    report = move.reconcile()
    (path_of(report.folder) / "missing.ids").unlink()

    with move.opened() as run, pytest.raises(ArtefactDamagedError, match=r"missing\.ids"):
        of_run(run)
