"""A server's folder of a collection is read whole, all shards as one, or refused in words."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from migrate.errors import ExitCode, LocalStorageError, PreconditionError, RunLockedError
from migrate.model.digest import digest_points
from migrate.model.records import PointId, ShardCount
from migrate.qdrant.folder.copy import REPORTED_BYTES_MIN, copied_folders, own_folder
from migrate.qdrant.folder.source import EdgeSource
from migrate.snapshot.walk import walk_ids, walk_points
from tests.harness.running.programs import run_python, start_python
from tests.migrate.qdrant.sources import write_shard
from tests.servers.on_disk.qdrant_storage import set_replica, write_collection
from tests.servers.qdrant_points import StoredCollection, StoredPoint

POINTS = 85
FIRST = str(uuid.UUID(int=0))  # of the UUIDs among the points
VECTORS: dict[str, object] = {"size": 2, "distance": "Dot"}


def stored(points: int = POINTS) -> StoredCollection:
    """Integers and UUIDs in turn, so that both kinds are in every shard."""
    return StoredCollection(
        name="docs",
        vectors=VECTORS,
        points=[
            StoredPoint(
                number if number % 2 else str(uuid.UUID(int=number << 90)),
                {"": [float(number), 0.5]},
                {"n": number},
            )
            for number in range(points)
        ],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_collection(tmp_path / "storage", stored(), shards=3)


def refused(path: Path) -> PreconditionError:
    with pytest.raises(PreconditionError) as caught:
        EdgeSource(path, collection="docs")
    assert caught.value.exit_code == ExitCode.PRECONDITION
    return caught.value


def contents(path: Path) -> list[tuple[PointId, bytes, bytes]]:
    """Id, payload and digest of every point, through pages of 7."""
    with closing(EdgeSource(path, collection="docs")) as source:
        return [
            row
            for page in walk_points(source, None, None, limit=7)
            for row in zip(page.ids, page.payloads, digest_points(page), strict=True)
        ]


@pytest.mark.fault("F01")
@pytest.mark.parametrize("shards", [1, 3, 4])
def test_all_shards_are_read_as_one_collection(tmp_path: Path, shards: int) -> None:
    folder = write_collection(tmp_path / "storage", stored(), shards=shards)
    write_shard(stored(), tmp_path / "one")

    assert contents(folder) == contents(tmp_path / "one")
    with closing(EdgeSource(folder, collection="docs")) as source:
        ids = [point_id for some in walk_ids(source, limit=10) for point_id in some]
        assert sorted(point.key for point in stored().points) == ids
        assert source.count_points() == POINTS
        collection = source.read_collection()
    assert [shard.number for shard in collection.shards] == list(range(shards))
    assert sum(shard.points or 0 for shard in collection.shards) == POINTS
    assert [(spec.name, spec.dimensions) for spec in collection.vectors] == [("", 2)]
    assert collection.warnings == ()


@pytest.mark.fault("F01")
@pytest.mark.parametrize("place", [lambda _: 2, lambda point: int(point.payload["n"] > 60)])
def test_shards_that_are_empty_or_follow_one_another_are_read_too(
    tmp_path: Path, place: Callable[[StoredPoint], int]
) -> None:
    folder = write_collection(tmp_path / "storage", stored(), shards=3, place=place)
    write_shard(stored(), tmp_path / "one")

    assert contents(folder) == contents(tmp_path / "one")


@pytest.mark.fault("F01")
def test_one_shard_of_several_is_refused_with_the_folder_to_set(folder: Path) -> None:
    error = refused(folder / "1")

    assert "is shard 1 of collection 'docs', which has 3 shards: 0, 1, 2" in str(error)
    assert f"set source.path to {folder}" in error.remedy
    assert len(contents(folder)) == POINTS  # the advice works


@pytest.mark.fault("F01")
def test_a_link_to_one_shard_is_refused_like_the_shard(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(folder / "1")

    assert "is shard 1 of collection 'docs'" in str(refused(tmp_path / "data"))


@pytest.mark.fault("F01")
def test_a_shard_on_another_disk_belongs_to_its_collection(folder: Path, tmp_path: Path) -> None:
    (folder / "1").rename(tmp_path / "elsewhere")
    (folder / "1").symlink_to(tmp_path / "elsewhere")

    assert "is shard 1 of collection 'docs'" in str(refused(folder / "1"))
    assert len(contents(folder)) == POINTS


@pytest.mark.fault("F01")
def test_the_only_shard_of_a_collection_is_read(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "storage", stored(), shards=1)

    assert len(contents(folder / "0")) == POINTS
    with closing(EdgeSource(folder / "0", collection="docs")) as source:
        assert source.read_collection().shards == (ShardCount(number=0, points=POINTS),)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: shutil.rmtree(folder / name)


def write(name: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(json.dumps(value))

    return change


def leave_a_fourth_shard(folder: Path) -> None:
    shutil.copytree(folder / "0", folder / "3")


@pytest.mark.fault("F01")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove("1"), "which has 3 shards: shard 1 is missing"),
        (remove("2/segments"), "shard 2 holds no segments"),
        (write("shard_0.initializing", ""), "shard 0 was never completed"),
        (write("resharding_state.json", {"stage": "x"}), "resharding is under way"),
        (leave_a_fourth_shard, "config.json does not name shard 3"),
        (lambda folder: set_replica(folder / "2", "Partial"), "shard 2 is Partial on this node"),
        (lambda folder: set_replica(folder / "0", "Dead"), "shard 0 is Dead on this node"),
        (
            lambda folder: set_replica(folder / "1", "Active", is_local=False),
            "shard 1 is on another node",
        ),
    ],
)
def test_a_collection_that_is_not_whole_is_refused_with_what_is_missing(
    folder: Path, change: Callable[[Path], None], said: str
) -> None:
    change(folder)

    assert said in str(refused(folder))


@pytest.mark.fault("F01")
def test_every_missing_shard_is_named(folder: Path) -> None:
    for number in (0, 2):
        shutil.rmtree(folder / str(number))

    assert "shard 0 is missing; shard 2 is missing" in str(refused(folder))
    assert "shard 0 is missing; shard 2 is missing" in str(refused(folder / "1"))


@pytest.mark.fault("F01")
def test_a_single_node_that_never_told_its_shards_active_is_read(folder: Path) -> None:
    set_replica(folder / "0", "Initializing")

    assert len(contents(folder)) == POINTS


@pytest.mark.fault("F01", "M29")
@pytest.mark.parametrize(
    "keys", [{"east": [0, 1], "west": [2]}, [{"key": "east", "shard_ids": [0, 1]}]]
)
def test_custom_sharding_is_refused_with_its_keys(tmp_path: Path, keys: object) -> None:
    params: dict[str, object] = {"sharding_method": "custom"}
    folder = write_collection(tmp_path / "storage", stored(), shards=3, params=params)
    (folder / "shard_key_mapping.json").write_text(json.dumps(keys))

    for path in (folder, folder / "0"):
        error = refused(path)
        assert "collection 'docs' uses custom sharding" in str(error)
        assert "its shard keys: 'east' (shard 0, 1)" in str(error)


@pytest.mark.fault("F01")
def test_an_id_in_two_shards_is_refused_by_name(tmp_path: Path) -> None:
    collection = stored(9)
    folder = write_collection(tmp_path / "storage", collection, shards=2)
    shutil.rmtree(folder / "1")
    write_shard(collection, folder / "1")

    with closing(EdgeSource(folder, collection="docs")) as source:
        for read in (source.read_ids, source.read_points):
            for limit in (1, 2, 100):
                with pytest.raises(PreconditionError, match=f"{FIRST} is in shard 0 and in shard"):
                    read(PointId(1, 0), limit=limit)


@pytest.mark.fault("F01")
@pytest.mark.parametrize("inner", ["", "collections"])
def test_a_servers_storage_is_refused_with_its_collections(folder: Path, inner: str) -> None:
    storage = folder.parents[1]
    write_collection(storage, StoredCollection(name="notes", vectors=VECTORS), shards=1)

    error = refused(storage / inner)
    assert "it has docs, notes" in str(error)
    assert str(folder) in error.remedy


@pytest.mark.fault("F01")
def test_a_servers_shard_without_its_collection_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "1", tmp_path / "alone")

    error = refused(tmp_path / "alone")
    assert "is one shard of a server's collection, and no config.json beside it" in str(error)


@pytest.mark.fault("F01")
def test_shards_without_their_description_are_refused_by_number(folder: Path) -> None:
    (folder / "config.json").unlink()

    assert "holds shard 0, 1, 2 and no config.json" in str(refused(folder))


@pytest.mark.fault("F01")
@pytest.mark.parametrize("text", ["{", "{}", '{"params":{"shard_number":"three"}}'])
def test_a_description_that_cannot_be_read_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)

    for path in (folder, folder / "0"):
        refused(path)


@pytest.mark.fault("F01")
def test_a_numbered_store_beside_a_config_of_another_program_is_read(tmp_path: Path) -> None:
    write_shard(stored(), tmp_path / "5")
    (tmp_path / "config.json").write_text('{"theme": "dark"}')

    assert len(contents(tmp_path / "5")) == POINTS


@pytest.mark.fault("F01")
def test_another_name_than_the_folders_is_warned_of(folder: Path) -> None:
    with closing(EdgeSource(folder, collection="notes")) as source:
        (warning,) = source.read_collection().warnings
    assert warning == "the store is that of collection 'docs', not of 'notes'"


def state_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.fault("F01", "G08")
def test_reading_changes_nothing_in_the_folder(folder: Path, tmp_path: Path) -> None:
    before = state_of(folder)
    copies = tmp_path / "copies"
    with closing(EdgeSource(folder, collection="docs", copies=copies)) as source:
        assert len(list(walk_points(source, None, None, limit=1000))) >= 1
        assert list(copies.iterdir())

    assert before == state_of(folder)
    assert list(copies.iterdir()) == []


@pytest.mark.fault("F01", "G08")
def test_a_folder_that_cannot_be_written_is_read(folder: Path) -> None:
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(contents(folder)) == POINTS
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


HOLDER = """
import sys, qdrant_edge
shard = qdrant_edge.EdgeShard.load(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.fault("F01", "G08")
def test_the_folder_of_a_running_server_is_refused_until_it_stops(folder: Path) -> None:
    with start_python(
        "-c", HOLDER, folder / "2", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "open\n"
        with pytest.raises(RunLockedError, match="2 is open in another process") as caught:
            EdgeSource(folder, collection="docs")
        assert "stop the Qdrant server" in caught.value.remedy
        assert server.stdin is not None
        server.stdin.close()

    assert len(contents(folder)) == POINTS


@pytest.mark.slow
@pytest.mark.fault("F01", "G08")
def test_no_writer_opens_a_shard_while_it_is_read(folder: Path) -> None:
    with closing(EdgeSource(folder, collection="docs")):
        tried = run_python("-c", HOLDER, folder / "2")
    assert tried.returncode
    assert "WouldBlock" in tried.stderr


KILLED = """
import os, signal, sys
from pathlib import Path
from migrate.qdrant.folder.source import EdgeSource
source = EdgeSource(Path(sys.argv[1]), collection="docs", copies=Path(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.fault("F01", "G01")
def test_the_copy_of_a_killed_process_is_removed_by_the_next(folder: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    killed = run_python("-c", KILLED, folder, copies)
    assert killed.returncode == -signal.SIGKILL
    (abandoned,) = copies.iterdir()
    with closing(EdgeSource(folder, collection="docs", copies=copies)):
        (current,) = copies.iterdir()

    assert abandoned != current
    assert list(copies.iterdir()) == []


@pytest.mark.slow
@pytest.mark.fault("F01", "G08")
def test_copies_that_are_made_at_the_same_time_are_left_to_their_processes(tmp_path: Path) -> None:
    def make_copies() -> None:
        for _ in range(200):
            with own_folder(tmp_path) as copy:
                (copy / "file").touch(exist_ok=False)

    with ThreadPoolExecutor(3) as threads:
        for made in [threads.submit(make_copies) for _ in range(3)]:
            made.result()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault("F01")
def test_a_copy_that_takes_a_while_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrate.qdrant.folder.copy.REPORTED_BYTES_MIN", 1000)
    said: list[str] = []
    with closing(EdgeSource(folder, collection="docs", say=said.append)):
        (line,) = said

    assert line.startswith("copying the store of ")


@pytest.mark.fault("F01")
def test_holes_take_no_time_and_are_not_said(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.glob("*/**/*") if path.is_file())
    said: list[str] = []
    with closing(EdgeSource(folder, collection="docs", say=said.append)):
        pass

    assert size > REPORTED_BYTES_MIN, "with its holes the store is large"
    assert said == []


@pytest.mark.fault("F01", "G12")
def test_a_copy_that_does_not_fit_is_refused_with_both_numbers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine writes into the holes of its files: each byte of them is needed."""
    needed = sum(path.stat().st_size for path in folder.glob("*/**/*") if path.is_file())
    usage = shutil.disk_usage(tmp_path)._replace(free=needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    with pytest.raises(LocalStorageError, match=f"{needed:,} bytes, .* {needed - 1:,} free"):
        EdgeSource(folder, collection="docs", copies=tmp_path / "copies")
    assert list((tmp_path / "copies").iterdir()) == []


@pytest.mark.fault("F01", "G12")
def test_the_holes_of_a_copy_are_room_that_no_other_file_can_take(tmp_path: Path) -> None:
    """On a full disk the system ends a process that writes into a hole through a mapping."""
    (tmp_path / "store").mkdir()
    with (tmp_path / "store" / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    with copied_folders([tmp_path / "store"], tmp_path / "copies", print) as (copy,):
        state = (copy / "sparse").stat()

    assert state.st_size == 1 << 20
    assert state.st_blocks * 512 >= 1 << 20


@pytest.mark.fault("F01", "F22")
def test_a_pipe_in_a_shard_is_refused_and_not_read(folder: Path) -> None:
    os.mkfifo(folder / "0" / "segments" / "pipe")

    assert "is neither a file nor a folder" in str(refused(folder))
