"""A file store over several vector indexes and one KV namespace: each file is in one index.

The entry of a file names its index. A file without an entry belongs to the index that
`migrate.mapping.shards` finds for it, as in the move that filled the store.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from typing_extensions import override

from migrate.errors import PreconditionError
from migrate.file_stores.contract import CollectionInfo, FileChunk, FileStore, FileVector
from migrate.file_stores.rules import FileStoreRules
from migrate.file_stores.vectorize_store import SETTLE, VectorizeFileStore
from migrate.mapping.kv_entries import read_entry_index
from migrate.mapping.payload import encode_kv_key
from migrate.mapping.shards import Shards, counter_key_of
from migrate.model.records import VectorId
from migrate.ports import KvTarget, Target, VectorTarget
from migrate.runtime import Runtime
from migrate.upload.settle import SettleRules


class ShardedFileStore(FileStore):
    """A file store in several vector indexes; each behaves as a `VectorizeFileStore`.

    A call for files of several indexes writes one index after the other. After an error or a kill,
    make the same call again.
    """

    def __init__(
        self,
        indexes: Mapping[str, VectorTarget],
        kv: KvTarget,
        rules: FileStoreRules,
        runtime: Runtime,
        *,
        settle: SettleRules = SETTLE,
        kv_settle_s: float = 90.0,
    ) -> None:
        """`indexes` by name: those of target.shards. Sends nothing; raises as `VectorizeFileStore`.

        `rules.writes.counter_key` is the setting: each index has a counter of its own.
        """
        self._shards = Shards(tuple(indexes))
        self._kv = kv
        mapping = replace(rules.mapping, shards=self._shards)
        self._rules = replace(rules, mapping=mapping)
        self._stores = {
            name: VectorizeFileStore(
                Target(vectors, kv),
                replace(
                    self._rules,
                    index=name,
                    writes=replace(
                        rules.writes, counter_key=counter_key_of(rules.writes.counter_key, name)
                    ),
                ),
                runtime,
                settle=settle,
                kv_settle_s=kv_settle_s,
            )
            for name, vectors in indexes.items()
        }

    @override
    def initialize_collection(self) -> None:
        """Every vector index, as `VectorizeFileStore` does."""
        for store in self._stores.values():
            store.initialize_collection()

    @override
    def upsert_vectors(self, vectors: Sequence[FileVector], *, whole_files: bool = False) -> None:
        """The files of each index, one index after the other. All vectors are checked before."""
        file_of = {one.id: one.chunk.file_id for one in self._rules.check_vectors(vectors)}
        indexes = self._indexes_of(file_of.values())
        by_index: defaultdict[str, list[FileVector]] = defaultdict(list)
        for vector in vectors:
            by_index[indexes[file_of[vector.id]]].append(vector)
        for index, some in sorted(by_index.items()):
            self._stores[index].upsert_vectors(some, whole_files=whole_files)

    @override
    def get_vectors_by_file_id(self, file_id: str) -> list[FileVector]:
        """From the index that the file's entry names."""
        return self._store_of(file_id).get_vectors_by_file_id(file_id)

    @override
    def delete_vectors_by_ids(self, ids: Sequence[str]) -> None:
        """From the index of each one's file."""
        removed = self._rules.parse_ids(ids)
        indexes = self._indexes_of(removed)
        by_index: defaultdict[str, list[str]] = defaultdict(list)
        for file_id, some in removed.items():
            by_index[indexes[file_id]] += some
        for index, some_ids in sorted(by_index.items()):
            self._stores[index].delete_vectors_by_ids(some_ids)

    @override
    def delete_vectors_by_file_id(self, file_id: str) -> None:
        """From the index that the file's entry names, then the entry, then the counter."""
        self._store_of(file_id).delete_vectors_by_file_id(file_id)

    @override
    def get_collection_info(self) -> CollectionInfo:
        """All indexes together."""
        infos = [store.get_collection_info() for store in self._stores.values()]
        return replace(
            infos[0],
            name=", ".join(self._shards.indexes),
            vectors=sum(info.vectors for info in infos),
        )

    @override
    def count_vectors(self) -> int:
        """The sum of what the indexes announce."""
        return sum(store.count_vectors() for store in self._stores.values())

    @override
    def generate_vector_id(self, file_id: str, chunk_index: int) -> VectorId:
        """See `FileStore`."""
        return self._rules.generate_vector_id(file_id, chunk_index)

    @override
    def parse_vector_id(self, vector_id: str) -> FileChunk | None:
        """See `FileStore`."""
        return self._rules.parse_vector_id(vector_id)

    def _store_of(self, file_id: str) -> VectorizeFileStore:
        return self._stores[self._indexes_of([file_id])[file_id]]

    def _indexes_of(self, file_ids: Iterable[str]) -> dict[str, str]:
        """The index of each file, by its entry; without one, or without an index in it, by its key.

        Raises UsageError for a file that KV cannot hold, PreconditionError for an entry that names
        an index which the store does not have.
        """
        key_of: dict[str, str] = {}
        for file_id in file_ids:
            if file_id not in key_of:
                self._check_file_id(file_id)
                key_of[file_id] = encode_kv_key(file_id, self._rules.mapping)
        entries = self._kv.read(list(key_of.values())) if key_of else {}
        found: dict[str, str] = {}
        for file_id, key in key_of.items():
            named = None if key not in entries else read_entry_index(entries[key])
            if named is not None and named not in self._stores:
                raise PreconditionError(
                    f"KV entry '{key}' names vector index '{named}', which is none of "
                    f"{', '.join(self._shards.indexes)}",
                    remedy="open the store with all indexes that hold files",
                )
            found[file_id] = self._shards.index_of(file_id) if named is None else named
        return found

    def _check_file_id(self, file_id: str) -> None:
        for store in self._stores.values():  # each has the key of a counter
            store.check_file_id(file_id)
