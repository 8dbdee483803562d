"""The members of an archive as folders: everything that reads snapshots and runs reads them too."""

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

from typing_extensions import override

from migrate.archive.frames import FrameReader, FrameSlice
from migrate.errors import LocalStorageError
from migrate.storage.folder import Appender, Check, StoredFile
from migrate.storage.hashed_file import HashedFile
from migrate.storage.local_folder import LocalFolder

_BUFFER_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """Where each member lies in an open archive."""

    address: str  # of the archive, for messages
    frames: FrameReader
    spans: Mapping[str, tuple[int, int]]  # path -> start and size in the stream
    folders: dict[str, set[str]] = field(init=False)  # path -> names in it; "": the archive itself

    def __post_init__(self) -> None:
        """Derive the folders from the paths."""
        folders: dict[str, set[str]] = {"": set()}
        for path in self.spans:
            parts = path.split("/")
            for depth, name in enumerate(parts):
                folders.setdefault("/".join(parts[:depth]), set()).add(name)
        object.__setattr__(self, "folders", folders)


@dataclass(frozen=True, slots=True)
class ArchiveFolder:
    """See `WorkFolder`. It is only read: whatever would write raises LocalStorageError."""

    contents: Contents
    path: str = ""  # below the folder that the archive unpacks to; "": that folder

    @override
    def __str__(self) -> str:
        """The address of the archive, and the path in it."""
        return f"{self.contents.address}:{self.path}"

    @property
    def name(self) -> str:
        """See Folder."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> "ArchiveFolder":
        """See Folder; the parent of the outermost folder is that folder."""
        return ArchiveFolder(self.contents, self.path.rpartition("/")[0])

    def file(self, name: str) -> StoredFile:
        """See Folder."""
        return StoredFile(self, name)

    def child(self, name: str) -> "ArchiveFolder":
        """See Folder."""
        return ArchiveFolder(self.contents, self._place(name))

    def _place(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name

    def address(self, name: str) -> str:
        """See Folder."""
        return f"{self.contents.address}:{self._place(name)}"

    @property
    def local(self) -> LocalFolder:
        """See WorkFolder."""
        self._refuse("")

    @property
    def is_shared(self) -> bool:
        """See Folder; nothing is written to an archive."""
        return False

    def refuse_links(self, *children: str) -> None:
        """See Folder; an archive has none."""

    def names(self) -> list[str]:
        """See Folder."""
        return sorted(self.contents.folders.get(self.path, ()))

    def has(self, name: str) -> bool:
        """See Folder."""
        return name in self.contents.folders.get(self.path, ())

    def has_file(self, name: str) -> bool:
        """See Folder."""
        if self.has_folder(name):
            raise LocalStorageError(
                f"reading {self.address(name)}: it is a folder, a file was expected",
                remedy="take another copy of the archive",
            )
        return self._place(name) in self.contents.spans

    def has_folder(self, name: str) -> bool:
        """See Folder."""
        return self._place(name) in self.contents.folders

    def room_bytes(self) -> int | None:
        """See Folder."""
        return 0

    def open_to_read(self, name: str) -> AbstractContextManager[BinaryIO]:
        """See Folder."""
        if not self.has_file(name):
            raise LocalStorageError(
                f"reading {self.address(name)}: the archive has no such file",
                remedy="name another file",
            )
        start, size = self.contents.spans[self._place(name)]
        return io.BufferedReader(FrameSlice(self.contents.frames, start, size), _BUFFER_BYTES)

    def open_to_write(self, name: str) -> AbstractContextManager[HashedFile]:
        """See Folder."""
        self._refuse(name)

    def open_to_create(
        self, name: str, *, check: Check | None = None
    ) -> AbstractContextManager[HashedFile]:
        """See Folder."""
        self._refuse(name)

    def make(self) -> None:
        """See Folder."""
        self._refuse("")

    def clear(self) -> None:
        """See Folder."""
        self._refuse("")

    def remove(self, name: str) -> None:
        """See Folder."""
        self._refuse(name)

    def appender(self, name: str, *, size: int) -> Appender:
        """See WorkFolder."""
        self._refuse(name)

    def scratch(self, name: str) -> Path:
        """See WorkFolder."""
        self._refuse(name)

    def _refuse(self, name: str) -> NoReturn:
        raise LocalStorageError(
            f"{self.address(name)}: an archive is only read",
            remedy="unpack it with tar, and name the unpacked folder",
        )
