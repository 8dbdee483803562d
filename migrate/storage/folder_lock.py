"""Allow one q2v at a time in a folder, and remove the unfinished files of a killed one."""

import io
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from migrate.errors import LocalStorageError, RunLockedError
from migrate.storage.disk import LockedFileError, disk
from migrate.storage.durable import (
    TEMPORARY_SUFFIX,
    folder_names,
    is_file,
    local_io,
    make_folder,
    remove_file,
    remove_folder,
)
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import (
    BUDGET,
    DIFFERENCE_BEGUN,
    JOURNAL,
    LOCK,
    RUNS,
    SPILL,
    index_of_run,
    lock_name,
    scratch_name,
)

_REPAIR = ".repair"  # a part that earlier versions were reading again when they were killed


class FolderLock:
    """The lock of a folder. The operating system frees it when the process ends.

    Processes that work on different ones of several vector indexes share a folder: each has the
    lock of its index alone. A process for no particular index has the folder alone.
    """

    def __init__(self, folder: WorkFolder, own: str | None = None) -> None:
        """`own`: the one of several vector indexes that the caller works on."""
        self._folder = folder
        self._own = own
        self._held: list[io.FileIO] = []

    def __enter__(self) -> Self:
        """Take the lock at once or raise RunLockedError naming the holder."""
        directory = self._folder.local.path
        make_folder(directory)
        try:
            with _first_in(directory):
                self._take_all(directory)
            self._clear(directory)
            if self._folder.is_shared:
                self._folder.make()
        except BaseException:
            self._free()
            raise
        return self

    def look(self) -> None:
        """Take the lock and free it; raises as taking it does.

        A command that starts meanwhile waits, and is not refused.
        """
        directory = self._folder.local.path
        make_folder(directory)
        with _first_in(directory):
            try:
                self._take_all(directory)
                self._clear(directory)
            finally:
                self._free()
        if self._folder.is_shared:
            self._folder.make()

    def _take_all(self, directory: Path) -> None:
        self._take(directory, LOCK, shared=self._own is not None)
        if self._own is not None:
            self._take(directory, lock_name(self._own))

    def _clear(self, directory: Path) -> None:
        if self._own is None:
            clear_left_overs(directory, only_ours=self._folder.is_shared)
        else:
            _clear_of_index(directory, self._own)

    def _take(self, directory: Path, name: str, *, shared: bool = False) -> None:
        path = directory / name
        try:
            with local_io("locking", path):
                file = disk().lock(path, wait=False, shared=shared)
        except LockedFileError as error:
            where = str(directory) if name == LOCK else f"{directory} on index '{self._own}'"
            raise RunLockedError(
                f"another q2v works in {where}: {error.holder or 'holder unknown'}",
                remedy="wait until it has ended, or stop it; nothing has been written here",
            ) from error
        self._held.append(file)
        with local_io("locking", path):
            disk().truncate(file, 0)
            file.write(f"pid {os.getpid()} on {socket.gethostname()}\n".encode())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the lock."""
        self._free()

    def _free(self) -> None:
        for file in self._held:
            file.close()
        self._held = []


@contextmanager
def _first_in(directory: Path) -> Iterator[None]:
    """Wait until no other process takes a lock of this folder, or looks whether it is free.

    To look at a lock is to take it for a moment: a command that starts in that moment waits here.
    """
    with local_io("locking", directory), disk().alone_in(directory):
        yield


def process_at_work(folder: WorkFolder, own: str | None = None) -> str | None:
    """The process that has the lock of a folder, in its own words; None where none is found.

    Of the locks of several vector indexes only that of `own` counts, if it is given. A command that
    starts meanwhile is not refused. Creates nothing, and a lock that this user cannot open counts
    as free.
    """
    directory = folder.local.path
    of_index = lock_name("" if own is None else own)
    names = [
        name
        for name in sorted(folder_names(directory))
        if name in {LOCK, of_index} or (own is None and name.startswith(of_index))
    ]
    if not names:
        return None
    try:
        with suppress(LocalStorageError), _first_in(directory):
            for name in names:
                with suppress(OSError):
                    disk().lock(directory / name, wait=False, shared=True).close()
    except LockedFileError as error:
        return error.holder or "its process is not known yet"
    return None


# A folder with one of these is a snapshot of q2v, begun or sealed. The last one is what a kill
# leaves of the first file of a difference.
_OF_A_SNAPSHOT = (JOURNAL, DIFFERENCE_BEGUN, f".{DIFFERENCE_BEGUN}{TEMPORARY_SUFFIX}")


def clear_left_overs(directory: Path, *, only_ours: bool = False) -> None:
    """Remove temporary files and spilled tables below a --dir; raises LocalStorageError.

    Looks only into snapshots and the budget: --dir may be a home directory. `only_ours`: all in the
    folder is of q2v, as in the local folder of an object store.
    """
    _clear(directory, deep=False)
    _clear(directory / BUDGET, deep=False)
    for name in folder_names(directory):
        if only_ours or any(is_file(directory / name / mark) for mark in _OF_A_SNAPSHOT):
            _clear(directory / name, deep=True)


def _clear_of_index(directory: Path, own: str) -> None:
    """The same of the runs into one of several vector indexes: others may be under way."""
    remove_folder(directory / scratch_name(own))
    for name in folder_names(directory):
        runs = directory / name / RUNS
        for run_id in folder_names(runs) if disk().is_folder(runs) else ():
            if index_of_run(run_id) == own:
                _clear(runs / run_id, deep=True)


def _clear(folder: Path, *, deep: bool) -> None:
    for name in folder_names(folder):
        path = folder / name
        if name in {SPILL, _REPAIR} or name.startswith(scratch_name("")):
            remove_folder(path)
        elif name.startswith(".") and name.endswith(TEMPORARY_SUFFIX):
            remove_file(path)
        elif deep and disk().is_folder(path):
            _clear(path, deep=True)
