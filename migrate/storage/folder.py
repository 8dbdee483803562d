"""The storage port: folders of whole files, on any storage.

A snapshot and a run are read and written through `Folder` and `WorkFolder`. `LocalFolder`
(`local_folder.py`) implements both on the local disk. The rules that an implementation keeps are
in `tests/migrate/storage/test_store_conformance.py`. Decision 0033 says why the port has this
shape, and how object storage fits it.
"""

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from typing_extensions import override

from migrate.model.canonical import decode_json
from migrate.model.sealed_json import damaged
from migrate.storage.hashed_file import HashedFile, hash_open_file

if TYPE_CHECKING:
    from migrate.storage.local_folder import LocalFolder


class Folder(Protocol):
    """A place that holds whole files by name, and further folders by name.

    `str(folder)` is the address that the operator knows: a path, or a URL. It is shown in messages
    and opens the same folder again. Two objects of one address are equal.

    A file appears under its name when it is complete and durable, and is only replaced as a whole.
    Every method raises LocalStorageError when the storage fails, and the errors of a remote service
    when the storage is one. Calling a method again is safe.
    """

    @property
    def name(self) -> str:
        """The last part of the address: the id of a snapshot or a run."""

    @property
    def parent(self) -> "Folder":
        """The folder that this one lies in."""

    @property
    def is_shared(self) -> bool:
        """Whether other machines may write here at the same time.

        Then nothing may be replaced or removed: of all creators of a file the first one decides.
        """

    def file(self, name: str) -> "StoredFile":
        """The file of this name, which need not exist."""

    def child(self, name: str) -> "Folder":
        """The folder of this name, which need not exist."""

    def address(self, name: str) -> str:
        """The address of a file or a folder of this name, for messages."""

    def make(self) -> None:
        """Make the folder and those above it, durably, before its first file is written."""

    def clear(self) -> None:
        """Remove the folder with everything in it."""

    def refuse_links(self, *children: str) -> None:
        """Raises LocalStorageError when this folder or one of these children is a link.

        q2v writes and clears only inside of the folder. Storage without links has no check.
        """

    def names(self) -> list[str]:
        """The names of files and folders, sorted; an absent folder has none.

        Some storage has no empty folders: there a folder shows with its first file.
        """

    def has(self, name: str) -> bool:
        """Whether a file or a folder has this name."""

    def has_file(self, name: str) -> bool:
        """Whether a file has this name; raises LocalStorageError when something else has it."""

    def has_folder(self, name: str) -> bool:
        """Whether a folder has this name; a link does not count."""

    def room_bytes(self) -> int | None:
        """Bytes that can still be written here; None where the storage names no limit."""

    def open_to_read(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Open a file: seekable, whole, and the same bytes until it is closed."""

    def open_to_write(self, name: str) -> AbstractContextManager[HashedFile]:
        """Write a file from start to end. It replaces the former one at the end of the block.

        After an exception in the block the former file, or none, exists.
        """

    def open_to_create(
        self, name: str, *, check: "Check | None" = None
    ) -> AbstractContextManager[HashedFile]:
        """As `open_to_write`, but never in place of other bytes.

        When a file has this name already, the end of the block is harmless if it holds the same
        bytes, and raises PreconditionError with both digests if not. Of several writers at once
        one creates the file. At the end of the block `check` reads what was written, durable and
        under a name of its own; when it raises, no file is created.
        """

    def remove(self, name: str) -> None:
        """Remove a file; an absent one is no error."""


class Appender(Protocol):
    """A file that grows at its end."""

    def append(self, content: bytes) -> None:
        """Add to the end; returns when it is durable. After an error only `close` may follow."""

    def close(self) -> None:
        """Close the file; repeats without harm."""


class WorkFolder(Folder, Protocol):
    """A folder of a run or a command: it also has journals and scratch space.

    At least a part of it is on a local disk, because an object store cannot append, and libraries
    write temporary files to paths.
    """

    @property
    def local(self) -> "LocalFolder":
        """The folder on this machine: locks, the request budget and crash logs lie there."""

    @property
    @override
    def parent(self) -> "WorkFolder": ...

    @override
    def child(self, name: str) -> "WorkFolder": ...

    def appender(self, name: str, *, size: int) -> Appender:
        """Open a file to append to it, cut to `size` bytes, at the first append."""

    def scratch(self, name: str) -> Path:
        """A local path for files that a library writes. They can always be computed again."""


Check = Callable[["StoredFile"], None]  # reads a file that has been written; raises to refuse it


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a folder, by name; it need not exist."""

    folder: Folder
    name: str

    @override
    def __str__(self) -> str:
        """Its address, for messages."""
        return self.folder.address(self.name)

    def is_there(self) -> bool:
        """As `Folder.has_file`."""
        return self.folder.has_file(self.name)

    def open_to_read(self) -> AbstractContextManager[BinaryIO]:
        """As `Folder.open_to_read`."""
        return self.folder.open_to_read(self.name)

    def open_to_write(self) -> AbstractContextManager[HashedFile]:
        """As `Folder.open_to_write`."""
        return self.folder.open_to_write(self.name)

    def write(self, content: bytes) -> str:
        """Write the file whole and durable; returns the SHA-256 of the content."""
        with self.folder.open_to_write(self.name) as file:
            file.write(content)
        return file.sha256

    def create(self, content: bytes) -> str:
        """As `write`, but never in place of other bytes (`Folder.open_to_create`)."""
        with self.folder.open_to_create(self.name) as file:
            file.write(content)
        return file.sha256

    def read(self, *, bytes_max: int) -> bytes:
        """The content of a file of at most `bytes_max` bytes.

        Raises ArtefactDamagedError for a larger one, before its content is in memory.
        """
        with self.open_to_read() as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            content = file.read(bytes_max + 1) if size <= bytes_max else None
        if content is None or len(content) > bytes_max:
            raise damaged(str(self), f"larger than {bytes_max:,} B, the limit for this file")
        return content

    def read_json_object(self, *, bytes_max: int) -> dict[str, object]:
        """The JSON object in a file of at most `bytes_max` bytes.

        Raises ArtefactDamagedError for anything else: no JSON, endless nesting, endless digits.
        """
        try:
            value = decode_json(self.read(bytes_max=bytes_max))
        except ValueError as error:
            raise damaged(str(self), "it is no JSON") from error
        if not isinstance(value, dict):
            raise damaged(str(self), "it is no JSON object")
        return value

    def hash(self) -> tuple[int, str]:
        """Size in bytes and SHA-256 (hex) of the file."""
        with self.open_to_read() as file:
            return hash_open_file(file)

    def remove(self) -> None:
        """As `Folder.remove`."""
        self.folder.remove(self.name)
