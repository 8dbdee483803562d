"""Copies of objects on the local disk, because Parquet and hashing need a file.

A copy is named by address and ETag, so it never stands for other bytes. Several processes may use
the folder at once: a copy appears whole, and an open one stays readable when it is removed.
"""

import hashlib
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from migrate.object_store.client import ObjectInfo, ObjectStore, as_file
from migrate.storage.disk import disk
from migrate.storage.durable import TEMPORARY_SUFFIX, local_io, make_folder, remove_file
from migrate.storage.hashed_file import HashedFile

# Of all copies together: the parts that a plan, an upload and a reconcile of 300,000 points read
# one after the other. One copy that is larger is kept while it is open.
COPIES_BYTES_MAX = 4 * 1024**3
_IN_MEMORY_BYTES_MAX = 4 * 1024**2  # manifests and records; they are read once
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Copies:
    """A folder of copies, bounded in bytes; the oldest are removed first."""

    folder: Path
    bytes_max: int = COPIES_BYTES_MAX

    @contextmanager
    def reading(
        self, store: ObjectStore, key: str, info: ObjectInfo, where: str
    ) -> Iterator[BinaryIO]:
        """An object's bytes as a seekable file. `where` is its address.

        Raises ObjectMissingError when it has gone, LocalStorageError when the disk fails.
        """
        if info.bytes <= _IN_MEMORY_BYTES_MAX:
            content = as_file(b"")
            store.fetch(key, info, content)
            content.seek(0)
            yield content
            return
        path = self._path(where, info)
        with self._opened(store, key, info, path) as file:
            yield file

    @contextmanager
    def _opened(
        self, store: ObjectStore, key: str, info: ObjectInfo, path: Path
    ) -> Iterator[BinaryIO]:
        try:
            file = disk().open_to_read(path)
        except FileNotFoundError:
            file = self._fetched(store, key, info, path)
        except OSError:
            with local_io("reading", path):
                raise
        with file:
            yield file

    def _fetched(self, store: ObjectStore, key: str, info: ObjectInfo, path: Path) -> BinaryIO:
        self._make_room(info.bytes)
        with self.writing() as (written, temporary):
            store.fetch(key, info, written)
            written.flush()
            with local_io("reading", temporary):
                file = disk().open_to_read(temporary)
            self._keep(temporary, path)
        return file

    @contextmanager
    def writing(self) -> Iterator[tuple[HashedFile, Path]]:
        """A new file, and its path; removed at the end unless `keep` has taken it."""
        make_folder(self.folder)
        # The process, the thread and a number: other processes use the folder at the same time.
        name = f".{os.getpid()}-{threading.get_ident()}-{next(_numbers)}{TEMPORARY_SUFFIX}"
        path = self.folder / name
        try:
            with local_io("writing", path):
                raw = disk().create(path)
                with HashedFile(raw) as file:
                    yield file, path
        finally:
            remove_file(path)

    def keep(self, temporary: Path, where: str, info: ObjectInfo) -> None:
        """Make a file that was written here the copy of the object that it became."""
        if _IN_MEMORY_BYTES_MAX < info.bytes <= self.bytes_max:
            self._make_room(info.bytes)
            self._keep(temporary, self._path(where, info))

    def forget(self, where: str, info: ObjectInfo) -> None:
        """Remove the copy of an object, which may be damaged."""
        remove_file(self._path(where, info))

    def _keep(self, temporary: Path, path: Path) -> None:
        with local_io("writing", path):
            disk().replace(temporary, path)

    def _path(self, where: str, info: ObjectInfo) -> Path:
        mark = f"{where}\n{info.etag}\n{info.bytes}"
        return self.folder / hashlib.sha256(mark.encode()).hexdigest()

    def _make_room(self, needed: int) -> None:
        with local_io("listing", self.folder):
            held = disk().sizes(self.folder)
        excess = sum(size for _, size in held) + needed - self.bytes_max
        for name, size in held:
            if excess <= 0:
                return
            if not name.endswith(TEMPORARY_SUFFIX):  # another process writes it
                with suppress(FileNotFoundError):
                    remove_file(self.folder / name)
                excess -= size
