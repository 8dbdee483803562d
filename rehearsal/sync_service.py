"""The sync service of a rehearsal: writes to the source, and after the cutover to the target.

It writes as a service does that knows nothing of q2v: into the embedded store with its own engine,
and into the sandbox behind the API.
"""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from migrate.mapping.kv_entries import encode_file_value
from migrate.mapping.payload import encode_kv_key
from migrate.model.canonical import decode_json
from migrate.model.records import VectorId
from migrate.snapshot.folder import Snapshot
from migrate.words import counted
from rehearsal.context import INDEX, Context
from rehearsal.corpus.embedding import embed_texts

CHANGED, DELETED, ADDED = 5, 3, 4  # points of each turn
NEW_FILE = "after-the-cutover"
COUNTER_BEFORE = b"30"  # what an earlier trial has left


@dataclass(frozen=True, slots=True)
class Writes:
    """What one turn has written into the source."""

    added: int
    changed: int
    deleted: int

    def in_words(self) -> str:
        """For people."""
        return (
            f"{counted(self.added, 'point')} added, {self.changed} changed, {self.deleted} deleted"
        )


def write_to_source(path: Path, snapshot: Snapshot, turn: int) -> Writes:
    """Add a file, change some chunks and delete some others, in the embedded store at `path`.

    Each turn, from 0, takes other points of the snapshot.
    """
    # The engine is 14 MB of machine code: loaded only when it is needed.
    import qdrant_edge as edge  # noqa: PLC0415

    first = turn * (CHANGED + DELETED)
    names = [spec.name for spec in snapshot.manifest.vectors]
    rows = next(
        snapshot.read(with_vectors=names, first_row=first, end_row=first + CHANGED + DELETED)
    )
    dimensions = snapshot.manifest.vectors[0].dimensions
    assert dimensions is not None
    ids = [uuid.UUID(one.text) for one in rows.page.ids]
    changed = [
        {**_payload(text), "text": f"changed in turn {turn}"}
        for text in rows.page.payloads[:CHANGED]
    ]
    added = [_chunk(f"while-moving-{turn}", number) for number in range(ADDED)]
    new_ids = [uuid.uuid5(uuid.NAMESPACE_URL, f"{turn}/{number}") for number in range(ADDED)]
    values = embed_texts([str(one["text"]) for one in [*changed, *added]], dimensions)
    pairs = zip([*ids[:CHANGED], *new_ids], values, [*changed, *added], strict=True)
    shard = edge.EdgeShard.load(str(path))
    try:
        points = [edge.Point(one, row, payload) for one, row, payload in pairs]
        shard.update(edge.UpdateOperation.upsert_points(points))
        shard.update(edge.UpdateOperation.delete_points([*ids[CHANGED:]]))
        shard.flush()
    finally:
        shard.close()
    return Writes(added=ADDED, changed=CHANGED, deleted=len(ids) - CHANGED)


def _payload(text: bytes) -> dict[str, object]:
    payload = decode_json(text)
    assert isinstance(payload, dict)
    return payload


def _chunk(file: str, number: int) -> dict[str, object]:
    text = f"chunk {number} of {file}, written while the collection moves"
    return {
        "file_id": file,
        "file_name": f"{file}.txt",
        "file_path": f"/drive/{file}.txt",
        "chunk_index": number,
        "chunk_hash": hashlib.sha256(text.encode()).hexdigest(),
        "last_modified": "2026-11-29T20:00:00Z",
        "text": text,
    }


def write_to_the_new_side(context: Context, dimensions: int) -> list[VectorId]:
    """Add a file in the target as a Worker does after the cutover: vectors, entry, counter."""
    store, rules = context.sandbox.store, context.tool.plan_rules()
    chunks = [_chunk(NEW_FILE, number) for number in range(ADDED)]
    ids = [VectorId(f"{NEW_FILE}_{number}") for number in range(ADDED)]
    values = np.eye(ADDED, dimensions, dtype=np.float32)  # any unit vectors do
    for vector_id, row, payload in zip(ids, values, chunks, strict=True):
        store.put_vector(INDEX, vector_id, row, orjson.loads(orjson.dumps(payload)))
    store.put_kv(
        context.namespace_id, encode_kv_key(NEW_FILE, rules.mapping), encode_file_value(ids)
    )
    held = sum(1 for _ in store.read_vectors(INDEX))
    store.put_kv(context.namespace_id, rules.writes.counter_key, str(held).encode())
    context.clock.wait(context.settled_s)  # until then a read may show the former state
    return ids


def take_the_new_side_away(context: Context, ids: Sequence[VectorId]) -> None:
    """Remove what the Worker has written, and put the former counter back."""
    store, rules = context.sandbox.store, context.tool.plan_rules()
    for vector_id in ids:
        store.remove_vector(INDEX, vector_id)
    store.remove_kv(context.namespace_id, encode_kv_key(NEW_FILE, rules.mapping))
    store.put_kv(context.namespace_id, rules.writes.counter_key, COUNTER_BEFORE)
