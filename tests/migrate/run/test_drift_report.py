"""A repair reads a report only if it is the one that its reconcile wrote, in both formats."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import ArtefactDamagedError, PreconditionError
from migrate.model.hmac_key import SealKey
from migrate.model.sealed_json import seal_json
from migrate.run.drift_report import (
    DriftReport,
    find_newest_report,
    read_report,
    read_report_ids,
)
from migrate.run.folder import RunFolder
from migrate.snapshot.folder import Snapshot
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import Entry
from migrate.storage.layout import REPORT
from migrate.storage.local_folder import LocalFolder
from tests.e2e.older.older_files import VERSIONS, copy_older

pytestmark = pytest.mark.fault("F19")
UNSEALED = "written-by-2026-11-28"  # reports of format 1
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


def open_run(folder: Path, version: str, key: SealKey | None = None) -> RunFolder:
    """A complete run of that version, whose newest report names drift."""
    _, path = copy_older(folder, "complete-with-drift", version)
    return RunFolder(LocalFolder(path), Snapshot(LocalFolder(path.parents[1]), key), read_only=True)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return open_run(tmp_path, UNSEALED)


def conclude(
    run: RunFolder,
    fields: dict[str, Any],
    *entries: Entry,
    ordinal: int = 2,
    concluded: bool = True,
) -> LocalFolder:
    """A reconcile of format 1 as its version would have left it."""
    folder = LocalFolder(Path(str(run.reconciles)) / f"{ordinal:03d}")
    report = {
        "format": 1,
        "run_id": run.plan.run_id,
        "snapshot_id": run.plan.snapshot_id,
        "verdict": "drift",
        "drift": {"mismatched": 2},
        **fields,
    }
    content = json.dumps(report).encode()
    folder.make()
    Path(folder.address(REPORT)).write_bytes(content)
    journal = JournalFile(folder)
    journal.append({"type": "reconcile_opened", "format": 1})
    for entry in entries:
        journal.append(entry)
    if concluded:
        sha256 = hashlib.sha256(content).hexdigest()
        journal.append({"type": "reconcile_concluded", "report_sha256": sha256})
    journal.close()
    return folder


def newest(run: RunFolder) -> DriftReport:
    folder = find_newest_report(run)
    assert folder is not None
    return read_report(run, folder)


def contents(look: int, *rows: int) -> Entry:
    return {"type": "contents_read", "look": look, "mismatched": list(rows)}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_newest_report_names_its_drift_and_the_ids(tmp_path: Path, version: str) -> None:
    run = open_run(tmp_path, version)

    report = newest(run)

    assert report.names_our_drift
    assert report.verdict == "drift"
    assert len(read_report_ids(run, report, "missing")) == 1
    assert read_report_ids(run, report, "kv_mismatched") == ["file:file-0004"]
    assert read_report_ids(run, report, "mismatched") == []
    assert read_report_ids(run, report, "unfiltered") == []


def test_a_run_without_a_report_has_none(tmp_path: Path) -> None:
    _, path = copy_older(tmp_path, "half-written")

    run = RunFolder(LocalFolder(path), Snapshot(LocalFolder(path.parents[1])), read_only=True)

    assert find_newest_report(run) is None


def test_a_reconcile_that_was_killed_is_passed_over_until_its_report_is_there(
    run: RunFolder,
) -> None:
    folder = conclude(run, {}, concluded=False)
    with pytest.raises(PreconditionError, match="interrupted before it was concluded"):
        read_report(run, folder)

    Path(folder.address(REPORT)).unlink()

    found = find_newest_report(run)
    assert found is not None
    assert found.name == "001"


def test_a_report_that_was_concluded_and_is_missing_is_damage(run: RunFolder) -> None:
    folder = conclude(run, {})
    Path(folder.address(REPORT)).unlink()

    with pytest.raises(ArtefactDamagedError, match="journal says that it was written"):
        find_newest_report(run)
    with pytest.raises(ArtefactDamagedError, match="the report is missing"):
        read_report(run, folder)


def test_a_report_without_its_journal_is_damage(run: RunFolder) -> None:
    folder = conclude(run, {})
    Path(folder.address("journal.jsonl")).unlink()

    with pytest.raises(ArtefactDamagedError, match="the reconcile's journal is missing"):
        read_report(run, folder)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_report_with_other_bytes_is_damage(tmp_path: Path, version: str) -> None:
    run = open_run(tmp_path, version)
    folder = find_newest_report(run)
    assert folder is not None
    path = Path(folder.address(REPORT))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(ArtefactDamagedError, match="not the report that the journal names"):
        read_report(run, folder)


def test_a_round_goes_on_with_the_report_that_it_began_with(run: RunFolder) -> None:
    folder = conclude(run, {})

    with pytest.raises(ArtefactDamagedError, match="not the report that the journal names"):
        read_report(run, folder, sha256="0" * 64)


@pytest.mark.parametrize("changed", [{"run_id": "other"}, {"snapshot_id": "other"}, {"ordinal": 7}])
def test_a_report_of_another_run_or_reconcile_is_damage(
    run: RunFolder, changed: dict[str, object]
) -> None:
    folder = conclude(run, changed)

    with pytest.raises(ArtefactDamagedError, match="expected reconcile 2 of run"):
        read_report(run, folder)


def test_a_report_without_numbers_is_damage(run: RunFolder) -> None:
    folder = conclude(run, {"drift": None})

    with pytest.raises(ArtefactDamagedError, match="no numbers of drift"):
        read_report(run, folder)


def test_with_a_key_configured_a_report_without_its_hmac_is_damage(run: RunFolder) -> None:
    folder = conclude(run, {})
    object.__setattr__(run.snapshot, "key", SealKey("k" * 32))

    with pytest.raises(ArtefactDamagedError, match="it carries no HMAC"):
        read_report(run, folder)


def test_the_last_pass_names_the_vectors_that_differ(run: RunFolder) -> None:
    ids = ["file-0000_1", "file-0001_0"]
    folder = conclude(run, {}, contents(0, 1, 5, 7), contents(1, 1), contents(1, 7))
    (Path(str(folder)) / "mismatched.ids").write_text("".join(f"{each}\n" for each in ids))

    report = newest(run)

    assert report.mismatched_rows == frozenset({1, 7})
    assert ids == read_report_ids(run, report, "mismatched")


@pytest.mark.parametrize("text", ["file-0000_1\n", "file-0000_2\nfile-0001_0\n", None])
def test_other_vectors_than_those_of_the_journal_are_damage(
    run: RunFolder, text: str | None
) -> None:
    folder = conclude(run, {}, contents(0, 1, 7))
    if text is not None:
        (Path(str(folder)) / "mismatched.ids").write_text(text)

    with pytest.raises(ArtefactDamagedError, match="not the vectors that the journal names"):
        read_report_ids(run, newest(run), "mismatched")


def test_the_sums_of_the_journal_are_those_of_all_its_stores(run: RunFolder) -> None:
    folder = conclude(
        run,
        {},
        {"type": "ids_read", "files": {"missing": [0, EMPTY_SHA256], "extra": "no sum"}},
        {"type": "kv_read", "files": {"kv_missing": [0, "0" * 64]}},
    )
    for name in ("missing.ids", "kv_missing.ids"):
        (Path(str(folder)) / name).touch()

    report = newest(run)

    assert read_report_ids(run, report, "missing") == []
    with pytest.raises(ArtefactDamagedError, match="its sha256 is"):
        read_report_ids(run, report, "kv_missing")
    with pytest.raises(ArtefactDamagedError, match="does not name this id file"):
        read_report_ids(run, report, "extra")


WRONG_SUMS: list[Callable[[dict[str, Any]], object]] = [
    lambda fields: None,
    lambda fields: {**fields["id_files"], "missing": [1]},
    lambda fields: {**fields["id_files"], "missing": ["1", EMPTY_SHA256]},
]


@pytest.mark.parametrize("wrong", WRONG_SUMS)
def test_a_report_of_format_2_without_sums_of_its_id_files_is_damage(
    tmp_path: Path, wrong: Callable[[dict[str, Any]], object]
) -> None:
    run = open_run(tmp_path, VERSIONS[-1])
    folder = find_newest_report(run)
    assert folder is not None
    fields = json.loads(Path(folder.address(REPORT)).read_bytes())
    del fields["sha256"]
    content = seal_json({**fields, "id_files": wrong(fields)})
    Path(folder.address(REPORT)).write_bytes(content)

    with pytest.raises(ArtefactDamagedError, match="names no sums of its id files"):
        read_report(run, folder, sha256=hashlib.sha256(content).hexdigest())
