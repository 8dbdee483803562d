"""The example for a shell moves several collections, and does not repeat what is done."""

import os
import sys
from pathlib import Path

import pytest

from tests.e2e.fleet.bench import fleet_bench
from tests.harness.running.programs import run_program
from tests.harness.running.target import DIMENSIONS

SCRIPT = Path(__file__).parents[3] / "examples" / "schedulers" / "xargs.sh"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("E07", "I9")
def test_xargs_moves_all_but_the_one_that_fails(tmp_path: Path) -> None:
    with fleet_bench(
        tmp_path,
        {"docs": 20, "wiki": 20, "narrow": 20},
        dimensions=lambda name: 32 if name == "narrow" else DIMENSIONS,
    ) as bench:
        before = len(bench.sandbox.requests)
        codes = []
        for _ in range(2):
            done = run_program(
                *("sh", SCRIPT, "docs.toml", "wiki.toml", "narrow.toml"),
                cwd=tmp_path,
                env={
                    **os.environ,
                    **bench.environment,
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                    "Q2V_PAUSE_S": "0",
                },
            )
            codes.append(done.returncode)
        sent = len(bench.sandbox.requests) - before
        found = {name: bench.vectors(name) for name in bench.collections}

    lines = (tmp_path / "moves" / "moves.log").read_text().splitlines()
    assert codes == [123, 123]
    assert found == {"docs": 20, "wiki": 20, "narrow": 0}
    assert lines.count("docs reconcile try 1: exit code 0") == 1, "done once"
    assert lines.count("narrow migrate try 1: exit code 5") == 2
    assert sent > 0
    assert (tmp_path / "moves" / "budget" / "requests").exists()
