"""Commands in backquotes get the folder of the command; data that looks like one does not."""

import json
import re
import shlex
from pathlib import Path

import pytest

from migrate.errors import ExitCode
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
