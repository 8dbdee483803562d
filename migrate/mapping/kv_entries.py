"""The KV index: the keys and values that belong to a set of vectors."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from migrate.mapping.kv_keys import group_of_key
from migrate.mapping.payload import encode_kv_key
from migrate.mapping.rules import MappingRules, WriteRules
from migrate.mapping.shards import Shards
from migrate.model.canonical import decode_json
from migrate.model.records import KvEntry, VectorId

# The meaning of the counter's number, shown beside it.
COUNTER_MEANING = "all vectors of the index, those of others included"


def encode_file_value(vector_ids: Sequence[VectorId]) -> bytes:
    """The value of a file's key: a JSON list of vector ids, in chunk order."""
    return orjson.dumps(vector_ids)


def decode_file_value(value: bytes) -> list[object] | None:
    """The JSON list that a value holds; None when it holds something else."""
    try:
        ids = decode_json(value)
    except ValueError:
        return None
    return ids if isinstance(ids, list) else None


def encode_file_entry(
    file: str,
    vector_ids: Sequence[VectorId],
    mapping: MappingRules,
    *,
    expiration: int | None,
    namespace: str | None = None,
    index: str | None = None,
) -> KvEntry:
    """The whole entry of a file; written once, never changed.

    Its metadata names the namespace of the file's vectors, so that a listing of keys shows it; and
    where the files are divided over several vector indexes, the one that holds them: `index`, or
    that of the rules.
    """
    metadata = {} if namespace is None else {"namespace": namespace}
    if mapping.shards is not None:
        metadata["index"] = mapping.shards.index_of(file) if index is None else index
    return KvEntry(
        key=encode_kv_key(file, mapping),
        value=encode_file_value(vector_ids),
        metadata=metadata or None,
        expiration=expiration,
    )


def read_entry_namespace(entry: KvEntry) -> str | None:
    """The namespace that the entry of a file names; None without one."""
    match entry.metadata:
        case {"namespace": str() as namespace}:
            return namespace
        case _:
            return None


def read_entry_index(entry: KvEntry) -> str | None:
    """The vector index that the entry of a file names; None without one."""
    match entry.metadata:
        case {"index": str() as index}:
            return index
        case _:
            return None


def encode_counter_entry(vectors: int, writes: WriteRules) -> KvEntry:
    """The counter: an absolute number, computed by us, never an increment (COUNTER_MEANING)."""
    return KvEntry(key=writes.counter_key, value=str(vectors).encode())


def key_prefix(mapping: MappingRules) -> str:
    """The common prefix of all keys of the file index; used to list them."""
    return mapping.key_template.partition("{")[0]


def index_of_key(key: str, mapping: MappingRules, writes: WriteRules) -> str | None:
    """The other vector index that a key of the namespace belongs to.

    None: it belongs to the run, to a file that no index holds, or there is one index. A key
    belongs to the index that holds its file, whatever its entry names.
    """
    keys = KeyRules(mapping.key_template, mapping.group_key, writes.counter_key)
    return other_index_of(key, mapping.shards, keys)


@dataclass(frozen=True, slots=True)
class KeyRules:
    """What names the keys of the file index."""

    key_template: str
    group_key: str  # "" = no KV file index
    counter_key: str  # of the run's index


def other_index_of(key: str, shards: Shards | None, keys: KeyRules) -> str | None:
    """As `index_of_key`, by the rules of the keys alone."""
    if shards is None or shards.own is None:
        return None
    for index, counter_key in shards.counter_keys(keys.counter_key).items():
        if key == counter_key:
            return None if index == shards.own else index
    group = group_of_key(keys.key_template, keys.group_key, key)
    return None if group is None else shards.other_than_own(group)


def split_entries(
    entries: Iterable[KvEntry], *, pairs_max: int, body_bytes_max: int
) -> Iterator[list[KvEntry]]:
    """Group entries, in order, into bulk writes within both limits; never an empty one."""
    held: list[KvEntry] = []
    held_bytes = 0
    for entry in entries:
        size = entry_bytes(entry)
        if held and (len(held) == pairs_max or held_bytes + size > body_bytes_max):
            yield held
            held, held_bytes = [], 0
        held.append(entry)
        held_bytes += size
    if held:
        yield held


def entry_bytes(entry: KvEntry) -> int:
    """An upper bound of the entry's share of a bulk body, in bytes.

    The value is JSON text inside JSON: every quote and backslash takes one byte more, a
    control character five more. Values that are not UTF-8 are sent as base64.
    """
    framing = 120  # member names, expiration, separators
    around = len(orjson.dumps([entry.key, entry.metadata])) + framing
    try:
        return around + len(orjson.dumps(entry.value.decode()))
    except UnicodeDecodeError:
        return around + len(base64.b64encode(entry.value))
