"""Files that an older version wrote are read, resumed, repaired and rolled back by this one."""

from pathlib import Path

import pytest

from tests.e2e.older_files import older_run, read_target

pytestmark = pytest.mark.fault("G14")
ALL = ("half-written", "complete-with-drift", "complete-and-equal", "half-rolled-back")


@pytest.mark.fault("U01")
def test_a_half_written_run_is_finished_and_the_upload_in_doubt_has_the_same_bytes(
    tmp_path: Path,
) -> None:
    with older_run(tmp_path, "half-written") as older:
        in_doubt = older.journal()[-1]["sha256"]

        migrated = older.q2v("migrate")
        assert migrated.exit_code == 0, migrated.stderr
        compared = older.q2v("reconcile", "--no-source")

        assert [in_doubt] == older.uploads()[:1]
        assert len(older.uploads()) == 3
        assert (compared.exit_code, compared.document["verdict"]) == (0, "equal")
        assert read_target("runs/complete-and-equal/target.json") == older.target()


def test_a_repair_writes_what_the_older_report_names_and_nothing_else(tmp_path: Path) -> None:
    with older_run(tmp_path, "complete-with-drift") as older:
        repaired = older.q2v("migrate")

        assert repaired.exit_code == 0, repaired.stderr
        assert repaired.document["round"] == "repair"
        assert len(older.uploads()) == 1
        assert read_target("runs/complete-and-equal/target.json") == older.target()


@pytest.mark.parametrize("name", [name for name in ALL if name != "complete-with-drift"])
@pytest.mark.fault("B02")
def test_a_rollback_restores_the_former_target_and_a_second_one_changes_nothing(
    tmp_path: Path, name: str
) -> None:
    with older_run(tmp_path, name) as older:
        undone = older.q2v("rollback", "--execute")
        after = older.target()
        again = older.q2v("rollback", "--execute")

        assert undone.exit_code == 0, undone.stderr
        assert read_target("before.json") == after == older.target()
        assert again.exit_code == 0, again.stderr


@pytest.mark.fault("B03")
def test_a_rollback_keeps_the_entry_that_another_writer_changed(tmp_path: Path) -> None:
    changed = "file:file-0004"
    with older_run(tmp_path, "complete-with-drift") as older:
        theirs = older.target()[1][changed]

        undone = older.q2v("rollback", "--execute")

        vectors, entries = read_target("before.json")
        assert (4, [changed]) == (undone.exit_code, undone.document["conflicts"])
        assert (vectors, {**entries, changed: theirs}) == older.target()


@pytest.mark.parametrize("name", ALL)
def test_every_older_state_has_a_next_step_and_verifies(tmp_path: Path, name: str) -> None:
    with older_run(tmp_path, name) as older:
        status = older.q2v("status")
        verified = older.q2v("verify", str(older.run.parents[1]))

        assert status.exit_code == 0, status.stderr
        assert status.document["next"]
        assert verified.exit_code == 0, verified.stderr


def test_a_run_that_was_equal_compares_equal(tmp_path: Path) -> None:
    with older_run(tmp_path, "complete-and-equal") as older:
        compared = older.q2v("reconcile", "--no-source", "--full")

        assert compared.exit_code == 0, compared.stderr
        assert compared.document["verdict"] == "equal"
