"""A run and its snapshot on disk: each tampering raises the error that names it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.errors import ArtefactDamagedError, ForeignStateError, MigrationError, UsageError
from migrate.mapping.payload import Quarantined, Reason
from migrate.model.records import PointId
from migrate.plan.quarantine import QuarantinedPoint, encode_quarantine
from migrate.plan.record import RunPlan, encode_plan
from migrate.run.folder import (
    RunFolder,
    create_run,
    new_run_id,
    report_folders,
    run_folders,
)
from migrate.snapshot.folder import Snapshot, sealed_folders, unsealed_folders
from migrate.storage.durable import write_durably
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import JOURNAL_FORMAT
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads, take_and_open
from tests.harness.paths import path_of
from tests.migrate.model.records import PLAN

STAY = [
    QuarantinedPoint(
        row=7,
        point_id=PointId(1, 5),
        outcome=Quarantined(reason=Reason.BAD_KEY, field='a."\n\r\u2028', detail="no"),
    ),
    QuarantinedPoint(
        row=2,
        point_id=PointId(0, 30),
        outcome=Quarantined(reason=Reason.ZERO_VECTOR, field="vector ''", detail="zero"),
    ),
]
QUARANTINE = encode_quarantine(STAY)


def snapshot_of(folder: Path, points: int = 9) -> Snapshot:
    return take_and_open(MemorySource(chunk_payloads(points)), folder)


def plan_of(snapshot: Snapshot, quarantine_sha256: str) -> RunPlan:
    return replace(
        PLAN,
        snapshot_id=snapshot.manifest.snapshot_id,
        content_root=snapshot.manifest.content_root,
        quarantine_sha256=quarantine_sha256,
    )


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return snapshot_of(tmp_path)


@pytest.fixture
def run(snapshot: Snapshot, tmp_path: Path) -> RunFolder:
    sha256 = write_durably(tmp_path / "list", QUARANTINE)
    created = RunFolder(create_run(snapshot, plan_of(snapshot, sha256), QUARANTINE, []), snapshot)
    created.close()
    return created


def test_a_run_that_is_opened_again_is_the_same(run: RunFolder) -> None:
    again = RunFolder(run.folder, run.snapshot)

    assert again.plan == run.plan
    assert (again.state().run_id, again.state().phase) == (PLAN.run_id, "capturing pre-images")
    assert len(again.journal.entries) == 1
    assert list(again.quarantined()) == sorted(STAY, key=lambda point: point.row)
    assert set(again.excluded_rows()) == {2, 7}
    assert again.spill.parent == path_of(run.folder)
    assert run_folders(run.snapshot) == [run.folder]
    again.close()


@pytest.mark.fault("G01")
def test_a_run_killed_before_its_journal_is_opened_then(run: RunFolder) -> None:
    (path_of(run.folder) / "journal.jsonl").unlink()
    again = RunFolder(run.folder, run.snapshot)
    again.close()

    assert again.state().run_id == PLAN.run_id
    assert len(JournalFile(run.folder).entries) == 1


def test_runs_are_named_in_order(run: RunFolder) -> None:
    assert new_run_id(run.snapshot, 1_800_000_000.0) == "001-20270115T080000Z"


def test_runs_stay_in_order_beyond_a_thousand_and_after_a_removal(run: RunFolder) -> None:
    """By number, not by text; a number is not given twice because a folder is gone."""
    for name in ("998-x", "999-x", "1000-x", "not a run"):
        (path_of(run.snapshot.runs) / name).mkdir()
        (path_of(run.snapshot.runs) / name / "plan.json").touch()
    (path_of(run.snapshot.runs) / "not a run" / "plan.json").unlink()
    shutil.rmtree(path_of(run.snapshot.runs) / "998-x")

    names = [path.name for path in run_folders(run.snapshot)]
    assert names == [run.folder.name, "999-x", "1000-x"]
    assert new_run_id(run.snapshot, 1_800_000_000.0) == "1001-20270115T080000Z"


def test_a_run_that_has_written_does_not_vanish_with_its_plan(run: RunFolder) -> None:
    """Else the run before it would count as the newest, and a rollback would leave this one."""
    plan = path_of(run.folder.file("plan.json"))
    content = plan.read_bytes()
    plan.unlink()
    assert run_folders(run.snapshot) == [], "it had written nothing"

    run.journal.append({"type": "intent"})
    run.close()
    with pytest.raises(ArtefactDamagedError, match=r"plan\.json.*the plan is missing") as caught:
        run_folders(run.snapshot)
    assert "restore the file from a copy" in caught.value.remedy
    plan.write_bytes(content)
    assert [folder.name for folder in run_folders(run.snapshot)] == [run.folder.name]


def test_the_newest_report_is_the_one_with_the_highest_number(run: RunFolder) -> None:
    for name in ("001", "999", "1000", "1001"):
        (path_of(run.folder) / "reconcile" / name).mkdir(parents=True)
        (path_of(run.folder) / "reconcile" / name / "report.json").touch()
    (path_of(run.folder) / "reconcile" / "1001" / "report.json").unlink()

    found = report_folders(run, "report.json")
    assert [path.name for path in found] == ["001", "999", "1000"]


def other_plan(run: RunFolder) -> None:
    plan = replace(run.plan, created_at="2027-01-01T00:00:00+00:00")
    write_durably(path_of(run.folder) / "plan.json", encode_plan(plan))


def other_run(run: RunFolder) -> None:
    plan = replace(run.plan, run_id="009-x")
    write_durably(path_of(run.folder) / "plan.json", encode_plan(plan))


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def unknown_entry(run: RunFolder) -> None:
    journal = JournalFile(run.folder)
    journal.append({"type": "of_a_later_version"})
    journal.close()


def other_format(run: RunFolder) -> None:
    run.folder.remove("journal.jsonl")
    journal = JournalFile(run.folder)
    journal.append({"type": "run_opened", "format": JOURNAL_FORMAT + 1})
    journal.close()


TAMPERINGS: list[tuple[str, Callable[[RunFolder], object], type[MigrationError], str]] = [
    (
        "plan missing",
        lambda run: (path_of(run.folder) / "plan.json").unlink(),
        UsageError,
        "no run",
    ),
    (
        "plan flipped",
        lambda run: flip(path_of(run.folder) / "plan.json", 400),
        ArtefactDamagedError,
        "plan",
    ),
    ("plan swapped", other_plan, ForeignStateError, "journal belongs to run"),
    ("run swapped", other_run, ForeignStateError, "the plan of run 009-x of snapshot"),
    (
        "quarantine missing",
        lambda run: (path_of(run.folder) / "quarantine.jsonl").unlink(),
        ArtefactDamagedError,
        "quarantine.jsonl: the file is missing",
    ),
    (
        "quarantine flipped",
        lambda run: flip(path_of(run.folder) / "quarantine.jsonl", 5),
        ArtefactDamagedError,
        "not the list the plan was made with",
    ),
    (
        "quarantine cut",
        lambda run: (path_of(run.folder) / "quarantine.jsonl").write_bytes(QUARANTINE[:-20]),
        ArtefactDamagedError,
        "not the list the plan was made with",
    ),
    (
        "journal flipped",
        lambda run: flip(path_of(run.folder) / "journal.jsonl", 9),
        ArtefactDamagedError,
        "journal.jsonl, line 1",
    ),
    ("journal of tomorrow", unknown_entry, ArtefactDamagedError, "of_a_later_version"),
    ("journal format", other_format, ForeignStateError, "format version 2"),
]


@pytest.mark.fault("G14", "G15", "G16")
@pytest.mark.parametrize(
    ("tamper", "error", "message"),
    [rest for _, *rest in TAMPERINGS],
    ids=[name for name, *_ in TAMPERINGS],
)
def test_each_tampering_is_named(
    run: RunFolder,
    tamper: Callable[[RunFolder], object],
    error: type[MigrationError],
    message: str,
) -> None:
    tamper(run)

    with pytest.raises(error, match=message) as caught:
        RunFolder(run.folder, run.snapshot)
    assert caught.value.remedy


@pytest.mark.fault("G14")
def test_a_run_under_another_snapshot_is_foreign(run: RunFolder, tmp_path: Path) -> None:
    other = snapshot_of(tmp_path / "other", points=8)
    moved = other.runs.child(run.folder.name)
    shutil.copytree(path_of(run.folder), path_of(moved))

    with pytest.raises(ForeignStateError, match="planned for the snapshot with root"):
        RunFolder(moved, other)


def test_a_list_with_a_strange_line_is_damage(snapshot: Snapshot, tmp_path: Path) -> None:
    strange = b'{"row":"1"}\n'
    sha256 = write_durably(tmp_path / "list", strange)
    run = RunFolder(create_run(snapshot, plan_of(snapshot, sha256), strange, []), snapshot)

    with pytest.raises(ArtefactDamagedError, match="no quarantined point"):
        list(run.quarantined())
    run.close()


@pytest.mark.fault("G16", "S07")
def test_a_snapshot_names_the_part_that_is_not_what_it_was(
    snapshot: Snapshot, tmp_path: Path
) -> None:
    part = path_of(snapshot.folder) / "parts" / "part-00000.parquet"
    (path_of(snapshot.folder) / "parts" / "part-00009.parquet").write_bytes(b"of nobody")
    assert snapshot.unknown_files() == ["parts/part-00009.parquet"]
    flip(part, 100)
    with pytest.raises(ArtefactDamagedError, match="points 10 to 90"):
        list(snapshot.read(with_vectors=()))
    part.unlink()
    with pytest.raises(ArtefactDamagedError, match="the part is missing"):
        list(snapshot.read(with_vectors=()))


@pytest.mark.fault("G14", "G15")
def test_a_manifest_makes_the_snapshot(snapshot: Snapshot, tmp_path: Path) -> None:
    manifest = path_of(snapshot.folder) / "manifest.json"
    assert sealed_folders(LocalFolder(tmp_path)) == [snapshot.folder]
    assert unsealed_folders(LocalFolder(tmp_path)) == []
    flip(manifest, 50)
    with pytest.raises((ArtefactDamagedError, ForeignStateError), match=r"manifest\.json"):
        Snapshot(snapshot.folder)
    manifest.unlink()

    assert sealed_folders(LocalFolder(tmp_path)) == []
    assert unsealed_folders(LocalFolder(tmp_path)) == [snapshot.folder]
    with pytest.raises(UsageError, match="no sealed snapshot"):
        Snapshot(snapshot.folder)


@pytest.mark.fault("F19", "G14")
def test_a_plan_is_believed_in_its_own_folder_only(run: RunFolder) -> None:
    """A copy of a run beside it, and a copy of its plan in the place of another run's."""
    beside = path_of(run.folder).with_name("001-copy")
    shutil.copytree(path_of(run.folder), beside)

    with pytest.raises(ForeignStateError, match="expected that of run 001-copy of snapshot"):
        RunFolder(LocalFolder(beside), run.snapshot)


@pytest.mark.fault("F19")
def test_a_manifest_is_believed_in_its_own_folder_only(snapshot: Snapshot) -> None:
    """Without a key as well: the id inside decides which snapshot it is."""
    moved = path_of(snapshot.folder).with_name("20991231T000000Z-000000-00")
    shutil.copytree(path_of(snapshot.folder), moved)

    with pytest.raises(ArtefactDamagedError, match=snapshot.manifest.snapshot_id):
        Snapshot(LocalFolder(moved))
