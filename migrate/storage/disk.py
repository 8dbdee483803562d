"""Every touch of the file system, in one place: nothing else opens, lists, renames or removes.

Tests put another disk in its stead (`use_disk`): one that counts the steps, cuts the run at any
of them, fills up, fails, or forgets what was not fsynced. `durable.py` builds on it what the rest
of the tool uses.
"""

import errno
import fcntl
import io
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class Disk:
    """The machine's file system. Raises OSError as the system does; follows no link to a file.

    What is opened is a regular file: a named pipe would make the command wait for ever, a device
    has no end. Anything else raises NotRegularError.
    """

    def exists(self, path: Path) -> bool:
        """Whether there is a file, a folder, or a link that leads to one."""
        return path.exists()

    def is_file(self, path: Path) -> bool:
        """Whether there is a file."""
        return path.is_file()

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder; a link to one is none of ours."""
        return path.is_dir() and not path.is_symlink()

    def is_link(self, path: Path) -> bool:
        """Whether the name is a link, wherever it leads."""
        return path.is_symlink()

    def real_name(self, folder: Path) -> str:
        """The folder's own name, whatever leads to it: a link, `.`, `..`."""
        return folder.resolve().name

    def names(self, folder: Path) -> list[str]:
        """What a folder holds, sorted; nothing when there is no such folder."""
        try:
            return sorted(path.name for path in folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def open_to_read(self, path: Path, *, follow_links: bool = False) -> BinaryIO:
        """An open file; hash and parse the same handle: the file may change in between.

        `follow_links` is for files of the operator, such as migration.toml.
        """
        return os.fdopen(_open_regular(path, os.O_RDONLY, follow_links=follow_links), "rb")

    def create(self, path: Path) -> io.FileIO:
        """A new file for writing, this user's only whatever the umask; an existing one fails."""
        return self._open_to_write(path, os.O_CREAT | os.O_EXCL)

    def open_to_append(self, path: Path) -> io.FileIO:
        """An existing or new file; whatever is written goes to its end."""
        return self._open_to_write(path, os.O_CREAT | os.O_APPEND)

    def _open_to_write(self, path: Path, flags: int) -> io.FileIO:
        handle = _open_regular(path, os.O_WRONLY | flags)
        os.fchmod(handle, FILE_MODE)
        return self.wrap(path, handle)

    def wrap(self, path: Path, handle: int) -> io.FileIO:
        """The unbuffered file over an open handle."""
        return io.FileIO(handle, "wb")

    def truncate(self, file: io.FileIO, size: int) -> None:
        """Cut an open file."""
        os.ftruncate(file.fileno(), size)

    def sync(self, file: io.FileIO) -> None:
        """Make what was written to an open file durable."""
        os.fsync(file.fileno())

    def replace(self, path: Path, new: Path) -> None:
        """Give a file another name, in place of what had it."""
        path.replace(new)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is not there is no error."""
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        """One folder, this user's only whatever the umask; its parent exists."""
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        path.chmod(FOLDER_MODE)

    def remove_folder(self, path: Path) -> None:
        """A folder with all it holds; one that is not there is no error."""
        shutil.rmtree(path, ignore_errors=not path.exists())

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable: a rename counts only after this."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def lock(self, path: Path, *, wait: bool) -> io.FileIO:
        """The file, locked until it is closed or the process ends, however it ends.

        Without `wait`, one that is locked already raises LockedFileError.
        """
        handle = _open_regular(path, os.O_RDWR | os.O_CREAT)
        file = io.FileIO(handle, "r+b")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            holder = os.read(handle, 200).decode(errors="replace").strip()
            file.close()
            raise LockedFileError(holder) from error
        except OSError:
            file.close()
            raise
        os.fchmod(handle, FILE_MODE)
        return file


class NotRegularError(OSError):
    """A pipe, a device, a socket or a folder has the name of a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "it is not a regular file", str(path))


def _open_regular(path: Path, flags: int, *, follow_links: bool = False) -> int:
    """A handle on a regular file, which never waits for the other end of a pipe.

    Without O_NONBLOCK the opening of a named pipe lasts until another process opens it as well.
    The handle is checked, not the name: the name may lead elsewhere a moment later.
    """
    try:
        flags |= os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
        handle = os.open(path, flags, FILE_MODE)
    except OSError as error:
        if error.errno in {errno.ENXIO, errno.EISDIR, errno.ENODEV}:
            raise NotRegularError(path) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotRegularError(path)
    return handle


class LockedFileError(Exception):
    """Somebody else holds the lock; `holder` is what they wrote into the file."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


_current = Disk()


def disk() -> Disk:
    """The disk in use."""
    return _current


@contextmanager
def use_disk(other: Disk) -> Iterator[None]:
    """Another disk for all of this process while the block runs; for tests."""
    global _current  # noqa: PLW0603 - the seam itself
    before, _current = _current, other
    try:
        yield
    finally:
        _current = before
