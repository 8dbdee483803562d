"""The whole state of one account, with direct access behind the API for tests and rehearsals."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from sandbox.account.scripts import Scripts
from sandbox.clock import Clock
from sandbox.database import Database
from sandbox.kv.rules import KvPair, check_metadata
from sandbox.kv.store import KvStore
from sandbox.profile import Profile
from sandbox.vectorize.ndjson import UploadedVector
from sandbox.vectorize.store import VectorStore
from sandbox.vectorize.values_file import as_float32

Json = object  # what orjson.loads returns


class SandboxStore:
    """Vectors and KV entries under one lock.

    The methods bypass HTTP, limits, budget and delays; their effect is visible at once.
    """

    def __init__(self, folder: Path, profile: Profile, clock: Clock) -> None:
        self._database = Database(folder)
        self.lock = threading.RLock()
        self.vectors = VectorStore(self._database, profile, clock)
        self.kv = KvStore(self._database, profile, clock)
        self.scripts = Scripts(self._database, clock)

    def close(self) -> None:
        """Release the state folder."""
        with self.lock:
            self.vectors.close()
            self._database.close()

    def create_vector_index(self, name: str, dimensions: int, metric: str) -> None:
        """Create a vector index."""
        with self.lock:
            config = {"dimensions": dimensions, "metric": metric}
            self.vectors.indexes.create(name, None, config)

    def create_kv_namespace(self, title: str) -> str:
        """Create a KV namespace; returns its id."""
        with self.lock:
            return self.kv.namespaces.create(title).namespace_id

    def put_vector(
        self,
        index_name: str,
        vector_id: str,
        values: Sequence[float] | NDArray[np.float32],
        metadata: Json = None,
        namespace: str | None = None,
    ) -> None:
        """Add or replace a vector, as another writer would. Writes still waiting commit first."""
        row = as_float32(values)
        with self.lock:
            index = self.vectors.indexes.get(index_name)
            if row.shape != (index.dimensions,):
                raise ValueError(f"{index_name} takes {index.dimensions} values, got {row.shape}")
            self.vectors.log.commit_all(index.index_id)
            position = self.vectors.keep_rows(index, row.reshape(1, -1))
            text = None if metadata is None else orjson.dumps(metadata)
            uploaded = UploadedVector(vector_id, position, namespace, text)
            self.vectors.write_vectors(index, [uploaded], replace=True)
            self.vectors.log.commit_all(index.index_id)

    def remove_vector(self, index_name: str, vector_id: str) -> None:
        """Remove a vector, as another writer would. Writes still waiting commit first."""
        with self.lock:
            index = self.vectors.indexes.get(index_name)
            self.vectors.log.commit_all(index.index_id)
            self.vectors.delete_vectors(index, [vector_id])
            self.vectors.log.commit_all(index.index_id)

    def read_vectors(
        self, index_name: str
    ) -> Iterator[tuple[str, NDArray[np.float32], str | None, Json]]:
        """The committed state: id, values, namespace, metadata; sorted by id."""
        with self.lock:
            index = self.vectors.indexes.get(index_name)
            seq = self.vectors.log.visible(index.index_id).seq
            vectors = list(self.vectors.all(index, seq))
            file = self.vectors.values_file(index)
        for vector in vectors:
            metadata = None if vector.metadata is None else orjson.loads(vector.metadata)
            yield vector.id, file.read(vector.position), vector.namespace, metadata

    def put_kv(
        self,
        namespace_id: str,
        key: str,
        value: bytes,
        metadata: Json = None,
        expiration: int | None = None,
    ) -> None:
        """Add or replace an entry."""
        pair = KvPair(
            key=key, value=value, metadata=check_metadata(metadata), expiration=expiration
        )
        with self.lock:
            self.kv.plant(namespace_id, key, pair)

    def remove_kv(self, namespace_id: str, key: str) -> None:
        """Remove an entry."""
        with self.lock:
            self.kv.plant(namespace_id, key, None)

    def read_kv(self, namespace_id: str) -> Iterator[tuple[str, bytes, Json, int | None]]:
        """What every reader sees: key, value, metadata, expiration; sorted by key."""
        with self.lock:
            pairs = list(self.kv.all(namespace_id))
        for pair in pairs:
            metadata = None if pair.metadata is None else orjson.loads(pair.metadata)
            yield pair.key, pair.value, metadata, pair.expiration

    def state_digest(self, index_name: str, namespace_id: str) -> str:
        """SHA-256 over all visible vectors and entries; equal for equal states."""
        digest = hashlib.sha256()

        def add(*fields: bytes) -> None:
            for field in fields:
                digest.update(len(field).to_bytes(8, "big") + field)

        for vector_id, values, namespace, metadata in self.read_vectors(index_name):
            # Adding zero turns -0.0 into +0.0.
            add(b"vector", vector_id.encode(), (values + np.float32(0)).tobytes())
            add(_canonical(namespace), _canonical(metadata))
        for key, value, metadata, expiration in self.read_kv(namespace_id):
            add(b"entry", key.encode(), value, _canonical(metadata), _canonical(expiration))
        return digest.hexdigest()


def _canonical(value: Json) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
