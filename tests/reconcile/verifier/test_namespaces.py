"""The real verifier in the real workerd proves vectors that are in namespaces."""

from pathlib import Path

import pytest

from tests.e2e.payloads.test_namespaces import SETTINGS, points, put
from tests.harness.running.workbench import workbench
from tests.reconcile.verifier.edge import running_verifier


@pytest.mark.slow
@pytest.mark.fault("M13")
def test_a_verifier_proves_the_namespace_and_finds_a_wrong_one(tmp_path: Path) -> None:
    with workbench(tmp_path, points(), settings=SETTINGS) as bench:
        assert bench.move().exit_code == 0
        with running_verifier(bench):
            equal = bench.run("reconcile").document
            put(bench, "file-2_1", "7")
            drift = bench.run("reconcile", "--fresh").document

    assert (equal["verdict"], equal["coverage"]["fell_back"]) == ("equal", None)
    assert equal["coverage"]["read_by"] == {"rest": 0, "verifier": 24}
    assert (drift["verdict"], drift["differs"]) == ("drift", {"file-2_1": ["namespace"]})
