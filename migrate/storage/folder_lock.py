"""Allow one q2v at a time in a folder, and remove the unfinished files of a killed one."""

import io
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from migrate.errors import RunLockedError
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
from migrate.storage.layout import BUDGET, DIFFERENCE_BEGUN, JOURNAL, LOCK, SPILL

_REPAIR = ".repair"  # a part that earlier versions were reading again when they were killed


class FolderLock:
    """The lock of a folder. The operating system frees it when the process ends."""

    def __init__(self, folder: WorkFolder) -> None:
        self._folder = folder
        self._path = folder.local.path / LOCK
        self._file: io.FileIO | None = None

    def __enter__(self) -> Self:
        """Take the lock at once or raise RunLockedError naming the holder."""
        make_folder(self._path.parent)
        try:
            with local_io("locking", self._path):
                self._file = disk().lock(self._path, wait=False)
        except LockedFileError as error:
            raise RunLockedError(
                f"another q2v works in {self._path.parent}: {error.holder or 'holder unknown'}",
                remedy="wait until it has ended, or stop it; nothing has been written here",
            ) from error
        try:
            with local_io("locking", self._path):
                disk().truncate(self._file, 0)
                self._file.write(f"pid {os.getpid()} on {socket.gethostname()}\n".encode())
            clear_left_overs(self._path.parent, only_ours=self._folder.is_shared)
            if self._folder.is_shared:
                self._folder.make()
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
        if self._file is not None:
            self._file.close()
            self._file = None


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


def _clear(folder: Path, *, deep: bool) -> None:
    for name in folder_names(folder):
        path = folder / name
        if name in {SPILL, _REPAIR}:
            remove_folder(path)
        elif name.startswith(".") and name.endswith(TEMPORARY_SUFFIX):
            remove_file(path)
        elif deep and disk().is_folder(path):
            _clear(path, deep=True)
