"""Read the points of a server's snapshot file, through the engine's own storage code.

The file is unpacked below --dir, and what was unpacked is removed at the end.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from typing_extensions import override

from migrate.errors import PreconditionError
from migrate.qdrant.folder.copy import REPORTED_BYTES_MIN, check_room, own_folder
from migrate.qdrant.folder.layout import StoredCollection, find_collection
from migrate.qdrant.folder.server_snapshot.archive import Archive
from migrate.qdrant.folder.server_snapshot.unpack import Snapshot
from migrate.qdrant.folder.source import EdgeSource
from migrate.storage.disk import disk
from migrate.storage.durable import local_io
from migrate.storage.hashed_file import hash_open_file

HOME = "collection"  # of what is unpacked
# A server names the file NAME-PEER-TIME.snapshot; nothing in it has the name.
SERVER_NAME = re.compile(r"(?P<name>.+)-\d+-\d{4}(?:-\d\d){5}\.snapshot")


class SnapshotFileSource(EdgeSource):
    """`ports.PointSource` over a snapshot file of a server; `close` removes what was unpacked.

    The file is a snapshot of one collection, or of a storage with that collection. Its SHA-256 is
    a part of the identity. Raises PreconditionError for a file that is not whole or lacks a shard.
    """

    KIND = "a snapshot file of a server"
    _sha256: str

    @override
    def identity(self) -> dict[str, str]:
        return {**super().identity(), "sha256": self._sha256}

    @override
    @contextmanager
    def _at_hand(
        self, copies: Path | None, say: Callable[[str], None]
    ) -> Iterator[tuple[StoredCollection, Sequence[Path]]]:
        with own_folder(copies) as folder:
            home = folder / HOME
            self._unpack(home, say)
            stored = self._find(home)
            shards = tuple(
                replace(shard, path=self._path / str(shard.number)) for shard in stored.shards
            )
            yield replace(stored, shards=shards), [shard.path for shard in stored.shards]

    def _unpack(self, home: Path, say: Callable[[str], None]) -> None:
        with (
            local_io("reading", self._path),
            disk().open_to_read(self._path, follow_links=True) as file,
            ExitStack() as stack,
        ):
            before = os.fstat(file.fileno())
            _, self._sha256 = hash_open_file(file)
            snapshot = Snapshot.find(Archive(file, str(self._path)), self._name, stack)
            check_room(snapshot.bytes, home.parent)
            if snapshot.bytes >= REPORTED_BYTES_MIN:
                say(
                    f"unpacking {snapshot.bytes:,} bytes to {home.parent}: they are read from there"
                )
            snapshot.unpack(home)
            after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise PreconditionError(
                f"{self._path} changed while it was read",
                remedy="wait until it is written, then run the same command again",
            )

    def _find(self, home: Path) -> StoredCollection:
        named = SERVER_NAME.fullmatch(self._path.name)
        try:
            return find_collection(home, name=self._name if named is None else named["name"])
        except PreconditionError as error:
            if str(home) not in str(error):
                raise
            raise PreconditionError(
                str(error).replace(str(home), str(self._path)),
                remedy="a snapshot has only the shards of the node that made it: read the running "
                "server with source.url, or restore all snapshots in a server and read that",
            ) from error
