"""Files come into being whole and durable, or not at all; a folder has one worker."""

import errno
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrate.clock import SystemClock
from migrate.errors import ExitCode, LocalStorageError, RunLockedError
from migrate.storage.durable import (
    durable_file,
    file_sha256,
    local_io,
    make_folder,
    open_new,
    write_durably,
)
from migrate.storage.folder_lock import FolderLock
from migrate.storage.local_folder import LocalFolder
from tests.harness.running.programs import start_python
from tests.migrate.storage.full_disk import file_size_max

PROGRAMS = Path(__file__).with_name("other_process")
HOLDER, LOOKER = PROGRAMS / "lock_holder.py", PROGRAMS / "lock_looker.py"
ROOT = Path(__file__).parents[3]


class Crash(BaseException):
    """Stands for a kill: nothing of the tool catches it."""


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_half(path: Path, error: type[BaseException]) -> None:
    with durable_file(path) as file:
        file.write(b"half of the new")
        raise error


@pytest.mark.fault("G01", "G03")
@pytest.mark.parametrize("old", [None, b"old content"])
@pytest.mark.parametrize("error", [Crash, ValueError, OSError])
def test_a_file_that_is_not_finished_leaves_the_old_one(
    tmp_path: Path, old: bytes | None, error: type[BaseException]
) -> None:
    path = tmp_path / "file"
    if old is not None:
        write_durably(path, old)

    with pytest.raises((error, LocalStorageError)):
        write_half(path, error)

    assert old == (path.read_bytes() if path.exists() else None)
    assert ([] if old is None else [path]) == list(tmp_path.iterdir())


@pytest.mark.fault("G03")
def test_the_left_over_of_a_killed_attempt_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / ".file.q2v-tmp").write_bytes(b"left by a kill")
    digest = write_durably(path, b"new")

    assert path.read_bytes() == b"new"
    assert (3, digest) == file_sha256(path)
    assert [path] == list(tmp_path.iterdir())


@pytest.mark.fault("X03")
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o377, 0o777])
def test_files_and_folders_are_ours_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    folder = tmp_path / "a" / "b"
    with umask(mask):
        make_folder(folder)
        make_folder(folder)
        write_durably(folder / "file", b"")
        open_new(folder / "other").close()
        with FolderLock(LocalFolder(folder)):
            pass

    assert [mode(tmp_path / "a"), mode(folder)] == [0o700, 0o700]
    names = {path.name: mode(path) for path in folder.iterdir()}
    assert names == {"file": 0o600, "other": 0o600, ".lock": 0o600}


@pytest.mark.fault("X03")
def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    folder.chmod(0o750)
    make_folder(folder)

    assert mode(folder) == 0o750


@pytest.mark.fault("X03")
def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    for name in ("file", ".other.q2v-tmp", ".lock"):
        (tmp_path / name).symlink_to(victim)

    write_durably(tmp_path / "file", b"new")
    write_durably(tmp_path / "other", b"new")
    with pytest.raises(FileExistsError):
        open_new(tmp_path / "file")
    with (
        pytest.raises(LocalStorageError, match=r"locking .*\.lock"),
        FolderLock(LocalFolder(tmp_path)),
    ):
        pass

    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()


@pytest.mark.fault("G06")
def test_a_folder_that_is_a_file_or_missing_is_a_local_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(LocalStorageError, match="creating folder"):
        make_folder(tmp_path / "file" / "inside")
    with pytest.raises(LocalStorageError, match="writing"):
        write_durably(tmp_path / "missing" / "file", b"")
    with pytest.raises(LocalStorageError, match="reading"):
        file_sha256(tmp_path / "missing")


@pytest.mark.fault("G04", "G05")
@pytest.mark.parametrize(
    ("code", "remedy"), [(28, "disk space"), (30, "read-only"), (13, "writable"), (5, "the disk")]
)
def test_the_remedy_follows_from_the_failure(code: int, remedy: str) -> None:
    with (
        pytest.raises(LocalStorageError, match="writing x: ") as caught,
        local_io("writing", Path("x")),
    ):
        raise OSError(code, os.strerror(code))

    assert remedy in caught.value.remedy
    assert caught.value.exit_code == ExitCode.LOCAL_IO


def test_a_full_disk_is_named_with_what_is_free(tmp_path: Path) -> None:
    with (
        pytest.raises(LocalStorageError, match=r": No space left on device, [\d,]+ bytes are free"),
        local_io("writing", tmp_path / "x"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def holder(folder: Path, program: Path = HOLDER) -> Iterator["subprocess.Popen[str]"]:
    process = start_python(
        *(program, folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.fault("G08")
def test_a_second_worker_is_refused_at_once_and_told_who_holds_the_lock(tmp_path: Path) -> None:
    clock = SystemClock()
    with holder(tmp_path) as first:
        assert first_line(first) == "locked"
        asked_at = clock.monotonic_s()
        with pytest.raises(RunLockedError, match=rf"pid {first.pid} on ") as caught:
            FolderLock(LocalFolder(tmp_path)).__enter__()
        assert clock.monotonic_s() - asked_at < 1
        with holder(tmp_path) as second:
            assert f"pid {first.pid} on {socket.gethostname()}" in first_line(second)
            assert second.wait() == ExitCode.LOCKED

    assert caught.value.exit_code == ExitCode.LOCKED
    assert [tmp_path / ".lock"] == list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.fault("G08")
def test_a_process_that_looks_whether_the_lock_is_free_refuses_no_other(tmp_path: Path) -> None:
    with FolderLock(LocalFolder(tmp_path)):
        pass
    with holder(tmp_path, LOOKER) as looker:
        assert first_line(looker) == "looking"
        for _ in range(100):
            with FolderLock(LocalFolder(tmp_path)):
                pass
        assert looker.poll() is None


@pytest.mark.fault("G09")
def test_a_killed_worker_frees_the_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        assert first_line(first) == "locked"
        first.kill()
        first.wait()

        with FolderLock(LocalFolder(tmp_path)):
            assert f"pid {os.getpid()} on" in (tmp_path / ".lock").read_text()


@pytest.mark.fault("G08")
def test_the_lock_is_free_after_the_work(tmp_path: Path) -> None:
    for _ in range(3):
        with FolderLock(LocalFolder(tmp_path)):
            pass
        with pytest.raises(Crash), FolderLock(LocalFolder(tmp_path)):
            raise Crash


@pytest.mark.fault("G04")
def test_a_lock_that_cannot_be_taken_is_a_local_failure(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()

    with pytest.raises(LocalStorageError, match="locking"):
        FolderLock(LocalFolder(tmp_path)).__enter__()


@pytest.mark.fault("G04")
def test_a_lock_that_cannot_be_written_is_given_back(tmp_path: Path) -> None:
    with file_size_max(0), pytest.raises(LocalStorageError, match="locking"):
        FolderLock(LocalFolder(tmp_path)).__enter__()

    with FolderLock(LocalFolder(tmp_path)):
        assert f"pid {os.getpid()}" in (tmp_path / ".lock").read_text()


@pytest.mark.fault("G04")
@pytest.mark.parametrize("room", [0, 1, 99_999])
def test_a_disk_that_takes_no_more_leaves_the_old_file(tmp_path: Path, room: int) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old")
    with file_size_max(room), pytest.raises(LocalStorageError, match="writing"):
        write_durably(path, bytes(100_000))

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
