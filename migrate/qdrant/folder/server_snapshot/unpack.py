"""Unpack a server's snapshot of a collection into the folder that the server would make of it.

A snapshot is a tar archive. Beside `config.json` it has a folder for each shard, as in
`collections/NAME`; only the segments lie in another form, which `SegmentForm` describes. A snapshot
of the whole storage is an archive of such archives.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import cast

from migrate.errors import PreconditionError
from migrate.model.canonical import decode_json
from migrate.qdrant.folder.layout import CONFIG
from migrate.qdrant.folder.server_snapshot.archive import Archive
from migrate.storage.disk import disk
from migrate.storage.durable import local_io

SEGMENTS = "segments"
COLLECTIONS_MAPPING = "collections_mapping"  # of a snapshot of the whole storage
CONFIG_BYTES_MAX = 16_000_000
PARTIAL = "segment_manifest.json"  # only in a snapshot that updates an older one
ROCKSDB = frozenset({"db_backup", "payload_index_db_backup"})
SHOWN_MAX = 20


class SegmentForm(StrEnum):
    """Where the files of a segment lie, below the folder `segments` of a shard."""

    STREAMABLE = "files"  # ID/files/...
    REGULAR = "snapshot/files"  # in an archive of its own, ID.tar


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the snapshot, and its place in the folder of the collection."""

    archive: Archive
    path: PurePosixPath  # in the archive
    place: PurePosixPath


class Snapshot:
    """An open snapshot file of one collection."""

    def __init__(self, archive: Archive, stack: ExitStack) -> None:
        self._archive = archive
        self._files = list(_files(archive, stack))
        places = [file.place for file in self._files]
        if len(set(places)) < len(places):
            raise archive.refused("it has a segment twice")

    @classmethod
    def find(cls, archive: Archive, collection: str, stack: ExitStack) -> "Snapshot":
        """The snapshot of `collection` in an archive; `stack` holds what is opened for it.

        Raises PreconditionError when it holds another collection, one shard alone, or segments in
        a form that only a server reads.
        """
        config = _config(archive)
        mapping = config.get(COLLECTIONS_MAPPING)
        if not isinstance(mapping, Mapping):
            return cls(archive, stack)
        name = PurePosixPath(str(mapping.get(collection)))
        if collection not in mapping or name not in archive.paths:
            raise _not_among(archive, collection, sorted(map(str, mapping)))
        inner = Archive(stack.enter_context(archive.opened(name)), f"{name} in {archive.where}")
        if COLLECTIONS_MAPPING in _config(inner):
            raise inner.refused("it is a snapshot of a storage inside of another one")
        return cls(inner, stack)

    @property
    def bytes(self) -> int:
        """The size of all files when they are unpacked."""
        return sum(file.archive.bytes_of(file.path) for file in self._files)

    def unpack(self, home: Path) -> None:
        """Write the folder of the collection to `home`, which is made."""
        with local_io("unpacking a snapshot to", home):
            disk().make_folder(home)
            made = {home}
            for file in self._files:
                target = home / file.place
                for folder in reversed(target.parents):
                    if folder.is_relative_to(home) and folder not in made:
                        disk().make_folder(folder)
                        made.add(folder)
                file.archive.unpack(file.path, target)


def _config(archive: Archive) -> Mapping[str, object]:
    """The description in the archive: that of a collection, or that of a storage."""
    path = PurePosixPath(CONFIG)
    if path not in archive.paths:
        if any(found.parts[0] == SEGMENTS for found in archive.paths):
            raise archive.refused(
                "it is a snapshot of one shard, and nothing in it tells how many shards the "
                "collection has",
                remedy="make a snapshot of the whole collection (POST /collections/NAME/snapshots) "
                "and set source.path to that, or read the running server with source.url",
            )
        raise archive.refused(f"it has no {CONFIG}")
    if archive.bytes_of(path) > CONFIG_BYTES_MAX:
        raise archive.refused(f"its {CONFIG} is larger than {CONFIG_BYTES_MAX:,} bytes")
    with archive.opened(path) as file:
        text = file.read()
    try:
        config = decode_json(text)
    except ValueError as error:
        raise archive.refused(f"its {CONFIG} is no JSON: {error}") from error
    if not isinstance(config, Mapping) or not {"params", COLLECTIONS_MAPPING} & config.keys():
        raise archive.refused(f"its {CONFIG} describes no collection")
    return cast(Mapping[str, object], config)


def _not_among(archive: Archive, collection: str, names: list[str]) -> PreconditionError:
    shown = ", ".join(names[:SHOWN_MAX]) + " and more" * (len(names) > SHOWN_MAX)
    return archive.refused(
        f"it has no snapshot of collection '{collection}', it has those of {shown or 'none'}",
        remedy="set source.collection to one of these",
    )


def _files(archive: Archive, stack: ExitStack) -> Iterator[_File]:
    for path in archive.paths:
        match path.parts:
            case (_, "segments", segment, *_) if segment.startswith("."):
                continue  # a server passes over it too
            case (shard, "segments", segment):
                yield from _segment_archive(archive, path, PurePosixPath(shard), segment, stack)
            case (shard, "segments", segment, *rest):
                inner = _stripped(archive, SegmentForm.STREAMABLE, PurePosixPath(*rest))
                yield _File(archive, path, PurePosixPath(shard, SEGMENTS, segment) / inner)
            case _:
                yield _File(archive, path, path)


def _segment_archive(
    archive: Archive, path: PurePosixPath, shard: PurePosixPath, name: str, stack: ExitStack
) -> Iterator[_File]:
    """The files of a segment that is an archive of its own."""
    segment = name.removesuffix(".tar")
    if segment == name:
        raise archive.refused(f"{path} is no segment")
    inner = Archive(stack.enter_context(archive.opened(path)), f"{path} in {archive.where}")
    for found in inner.paths:
        place = _stripped(inner, SegmentForm.REGULAR, found)
        yield _File(inner, found, shard / SEGMENTS / segment / place)


def _stripped(archive: Archive, form: SegmentForm, path: PurePosixPath) -> PurePosixPath:
    """The path of a file in the folder of its segment."""
    start = PurePosixPath(form)
    outer = start.parent  # of the files, and of the copies of RocksDB
    if path.is_relative_to(outer) and ROCKSDB.intersection(path.relative_to(outer).parts[:1]):
        raise archive.refused(
            "its segments are in RocksDB, as before server 1.16, and only a server reads those",
            remedy="recover the snapshot in a server (PUT /collections/NAME/snapshots/recover) and "
            "read that with source.url",
        )
    if not path.is_relative_to(start):
        raise archive.refused(f"{path} is in no known place of a segment")
    if path.name == PARTIAL:
        raise archive.refused("it is a partial snapshot: it only updates an older one")
    return path.relative_to(start)
