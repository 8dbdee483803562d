"""The only way files come into being: whole and durable, or not at all."""

import errno
import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from migrate.errors import LocalStorageError, RunLockedError

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_READ_BYTES = 1 << 20
_REMEDIES = {
    errno.ENOSPC: "free some disk space, then run the same command again",
    errno.EROFS: "the file system is read-only: use another --dir",
    errno.EACCES: "make the folder writable for this user, or use another --dir",
}


@contextmanager
def local_io(doing: str, path: Path) -> Iterator[None]:
    """Translate what the operating system says into one error of ours."""
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        raise LocalStorageError(
            f"{doing} {path}: {error.strerror or error}",
            remedy=_REMEDIES.get(code, "check the disk, then run the same command again"),
        ) from error


def make_folder(path: Path) -> None:
    """Create a folder, its parents too, for this user only, durably. Harmless when repeated."""
    with local_io("creating folder", path):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            folder.chmod(FOLDER_MODE)  # whatever the umask
            sync_folder(folder.parent)


def refuse_links(*folders: Path) -> None:
    """Raises LocalStorageError when one of these is a link: what we write and clear stays ours."""
    for folder in folders:
        if folder.is_symlink():
            raise LocalStorageError(
                f"{folder} is a link, a folder was expected",
                remedy="put the folder itself in its place; q2v never writes through links",
            )


def sync_folder(path: Path) -> None:
    """Make the folder's entries durable: a rename counts only after this."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_new(path: Path) -> BinaryIO:
    """Open a file for writing that does not exist yet; never through a link. Mode 0600."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    handle = os.open(path, flags, FILE_MODE)
    os.fchmod(handle, FILE_MODE)  # whatever the umask
    return os.fdopen(handle, "wb")


@contextmanager
def durable_file(path: Path) -> Iterator[BinaryIO]:
    """Write `path` whole: a temporary file beside it takes its place only after fsync.

    After an exception or a kill the old file, or none, is there. Raises LocalStorageError.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with local_io("writing", path):
        temporary.unlink(missing_ok=True)  # of an earlier, killed attempt; the lock is ours
        file = open_new(temporary)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_durably(path: Path, content: bytes) -> str:
    """Write the file whole and durable; returns the SHA-256 of the content."""
    with durable_file(path) as file:
        file.write(content)
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a file."""
    with local_io("reading", path), path.open("rb") as file:
        return hash_open_file(file)


def hash_open_file(file: BinaryIO) -> tuple[int, str]:
    """Size in bytes and SHA-256 of the rest of an open file."""
    digest, size = hashlib.sha256(), 0
    while block := file.read(_READ_BYTES):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


class FolderLock:
    """At most one process works in a folder. The operating system frees it with the process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._handle: int | None = None

    def __enter__(self) -> Self:
        """Take the lock at once or raise RunLockedError naming the holder."""
        make_folder(self._path.parent)
        with local_io("locking", self._path):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            handle = os.open(self._path, flags, FILE_MODE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(handle, 200).decode(errors="replace").strip()
            os.close(handle)
            if error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN}:
                raise LocalStorageError(
                    f"locking {self._path}: {error.strerror}",
                    remedy="put --dir on a file system with locks (a local disk)",
                ) from error
            raise RunLockedError(
                f"another q2v works in {self._path.parent}: {holder or 'holder unknown'}",
                remedy="wait until it has ended, or stop it; nothing has been written here",
            ) from error
        self._handle = handle
        try:
            with local_io("locking", self._path):
                os.fchmod(handle, FILE_MODE)
                os.ftruncate(handle, 0)
                os.write(handle, f"pid {os.getpid()} on {socket.gethostname()}\n".encode())
        except BaseException:
            self._free()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the lock."""
        self._free()

    def _free(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
