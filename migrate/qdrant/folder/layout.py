"""Find the shards of a collection in a folder of Qdrant, and refuse an incomplete collection.

A server keeps a collection in `collections/NAME`: `config.json` holds the number of shards, and
each shard has a folder named by its number. An embedded store is a single such folder. This module
only reads, and only small JSON files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from migrate.errors import PreconditionError
from migrate.model.canonical import decode_json
from migrate.qdrant.sharding.shards import READABLE, Json, is_custom
from migrate.storage.durable import local_io
from migrate.words import counted

CONFIG = "config.json"  # of a collection
SHARD_CONFIG = "shard_config.json"
REPLICA_STATE = "replica_state.json"
RESHARDING_STATE = "resharding_state.json"
SHARD_KEYS = "shard_key_mapping.json"
EMBEDDED_CONFIG = "edge_config.json"  # written by the embedded engine, not by a server
COLLECTIONS = "collections"
NAMES_SHOWN_MAX = 20


@dataclass(frozen=True, slots=True)
class ShardFolder:
    """One shard on the disk."""

    number: int | None  # in the collection; None: an embedded store
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCollection:
    """All shards of a collection."""

    shards: tuple[ShardFolder, ...]  # by number, at least one
    config: Json | None  # the collection's `config.json`; None: an embedded store
    name: str | None  # the server's name of it; None when not known
    warnings: tuple[str, ...] = ()


def find_collection(path: Path, *, name: str | None = None) -> StoredCollection:
    """The whole collection in `path`, or the one whose only shard is `path`.

    `name` is that of the collection where the folder has another one. Raises PreconditionError for
    a folder without a shard, a part of a collection, incomplete shards, custom sharding, and a
    server's folder of several collections.
    """
    with local_io("looking for a shard in", path):
        if not path.exists():
            raise PreconditionError(
                f"{path} does not exist, expected a folder or a snapshot file of Qdrant",
                remedy="correct source.path; a relative one counts from the folder of the command",
            )
        if _holds_shard(path):
            return _around(path)
        config = _read_config(path)
        if config is not None:
            return _whole(path, config, name=name)
        _refuse_storage(path)
        _refuse_shards_alone(path)
        snapshots = sorted(path.glob("*.snapshot"))
    raise PreconditionError(
        f"{path} holds no Qdrant shard (no segments/*/segment.json)"
        + f"; it has {counted(len(snapshots), 'snapshot file')}" * bool(snapshots),
        remedy=f"set source.path to one of them, such as {snapshots[-1]}"
        if snapshots
        else "set source.path to the folder that holds `segments`, to a server's folder "
        "collections/NAME, or to a local mode's folder, which holds meta.json",
    )


def _holds_shard(path: Path) -> bool:
    return any(path.glob("segments/*/segment.json"))


def _around(path: Path) -> StoredCollection:
    """The collection of a shard's folder, if the shard is its only one."""
    # `path` may be a link to a shard, or the collection may link to a shard on another disk.
    for home in (path.absolute(), path.resolve()):
        config = _read_config(home.parent) if _is_number(home.name) else None
        if config is not None:
            return _only_shard(path, int(home.name), home.parent, config)
    if any((path / name).is_file() for name in (SHARD_CONFIG, REPLICA_STATE)):
        raise PreconditionError(
            f"{path} is one shard of a server's collection, and no {CONFIG} beside it tells how "
            "many shards there are",
            remedy="copy the whole folder collections/NAME of the server and set source.path to "
            "that, or read the running server with source.url",
        )
    warnings: tuple[str, ...] = ()
    if not (path / EMBEDDED_CONFIG).is_file():
        warnings = (
            f"{path} holds no {EMBEDDED_CONFIG}: a server wrote this shard, and nothing here tells "
            "whether its collection has others",
        )
    return StoredCollection(
        shards=(ShardFolder(None, path),), config=None, name=None, warnings=warnings
    )


def _only_shard(path: Path, number: int, home: Path, config: Json) -> StoredCollection:
    found = _whole(home, config)
    if len(found.shards) > 1:
        raise PreconditionError(
            f"{path} is shard {number} of collection '{home.name}', which has {len(found.shards)} "
            f"shards: {_numbers([shard.number for shard in found.shards])}",
            remedy=f"set source.path to {home}: all its shards are read as one collection",
        )
    return StoredCollection(
        shards=(ShardFolder(number, path),), config=config, name=found.name, warnings=found.warnings
    )


def _whole(path: Path, config: Json, *, name: str | None = None) -> StoredCollection:
    """All shards of the collection in `path`. Raises PreconditionError when one is missing."""
    name = path.resolve().name if name is None else name
    params = _params(path, config)
    if is_custom(params):
        raise _custom_sharding(name, _shard_keys(path))
    declared = params.get("shard_number", 1)
    if not isinstance(declared, int) or isinstance(declared, bool) or declared < 1:
        raise _no_description(path, f"shard_number is {declared!r}")
    flaws = _flaws(path, declared)
    if flaws:
        raise PreconditionError(
            f"{path} does not hold all of collection '{name}', which has {declared} "
            f"{'shard' if declared == 1 else 'shards'}: {'; '.join(flaws)}",
            remedy="copy the folder again from a stopped server that holds every shard, or read "
            "the running server with source.url",
        )
    shards = tuple(ShardFolder(number, path / str(number)) for number in range(declared))
    return StoredCollection(shards=shards, config=config, name=name)


def _flaws(path: Path, declared: int) -> list[str]:
    """Why the shards in a collection's folder are incomplete; empty when they are complete."""
    flaws = []
    resharding = _read_json(path / RESHARDING_STATE)
    if resharding:
        flaws.append("resharding is under way")
    for number in range(declared):
        flaw = _shard_flaw(path, number)
        if flaw is not None:
            flaws.append(flaw)
    extra = [number for number in _shard_numbers(path) if number >= declared]
    if extra:
        flaws.append(f"{CONFIG} does not name shard {_numbers(extra)}")
    return flaws


def _shard_flaw(path: Path, number: int) -> str | None:
    folder = path / str(number)
    state = _read_json(folder / REPLICA_STATE)
    replicas = cast(Json, state) if isinstance(state, Mapping) else {}
    if replicas.get("is_local") is False:
        return f"shard {number} is on another node"
    if not folder.is_dir():
        return f"shard {number} is missing"
    if not _holds_shard(folder):
        return f"shard {number} holds no segments"
    if (path / f"shard_{number}.initializing").exists():
        return f"shard {number} was never completed"
    return _replica_flaw(number, replicas)


def _replica_flaw(number: int, replicas: Json) -> str | None:
    peers = replicas.get("peers")
    if not isinstance(peers, Mapping):
        return None
    own = peers.get(str(replicas.get("this_peer_id")))
    alone = len(peers) == 1 and own == "Initializing"  # a single node counts it as active too
    if own is None or own in READABLE or alone:
        return None
    return f"shard {number} is {own} on this node, so it may lack points"


def _refuse_storage(path: Path) -> None:
    """Raises PreconditionError when `path` is a folder of several collections."""
    for folder in (path / COLLECTIONS, path):
        names = _collection_names(folder)
        if names:
            shown = ", ".join(names[:NAMES_SHOWN_MAX])
            more = f" and {len(names) - NAMES_SHOWN_MAX} more" * (len(names) > NAMES_SHOWN_MAX)
            raise PreconditionError(
                f"{path} is a server's storage, not one collection; it has {shown}{more}",
                remedy=f"set source.path to the folder of one, such as {folder / names[0]}",
            )


def _refuse_shards_alone(path: Path) -> None:
    """Raises PreconditionError for shards without the file that holds their number."""
    numbers = _shard_numbers(path) if path.is_dir() else []
    if numbers:
        raise PreconditionError(
            f"{path} holds shard {_numbers(numbers)} and no {CONFIG} that tells how many shards "
            "the collection has",
            remedy="copy the whole folder collections/NAME of a stopped server and set "
            "source.path to that, or read the running server with source.url",
        )


def _shard_numbers(path: Path) -> list[int]:
    return sorted(
        int(inner.name)
        for inner in path.iterdir()
        if _is_number(inner.name) and _holds_shard(inner)
    )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _collection_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        inner.name for inner in folder.iterdir() if inner.is_dir() and _read_config(inner)
    )


def _read_config(folder: Path) -> Json | None:
    """The collection's `config.json`; None when the folder is no collection's."""
    try:
        config = _read_json(folder / CONFIG)
    except PreconditionError:
        # The file matters only in a folder that holds shards.
        if _shard_numbers(folder):
            raise
        return None
    if isinstance(config, Mapping) and isinstance(config.get("params"), Mapping):
        return cast(Json, config)
    return None


def _params(path: Path, config: Json) -> Json:
    params = config.get("params")
    if not isinstance(params, Mapping):
        raise _no_description(path, "no object where params belongs")
    return cast(Json, params)


def _shard_keys(path: Path) -> list[str]:
    """The shard keys as texts; a server writes them in one of two forms."""
    found = _read_json(path / SHARD_KEYS)
    pairs: Sequence[tuple[object, object]] = []
    if isinstance(found, Mapping):
        pairs = list(found.items())
    elif isinstance(found, list):
        pairs = [
            (entry.get("key"), entry.get("shard_ids"))
            for entry in found
            if isinstance(entry, Mapping)
        ]
    return [f"'{key}' (shard {_numbers(ids)})" for key, ids in pairs if isinstance(ids, list)]


def _custom_sharding(name: str, shard_keys: Sequence[str]) -> PreconditionError:
    known = f"; its shard keys: {', '.join(shard_keys)}" if shard_keys else ""
    return PreconditionError(
        f"collection '{name}' uses custom sharding, and q2v reads shard keys from a running server "
        f"only{known}",
        remedy="start a server on this folder, or let one recover the snapshot file, and set "
        "source.url",
    )


def _read_json(path: Path) -> object:
    """The content of a small JSON file; None when there is no such file."""
    if not path.is_file():
        return None
    try:
        return decode_json(path.read_bytes())
    except ValueError as error:
        raise _no_description(path.parent, f"{path.name} is no JSON: {error}") from error


def _no_description(path: Path, why: str) -> PreconditionError:
    return PreconditionError(
        f"{path} does not describe a collection: {why}",
        remedy="copy the folder again from a stopped server, or read the running server with "
        "source.url",
    )


def _numbers(numbers: Sequence[object]) -> str:
    return ", ".join(map(str, numbers))
