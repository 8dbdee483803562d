"""The target of every harness over the sandbox: its name and size, and what it held before."""

from collections.abc import Sequence

import numpy as np

from q2v.settings import Settings
from sandbox.store import SandboxStore

INDEX = "chunk-vectors"
DIMENSIONS = 64


def put_former_content(
    store: SandboxStore,
    namespace_id: str,
    *,
    ours: Sequence[str],
    index: str = INDEX,
    counter_key: str = Settings().kv.counter_key,
) -> None:
    """Content of another writer: under two ids of the run, `ours`, and their file; and elsewhere.

    The counter counts the four vectors.
    """
    for number, vector_id in enumerate([*ours, "foreign-1", "foreign-2"]):
        values = np.zeros(DIMENSIONS, np.float32)
        values[number] = 1.0
        namespace = "theirs" if number == 1 else None
        store.put_vector(index, vector_id, values, {"from": "a trial", "n": number}, namespace)
    file_id = ours[0].rpartition("_")[0]
    store.put_kv(namespace_id, f"file:{file_id}", b'["old"]', {"by": "a trial"}, 4_000_000_000)
    store.put_kv(namespace_id, "file:elsewhere", b'["x"]')
    store.put_kv(namespace_id, counter_key, b"4")
