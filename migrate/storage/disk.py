"""All access to the file system: no other module opens, lists, renames or removes files.

Tests replace the disk (`use_disk`) by one that counts the steps, stops the run at any of them, is
full, fails, or loses everything that was not fsynced. Other modules use `durable.py`, which is
built on this one.
"""

import errno
import fcntl
import io
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

FILE_MODE = 0o600
FOLDER_MODE = 0o700


class Disk:
    """The machine's file system. Raises OSError as the system does; follows no link to a file.

    Opens only regular files, and raises NotRegularError for anything else: opening a named pipe
    might never return, and a device has no end.
    """

    def exists(self, path: Path) -> bool:
        """Whether there is a file, a folder, or a link that leads to one."""
        return path.exists()

    def is_file(self, path: Path) -> bool:
        """Whether there is a file."""
        return path.is_file()

    def is_folder(self, path: Path) -> bool:
        """Whether there is a folder; a link to a folder does not count."""
        return path.is_dir() and not path.is_symlink()

    def is_link(self, path: Path) -> bool:
        """Whether the name is a link, even if its destination does not exist."""
        return path.is_symlink()

    def is_same(self, path: Path, other: Path) -> bool:
        """Whether two paths lead to the same file or folder; False while one is missing."""
        return path.exists() and other.exists() and path.samefile(other)

    def absolute(self, path: Path) -> Path:
        """The path from the root, with links, `.` and `..` resolved."""
        return path.resolve()

    def real_name(self, folder: Path) -> str:
        """The folder's own name, with links, `.` and `..` resolved."""
        return folder.resolve().name

    def names(self, folder: Path) -> list[str]:
        """The sorted names in a folder; empty when there is no such folder."""
        try:
            return sorted(path.name for path in folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def sizes(self, folder: Path) -> list[tuple[str, int]]:
        """Names and sizes of the files in a folder, the oldest first; what goes is left out."""
        found: list[tuple[int, str, int]] = []
        for name in self.names(folder):
            with suppress(FileNotFoundError):
                state = (folder / name).stat()
                found.append((state.st_mtime_ns, name, state.st_size))
        return [(name, size) for _, name, size in sorted(found)]

    def open_to_read(self, path: Path, *, follow_links: bool = False) -> BinaryIO:
        """An open file. Hash and parse the same handle, because the file may change in between.

        `follow_links` is for files of the operator, such as migration.toml.
        """
        return os.fdopen(_open_regular(path, os.O_RDONLY, follow_links=follow_links), "rb")

    def create(self, path: Path) -> io.FileIO:
        """Create a file for writing, mode 0600 for any umask. Fails if the file exists."""
        return self._open_to_write(path, os.O_CREAT | os.O_EXCL)

    def open_for_others(self, file: io.FileIO, path: Path) -> None:
        """Give a created file the mode of the file at `path`, or what the umask leaves of 0666.

        For files of the operator's project, which other users and programs read.
        """
        if path.exists():
            mode = stat.S_IMODE(path.stat().st_mode)
        else:
            mask = os.umask(0o077)
            os.umask(mask)
            mode = 0o666 & ~mask
        os.fchmod(file.fileno(), mode)

    def open_to_append(self, path: Path) -> io.FileIO:
        """Open or create a file; every write is appended to its end."""
        return self._open_to_write(path, os.O_CREAT | os.O_APPEND)

    def _open_to_write(self, path: Path, flags: int) -> io.FileIO:
        handle = _open_regular(path, os.O_WRONLY | flags)
        os.fchmod(handle, FILE_MODE)
        return self.wrap(path, handle)

    def wrap(self, path: Path, handle: int) -> io.FileIO:
        """The unbuffered file over an open handle."""
        return io.FileIO(handle, "wb")

    def truncate(self, file: io.FileIO, size: int) -> None:
        """Cut an open file to `size` bytes."""
        os.ftruncate(file.fileno(), size)

    def sync(self, file: io.FileIO) -> None:
        """Make what was written to an open file durable."""
        os.fsync(file.fileno())

    def replace(self, path: Path, new: Path) -> None:
        """Rename a file; replaces a file of the new name."""
        path.replace(new)

    def remove(self, path: Path) -> None:
        """Remove a file; a missing one is no error."""
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        """Create one folder, mode 0700 for any umask. Its parent has to exist."""
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        path.chmod(FOLDER_MODE)

    def remove_folder(self, path: Path) -> None:
        """Remove a folder with its content; a missing one is no error."""
        shutil.rmtree(path, ignore_errors=not path.exists())

    def forget_cached(self, file: io.FileIO) -> None:
        """Drop a file's durable content from memory, so that a later read comes from the disk.

        No effect where the system has no such call.
        """
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def free_bytes(self, folder: Path) -> int:
        """Bytes that this user may still write to the file system of a folder."""
        return shutil.disk_usage(folder).free

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable. A rename is durable only after this."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def lock(self, path: Path, *, wait: bool, shared: bool = False) -> io.FileIO:
        """The file, locked until it is closed or the process ends in any way.

        Without `wait`, a file that is locked already raises LockedFileError. Several processes may
        have it `shared`, and then none has it alone.
        """
        handle = _open_regular(path, os.O_RDWR | os.O_CREAT)
        file = io.FileIO(handle, "r+b")
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(handle, kind | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            holder = os.read(handle, 200).decode(errors="replace").strip()
            file.close()
            raise LockedFileError(holder) from error
        except OSError:
            file.close()
            raise
        os.fchmod(handle, FILE_MODE)
        return file

    @contextmanager
    def alone_in(self, folder: Path) -> Iterator[None]:
        """Wait until no other process is in such a block for this folder. Leaves no file behind.

        On a file system without locks of folders none is kept out.
        """
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class NotRegularError(OSError):
    """A pipe, a device, a socket or a folder has the name of a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.EINVAL, "it is not a regular file", str(path))


def _open_regular(path: Path, flags: int, *, follow_links: bool = False) -> int:
    """A handle on a regular file.

    Without O_NONBLOCK, opening a named pipe waits until another process opens it as well. The
    handle is checked, not the name, because the name may be replaced in between.
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
    """Another process holds the lock; `holder` is the text that it wrote into the file."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


_current = Disk()


def disk() -> Disk:
    """The disk in use."""
    return _current


@contextmanager
def use_disk(other: Disk) -> Iterator[None]:
    """Replace the disk of this process while the block runs; for tests."""
    global _current  # noqa: PLW0603 - the seam itself
    before, _current = _current, other
    try:
        yield
    finally:
        _current = before
