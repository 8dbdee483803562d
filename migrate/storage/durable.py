"""Write files so that each is either complete and durable, or absent."""

import errno
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from migrate.errors import LocalStorageError
from migrate.storage.disk import NotRegularError, disk
from migrate.storage.hashed_file import HashedFile, check_same_bytes, hash_open_file

TEMPORARY_SUFFIX = ".q2v-tmp"  # unique to q2v; leftover files with it are deleted
REMEDIES = {
    errno.ENOSPC: "free some disk space, then run the same command again; `q2v check` says how "
    "much a snapshot takes",
    errno.EDQUOT: "free some of your quota there, then run the same command again",
    errno.EROFS: "the file system is read-only: use another --dir",
    errno.EACCES: "make the folder writable for this user, or use another --dir",
    errno.ELOOP: "a link has the name of a file of q2v: put the file itself there",
    errno.EINVAL: "name a regular file; where q2v itself names it, move this one away",
    errno.ENOLCK: "put --dir on a file system with locks (a local disk)",
}


@contextmanager
def local_io(doing: str, path: Path) -> Iterator[None]:
    """Translate an OSError into LocalStorageError with a remedy."""
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        raise LocalStorageError(
            f"{doing} {path}: {error.strerror or error}{_room(code, path)}",
            remedy=REMEDIES.get(code, "check the disk, then run the same command again"),
        ) from error


def _room(code: int, path: Path) -> str:
    """How much can still be written, where that is the question."""
    if code == errno.ENOSPC:
        with suppress(OSError):
            return f", {disk().free_bytes(path.parent):,} bytes are free there"
    return ""


def make_folder(path: Path) -> None:
    """Create a folder, its parents too, for this user only, durably. Harmless when repeated."""
    with local_io("creating folder", path):
        for folder in (*reversed(path.parents), path):
            if not disk().exists(folder):
                disk().make_folder(folder)
            # Also for an existing folder: a kill may have come after its creation, before this.
            with suppress(PermissionError):  # a foreign parent that may be entered, not read
                disk().sync_folder(folder.parent)


def refuse_links(*folders: Path) -> None:
    """Raises LocalStorageError if a folder is a link, so that q2v writes only below --dir."""
    for folder in folders:
        if disk().is_link(folder):
            raise LocalStorageError(
                f"{folder} is a link, a folder was expected",
                remedy="put the folder itself in its place; q2v never writes through links",
            )


def open_new(path: Path) -> BinaryIO:
    """Open a file for writing that does not exist yet; never through a link. Mode 0600."""
    return io.BufferedWriter(disk().create(path))


@contextmanager
def durable_file(
    path: Path,
    *,
    replace: bool = True,
    for_others: bool = False,
    check: Callable[[Path], None] | None = None,
) -> Iterator[HashedFile]:
    """Write a temporary file beside `path`, and rename it to `path` after fsync.

    After an exception or a kill the old file, or none, exists. Without `replace` an existing file
    is kept: equal bytes are accepted, other bytes raise PreconditionError. `check` gets the
    temporary file when it is durable, before it is renamed; what it reads comes from the disk
    where the system allows that. With `for_others` the file gets a mode as
    `Disk.open_for_others` says, otherwise 0600. Raises LocalStorageError, and what `check` raises.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    with local_io("writing", path):
        disk().remove(temporary)  # of an earlier, killed attempt; the lock is ours
        raw = disk().create(temporary)
        try:
            if for_others:
                disk().open_for_others(raw, path)
            with HashedFile(raw) as file:
                yield file
                file.flush()
                disk().sync(raw)
                if check is not None:
                    disk().forget_cached(raw)
            if check is not None:
                check(temporary)
            if not replace and disk().exists(path):
                check_same_bytes(str(path), file, file_sha256(path))
                disk().remove(temporary)
            else:
                disk().replace(temporary, path)
            disk().sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                disk().remove(temporary)
            raise


def write_durably(path: Path, content: bytes) -> str:
    """Write the file whole and durable; returns the SHA-256 of the content."""
    with durable_file(path) as file:
        file.write(content)
    return file.sha256


def write_for_others(path: Path, content: bytes) -> None:
    """Write a file of the operator's project whole and durable; see `Disk.open_for_others`."""
    with durable_file(path, for_others=True) as file:
        file.write(content)


def file_sha256(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of a file."""
    with local_io("reading", path), disk().open_to_read(path) as file:
        return hash_open_file(file)


def is_file(path: Path) -> bool:
    """Whether there is such a file.

    Raises LocalStorageError for a pipe, a device, a socket or a folder of that name: if it counted
    as "no file", the tool would start from the beginning.
    """
    if disk().is_file(path):
        return True
    if disk().exists(path):
        with local_io("reading", path):
            raise NotRegularError(path)
    return False


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; a link to one does not count."""
    return disk().is_folder(path)


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written to the file system of a folder."""
    with local_io("looking for room in", folder):
        return disk().free_bytes(folder)


def folder_names(folder: Path) -> list[str]:
    """The sorted names in a folder; empty when there is no such folder."""
    with local_io("listing", folder):
        return disk().names(folder)


def remove_file(path: Path) -> None:
    """Remove a file; harmless when repeated."""
    with local_io("removing", path):
        disk().remove(path)


def remove_folder(path: Path) -> None:
    """Remove a folder with all it holds; harmless when repeated."""
    with local_io("removing", path):
        disk().remove_folder(path)
