"""What a move with one catch-up leaves, made once for all tests of this folder."""

import shutil
from pathlib import Path

import pytest

from tests.harness.world import open_world
from tests.migrate.archive.archives import archive


@pytest.fixture(scope="session")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A --dir after snapshot, migrate, reconcile, catch-up, reconcile. It is only read."""
    folder = tmp_path_factory.mktemp("left")
    with open_world(folder) as world, world.calm():
        world.snapshot()
        world.migrate()
        assert world.reconcile().verdict == "equal"
        world.edit_source()
        world.catch_up()
        assert world.reconcile().verdict == "equal"
    return folder / "snapshots"


@pytest.fixture
def directory(left: Path, tmp_path: Path) -> Path:
    """A copy of `left` to write to."""
    return Path(shutil.copytree(left, tmp_path / "snapshots"))


@pytest.fixture(scope="session")
def content(left: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of `left`."""
    out = tmp_path_factory.mktemp("archive") / "a.q2v.tar.zst"
    archive(left, out)
    return out.read_bytes()
