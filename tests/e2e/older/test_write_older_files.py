"""The files that the tests of a later version will read can be written by this one."""

import sys
from pathlib import Path

import pytest

from tests.e2e.older.older_files import ASSETS, NEWEST
from tests.e2e.older.write_older_files import REPOSITORY, Writer

STATES = "half-written", "complete-with-drift", "complete-and-equal", "half-rolled-back"


@pytest.mark.slow
@pytest.mark.fault("G14")
def test_this_version_leaves_the_target_of_every_state_as_the_version_before(
    tmp_path: Path,
) -> None:
    """Killed at the same requests, both leave the same vectors and entries, byte for byte."""
    written = tmp_path / "written"

    Writer(REPOSITORY, sys.executable, written, tmp_path / "work").write()

    for target in ("before.json", *(f"runs/{state}/target.json" for state in STATES)):
        assert (ASSETS / NEWEST / target).read_bytes() == (written / target).read_bytes(), target
    assert (written / "snapshot" / "manifest.json").exists()
