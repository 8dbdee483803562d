"""A folder on the local disk, which implements the storage port."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from typing_extensions import override

from migrate.storage.disk import disk
from migrate.storage.durable import (
    durable_file,
    folder_names,
    free_bytes,
    is_file,
    is_folder,
    local_io,
    make_folder,
    refuse_links,
    remove_file,
    remove_folder,
)
from migrate.storage.folder import Check, StoredFile
from migrate.storage.hashed_file import HashedFile


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """See `WorkFolder`. Files have mode 0600, new folders 0700, and no link to a file is followed.

    `open_to_create` is safe because only the holder of the lock of --dir writes.
    """

    path: Path

    @override
    def __str__(self) -> str:
        """The path, as the operator wrote it."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The folder's own name, also when a link, `.` or `..` leads to it."""
        return disk().real_name(self.path)

    @property
    def parent(self) -> "LocalFolder":
        """See Folder."""
        return LocalFolder(self.path.parent)

    @property
    def local(self) -> "LocalFolder":
        """See WorkFolder: the folder itself."""
        return self

    @property
    def is_shared(self) -> bool:
        """See Folder: the holder of the lock of --dir is the only writer."""
        return False

    def file(self, name: str) -> StoredFile:
        """See Folder."""
        return StoredFile(self, name)

    def child(self, name: str) -> "LocalFolder":
        """See Folder."""
        return LocalFolder(self.path / name)

    def address(self, name: str) -> str:
        """See Folder."""
        return str(self.path / name)

    def is_same(self, other: "LocalFolder") -> bool:
        """Whether both lead to the same folder, whatever their paths; False before it is made."""
        return disk().is_same(self.path, other.path)

    def make(self) -> None:
        """See Folder."""
        make_folder(self.path)

    def clear(self) -> None:
        """See Folder."""
        remove_folder(self.path)

    def refuse_links(self, *children: str) -> None:
        """See Folder."""
        refuse_links(self.path, *(self.path / name for name in children))

    def names(self) -> list[str]:
        """See Folder."""
        return folder_names(self.path)

    def has(self, name: str) -> bool:
        """See Folder."""
        return disk().exists(self.path / name)

    def has_file(self, name: str) -> bool:
        """See Folder."""
        return is_file(self.path / name)

    def has_folder(self, name: str) -> bool:
        """See Folder."""
        return is_folder(self.path / name)

    def room_bytes(self) -> int | None:
        """See Folder."""
        return free_bytes(self.path)

    @contextmanager
    def open_to_read(self, name: str) -> Iterator[BinaryIO]:
        """See Folder."""
        path = self.path / name
        with local_io("reading", path), disk().open_to_read(path) as file:
            yield file

    @contextmanager
    def open_to_write(self, name: str) -> Iterator[HashedFile]:
        """See Folder."""
        with durable_file(self.path / name) as file:
            yield file

    @contextmanager
    def open_to_create(self, name: str, *, check: Check | None = None) -> Iterator[HashedFile]:
        """See Folder."""
        on_path = None if check is None else lambda path: check(local_file(path))
        with durable_file(self.path / name, replace=False, check=on_path) as file:
            yield file

    def remove(self, name: str) -> None:
        """See Folder."""
        remove_file(self.path / name)

    def appender(self, name: str, *, size: int) -> "LocalAppender":
        """See WorkFolder."""
        return LocalAppender(self.path / name, size)

    def scratch(self, name: str) -> Path:
        """See WorkFolder."""
        return self.path / name


def local_file(path: Path) -> StoredFile:
    """The file at a path that the operator named."""
    return StoredFile(LocalFolder(path.parent), path.name)


class LocalAppender:
    """See Appender."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._file: io.FileIO | None = None

    def append(self, content: bytes) -> None:
        """See Appender."""
        with local_io("appending to", self._path):
            file = self._open()
            while content:
                content = content[file.write(content) :]
            disk().sync(file)

    def _open(self) -> io.FileIO:
        if self._file is None:
            self._file = disk().open_to_append(self._path)
            disk().truncate(self._file, self._size)  # drops a torn tail
            if self._size == 0:  # new, or a kill came before its name was durable
                disk().sync_folder(self._path.parent)
        return self._file

    def close(self) -> None:
        """See Appender."""
        if self._file is not None:
            self._file.close()
            self._file = None
