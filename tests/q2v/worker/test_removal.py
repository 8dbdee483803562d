"""`q2v worker remove-steps` names every place where the verifier and its key are."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from migrate.errors import ExitCode
from q2v.main import cli
from tests.harness.running.workspace import Result

URL = "https://q2v-verifier.someone.workers.dev"


def project(folder: Path) -> Path:
    folder.mkdir()
    (folder / "verifier.wrangler.jsonc").write_text("{}")
    return folder


def removal(folder: Path, environment: dict[str, str], *options: str) -> Result:
    words = ["worker", "remove-steps", str(folder), *options]
    result = CliRunner().invoke(cli, words, env=environment)
    return Result(result.exit_code, result.stdout, result.stderr)


def test_the_steps_name_the_address_and_the_file_of_the_key(tmp_path: Path) -> None:
    key = tmp_path / "the key"
    given = {"Q2V_VERIFIER_URL": URL, "Q2V_VERIFIER_KEY_FILE": str(key)}
    shown = removal(project(tmp_path / "my project"), given)

    assert shown.exit_code == ExitCode.DONE, shown.stderr
    within = f"cd '{tmp_path / 'my project'}' && "
    for line in (
        f"1. delete the verifier at {URL}, and its secret with it",
        f"   {within}wrangler delete --config=verifier.wrangler.jsonc",
        f"   {within}wrangler deployments list --config=verifier.wrangler.jsonc",
        f"   rm -- '{key}'",
        "4. remove target.verifier_url from where it is set (see `q2v plan`)",
    ):
        assert line in shown.stdout.splitlines()


@pytest.mark.parametrize("given", [{}, {"Q2V_VERIFIER_KEY": "k" * 40}])
def test_a_key_in_the_environment_is_forgotten_and_never_shown(
    tmp_path: Path, given: dict[str, str]
) -> None:
    shown = removal(project(tmp_path / "project"), given, "--json")
    commands = [step["command"] for step in shown.document["steps"]]

    assert ("unset Q2V_VERIFIER_KEY" in commands) == bool(given)
    assert "k" * 40 not in shown.stdout + shown.stderr


def test_a_folder_that_deployed_no_verifier_is_refused(tmp_path: Path) -> None:
    refused = removal(tmp_path, {})

    assert refused.exit_code == ExitCode.PRECONDITION
    assert "holds no verifier.wrangler.jsonc" in refused.stderr
    assert "wrangler delete --name=q2v-verifier" in refused.stderr
