"""Commands on one of three indexes, between a Qdrant and a sandbox on real sockets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.mapping.shards import shard_of
from tests.harness.running.workbench import Workbench, workbench
from tests.harness.running.workspace import NAMESPACE, Result
from tests.servers.qdrant_points import StoredPoint

INDEXES = ("wiki-0", "wiki-1", "wiki-2")


def file_of(point: StoredPoint) -> str:
    return str((point.payload or {})["file_id"])


def index_of(point: StoredPoint) -> str:
    return shard_of(file_of(point), INDEXES)


def vector_id(point: StoredPoint) -> str:
    payload: dict[str, Any] = dict(point.payload or {})
    return f"{payload['file_id']}_{payload['chunk_index']}"


@dataclass
class Several:
    """Commands on one of several indexes."""

    bench: Workbench

    def run(self, command: str, index: str, *words: str) -> Result:
        return self.bench.run(command, *words, "--vector-index", index)

    def all(self, command: str, *words: str) -> dict[str, Result]:
        """The command for each index, each of which has to succeed."""
        found = {index: self.run(command, index, *words) for index in INDEXES}
        assert {one.exit_code for one in found.values()} == {0}, [
            one.stderr for one in found.values() if one.exit_code
        ]
        return found

    def ids(self, index: str) -> set[str]:
        """The vectors of an index, read behind the API."""
        return {one for one, *_ in self.bench.sandbox.store.read_vectors(index)}

    def entries(self) -> dict[str, tuple[object, object]]:
        """KV key -> value and metadata, read behind the API."""
        return {
            key: (json.loads(value), more)
            for key, value, more, _ in self.bench.sandbox.store.read_kv(self.bench.namespace_id)
        }

    def states(self) -> dict[str, str]:
        """A digest of each index with the whole namespace."""
        store = self.bench.sandbox.store
        return {index: store.state_digest(index, self.bench.namespace_id) for index in INDEXES}


@contextmanager
def several(folder: Path, stored: list[StoredPoint], **more: str) -> Iterator[Several]:
    """Three indexes and one namespace, provisioned."""
    settings = {
        "Q2V_TARGET_SHARDS": "wiki-1,wiki-0,wiki-2",
        "Q2V_LIMITS_VECTORS_PER_UPLOAD": "5",
        **more,
    }
    with workbench(folder, stored, settings=settings, provision=False) as bench:
        del bench.environment["Q2V_VECTOR_INDEX"]
        both = Several(bench)
        made = both.all("provision")
        (bench.environment[NAMESPACE],) = {one.document["kv_namespace_id"] for one in made.values()}
        yield both


def expected_entries(stored: list[StoredPoint]) -> dict[str, tuple[object, object]]:
    """The namespace as it has to be after all runs."""
    files: dict[str, list[StoredPoint]] = {}
    for point in stored:
        files.setdefault(file_of(point), []).append(point)
    found: dict[str, tuple[object, object]] = {
        f"file:{name}": ([vector_id(one) for one in some], {"index": shard_of(name, INDEXES)})
        for name, some in files.items()
    }
    for index in INDEXES:
        count = sum(index_of(point) == index for point in stored)
        found[f"_vector_count:{index}"] = (count, None)
    return found


def check_moved(both: Several, stored: list[StoredPoint]) -> None:
    """Every vector is in its index and in no other, and every entry leads to its vectors."""
    for index in INDEXES:
        expected = {vector_id(one) for one in stored if index_of(one) == index}
        assert both.ids(index) == expected, index
    assert both.entries() == expected_entries(stored)
