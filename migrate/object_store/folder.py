"""A folder in an object store, which implements the storage port.

Snapshots are in the store. What grows by lines, is locked, or is read at random is on this machine:
the runs of a snapshot, and scratch space (decision 0068).
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from typing_extensions import override

from migrate.errors import LocalStorageError, PreconditionError
from migrate.object_store.address import ObjectAddress, is_object_address, parse_object_address
from migrate.object_store.client import (
    CREATE_BYTES_MAX,
    ObjectInfo,
    ObjectMissingError,
    ObjectStore,
    as_file,
    missing,
    open_store,
)
from migrate.object_store.copies import Copies
from migrate.storage.disk import disk
from migrate.storage.folder import Appender, Check, StoredFile, WorkFolder
from migrate.storage.hashed_file import HashedFile, check_same_bytes, hash_open_file
from migrate.storage.layout import BUDGET, LOCK, RUNS, SOURCE_COPIES, SPILL
from migrate.storage.local_folder import LocalFolder, local_file

COPIES = ".cache"  # below the local folder of --dir
PROBE = ".q2v-creates"  # an object that shows whether the store keeps what is there
_LOCAL_NAMES = {RUNS, SPILL, LOCK, BUDGET, SOURCE_COPIES}
_CREATES_MAX = 3  # attempts, when another writer is in the middle of its own


@dataclass(frozen=True, slots=True)
class ObjectFolder:
    """See `WorkFolder`. Any number of machines may write at once: what is there is never replaced.

    `open_to_write` replaces; it is for files that one process alone writes.
    """

    place: ObjectAddress
    local: LocalFolder  # on this machine: what belongs to this folder and is not in the store
    copies: Copies = field(compare=False)

    @override
    def __str__(self) -> str:
        """The address, as the operator types it."""
        return str(self.place)

    @property
    def is_shared(self) -> bool:
        """See Folder."""
        return True

    @property
    def name(self) -> str:
        """See Folder."""
        return self.place.name

    @property
    def parent(self) -> "ObjectFolder":
        """See Folder."""
        return ObjectFolder(self.place.parent, self.local.parent, self.copies)

    @property
    def _store(self) -> ObjectStore:
        return open_store(self.place.bucket)

    def _key(self, name: str) -> str:
        return self.place.child(name).key

    def file(self, name: str) -> StoredFile:
        """See Folder."""
        return StoredFile(self, name)

    def child(self, name: str) -> WorkFolder:
        """See Folder: what is on this machine, or another folder of the store."""
        if name in _LOCAL_NAMES:
            return LocalPart(self.local.path / name, self)
        return ObjectFolder(
            self.place.child(name), LocalFolder(self.local.path / name), self.copies
        )

    def address(self, name: str) -> str:
        """See Folder."""
        return self.local.address(name) if name in _LOCAL_NAMES else str(self.place.child(name))

    def make(self) -> None:
        """Check, once in a process, that the store keeps what is there; nothing else to make.

        Raises PreconditionError for a store that replaces an object in spite of If-None-Match.
        """
        if not self._store.keeps:
            _check_creates(self._store, self._key(PROBE), self.address(PROBE))
            self._store.keeps = True

    def clear(self) -> None:
        """See Folder."""
        self._store.remove(self._store.keys(self.place.key))
        self.local.clear()

    def refuse_links(self, *children: str) -> None:
        """See Folder: a store has none; the local folder may."""
        self.local.refuse_links(*(name for name in children if name in _LOCAL_NAMES))

    def names(self) -> list[str]:
        """See Folder."""
        objects, folders = self._store.names(self.place.key)
        local = [name for name in self.local.names() if name in _LOCAL_NAMES]
        return sorted({*objects, *folders, *local} - {PROBE})

    def has(self, name: str) -> bool:
        """See Folder."""
        if name in _LOCAL_NAMES:
            return self.local.has(name)
        key = self._key(name)
        return self._store.head(key) is not None or self._store.is_folder(key)

    def has_file(self, name: str) -> bool:
        """See Folder."""
        key = self._key(name)
        if self._store.head(key) is not None:
            return True
        if self._store.is_folder(key):
            raise LocalStorageError(
                f"reading {self.address(name)}: objects lie below this name, expected an object",
                remedy="remove them, or use another --dir",
            )
        return False

    def has_folder(self, name: str) -> bool:
        """See Folder."""
        if name in _LOCAL_NAMES:
            return self.local.has_folder(name)
        key = self._key(name)
        return self._store.head(key) is None and self._store.is_folder(key)

    def room_bytes(self) -> int | None:
        """See Folder: a store names no limit."""
        return None

    @contextmanager
    def open_to_read(self, name: str) -> Iterator[BinaryIO]:
        """See Folder."""
        where = self.address(name)
        info = self._info(name)
        try:
            with self.copies.reading(self._store, self._key(name), info, where) as file:
                yield file
        except ObjectMissingError:
            raise missing(where) from None

    def _info(self, name: str) -> ObjectInfo:
        info = self._store.head(self._key(name))
        if info is None:
            raise missing(self.address(name))
        return info

    @contextmanager
    def open_to_write(self, name: str) -> Iterator[HashedFile]:
        """See Folder."""
        with self.copies.writing() as (file, path):
            yield file
            file.flush()
            with _reading(path) as written:
                self._store.replace(self._key(name), written)
            self.copies.forget(self.address(name), self._info(name))

    @contextmanager
    def open_to_create(self, name: str, *, check: Check | None = None) -> Iterator[HashedFile]:
        """See Folder."""
        with self.copies.writing() as (file, path):
            yield file
            file.flush()
            if file.bytes > CREATE_BYTES_MAX:
                raise PreconditionError(
                    f"{self.address(name)}: {file.bytes:,} B, one request creates at most "
                    f"{CREATE_BYTES_MAX:,}",
                    remedy="write it to a local folder, and copy it to the store with a tool of "
                    "the store",
                )
            if check is not None:
                check(local_file(path))
            with _reading(path) as written:
                info = self._create(name, written, file)
            self.copies.keep(path, self.address(name), info)

    def _create(self, name: str, written: BinaryIO, file: HashedFile) -> ObjectInfo:
        key = self._key(name)
        for _ in range(_CREATES_MAX):
            created = self._store.create(key, written)
            info = self._store.head(key)
            if info is None:  # the store refused two writers at once, and took neither
                continue
            if not created:
                with self.open_to_read(name) as found:
                    check_same_bytes(self.address(name), file, hash_open_file(found))
            return info
        raise LocalStorageError(
            f"writing {self.address(name)}: it was created and is not there",
            remedy="look who removes it, then run the same command again: it resumes",
        )

    def remove(self, name: str) -> None:
        """See Folder."""
        self._store.remove([self._key(name)])

    def appender(self, name: str, *, size: int) -> Appender:
        """Raises LocalStorageError: an object cannot grow."""
        raise LocalStorageError(
            f"appending to {self.address(name)}: an object cannot grow",
            remedy="use a local --dir for this command",
        )

    def scratch(self, name: str) -> Path:
        """See WorkFolder."""
        return self.local.scratch(name)


def _reading(path: Path) -> AbstractContextManager[BinaryIO]:
    return local_file(path).open_to_read()


@dataclass(frozen=True, slots=True)
class LocalPart(LocalFolder):
    """A folder on this machine that belongs to a folder of the store: its parent is that one."""

    above: WorkFolder

    @override
    def __str__(self) -> str:
        """The path; the command that is given it finds the folder of the store by --dir."""
        return str(self.path)

    @property
    @override
    def parent(self) -> WorkFolder:  # type: ignore[override]
        """See Folder."""
        return self.above

    @override
    def child(self, name: str) -> "LocalPart":
        """See Folder."""
        return LocalPart(self.path / name, self)


def object_folder(address: ObjectAddress, local: Path) -> ObjectFolder:
    """The folder at an address; `local` is its folder on this machine, with the copies."""
    return ObjectFolder(address, LocalFolder(local), Copies(local / COPIES))


def _check_creates(store: ObjectStore, key: str, where: str) -> None:
    store.create(key, as_file(b"q2v looks here whether this store keeps what is there.\n"))
    if store.create(key, as_file(b"This store replaces what it has to keep.\n")):
        raise PreconditionError(
            f"the object store replaced {where} in spite of If-None-Match: *: two machines could "
            "write over each other unseen",
            remedy="use a store with conditional writes (S3, R2), or a local --dir",
        )


def find_below(directory: WorkFolder, typed: Path) -> WorkFolder | None:
    """The folder of a store that an address or a path leads to; None when it is none of these.

    Its parts on this machine are found by their paths below the local folder of `directory`.
    """
    if not isinstance(directory, ObjectFolder):
        return None
    if is_object_address(typed):
        return _find_address(directory, parse_object_address(typed))
    here = disk().absolute(directory.local.path)
    path = disk().absolute(typed)
    if here not in path.parents:
        return None
    return _walk(directory, path.relative_to(here).parts)


def _find_address(directory: ObjectFolder, address: ObjectAddress) -> WorkFolder | None:
    above = f"{directory.place.key}/" if directory.place.key else ""
    if address.bucket.name != directory.place.bucket.name or not address.key.startswith(above):
        return None
    return _walk(directory, address.key.removeprefix(above).split("/"))


def _walk(directory: WorkFolder, names: Iterable[str]) -> WorkFolder:
    for name in names:
        directory = directory.child(name)
    return directory
