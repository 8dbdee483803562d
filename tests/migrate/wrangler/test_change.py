"""Files of a Worker's project are written whole, with their mode, and only as they were read."""

import os
import stat
from pathlib import Path

import pytest

from migrate.errors import LocalStorageError, PreconditionError, UsageError
from migrate.storage.disk import use_disk
from migrate.wrangler.change import FileChange, new_file, read_file
from tests.harness.fakes.faulty_disk import FaultyDisk
from tests.harness.fakes.steps import Fault, KilledError, Steps

pytestmark = pytest.mark.fault("V03")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "wrangler.toml"
    path.write_bytes(b"former")
    return path


def test_the_mode_of_a_file_is_kept(path: Path) -> None:
    path.chmod(0o664)
    FileChange(path, b"former", b"new").write()

    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o664)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_has_the_mode_that_the_umask_leaves(
    tmp_path: Path, umask: int, mode: int
) -> None:
    """Others read it: it is no file of q2v's own."""
    path, before = tmp_path / "env.d.ts", os.umask(umask)
    try:
        new_file(path, b"content").write()
        assert os.umask(umask) == umask, "the process keeps its umask"
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_without_a_change_nothing_is_touched(path: Path) -> None:
    before = path.stat().st_ino
    FileChange(path, b"former", b"former").write()

    assert path.stat().st_ino == before


@pytest.mark.parametrize("now", [b"edited", None])
def test_a_file_that_changed_since_it_was_read_is_not_written(
    path: Path, now: bytes | None
) -> None:
    change = FileChange(path, b"former", b"new")
    if now is None:
        path.unlink()
    else:
        path.write_bytes(now)

    with pytest.raises(PreconditionError, match="has changed since it was read"):
        change.write()
    assert (path.read_bytes() if path.exists() else None) == now


def test_killed_or_failing_at_any_step_the_former_file_or_the_new_one_is_whole(
    tmp_path: Path,
) -> None:
    """And the same command can be run again."""
    struck: set[Fault] = set()
    for fault in (Fault.KILL, Fault.TORN_HALF, Fault.FULL_FOR_EVER, Fault.BROKEN):
        for number in range(1, 50):
            folder = tmp_path / f"{fault.name}-{number}"
            folder.mkdir()
            path = folder / "wrangler.toml"
            path.write_bytes(b"former")
            steps = Steps(strike_at=number, fault=fault)
            disk = FaultyDisk(folder, steps)
            try:
                with use_disk(disk):
                    FileChange(path, b"former", b"new").write()
            except (KilledError, LocalStorageError):
                struck.add(fault)
            disk.close_files()
            content = path.read_bytes()
            assert content in {b"former", b"new"}, (fault, steps.done[-1])
            FileChange(path, content, b"new").write()
            assert path.read_bytes() == b"new"
            assert [path] == list(folder.iterdir())
            if len(steps.done) < number:
                break
        else:
            pytest.fail("it never ends")

    assert len(struck) == 4


@pytest.mark.fault("V02")
def test_what_is_no_file_is_refused(tmp_path: Path, path: Path) -> None:
    link, folder = tmp_path / "link.toml", tmp_path / "folder.toml"
    link.symlink_to(path)
    folder.mkdir()
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (1024 * 1024 + 1))

    with pytest.raises(UsageError, match="is a link") as refusal:
        read_file(link)
    assert "leads to" in refusal.value.remedy
    with pytest.raises(UsageError, match="is no regular file"):
        read_file(folder)
    with pytest.raises(UsageError, match="more than 1,048,576 B"):
        read_file(large)
    for parent in (tmp_path / "absent", path):
        with pytest.raises(UsageError, match="there is no folder"):
            read_file(parent / "wrangler.toml")


def test_typescript_is_made_and_never_changed(tmp_path: Path) -> None:
    path = tmp_path / "env.d.ts"
    new_file(path, b"interface Env {}\n").write()

    assert not new_file(path, b"interface Env {}\n").is_change
    with pytest.raises(PreconditionError, match="changes no TypeScript"):
        new_file(path, b"interface Env { A: string }\n")


def test_the_diff_shows_the_lines_that_change(path: Path) -> None:
    change = FileChange(path, b"a\r\nb\r\n", b"a\r\nc\r\n")

    assert change.diff() == [f"--- {path}", f"+++ {path}", "@@ -1,2 +1,2 @@", " a", "-b", "+c"]
    assert FileChange(path, None, b"a\n").diff()[0] == "--- /dev/null"
