"""The way on that docs/sources.md shows where an id is under several shard keys."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

PAGE = Path(__file__).parents[3] / "docs" / "sources.md"


def load_from_page(folder: Path) -> Any:
    """The module that the page shows."""
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = folder / "copy_shard_key.py"
    path.write_text(program)
    spec = importlib.util.spec_from_file_location("copy_shard_key", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.fault("M27")
@pytest.mark.parametrize("count", [0, 1, 256, 300])
def test_the_documented_copy_has_every_point_with_its_key_in_the_payload(
    tmp_path: Path, count: int
) -> None:
    """The client's local mode has no shard keys: all of its points are under the one key."""
    client = QdrantClient(":memory:")
    vectors = {"a": models.VectorParams(size=2, distance=models.Distance.DOT)}
    for name in ("docs", "copy"):
        client.create_collection(name, vectors_config=vectors)
    points = [
        models.PointStruct(
            id=number, vector={"a": [number, 0.5]} if number else {}, payload={"n": 1}
        )
        for number in range(count)
    ]
    if points:
        client.upsert("docs", points)

    copied = load_from_page(tmp_path).copy_shard_key(client, "docs", "east", "copy")

    records, _ = client.scroll("copy", limit=1000, with_vectors=True)
    assert copied == count == len(records)
    assert all(record.payload == {"n": 1, "shard_key": "east"} for record in records)
    assert [record.vector for record in records] == [point.vector for point in points]
