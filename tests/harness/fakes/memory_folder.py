"""A folder in memory: the second implementation of the storage port, for tests.

It has no disk, no links and no lock, and any number of writers at once.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from typing_extensions import Buffer, override

from migrate.errors import LocalStorageError
from migrate.storage.folder import Check, StoredFile
from migrate.storage.hashed_file import HashedFile, check_same_bytes, hash_open_file
from migrate.storage.local_folder import LocalFolder


@dataclass(slots=True)
class _Memory:
    files: dict[str, bytes] = field(default_factory=dict)  # address -> content
    folders: set[str] = field(default_factory=set)
    lock: Lock = field(default_factory=Lock)
    scratch: Path = Path()  # where libraries may write


class _Sink(io.RawIOBase):
    """Keeps what is written, also after it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.content = b""

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, content: Buffer, /) -> int:
        taken = bytes(content)
        self.content += taken
        return len(taken)


class MemoryFolder:
    """See `migrate.storage.folder.WorkFolder`."""

    def __init__(self, address: str, memory: _Memory) -> None:
        self._address = address
        self._memory = memory

    @override
    def __str__(self) -> str:
        return self._address

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, MemoryFolder) and str(self) == str(other)

    @override
    def __hash__(self) -> int:
        return hash(self._address)

    @property
    def name(self) -> str:
        return self._address.rpartition("/")[2]

    @property
    def parent(self) -> "MemoryFolder":
        return MemoryFolder(self._address.rpartition("/")[0], self._memory)

    @property
    def local(self) -> LocalFolder:
        return LocalFolder(self._memory.scratch)

    @property
    def is_shared(self) -> bool:
        return False

    def file(self, name: str) -> StoredFile:
        return StoredFile(self, name)

    def child(self, name: str) -> "MemoryFolder":
        return MemoryFolder(self.address(name), self._memory)

    def address(self, name: str) -> str:
        return f"{self._address}/{name}"

    def make(self) -> None:
        parts = self._address.split("/")
        self._memory.folders |= {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}

    def clear(self) -> None:
        below = f"{self._address}/"
        for address in [one for one in self._memory.files if one.startswith(below)]:
            del self._memory.files[address]
        self._memory.folders -= {one for one in self._memory.folders if f"{one}/".startswith(below)}

    def refuse_links(self, *children: str) -> None:
        """There are none."""

    def names(self) -> list[str]:
        below = f"{self._address}/"
        held = [*self._memory.files, *self._memory.folders]
        rests = [one.removeprefix(below) for one in held if one.startswith(below)]
        return sorted({rest.partition("/")[0] for rest in rests})

    def has(self, name: str) -> bool:
        return name in self.names()

    def has_file(self, name: str) -> bool:
        if self.address(name) in self._memory.folders:
            raise LocalStorageError(f"reading {self.address(name)}: a folder", remedy="remove it")
        return self.address(name) in self._memory.files

    def has_folder(self, name: str) -> bool:
        below = f"{self.address(name)}/"
        held = [*self._memory.files, *self._memory.folders]
        return any(f"{one}/".startswith(below) for one in held) and not self._is_file(name)

    def _is_file(self, name: str) -> bool:
        return self.address(name) in self._memory.files

    def room_bytes(self) -> int | None:
        return None

    @contextmanager
    def open_to_read(self, name: str) -> Iterator[BinaryIO]:
        if not self.has_file(name):
            raise LocalStorageError(f"reading {self.address(name)}: no such file", remedy="none")
        with io.BytesIO(self._memory.files[self.address(name)]) as file:
            yield file

    @contextmanager
    def open_to_write(self, name: str) -> Iterator[HashedFile]:
        with self._written(name, replace=True) as file:
            yield file

    @contextmanager
    def open_to_create(self, name: str, *, check: Check | None = None) -> Iterator[HashedFile]:
        with self._written(name, replace=False, check=check) as file:
            yield file

    @contextmanager
    def _written(
        self, name: str, *, replace: bool, check: Check | None = None
    ) -> Iterator[HashedFile]:
        self._check_is_made("writing", name)
        sink, address = _Sink(), self.address(name)
        with HashedFile(sink) as file:
            yield file
        if check is not None:
            checked = memory_folder()
            checked.file(name).write(sink.content)
            check(checked.file(name))
        with self._memory.lock:
            found = self._memory.files.get(address)
            if found is not None and not replace:
                check_same_bytes(address, file, hash_open_file(io.BytesIO(found)))
            else:
                self._memory.files[address] = sink.content

    def _check_is_made(self, doing: str, name: str) -> None:
        if self._address not in self._memory.folders:
            raise LocalStorageError(f"{doing} {self.address(name)}: no folder", remedy="make it")

    def remove(self, name: str) -> None:
        self._memory.files.pop(self.address(name), None)

    def appender(self, name: str, *, size: int) -> "_Appender":
        return _Appender(self, name, size)

    def scratch(self, name: str) -> Path:
        return self._memory.scratch / name

    def append(self, name: str, content: bytes, *, size: int) -> None:
        """Add to what the first `size` bytes of a file are."""
        self._check_is_made("appending to", name)
        before = self._memory.files.get(self.address(name), b"")[:size]
        self._memory.files[self.address(name)] = before + content


def memory_folder(scratch: Path = Path()) -> MemoryFolder:
    """An empty folder, already made; libraries that need a path write below `scratch`."""
    folder = MemoryFolder("memory:/dir", _Memory(scratch=scratch))
    folder.make()
    return folder


class _Appender:
    def __init__(self, folder: MemoryFolder, name: str, size: int) -> None:
        self._folder = folder
        self._name = name
        self._size = size

    def append(self, content: bytes) -> None:
        self._folder.append(self._name, content, size=self._size)
        self._size += len(content)

    def close(self) -> None:
        """Nothing is open."""
