"""The manifest of a snapshot: its parts with counts and digests, and its source.

`content_root` covers what was copied (same collection, same root); `sha256` covers the whole
manifest, times included. Both are checked before anything else of the snapshot is used. Digests
find damage, but anyone who can write the file can recompute them. With a key the file also carries
an HMAC, which only a holder of the key can compute.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from migrate.model.canonical import encode_canonical_json
from migrate.model.hmac_key import SealKey
from migrate.model.records import (
    ShardCount,
    ShardKeyCount,
    VectorKind,
    VectorSpec,
    decode_shard_key,
    encode_shard_key,
    order_shard_keys,
)
from migrate.model.sealed_json import damaged, seal_json, unseal_json

SNAPSHOT_FORMAT = 1
# A snapshot in which every point was read has format 1, which older versions read too.
UNREADABLE_FORMAT = 2
# A difference to a parent, or a snapshot of a moving source.
CHAIN_FORMAT = 3
# A difference for which the vectors of points with an unchanged payload were not read again.
PAYLOAD_FORMAT = 4
# What others wrote to the target after a run: read from the vector index, not from Qdrant.
LATER_FORMAT = 5
# The part of a collection that a filter picks, whole or a difference: older versions would compare
# it with the whole collection.
FILTER_FORMAT = 6
# A collection with custom sharding: the parts have a column of shard keys.
KEYED_FORMAT = 7
# Parts that were written again in an object store have other names.
REVISED_FORMAT = 8
UNREADABLE_MAX = 1_000  # unreadable points that a snapshot may leave out


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """One Parquet file of a snapshot."""

    ordinal: int  # 0-based; the file is parts/part-<ordinal>.parquet
    rows: int
    bytes: int  # size of the file
    sha256: str  # of the file
    first_id: str
    last_id: str
    # How often it was written again where no file is replaced; the file of the second writing is
    # parts/part-<ordinal>.1.parquet.
    revision: int = 0

    def as_json(self) -> dict[str, object]:
        """The fields for a file; a revision of 0 is left out."""
        fields = asdict(self)
        if not self.revision:
            del fields["revision"]
        return fields

    def content(self) -> dict[str, object]:
        """The fields that say what was copied, wherever it lies."""
        return replace(self, revision=0).as_json()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesRecord:
    """The file changes.parquet of a difference: its counts, size and SHA-256."""

    added: int  # points
    changed: int
    deleted: int
    bytes: int
    sha256: str

    @property
    def rows(self) -> int:
        """Points that differ from the parent."""
        return self.added + self.changed + self.deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """A file beside the parts: its rows, size and SHA-256."""

    name: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterRecord:
    """Whose later writes a snapshot holds: those that others made to the target of this run."""

    snapshot_id: str  # of the run
    run_id: str
    plan_fingerprint: str
    vector_target: dict[str, str]  # identities, without secrets
    kv_target: dict[str, str]
    index_created_on: str
    source_dimensions: int  # of the collection that the run moved
    dimensions: int  # of the vector index: the length of the values in the parts
    added: int  # vectors that the run did not write
    changed: int  # vectors of the run that have another content
    deleted: int | None  # vectors of the run that are gone; None: not known
    kv_entries: int  # of files: added, changed or gone
    why_not: str  # why `restore` cannot write the points back; "" when it can
    files: tuple[FileRecord, ...]

    @property
    def returns(self) -> bool:
        """Whether `q2v restore --append` can write the points back into the collection."""
        return not self.why_not


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotManifest:
    """The description of a snapshot that a reader needs before it opens a part.

    A difference has a parent. Its `points`, `set_digest` and `unreadable` are those of the whole:
    the parent's points with the changes applied. Its `parts` hold the added and changed points.
    """

    snapshot_id: str
    tool: str  # name and version that wrote it
    source: dict[str, str]  # where it was read, without secrets; `filter` if one picked the points
    collection: str
    server: str
    config: dict[str, object]  # the server's own description, verbatim
    vectors: tuple[VectorSpec, ...]
    points: int
    parts: tuple[PartRecord, ...]
    set_digest: str  # over all point digests in id order
    count_start: int  # exact count of the source before the first page
    count_end: int  # exact count after the second reading
    second_reading: str  # digest | ids | payload: what the second reading compared; none: `moving`
    started_at: str  # RFC 3339
    sealed_at: str
    parent: str | None = None  # content root of the snapshot this one is a difference to
    # All shards of the collection when it was sealed; empty where the source does not report them.
    shards: tuple[ShardCount, ...] = ()
    unreadable: tuple[str, ...] = ()  # ids of points that the source could not give, in id order
    parent_id: str | None = None  # the folder of the parent, beside this one
    changes: ChangesRecord | None = None  # of a difference
    # Each point is as it was when it was read, and nothing was read twice: no proof of anything.
    moving: bool = False
    # Of a difference: ids and payloads were read of all points, vectors only of points that are new
    # or have another payload. The digests of the other points are the parent's.
    payload_only: bool = False
    later: LaterRecord | None = None  # of an export of later writes
    # With a filter: points of the collection that did not match it, counted when this was sealed.
    left_out: int | None = None
    # Of a collection with custom sharding: every shard key with its points, integers before texts.
    shard_keys: tuple[ShardKeyCount, ...] | None = None

    @property
    def filter(self) -> str | None:
        """The filter of the source that picked the points, as JSON; None: the whole collection."""
        return self.source.get("filter")

    @property
    def format(self) -> int:
        """1 to 8: an older q2v refuses a later format instead of misreading it."""
        if any(part.revision for part in self.parts):
            return REVISED_FORMAT
        return self._content_format

    @property
    def _content_format(self) -> int:
        """The format of the same points where files are replaced."""
        if self.shard_keys is not None:
            return KEYED_FORMAT
        if self.later is not None:
            return LATER_FORMAT
        if self.filter is not None:
            return FILTER_FORMAT
        if self.payload_only:
            return PAYLOAD_FORMAT
        if self.parent is not None or self.moving:
            return CHAIN_FORMAT
        return UNREADABLE_FORMAT if self.unreadable else SNAPSHOT_FORMAT

    @property
    def content_root(self) -> str:
        """SHA-256 over what was copied: the same for every copy of the same points."""
        content = {
            "format": self._content_format,
            "vectors": [asdict(spec) for spec in self.vectors],
            "points": self.points,
            "parts": [part.content() for part in self.parts],
            "set_digest": self.set_digest,
            "parent": self.parent,
            **({"unreadable": list(self.unreadable)} if self.unreadable else {}),
            **({} if self.changes is None else {"changes": asdict(self.changes)}),
            **({} if self.later is None else {"later": asdict(self.later)}),
            **({} if self.filter is None else {"filter": self.filter}),
            **({} if self.shard_keys is None else {"shard_keys": _encode_keys(self.shard_keys)}),
        }
        return hashlib.sha256(encode_canonical_json(content)).hexdigest()

    def spec(self, name: str) -> VectorSpec | None:
        """The vector of this name, None when the collection has none."""
        return next((spec for spec in self.vectors if spec.name == name), None)


@dataclass(frozen=True, slots=True)
class SourceScope:
    """A collection, or the part of it that a filter picks, as the settings name it."""

    collection: str | None  # None: not named, any will do
    filter: str | None  # as in a manifest; None: the whole

    def fits(self, collection: str, point_filter: object) -> bool:
        """Whether these points of this collection are meant."""
        return self.collection is None or (self.collection, self.filter) == (
            collection,
            point_filter,
        )


def name_scope(point_filter: str | None) -> str:
    """The points of a collection that a filter picks, in words."""
    return "all points" if point_filter is None else f"the points that match {point_filter}"


def encode_manifest(manifest: SnapshotManifest, key: SealKey | None = None) -> bytes:
    """The file's content: one JSON object, sealed by its own digest and, with a key, an HMAC."""
    fields = {
        "format": manifest.format,
        **asdict(manifest),
        "parts": [part.as_json() for part in manifest.parts],
        "content_root": manifest.content_root,
    }
    if manifest.shard_keys is not None:
        fields["shard_keys"] = _encode_keys(manifest.shard_keys)
    for name in _left_out(manifest):
        del fields[name]
    return seal_json(fields, key)


def _left_out(manifest: SnapshotManifest) -> Iterator[str]:
    """The members that say nothing of this snapshot: they are not written."""
    yield from [
        name for name in ("shards", "unreadable", "payload_only") if not getattr(manifest, name)
    ]
    yield from [
        name for name in ("later", "left_out", "shard_keys") if getattr(manifest, name) is None
    ]
    if manifest.parent is None and not manifest.moving:
        yield from ("parent_id", "changes", "moving")


def decode_manifest(content: bytes, *, where: str, key: SealKey | None = None) -> SnapshotManifest:
    """The inverse of `encode_manifest`; raises as `unseal_json` does."""
    formats = (
        SNAPSHOT_FORMAT,
        UNREADABLE_FORMAT,
        CHAIN_FORMAT,
        PAYLOAD_FORMAT,
        LATER_FORMAT,
        FILTER_FORMAT,
        KEYED_FORMAT,
        REVISED_FORMAT,
    )
    fields = unseal_json(content, where=where, format_version=formats, key=key)
    root = fields.pop("content_root", None)
    version = fields.pop("format")
    try:
        manifest = _manifest(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(where, f"a field is missing or of another type ({error})") from error
    if version != manifest.format:
        raise damaged(where, f"format {version} with the fields of format {manifest.format}")
    if root != manifest.content_root:
        raise damaged(where, "its content root does not match its parts")
    return manifest


def _manifest(fields: dict[str, object]) -> SnapshotManifest:
    vectors = tuple(
        VectorSpec(**{**spec, "kind": VectorKind(spec["kind"])})
        for spec in _objects(fields, "vectors")
    )
    parts = tuple(PartRecord(**part) for part in _objects(fields, "parts"))
    shards = tuple(ShardCount(**shard) for shard in _objects({"shards": [], **fields}, "shards"))
    # The types of the remaining members need no check: the file's digest matches.
    rest: dict[str, Any] = {k: v for k, v in fields.items() if k not in _CONVERTED}
    unreadable = fields.get("unreadable", [])
    if not isinstance(unreadable, list):
        raise ValueError("unreadable is no list")  # noqa: TRY004 - bad data, not a bug
    changes, later = fields.get("changes"), fields.get("later")
    manifest = SnapshotManifest(
        vectors=vectors,
        parts=parts,
        shards=shards,
        unreadable=tuple(unreadable),
        changes=ChangesRecord(**changes) if isinstance(changes, dict) else None,
        later=_later(later) if isinstance(later, dict) else None,
        shard_keys=_decode_keys(fields) if "shard_keys" in fields else None,
        **rest,
    )
    if len({manifest.parent is None, manifest.parent_id is None, manifest.changes is None}) != 1:
        raise ValueError("only a part of parent, parent_id and changes is there")
    if manifest.payload_only and manifest.parent is None:
        raise ValueError("payload_only without a parent")
    if (manifest.filter is None) != (manifest.left_out is None):
        raise ValueError("only one of filter and left_out is there")
    counted = sum(one.points for one in manifest.shard_keys or ())
    if manifest.shard_keys is not None and counted != manifest.points:
        raise ValueError(f"points by shard key: {counted}, in all: {manifest.points}")
    return manifest


def _later(fields: dict[str, Any]) -> LaterRecord:
    files = tuple(FileRecord(**file) for file in _objects(fields, "files"))
    return LaterRecord(**{**fields, "files": files})


def _encode_keys(keys: Iterable[ShardKeyCount]) -> list[dict[str, object]]:
    return [{"key": decode_shard_key(one.key), "points": one.points} for one in keys]


def _decode_keys(fields: dict[str, object]) -> tuple[ShardKeyCount, ...]:
    found = tuple(
        ShardKeyCount(key=encode_shard_key(one["key"]), points=int(one["points"]))
        for one in _objects(fields, "shard_keys")
    )
    keys = [one.key for one in found]
    if keys != order_shard_keys(keys):
        raise ValueError("shard_keys are not in their order, or one of them is there twice")
    return found


_CONVERTED = {"vectors", "parts", "shards", "unreadable", "changes", "later", "shard_keys"}


def _objects(fields: dict[str, object], key: str) -> Iterable[dict[str, Any]]:
    match fields[key]:
        case list() as values if all(isinstance(value, dict) for value in values):
            return values
        case _:
            raise ValueError(f"{key} is no list of objects")
