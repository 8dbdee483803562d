"""`q2v status` before there is anything to tell."""

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
