"""The cases of tests/conformance/file_store.json; its README says what the members mean."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from migrate.file_stores.contract import FileStore, FileVector
from migrate.file_stores.rules import FileStoreRules
from migrate.model.records import VectorId

PATH = Path(__file__).parents[2] / "conformance" / "file_store.json"
CASES: Mapping[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
DIMENSIONS: int = CASES["rules"]["dimensions"]

Json = Mapping[str, Any]


def rules(ttl_s: int | None = None, *, vectors_per_upload: int = 2_500) -> FileStoreRules:
    """The rules of the cases."""
    given = CASES["rules"]
    default = FileStoreRules(dimensions=given["dimensions"], metric=given["metric"])
    return replace(
        default,
        mapping=replace(
            default.mapping, id_template=given["id_template"], key_template=given["key_template"]
        ),
        writes=replace(
            default.writes,
            counter_key=given["counter_key"],
            ttl_s=ttl_s,
            vectors_per_upload=vectors_per_upload,
        ),
    )


def vector(file_id: str, chunk_index: int, version: int = 1) -> FileVector:
    """One chunk, as the README defines it."""
    text = f"chunk {chunk_index} of {file_id}, version {version}"
    metadata = {
        "file_id": file_id,
        "file_name": f"{file_id}.txt",
        "file_path": f"/drive/{file_id}.txt",
        "chunk_index": chunk_index,
        "chunk_hash": hashlib.sha256(text.encode()).hexdigest(),
        "last_modified": "2026-11-01T12:00:00Z",
        "text": text,
    }
    values = [(7 * chunk_index + 3 * version + 5 * j) % 11 - 5 for j in range(DIMENSIONS)]
    return FileVector(
        id=VectorId(f"{file_id}_{chunk_index}"),
        values=np.array(values, dtype=np.float32),
        metadata=metadata,
    )


def vectors(file_id: str, count: int, *, first: int = 0, version: int = 1) -> list[FileVector]:
    """Chunks of a file, one after the other."""
    return [vector(file_id, first + number, version) for number in range(count)]


def of_ranges(ranges: Iterable[Json]) -> list[FileVector]:
    """The chunks that the ranges stand for."""
    return [
        one
        for each in ranges
        for one in vectors(
            each["file_id"],
            each["count"],
            first=each.get("from", 0),
            version=each.get("version", 1),
        )
    ]


def refused_vector(given: Json) -> FileVector:
    """Chunk 0 of file `a` with the members of an entry of `refused`."""
    whole = vector("a", 0)
    values = given.get("values", whole.values)
    return FileVector(
        id=given.get("id", whole.id),
        values=[1.0] * values if isinstance(values, int) else values,
        metadata={**whole.metadata, **given.get("metadata", {})},
    )


def make_call(store: FileStore, step: Json) -> None:
    """The call of a step."""
    match step["call"]:
        case "initialize_collection":
            store.initialize_collection()
        case "upsert_vectors":
            whole_files = step.get("whole_files", False)
            store.upsert_vectors(of_ranges(step["vectors"]), whole_files=whole_files)
        case "delete_vectors_by_ids":
            ids = [
                vector_id
                for each in step["ids"]
                for vector_id in (
                    [each] if isinstance(each, str) else [one.id for one in of_ranges([each])]
                )
            ]
            store.delete_vectors_by_ids(ids)
        case "delete_vectors_by_file_id":
            store.delete_vectors_by_file_id(step["file_id"])
        case other:
            raise AssertionError(f"no such call: {other}")


def by_file(expected: Iterable[FileVector]) -> dict[str, list[FileVector]]:
    """File -> its chunks, in the order given."""
    found: dict[str, list[FileVector]] = {}
    for one in expected:
        found.setdefault(str(one.metadata["file_id"]), []).append(one)
    return found


def assert_same(expected: list[FileVector], found: list[FileVector]) -> None:
    """The same chunks in the same order; values by direction."""
    assert [one.id for one in found] == [one.id for one in expected]
    assert [dict(one.metadata) for one in found] == [dict(one.metadata) for one in expected]
    assert all(np.asarray(one.values).dtype == np.float32 for one in found)
    np.testing.assert_allclose(_directions(found), _directions(expected), atol=1e-6)


def _directions(chunks: list[FileVector]) -> "np.ndarray[Any, np.dtype[np.float64]]":
    values = np.array([one.values for one in chunks], dtype=np.float64).reshape(-1, DIMENSIONS)
    directions: np.ndarray[Any, np.dtype[np.float64]] = values / np.linalg.norm(
        values, axis=1, keepdims=True
    )
    return directions
