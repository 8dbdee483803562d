"""Behind the API: plant differences and read everything, without a request and at once."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import orjson

from sandbox.account import Account
from sandbox.kv_store import Entry, digest_entries
from sandbox.ndjson import UploadedVector


class Store:
    """What tests and rehearsals do to the stand-in that no client could."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def create_vector_index(self, name: str, dimensions: int, metric: str) -> None:
        """Create an index."""
        self._account.vectors.create(
            {"name": name, "config": {"dimensions": dimensions, "metric": metric}}
        )

    def create_kv_namespace(self, title: str) -> str:
        """Create a namespace; returns its id."""
        return str(self._account.kv.create(title)["id"])

    def put_vector(
        self,
        index_name: str,
        vector_id: str,
        values: Sequence[float] | npt.NDArray[np.float32],
        metadata: dict[str, object] | None = None,
        namespace: str | None = None,
    ) -> None:
        """Write a vector, visible at once."""
        index = self._account.vectors.index(index_name)
        text = None if metadata is None else orjson.dumps(metadata)
        vector = UploadedVector(vector_id, np.asarray(values, "<f4").tobytes(), namespace, text)
        self._account.vectors.put_at_once(index, vector)

    def remove_vector(self, index_name: str, vector_id: str) -> None:
        """Delete a vector, gone at once."""
        index = self._account.vectors.index(index_name)
        self._account.vectors.remove_at_once(index, vector_id)

    def read_vectors(
        self, index_name: str
    ) -> Iterator[tuple[str, npt.NDArray[np.float32], str | None, dict[str, object] | None]]:
        """Id, values, namespace and metadata of every committed vector, by id."""
        vectors = self._account.vectors
        index = vectors.index(index_name)
        found = [one for chunk in vectors.scan(index, vectors.committed(index)) for one in chunk]
        for one in sorted(found, key=lambda vector: vector.id):
            metadata = None if one.metadata is None else orjson.loads(one.metadata)
            yield one.id, np.frombuffer(one.values, "<f4"), one.namespace, metadata

    def put_kv(
        self,
        namespace_id: str,
        key: str,
        value: bytes,
        metadata: object | None = None,
        expiration: int | None = None,
    ) -> None:
        """Write a KV entry, visible at once."""
        self._account.kv.put_at_once(
            namespace_id, Entry(key=key, value=value, metadata=metadata, expiration=expiration)
        )

    def remove_kv(self, namespace_id: str, key: str) -> None:
        """Delete a KV entry, gone at once."""
        self._account.kv.put_at_once(namespace_id, Entry(key=key, value=b""), alive=False)

    def read_kv(self, namespace_id: str) -> Iterator[tuple[str, bytes, object | None, int | None]]:
        """Key, value, metadata and expiry of every entry once everything has settled."""
        for entry in self._account.kv.final_entries(namespace_id):
            yield entry.key, entry.value, entry.metadata, entry.expiration

    def state_digest(self, index_name: str, namespace_id: str) -> str:
        """SHA-256 over every vector and every entry: equal states, equal digests."""
        digest = hashlib.sha256()
        for vector_id, values, namespace, metadata in self.read_vectors(index_name):
            fields = orjson.dumps([vector_id, namespace, metadata], option=orjson.OPT_SORT_KEYS)
            digest.update(fields + values.tobytes())
        entries = self._account.kv.final_entries(namespace_id)
        digest.update(digest_entries(entries).encode())
        return digest.hexdigest()
