"""Commands in backquotes get the folder of the command; data that looks like one does not."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from q2v.main import cli
from q2v.output.advice import Named, complete
from tests.harness.fakes.object_stores import s3_server
from tests.harness.running.workbench import points, workbench

ODD = ["`q2v '`", "`q2v  `", "`q2v \\`", '`q2v "a`', "`q2v nothing --such`", "`q2v`", "`q2v \n`"]


def completed(text: str) -> str:
    return complete(text, "else where", None, None, Named())


def test_a_command_is_completed() -> None:
    assert completed("run `q2v migrate`") == "run `q2v migrate --dir 'else where'`"


@pytest.mark.parametrize("odd", ODD)
def test_data_that_looks_like_a_command_stays_as_it_is(odd: str) -> None:
    command = "`q2v status --dir 'else where'`"

    assert completed(f"file {odd}: `q2v status`") == f"file {odd}: {command}"


@pytest.mark.parametrize("odd", ODD[:4])
def test_a_name_that_looks_like_a_command_is_refused_in_words(tmp_path: Path, odd: str) -> None:
    with workbench(tmp_path, points(3), provision=False) as bench:
        refused = bench.run("status", odd)

    assert refused.exit_code == ExitCode.USAGE
    assert odd in refused.document["error"]["what"]


def test_an_error_advises_with_every_folder_that_the_command_was_given(tmp_path: Path) -> None:
    local, budget = str(tmp_path / "local"), str(tmp_path / "budget")
    with workbench(tmp_path, points(3)) as bench, s3_server() as store:
        given = ["--dir", store, "--local", local, "--budget", budget]
        refused = bench.run_as_typed(["reconcile", *given, "--json"])

    advice = json.loads(refused.stdout)["error"]["next"]
    (found,) = re.findall(r"`(q2v [^`]+)`", advice)
    assert shlex.split(found) == ["q2v", "migrate", *given]


class TestPathsOfASettingsFileInAnotherFolder:
    """They count from the current folder; what is printed helps where it was meant otherwise."""

    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "moves" / "store").mkdir(parents=True)
        (tmp_path / "moves" / "migration.toml").write_text(
            '[source]\npath = "store"\ncollection = "docs"\n'
            '[target]\naccount_id = "a"\nvector_index = "i"\nkv_namespace_id = "k"\n'
            'api_token_file = "token"\n'
        )
        (tmp_path / "moves" / "token").write_text("t" * 40)

    CONFIG = ("--config", "moves/migration.toml")

    def test_the_next_command_finds_the_source(self) -> None:
        status = CliRunner().invoke(cli, ["status", "--json", *self.CONFIG])

        argv = json.loads(status.stdout)["next_argv"]
        assert argv == ["q2v", "snapshot", *self.CONFIG, "--source-path", "moves/store"]
        followed = CliRunner().invoke(cli, argv[1:])
        assert "does not exist" not in followed.stderr
        assert "moves/store" in followed.stderr

    def test_what_is_there_from_the_current_folder_is_not_repeated(self, tmp_path: Path) -> None:
        (tmp_path / "store").mkdir()
        status = CliRunner().invoke(cli, ["status", "--json", *self.CONFIG])

        assert json.loads(status.stdout)["next_argv"] == ["q2v", "snapshot", *self.CONFIG]

    def test_a_path_that_is_not_found_is_said_to_lie_beside_the_file(self, tmp_path: Path) -> None:
        refused = CliRunner().invoke(cli, ["snapshot", *self.CONFIG])

        assert refused.stderr.splitlines()[-1] == (
            "next: source.path counts from the current folder, not from that of "
            f"moves/migration.toml: write {tmp_path}/moves/store there, or run the command in moves"
        )

    def test_a_row_of_check_says_so_too_also_of_a_secret(self, tmp_path: Path) -> None:
        checked = CliRunner().invoke(cli, ["check", "--json", *self.CONFIG])

        checks = json.loads(checked.stdout)["checks"]
        rows = {row["name"]: row for row in checks}
        assert len(rows) == len(checks)
        assert f"write {tmp_path}/moves/store there" in rows["source"]["advice"]
        assert f"write {tmp_path}/moves/token there" in rows["token"]["advice"]
