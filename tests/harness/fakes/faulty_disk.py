"""A disk that counts its steps, fails on order, and forgets in a power cut what was not fsynced.

Files are real files in a folder; what would survive a power cut is kept beside them: the content
of each file at its last fsync, and the names of each folder at its last fsync. That is all that
POSIX promises, and less than what most file systems do.
"""

import errno
import io
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from typing_extensions import override

from tests.harness.fakes.quick_disk import QuickDisk
from tests.harness.fakes.steps import NO_SPACE, TORN, Fault, Kind, Steps


class _Node:
    """A file, whatever its names."""

    def __init__(self, durable: bytes = b"") -> None:
        self.durable = durable
        self.clean = True  # the content is durable
        self.lost_writes = False  # an fsync failed: a later one cannot bring those bytes back


Names = dict[str, "_Node | None"]  # None: a folder


class FaultyDisk(QuickDisk):
    """The machine's disk below `root`, with faults; elsewhere it is the quick one."""

    def __init__(self, root: Path, steps: Steps) -> None:
        """What lies below `root` already counts as durable."""
        self._root = root
        self._prefix = f"{root}/"
        self._steps = steps
        self._full = False
        self._open_files: list[_FaultyFile] = []
        self._unsynced: bool | None = None  # None: something has changed since anybody asked
        self._names: dict[Path, Names] = {}
        self._durable_names: dict[Path, Names] = {}
        for folder, folders, files in os.walk(root):
            here: Names = dict.fromkeys(folders)
            for name in files:
                here[name] = _Node((Path(folder) / name).read_bytes())
            self._names[Path(folder)] = here
            self._durable_names[Path(folder)] = dict(here)
        self._names.setdefault(root, {})
        self._durable_names.setdefault(root, {})

    # --- what survives -----------------------------------------------------------------------

    @property
    def unsynced(self) -> bool:
        """Whether a power cut at this moment would lose anything."""
        if self._unsynced is None:
            self._unsynced = self._names != self._durable_names or any(
                node is not None and not node.clean
                for names in self._names.values()
                for node in names.values()
            )
        return self._unsynced

    def cut_power(self, *, reordered: bool) -> None:
        """Put the folder into the state that the next boot finds.

        Reordered: every name has survived and only contents are lost, the other legal extreme.
        """
        survivors = self._names if reordered else self._durable_names
        kept: dict[Path, bytes | None] = {}
        self._collect(self._root, survivors, kept)
        shutil.rmtree(self._root)
        self._root.mkdir()
        for path, content in kept.items():
            if content is None:
                path.mkdir()
            else:
                path.write_bytes(content)
                path.chmod(0o600)

    def _collect(
        self, folder: Path, survivors: dict[Path, Names], kept: dict[Path, bytes | None]
    ) -> None:
        for name, node in sorted(survivors.get(folder, {}).items()):
            kept[folder / name] = None if node is None else node.durable
            if node is None:
                self._collect(folder / name, survivors, kept)

    def close_files(self) -> list[str]:
        """What the system does when a process ends; named are the files that were still open."""
        left = [file for file in self._open_files if not file.closed]
        for file in left:
            file.close()
        return [str(file.path) for file in left]

    # --- the seam ----------------------------------------------------------------------------

    def _is_ours(self, path: Path) -> bool:
        text = str(path)
        return text == self._prefix[:-1] or text.startswith(self._prefix)

    def _step(self, kind: Kind, path: Path) -> Fault | None:
        if not self._is_ours(path):
            return None
        unsynced = self.unsynced
        if kind is not Kind.READ:
            self._unsynced = None
        fault = self._steps.pass_(kind, str(path)[len(self._prefix) :], unsynced=unsynced)
        if fault in TORN:
            return fault
        if fault is Fault.BROKEN:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if fault is Fault.FULL_FOR_EVER:
            self._full = True
        grows = kind in {Kind.CREATE, Kind.WRITE, Kind.MAKE_FOLDER}
        if fault in NO_SPACE or (self._full and grows):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return fault

    @override
    def open_to_read(self, path: Path, *, follow_links: bool = False) -> BinaryIO:
        self._step(Kind.READ, path)
        return super().open_to_read(path, follow_links=follow_links)

    @override
    def create(self, path: Path) -> io.FileIO:
        self._step(Kind.CREATE, path)
        file = super().create(path)
        if self._is_ours(path):
            self._names[path.parent][path.name] = _Node()
        return file

    @override
    def open_to_append(self, path: Path) -> io.FileIO:
        if self._is_ours(path) and not path.exists():
            self._step(Kind.CREATE, path)
            self._names[path.parent][path.name] = _Node()
        return super().open_to_append(path)

    @override
    def wrap(self, path: Path, handle: int) -> io.FileIO:
        if not self._is_ours(path):
            return super().wrap(path, handle)
        file = _FaultyFile(self, path, handle)
        self._open_files.append(file)
        return file

    def write(self, file: "_FaultyFile", data: bytes) -> int:
        """What a write to one of our files does."""
        if self._steps.dead:
            return len(data)  # a buffer that is flushed by a dead process: no effect
        fault = self._step(Kind.WRITE, file.path)
        file.node.clean = False
        if fault is not None and fault in TORN:
            os.write(file.fileno(), data[: _kept_of_torn(fault, len(data))])
            self._steps.die()
        return os.write(file.fileno(), data)

    @override
    def truncate(self, file: io.FileIO, size: int) -> None:
        if isinstance(file, _FaultyFile):
            if os.fstat(file.fileno()).st_size == size:
                return
            self._step(Kind.TRUNCATE, file.path)
            file.node.clean = False
        super().truncate(file, size)

    @override
    def sync(self, file: io.FileIO) -> None:
        if not isinstance(file, _FaultyFile):
            super().sync(file)
            return
        try:
            self._step(Kind.SYNC, file.path)
        except OSError:
            file.node.lost_writes = True
            raise
        if not file.node.lost_writes:
            file.node.durable = file.path_now.read_bytes()
            file.node.clean = True

    @override
    def replace(self, path: Path, new: Path) -> None:
        self._step(Kind.REPLACE, path)
        super().replace(path, new)
        if self._is_ours(path):
            self._names[new.parent][new.name] = self._names[path.parent].pop(path.name)

    @override
    def remove(self, path: Path) -> None:
        if not path.is_symlink() and not path.exists():
            return
        self._step(Kind.REMOVE, path)
        super().remove(path)
        if self._is_ours(path):
            self._names[path.parent].pop(path.name, None)

    @override
    def make_folder(self, path: Path) -> None:
        self._step(Kind.MAKE_FOLDER, path)
        super().make_folder(path)
        if self._is_ours(path) and path != self._root:
            self._names[path.parent][path.name] = None
            self._names.setdefault(path, {})
            self._durable_names.setdefault(path, {})

    @override
    def remove_folder(self, path: Path) -> None:
        if path.exists():
            self._step(Kind.REMOVE, path)
        super().remove_folder(path)
        if self._is_ours(path):
            self._names[path.parent].pop(path.name, None)
            within = f"{path}/"
            for names in (self._names, self._durable_names):
                for folder in [one for one in names if f"{one}/".startswith(within)]:
                    del names[folder]

    @override
    def sync_folder(self, path: Path) -> None:
        if not self._is_ours(path):
            return
        if self._durable_names[path] != self._names[path]:
            self._step(Kind.SYNC_FOLDER, path)
        self._durable_names[path] = dict(self._names[path])

    def node(self, path: Path) -> _Node:
        """The file behind a name."""
        node = self._names[path.parent][path.name]
        assert node is not None
        return node


def _kept_of_torn(fault: Fault, size: int) -> int:
    return {Fault.TORN_ONE: 1, Fault.TORN_HALF: size // 2}.get(fault, size - 1)


class _FaultyFile(io.FileIO):
    """An open file whose writes pass the disk's count."""

    def __init__(self, disk: FaultyDisk, path: Path, handle: int) -> None:
        super().__init__(handle, "wb")
        self.path = path
        self.path_now = Path(f"/proc/self/fd/{handle}")
        self._disk = disk

    @property
    def node(self) -> _Node:
        return self._disk.node(self.path)

    @override
    def write(self, data: Any, /) -> int:
        return self._disk.write(self, bytes(data))
