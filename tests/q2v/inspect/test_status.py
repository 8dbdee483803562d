"""`q2v status`: what comes next before there is anything to tell, and after damage."""

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from migrate.snapshot.folder import sealed_folders, unsealed_folders
from migrate.storage.local_folder import LocalFolder
from q2v.main import cli
from tests.e2e.older.older_files import copy_older


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without settings, and an environment without any."""
    for name in [name for name in os.environ if name.startswith(("Q2V_", "QDRANT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def last_line(*words: str) -> str:
    result = CliRunner().invoke(cli, ["status", *words])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1]


@pytest.mark.usefixtures("empty")
def test_where_nothing_is_configured_init_comes_next() -> None:
    assert last_line() == "next: q2v init"
    assert last_line("--dir", "other") == "next: q2v init --dir other"


@pytest.mark.usefixtures("empty")
def test_a_named_source_is_read_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_URL", "http://127.0.0.1:6333")

    assert last_line() == "next: q2v snapshot"


def test_a_file_of_settings_is_not_written_again(empty: Path) -> None:
    (empty / "migration.toml").write_text('[source]\ncollection = "chunks"\n')

    assert last_line() == "next: q2v snapshot"


@pytest.mark.usefixtures("empty")
def test_a_variable_that_sets_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("Q2V_DIMENSION", "32")

    result = CliRunner().invoke(cli, ["status"])

    warning = "unknown environment variable Q2V_DIMENSION ignored; did you mean Q2V_DIMENSIONS?"
    assert result.stderr.splitlines() == [f"warning: {warning}"]
    document = json.loads(CliRunner().invoke(cli, ["status", "--json"]).stdout)
    assert document["warnings"] == [warning]


@pytest.mark.parametrize("command", ["status", "list", "pace", "fleet"])
def test_a_folder_with_a_line_end_in_its_name_is_one_line(empty: Path, command: str) -> None:
    named = "here\nq2v: there\x1b[2J"
    (empty / named).mkdir()
    (empty / named / "report.html").touch()
    (empty / "docs.toml").write_text('[target]\naccount_id = "a"\nvector_index = "d"\n')
    (empty / "fleet.toml").write_text("[[move]]\nconfig = 'docs.toml'\n")
    words = ["fleet", "status"] if command == "fleet" else [command]

    result = CliRunner().invoke(cli, [*words, "--dir", named])

    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert not [line for line in result.output.splitlines() if line.startswith("q2v: there")]
    assert "here q2v: there" not in result.output, "a line end is no space"


@pytest.mark.fault("S07")
@pytest.mark.parametrize("damage", ["missing", "cut"])
@pytest.mark.parametrize("with_run", [True, False], ids=["moved", "sealed"])
def test_a_part_that_is_seen_to_be_damaged_is_mended_first(
    empty: Path, damage: str, with_run: bool
) -> None:
    directory, run = copy_older(empty, "complete-and-equal")
    snapshot = run.parents[1]
    if not with_run:
        shutil.rmtree(snapshot / "runs")
    whole = json.loads(CliRunner().invoke(cli, ["status", "--json"]).stdout)
    part = min((snapshot / "parts").iterdir())
    if damage == "missing":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:-1])

    shown = CliRunner().invoke(cli, ["status"])
    document = json.loads(CliRunner().invoke(cli, ["status", "--json"]).stdout)

    assert "damage" not in whole
    assert whole["next"] != document["next"]
    assert f"`q2v snapshot --repair-part 0 --of {snapshot.name}`" in document["next"]
    assert (document["next_argv"], part.name in document["damage"]) == (None, True)
    assert "now: a file of the snapshot is damaged: " in " ".join(shown.stdout.split())
    assert directory == empty / "snapshots"


@pytest.mark.fault("G16")
@pytest.mark.parametrize("command", ["status", "rollback", "archive"])
def test_a_snapshot_with_runs_whose_manifest_is_missing_is_damaged_and_not_begun(
    empty: Path, command: str
) -> None:
    """`q2v snapshot` would read it again, and its runs could not be taken back."""
    _, run = copy_older(empty, "complete-and-equal")
    snapshot = run.parents[1]
    (snapshot / "manifest.json").unlink()
    directory = LocalFolder(empty / "snapshots")

    result = CliRunner().invoke(cli, [command])
    listed = json.loads(CliRunner().invoke(cli, ["list", "--json"]).stdout)
    lines = CliRunner().invoke(cli, ["list"]).stdout.splitlines()

    assert result.exit_code == ExitCode.DAMAGED, result.stderr
    told = " ".join(result.stderr.split())
    assert f"{snapshot.name}/manifest.json" in told
    assert "restore the file from a copy" in told
    assert "runs of the snapshot" in listed["snapshots"][0]["state"]
    assert "1 snapshot in snapshots, 0 B of points, and 1 of unknown size" in lines
    assert [folder.name for folder in sealed_folders(directory)] == [snapshot.name]
    assert unsealed_folders(directory) == [], "so it is not read again"


def test_a_complete_run_into_another_index_than_the_settings_name_leads_to_migrate(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, run = copy_older(empty, "complete-and-equal")
    own = json.loads((run / "plan.json").read_text())["vector_target"]["vector_index"]

    def situation(*, index: str, collection: str = "") -> str:
        monkeypatch.setenv("Q2V_VECTOR_INDEX", index)
        monkeypatch.setenv("QDRANT_COLLECTION", collection)
        document = json.loads(CliRunner().invoke(cli, ["status", "--json"]).stdout)
        return str(document["situation"])

    assert situation(index=own) == "equal"
    assert situation(index="fresh") == "snapshot_sealed"
    assert last_line() == "next: q2v migrate"
    assert f"was moved into {own}, the settings" in CliRunner().invoke(cli, ["status"]).stdout
    assert situation(index="fresh", collection="other") == "equal"
