"""docs/fleet.md and the examples for schedulers say what the fleet does with each exit code."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from q2v.fleet.file import read_fleet
from q2v.fleet.state import RETRY, is_retried

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
SCHEDULERS = ROOT / "examples" / "schedulers"
PROGRAMS = sorted(SCHEDULERS.glob("*.py"))


def test_the_table_of_exit_codes_is_what_the_fleet_does() -> None:
    table = PAGE.partition("<!-- retry -->")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\d+)` \| (.+) \| (.+) \|$", table, flags=re.MULTILINE)

    def follows(code: ExitCode) -> str:
        return "next step" if not code else "try again" if is_retried(code) else "stop"

    assert [(str(int(one)), one.meaning, follows(one)) for one in ExitCode] == rows


def test_the_example_of_a_fleet_can_be_read(tmp_path: Path) -> None:
    example = PAGE.partition("```toml\n")[2].partition("```")[0]
    account = tomllib.loads(example)["budget"][0]["account_id"]
    for name in ("docs", "wiki"):
        (tmp_path / f"{name}.toml").write_text(
            f'[target]\naccount_id = "{account}"\nvector_index = "{name}"\n'
        )
    (tmp_path / "fleet.toml").write_text(example)

    fleet = read_fleet(tmp_path / "fleet.toml", tmp_path / "fleet")

    assert [move.name for move in fleet.moves] == ["docs", "wiki"]
    for key in ("at_once", "tries", "pause_s", "name", "after", "window", "steps", "dir"):
        assert f"\n{key} = " in example


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_an_example_in_python_compiles_and_has_the_codes_of_the_fleet(program: Path) -> None:
    tree = ast.parse(program.read_text(encoding="utf-8"))
    found = [
        ast.literal_eval(each.value)
        for each in tree.body
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "RETRY"
    ]
    assert found == [{int(code) for code in RETRY}]
    assert f"`{program.name}`" in PAGE


def test_the_job_of_kubernetes_counts_and_fails_by_the_codes_of_the_fleet() -> None:
    text = (SCHEDULERS / "kubernetes-job.yaml").read_text(encoding="utf-8")
    listed = [
        [int(code) for code in codes.split(",")]
        for codes in re.findall(r"values: \[([\d, ]+)\]", text)
    ]
    again = sorted(int(code) for code in RETRY)
    assert listed == [again, [0, *again]]
    assert re.findall(r"action: (\w+)", text) == ["Ignore", "Count", "FailJob"]
    assert "restartPolicy: Never" in text, "podFailurePolicy needs it"


def test_the_shell_tries_again_by_the_codes_of_the_fleet() -> None:
    text = (SCHEDULERS / "xargs.sh").read_text(encoding="utf-8")
    (codes,) = re.findall(r"^ +([\d|]+)\) # try again$", text, flags=re.MULTILINE)
    assert {int(code) for code in codes.split("|")} == {int(code) for code in RETRY}
