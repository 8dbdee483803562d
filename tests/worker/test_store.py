"""The store in a Worker keeps the promises of the fault matrix, in real workerd."""

import os

import pytest

from tests.harness.running.node import WORKER, installed, node_program
from tests.harness.running.programs import run_program

pytestmark = pytest.mark.slow


def run_tests(*words: str) -> str:
    """Tests of worker/test that have to pass, and of which there has to be one."""
    done = run_program(
        node_program(),
        installed("vitest", "vitest.mjs"),
        *("run", *words),
        cwd=WORKER,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("file", "name"),
    [
        pytest.param("conformance", "", marks=pytest.mark.fault("O01")),
        pytest.param("crashes", "killed between|are killed", marks=pytest.mark.fault("O02")),
        pytest.param("crashes", "answer lost|used up", marks=pytest.mark.fault("O03")),
        pytest.param("services", "that fail now and then", marks=pytest.mark.fault("O03")),
        pytest.param("crashes", "at once", marks=pytest.mark.fault("O04")),
        pytest.param("delays", "", marks=pytest.mark.fault("O05")),
    ],
)
def test_a_promise_of_the_store(file: str, name: str) -> None:
    chosen = ("-t", name) if name else ()

    assert " passed" in run_tests(f"test/client/{file}.test.ts", *chosen)
