"""`q2v status` before there is anything to tell."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from q2v.main import cli


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
