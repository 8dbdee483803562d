"""Find a collection in a folder of the Python client's local mode.

`QdrantClient(path=...)` keeps all its collections in one folder: `meta.json` describes them, and
each has a SQLite file in `collection/NAME`. A file `.lock` is locked as long as a client is open.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from migrate.errors import PreconditionError
from migrate.model.canonical import decode_json
from migrate.qdrant.collection import Json
from migrate.storage.disk import disk
from migrate.storage.durable import local_io

META = "meta.json"
COLLECTION = "collection"
STORAGE = "storage.sqlite"
LOCK = ".lock"
OLD_STORAGE = "storage.dbm"  # of clients before 1.1.7
META_BYTES_MAX = 16_000_000
SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class LocalCollection:
    """A collection of the folder."""

    name: str  # an alias is replaced
    config: Json  # the request that created it
    folder: Path  # holds the SQLite file
    lock: Path | None  # None: no client has opened the folder since it was copied here


def is_local_mode(path: Path) -> bool:
    """Whether a folder is one of the local mode, or a part of one."""
    return _is_home(path) or disk().is_file(path / STORAGE) or _is_home(path.parent)


def find_local_collection(path: Path, collection: str) -> LocalCollection:
    """The collection of this name, or with this alias.

    Raises PreconditionError when there is none, and for a folder within the one to name.
    """
    for home in (path.parent, path.parent.parent):
        if _is_home(home) and not _is_home(path):
            raise PreconditionError(
                f"{path} is a part of the folder {home} of the Python client's local mode",
                remedy=f"set source.path to {home} and source.collection to the collection",
            )
    if not _is_home(path):
        raise _no_description(path, f"it has no {META} and no folder '{COLLECTION}'")
    meta = _read_meta(path)
    collections = cast(Mapping[str, object], meta["collections"])
    aliases = meta.get("aliases")
    name = collection
    if collection not in collections and isinstance(aliases, Mapping):
        name = str(aliases.get(collection, collection))
    config = collections.get(name)
    if config is None or not isinstance(config, Mapping):
        shown = ", ".join(sorted(collections)[:SHOWN_MAX]) or "none"
        raise PreconditionError(
            f"{path} has no collection '{collection}'; it has {shown}",
            remedy="set source.collection to one of these",
        )
    lock = path / LOCK
    return LocalCollection(
        name=name,
        config=cast(Json, config),
        folder=_storage_folder(path, name),
        lock=lock if disk().is_file(lock) else None,
    )


def _is_home(path: Path) -> bool:
    return disk().is_file(path / META) and disk().is_folder(path / COLLECTION)


def _storage_folder(path: Path, name: str) -> Path:
    folder = path / COLLECTION / name
    if Path(name).name != name:
        raise _no_description(path, f"'{name}' is no name of a collection")
    if disk().is_file(folder / STORAGE):
        return folder
    if any(found.startswith(OLD_STORAGE) for found in disk().names(folder)):
        raise PreconditionError(
            f"{folder} was written by a Python client before 1.1.7, in another format",
            remedy="open it with a client of a version from 1.1.7 to 1.16, which converts it",
        )
    raise PreconditionError(
        f"{folder} has no {STORAGE}", remedy="copy the whole folder again, with all collections"
    )


def _read_meta(path: Path) -> Json:
    with local_io("reading", path / META), disk().open_to_read(path / META) as file:
        text = file.read(META_BYTES_MAX)
    try:
        meta = decode_json(text)
    except ValueError as error:
        raise _no_description(path, f"{META} is no JSON: {error}") from error
    if not isinstance(meta, Mapping) or not isinstance(meta.get("collections"), Mapping):
        raise _no_description(path, f"{META} names no collections")
    return cast(Json, meta)


def _no_description(path: Path, why: str) -> PreconditionError:
    return PreconditionError(
        f"{path} is no folder of the Python client's local mode that q2v can read: {why}",
        remedy="copy the folder again while no client has it open",
    )
