"""Shared options: what a command gets, and what its help says."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import pytest
from click.testing import CliRunner

from migrate.errors import UsageError
from q2v import options
from q2v.options import takes
from q2v.output.configured import shown_settings
from q2v.settings import SETTINGS, Settings

KEYS = [setting.key for setting in SETTINGS if setting.section not in {"kv", "snapshot"}]


@takes(*KEYS)
@click.command()
@click.argument("snapshot", required=False)
@options.folder_option
@options.json_option
@options.yes_option
@click.pass_context
def show(
    context: click.Context,
    *,
    snapshot: str | None,
    folder: Path,
    as_json: bool,
    yes: bool,
    settings: Settings,
) -> None:
    """Show what arrived."""
    click.echo(f"{snapshot} {folder} {as_json} {yes} {context.info_name}")
    for row in shown_settings(settings):
        click.echo(f"{row['key']}={row['shown']} ({row['origin']})")


def shown(*words: str, environment: dict[str, str] | None = None) -> list[str]:
    """The lines of a call in an empty folder."""
    runner = CliRunner(env=environment)
    with TemporaryDirectory() as empty, chdir(empty):
        result = runner.invoke(show, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_without_any_option_everything_is_at_its_default() -> None:
    lines = shown()

    assert lines[0] == "None snapshots False False show"
    assert all("(default)" in line for line in lines[1:])


def test_flags_reach_the_settings_with_their_names() -> None:
    lines = shown(
        "s1",
        "--dir",
        "d",
        "--yes",
        "--dimensions",
        "1536",
        "--reduce",
        "matryoshka",
        "--allow-other-host",
    )

    assert lines[0] == "s1 d False True show"
    assert "mapping.dimensions=1,536 (flag --dimensions)" in lines
    assert "mapping.reduce=matryoshka (flag --reduce)" in lines
    assert "target.allow_other_host=true (flag --allow-other-host)" in lines


def test_the_environment_reaches_the_settings() -> None:
    lines = shown(environment={"Q2V_DIMENSIONS": "64", "CLOUDFLARE_API_TOKEN": "hunter2hunter2"})

    assert "mapping.dimensions=64 (environment Q2V_DIMENSIONS)" in lines
    assert not [line for line in lines if "hunter2" in line]


def test_the_usual_file_is_read_where_it_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("migration.toml").write_text("[source]\ncollection = 'chunks'\n")
    lines = CliRunner().invoke(show, [], catch_exceptions=False).stdout.splitlines()

    assert "source.collection=chunks (migration.toml)" in lines


def test_a_file_that_was_asked_for_has_to_exist() -> None:
    with pytest.raises(UsageError, match=r"--config none\.toml: found no such file"):
        shown("--config", "none.toml")


def test_a_flag_that_does_not_fit_is_refused_like_any_value() -> None:
    with pytest.raises(
        UsageError, match=r"limits\.max_quarantine from flag --max-quarantine: found"
    ):
        shown("--max-quarantine", "many")


def test_the_help_names_every_flag_and_none_for_a_secret() -> None:
    shown = CliRunner().invoke(show, ["--help"], terminal_width=200).output
    text = " ".join(shown.split())  # a long text goes over several lines

    for setting in SETTINGS:
        if setting.flag is not None and setting.section not in {"kv", "snapshot"}:
            assert setting.flag in text
            assert setting.meaning in text
    assert "token " not in text.replace("token to a host", "").lower()
    assert "--api-key" not in text
    assert "--page-points" not in text


def test_a_misspelt_variable_is_named_once_and_never_its_value() -> None:
    with TemporaryDirectory() as empty, chdir(empty):
        result = CliRunner(env={"CLOUDFLARE_TOKEN": "hunter2hunter2"}).invoke(show, ["--yes"])

    assert result.stderr.splitlines() == [
        "warning: unknown environment variable CLOUDFLARE_TOKEN ignored; did you mean "
        "CLOUDFLARE_API_TOKEN?"
    ]
    assert "hunter2" not in result.output
