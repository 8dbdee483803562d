"""The tests of the Worker's side, in Node.js and in real workerd, run once by its own runner.

Among them are the promises of the fault matrix that the store in a Worker makes.
"""

import os
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.harness.running.node import WORKER, installed, node_program
from tests.harness.running.programs import run_program

# Row of the fault matrix -> files of worker/test, and which of their tests.
PROMISES = {
    "O01": [("client/conformance", "")],
    "O02": [
        ("client/crashes", "killed between|are killed"),
        ("client/crashes_over_indexes", "killed between|are killed|heals it"),
    ],
    "O03": [
        ("client/crashes", "answer lost|used up"),
        ("client/crashes_over_indexes", "answer lost"),
        ("client/services", "that fail now and then"),
    ],
    "O04": [("client/crashes", "at once")],
    "O05": [("client/delays", "")],
}


@pytest.mark.slow
@pytest.mark.early
@pytest.mark.fault(*PROMISES)
@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=pytest.mark.search)])
def test_every_test_of_the_workers_side_passes_and_each_promise_of_the_store_has_one(
    tmp_path: Path, which: str
) -> None:
    """Of what repeats `make check` runs a part: worker/test/client/bench/tier.ts."""
    report = tmp_path / "report.json"
    done = run_program(
        node_program(),
        installed("vitest", "vitest.mjs"),
        *("run", "--reporter=default", "--reporter=json", f"--outputFile.json={report}"),
        cwd=WORKER,
        env={**os.environ, "NO_COLOR": "1", "WORKER_TESTS": which},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = outcomes_by_file(orjson.loads(report.read_bytes()))
    for row, places in PROMISES.items():
        for file, names in places:
            found = {name: one for name, one in outcomes[file].items() if re.search(names, name)}
            assert set(found.values()) == {"passed"}, f"{row}: {file}, {names!r}: {found}"


def outcomes_by_file(report: dict[str, Any]) -> dict[str, dict[str, str]]:
    """File below worker/test, without its ending -> full name of each of its tests -> outcome."""
    return {
        Path(file["name"]).relative_to(WORKER / "test").as_posix().removesuffix(".test.ts"): {
            one["fullName"]: one["status"] for one in file["assertionResults"]
        }
        for file in report["testResults"]
    }
