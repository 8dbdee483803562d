"""Copy the folder of a shard for the engine, and lock the original until the copy is closed.

The engine writes when it opens a shard: it replays the journal, rewrites its settings file and
flushes on closing, and an engine newer than the writer may change the format permanently. It
therefore opens a copy, and the original is only read. It writes through mappings, also into holes
of sparse files; the system ends a process that does so on a full disk (SIGBUS). The copy therefore
has room on the disk for all its bytes, holes included, before the engine opens it.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from migrate.errors import LocalStorageError, PreconditionError, RunLockedError
from migrate.storage.disk import LockedFileError, disk
from migrate.storage.durable import local_io, make_folder

JOURNAL = "wal"  # the engine and a server lock this folder as long as a shard is open
COPY_PREFIX = "copy-"
COPY_LOCK = "lock"
BLOCK_BYTES = 1 << 20
ALLOCATION_BYTES = 512  # the unit of `st_blocks`
FOLDERS_DEEP_MAX = 20
REPORTED_BYTES_MIN = 100_000_000  # a smaller copy takes too little time to report


@contextmanager
def copied(
    shards: Sequence[Path], copies: Path | None, say: Callable[[str], None]
) -> Iterator[list[Path]]:
    """A copy of each shard until the block ends. No other process can open a shard meanwhile.

    `copies` is the folder for them, None the system's for temporary files. Raises RunLockedError
    when a shard is open in another process, LocalStorageError when there is no room.
    """
    with ExitStack() as stack:
        for shard in shards:
            # A shard without a journal has no lock.
            if (shard / JOURNAL).is_dir():
                stack.enter_context(locked(shard / JOURNAL, shard))
        yield stack.enter_context(copied_folders(shards, copies, say))


@contextmanager
def copied_folders(
    folders: Sequence[Path], copies: Path | None, say: Callable[[str], None]
) -> Iterator[list[Path]]:
    """A copy of each folder until the block ends; the caller has locked the store."""
    with own_folder(copies) as folder:
        before = [list(_files(one, FOLDERS_DEEP_MAX)) for one in folders]
        needed = sum(file.bytes for files in before for file in files)
        check_room(needed, folder)
        held = sum(file.held_bytes for files in before for file in files)
        if held >= REPORTED_BYTES_MIN:
            say(f"copying the store of {held:,} bytes to {folder.parent}: it is read from there")
        targets = [folder / str(position) for position in range(len(folders))]
        for one, target in zip(folders, targets, strict=True):
            with local_io(f"copying {one} to", target):
                _copy_folder(one, target)
        if before != [list(_files(one, FOLDERS_DEEP_MAX)) for one in folders]:
            raise PreconditionError(
                f"{folders[0].parent} changed while it was copied, though it was not open",
                remedy="stop the program that writes there, then run the same command again",
            )
        yield targets


@contextmanager
def locked(path: Path, store: Path) -> Iterator[None]:
    """Hold the lock that the program of a store takes on a file or folder in it.

    Raises RunLockedError that names `store` when another process holds the lock.
    """
    with local_io("locking", path):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with local_io("locking", path):
            _lock(handle, store)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, store: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunLockedError(
            f"{store} is open in another process: only one at a time may have it open",
            remedy="close the program that uses this embedded store, stop the Qdrant server, or "
            "wait until another q2v has read it, then run again; a running server is read with "
            "source.url",
        ) from error
    except OSError as error:
        if error.errno in {errno.EBADF, errno.ENOLCK, errno.ENOTSUP}:
            raise LocalStorageError(
                f"{store} is on a file system without locks: q2v cannot check whether a server "
                "has it open",
                remedy="copy the folder to a local disk and set source.path to the copy",
            ) from error
        raise


@contextmanager
def own_folder(copies: Path | None) -> Iterator[Path]:
    """A new folder, removed at the end. Folders of killed processes are removed first."""
    if copies is not None:
        make_folder(copies)
    with ExitStack() as stack:
        with _alone_in(copies):
            if copies is not None:
                _remove_abandoned(copies)
            with local_io("creating a folder in", copies or Path(tempfile.gettempdir())):
                folder = Path(tempfile.mkdtemp(prefix=COPY_PREFIX, dir=copies))
            stack.callback(_remove, folder, copies)
            with local_io("locking", folder):
                stack.enter_context(disk().lock(folder / COPY_LOCK, wait=False))
        yield folder


@contextmanager
def _alone_in(copies: Path | None) -> Iterator[None]:
    """While it lasts no other process makes or removes a copy in this folder.

    A copy that is made and not locked yet looks like that of a killed process. None: the system's
    folder for temporary files, in which each process removes its own alone.
    """
    if copies is None:
        yield
        return
    with local_io("locking", copies), disk().alone_in(copies):
        yield


def _remove(folder: Path, copies: Path | None) -> None:
    with _alone_in(copies), local_io("removing", folder):
        disk().remove_folder(folder)


def _remove_abandoned(copies: Path) -> None:
    """Remove the copies of processes that have ended. A copy in use is kept."""
    for name in disk().names(copies):
        lock = copies / name / COPY_LOCK
        if name.startswith(COPY_PREFIX) and disk().is_file(lock):
            with (
                suppress(LockedFileError),
                local_io("removing", lock.parent),
                disk().lock(lock, wait=False),
            ):
                disk().remove_folder(lock.parent)


@dataclass(frozen=True, slots=True)
class _File:
    """The state of a file of a shard. Equal states mean that nothing was written in between."""

    path: Path
    bytes: int
    written_ns: int
    held_bytes: int = field(compare=False)  # without holes; may change without a write


def _files(folder: Path, deep: int) -> Iterator[_File]:
    """Every file below a folder, by name."""
    if deep == 0:
        raise PreconditionError(
            f"{folder} lies {FOLDERS_DEEP_MAX} folders deep in a shard",
            remedy="look for a link that leads back into its own folder",
        )
    with local_io("reading", folder):
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                yield from _files(path, deep - 1)
                continue
            if not path.is_file():
                raise PreconditionError(
                    f"{path} is neither a file nor a folder; a shard holds nothing else",
                    remedy="take it out of the folder of the shard",
                )
            state = path.stat()
            held_bytes = state.st_blocks * ALLOCATION_BYTES
            yield _File(path, state.st_size, state.st_mtime_ns, held_bytes)


def check_room(needed: int, folder: Path) -> None:
    """Raises LocalStorageError unless the disk of `folder` has `needed` bytes free."""
    with local_io("looking for room in", folder):
        free = shutil.disk_usage(folder).free
    if needed > free:
        raise LocalStorageError(
            f"the store is read from a copy of {needed:,} bytes, holes in its files included, and "
            f"{folder.parent} has {free:,} free",
            remedy="free some disk space, or use a --dir on a larger disk",
        )


def _copy_folder(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _copy_folder(path, target / path.name)
        else:
            _copy_file(path, target / path.name)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file; its holes become room that is reserved. After a kill the copy is removed."""
    with source.open("rb") as read, disk().create(target) as write:
        size = os.fstat(read.fileno()).st_size
        reserve(write.fileno(), size)
        for start, end in _data(read.fileno(), size):
            _copy_range(read.fileno(), write.fileno(), start, end)


def reserve(handle: int, size: int) -> None:
    """Give a file its size, and room on the disk for each byte where the system can."""
    if size and hasattr(os, "posix_fallocate"):  # macOS has none
        os.posix_fallocate(handle, 0, size)
    else:
        os.truncate(handle, size)


def _data(handle: int, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of every range of a file that is not a hole."""
    start = 0
    while start < size:
        try:
            start = os.lseek(handle, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # a hole up to the end
                return
            raise
        end = os.lseek(handle, start, os.SEEK_HOLE)
        yield start, end
        start = end


def _copy_range(read: int, write: int, start: int, end: int) -> None:
    while start < end:
        block = os.pread(read, min(BLOCK_BYTES, end - start), start)
        if not block:  # the file was truncated: `copied` finds that
            return
        start += os.pwrite(write, block, start)
