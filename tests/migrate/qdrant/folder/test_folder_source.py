"""What is particular to an embedded store: one process, no name, a folder that may be wrong."""

from contextlib import closing
from pathlib import Path

import pytest
from qdrant_edge import CountRequest, EdgeShard

from migrate.errors import (
    LocalStorageError,
    PreconditionError,
    RunLockedError,
    UnreadablePointError,
)
from migrate.model.irregular import is_unreadable
from migrate.qdrant.folder.source import EdgeSource
from migrate.snapshot.walk import walk_points
from tests.harness.running.programs import output_of_python
from tests.migrate.qdrant.sources import write_shard
from tests.servers.qdrant_points import StoredCollection, StoredPoint


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    points = [StoredPoint(n, {"": [float(n), 0.5]}, {"n": n}) for n in range(5)]
    path = tmp_path / "shard"
    write_shard(StoredCollection(vectors={"size": 2, "distance": "Dot"}, points=points), path)
    return path


def test_a_folder_without_a_shard_is_refused_and_left_alone(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    for path, said in ((empty, "holds no Qdrant shard"), (tmp_path / "absent", "does not exist")):
        with pytest.raises(PreconditionError, match=said):
            EdgeSource(path, collection="chunks")

    assert [empty] == list(tmp_path.rglob("*"))


@pytest.mark.fault("M22")
def test_a_servers_folder_of_snapshot_files_is_refused_with_one_to_set(tmp_path: Path) -> None:
    for day in ("29", "30"):
        (tmp_path / f"docs-4711-2026-11-{day}-08-15-00.snapshot").write_bytes(b"")

    with pytest.raises(PreconditionError, match="it has 2 snapshot files") as caught:
        EdgeSource(tmp_path, collection="docs")

    assert "2026-11-30-08-15-00.snapshot" in caught.value.remedy


@pytest.mark.fault("G08")
def test_a_shard_in_use_is_locked_until_it_is_closed(shard: Path) -> None:
    with closing(EdgeSource(shard, collection="chunks")):
        with pytest.raises(RunLockedError, match="open in another process") as caught:
            EdgeSource(shard, collection="chunks")
        assert "close the program" in caught.value.remedy
        assert "another q2v" in caught.value.remedy

    with closing(EdgeSource(shard, collection="chunks")) as again:
        assert again.count_points() == 5


def test_a_damaged_shard_is_refused_with_the_engines_words(shard: Path) -> None:
    (state,) = shard.glob("segments/*/segment.json")
    state.write_text("{")

    with pytest.raises(PreconditionError, match=r"segment\.json"):
        EdgeSource(shard, collection="chunks")


def test_what_the_engine_refuses_while_reading_is_an_error_of_ours(shard: Path) -> None:
    source = EdgeSource(shard, collection="chunks")
    source.close()

    for read in (source.count_points, lambda: source.read_points(None, limit=1)):
        with pytest.raises(LocalStorageError, match="the engine cannot read"):
            read()


def test_a_shard_without_settings_file_is_read_all_the_same(shard: Path) -> None:
    """A shard snapshot of a server has none; the engine derives it from the segments."""
    (shard / "edge_config.json").unlink()

    with closing(EdgeSource(shard, collection="chunks")) as source:
        assert [(spec.name, spec.dimensions) for spec in source.read_collection().vectors] == [
            ("", 2)
        ]
        assert len(source.read_points(None, limit=10)) == 5


def test_reading_leaves_the_points_as_they_were(shard: Path) -> None:
    """The engine rewrites its own settings on opening; vectors and payloads keep their bytes."""

    def stored() -> dict[str, bytes]:
        found = [*shard.rglob("chunk_*.mmap"), *shard.rglob("page_*.dat")]
        return {str(path): path.read_bytes() for path in found}

    before = stored()
    with closing(EdgeSource(shard, collection="chunks")) as source:
        source.read_collection()
        source.read_ids(None, limit=10)
        source.read_points(None, limit=10)

    assert before == stored()
    reopened = EdgeShard.load(str(shard))
    assert reopened.count(CountRequest(exact=True)) == 5
    reopened.close()


def test_the_identity_is_the_folder_and_the_name_given(shard: Path) -> None:
    with closing(EdgeSource(shard, collection="whatever")) as source:
        assert {
            "path": str(shard),
            "collection": "whatever",
            "transport": "embedded",
        } == source.identity()


@pytest.mark.slow
@pytest.mark.parametrize("module", ["folder.source", "server", "rest.source"])
def test_importing_an_adapter_loads_neither_engine_nor_client(module: str) -> None:
    program = (
        f"import sys, migrate.qdrant.{module}; "
        "print({'qdrant_edge', 'qdrant_client', 'grpc'} & set(sys.modules))"
    )

    assert output_of_python("-c", program) == "set()\n"


@pytest.mark.fault("F06")
def test_one_damaged_payload_is_named_and_the_other_points_are_read(tmp_path: Path) -> None:
    """The engine fails the whole page for it; one byte of the stored text is no UTF-8 any more."""
    points = [StoredPoint(n, {"": [1.0, n + 0.5]}, {"word": f"POINT{n:04d}"}) for n in range(40)]
    path = tmp_path / "shard"
    write_shard(StoredCollection(vectors={"size": 2, "distance": "Dot"}, points=points), path)
    (stored,) = path.glob("segments/*/payload_storage/page_0.dat")
    content = stored.read_bytes()
    at = content.index(b"POINT0023")
    with stored.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff")

    with closing(EdgeSource(path, collection="chunks")) as source:
        with pytest.raises(
            UnreadablePointError, match="point 23: the engine cannot read"
        ) as caught:
            for _ in walk_points(source, None, None, limit=100):
                pass
        vectors = source.read_collection().vectors
        pages = walk_points(source, None, None, limit=100, leave_unreadable=vectors)
        read = [(point_id, page.irregular[0]) for page in pages for point_id in page.ids]

    assert "q2v snapshot --leave-unreadable" in caught.value.remedy
    assert [point_id.number for point_id, _ in read] == list(range(40))
    assert [point_id.number for point_id, mark in read if is_unreadable(mark)] == [23]
