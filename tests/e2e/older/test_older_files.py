"""Files that older versions wrote are read, resumed, repaired and rolled back by this one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.older.older_files import ASSETS, VERSIONS, older_run, read_target
from tests.e2e.older.write_older_files import source_points
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import changed_point, points, workbench
from tests.servers.qdrant_points import StoredPoint

pytestmark = pytest.mark.fault("G14")
STATES = ("half-written", "complete-with-drift", "complete-and-equal", "half-rolled-back")
CHANGED = "file:file-0004"  # by another writer, in complete-with-drift
# They name the moment, the place that was read, and the program. `sha256` covers all of them.
NAMES_THE_OCCASION = {"sealed_at", "sha256", "snapshot_id", "source", "started_at", "tool"}


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The folder of each older version."""
    return str(request.param)


@pytest.mark.slow
@pytest.mark.fault("U01")
def test_a_half_written_run_is_finished_and_the_upload_in_doubt_has_the_same_bytes(
    tmp_path: Path, version: str
) -> None:
    with older_run(tmp_path, "half-written", version) as older:
        in_doubt = older.journal()[-1]["sha256"]

        migrated = older.run("migrate")
        assert migrated.exit_code == 0, migrated.stderr
        compared = older.run("reconcile", "--no-source")

        assert [in_doubt] == older.uploads()[:1]
        assert len(older.uploads()) == 3
        assert (compared.exit_code, compared.document["verdict"]) == (0, "equal")
        assert read_target("runs/complete-and-equal/target.json", version) == older.target()


def test_a_repair_writes_what_the_older_report_names_and_nothing_else(
    tmp_path: Path, version: str
) -> None:
    with older_run(tmp_path, "complete-with-drift", version) as older:
        repaired = older.run("migrate")

        assert repaired.exit_code == 0, repaired.stderr
        assert repaired.document["round"] == "repair"
        assert len(older.uploads()) == 1
        assert read_target("runs/complete-and-equal/target.json", version) == older.target()


@pytest.mark.parametrize("name", [name for name in STATES if name != "complete-with-drift"])
@pytest.mark.fault("B02")
def test_a_rollback_restores_the_former_target_and_a_second_one_changes_nothing(
    tmp_path: Path, version: str, name: str
) -> None:
    with older_run(tmp_path, name, version) as older:
        undone = older.run("rollback", "--execute")
        after = older.target()
        again = older.run("rollback", "--execute")

        assert undone.exit_code == 0, undone.stderr
        assert read_target("before.json", version) == after == older.target()
        assert again.exit_code == 0, again.stderr


@pytest.mark.slow
@pytest.mark.fault("B03")
def test_a_rollback_keeps_the_entry_that_another_writer_changed_until_it_is_forced(
    tmp_path: Path, version: str
) -> None:
    forced = tmp_path / "forced.ids"
    forced.write_text(f"{CHANGED}\n", encoding="utf-8")
    with older_run(tmp_path, "complete-with-drift", version) as older:
        theirs = older.target()[1][CHANGED]

        undone = older.run("rollback", "--execute")
        after = older.target()
        again = older.run("rollback", "--execute", "--force", str(forced))

        vectors, entries = read_target("before.json", version)
        assert (undone.exit_code, undone.document["conflicts"]) == (4, [CHANGED])
        assert (vectors, {**entries, CHANGED: theirs}) == after
        assert again.exit_code == 0, again.stderr
        assert (vectors, entries) == older.target()


@pytest.mark.parametrize("name", STATES)
def test_every_older_state_has_a_next_step_and_verifies(
    tmp_path: Path, version: str, name: str
) -> None:
    with older_run(tmp_path, name, version) as older:
        status = older.run("status")
        verified = older.run("verify", str(older.run_folder.parents[1]))

        assert status.exit_code == 0, status.stderr
        assert status.document["next"]
        assert verified.exit_code == 0, verified.stderr


@pytest.mark.parametrize("name", STATES)
def test_every_older_state_is_archived_and_the_archive_verifies(
    tmp_path: Path, version: str, name: str
) -> None:
    with older_run(tmp_path, name, version) as older:
        needs_consent = older.run("archive").exit_code
        written = older.run("archive", "--not-final")
        verified = older.run("verify", written.document["path"])

        assert needs_consent == (0 if name == "complete-and-equal" else 5)
        assert written.exit_code == 0, written.stderr
        assert written.document["final"] is (name == "complete-and-equal")
        assert verified.exit_code == 0, verified.stderr


def test_a_run_that_was_equal_compares_equal(tmp_path: Path, version: str) -> None:
    with older_run(tmp_path, "complete-and-equal", version) as older:
        compared = older.run("reconcile", "--no-source", "--full")

        assert compared.exit_code == 0, compared.stderr
        assert compared.document["verdict"] == "equal"


def _points_of_2026_11_28() -> list[StoredPoint]:
    stored = points(36)
    stored[20] = changed_point(stored[20], file_path=None)
    incomplete = dict(stored[21].payload or {})
    del incomplete["chunk_index"]
    stored[21] = replace(stored[21], payload=incomplete)
    return stored


SOURCES = {
    "written-by-2026-11-28": _points_of_2026_11_28,
    "written-by-2026-11-29": source_points,
}


def test_a_snapshot_of_the_same_points_has_the_same_bytes(tmp_path: Path, version: str) -> None:
    """Parts byte for byte, and the manifest but for moment, place and program."""
    older = ASSETS / version / "snapshot"

    with workbench(tmp_path, SOURCES[version](), dimensions=DIMENSIONS, provision=False) as bench:
        taken = bench.run("snapshot")
        assert taken.exit_code == 0, taken.stderr
        (today,) = (path.parent for path in bench.directory.glob("*/manifest.json"))

    assert _parts(older) == _parts(today)
    assert _manifest(older) == _manifest(today)
    assert _parts(older)


def _parts(snapshot: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (snapshot / "parts").iterdir()}


def _manifest(snapshot: Path) -> dict[str, Any]:
    manifest = json.loads((snapshot / "manifest.json").read_text(encoding="utf-8"))
    assert manifest.keys() >= NAMES_THE_OCCASION
    return {name: value for name, value in manifest.items() if name not in NAMES_THE_OCCASION}


def test_a_page_is_made_of_an_older_run(tmp_path: Path, version: str) -> None:
    with older_run(tmp_path, "complete-with-drift", version) as older:
        (missing,) = older.run_folder.glob("reconcile/001/missing.ids")

        written = older.run("report")

        assert written.exit_code == 0, written.stderr
        assert written.document["verdict"] == "drift"
        page = Path(written.document["page"]).read_text(encoding="utf-8")
        ids = missing.read_text(encoding="utf-8").split()
        assert ids
        assert [one for one in ids if f'"{one}"' not in page] == []
