"""A server's snapshot file is read without a server, whole, or refused in words."""

import errno
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.errors import ExitCode, LocalStorageError, PreconditionError
from migrate.model.digest import digest_points
from migrate.qdrant.folder.open import open_stored_source
from migrate.qdrant.folder.server_snapshot.unpack import SegmentForm
from migrate.snapshot.walk import walk_points
from migrate.storage.disk import Disk, use_disk
from tests.servers.on_disk.qdrant_snapshot import (
    Members,
    member,
    pack,
    snapshot_members,
    write_full_snapshot,
    write_snapshot,
)
from tests.servers.on_disk.qdrant_storage import write_collection
from tests.servers.qdrant_points import StoredCollection, StoredPoint

pytestmark = pytest.mark.fault("M20", "M22")

POINTS = 30
SERVER_NAME = "docs-4711-2026-11-30-08-15-00.snapshot"


def stored(name: str = "docs") -> StoredCollection:
    points = [
        StoredPoint(number, {"": [float(number), 0.5]}, {"n": number, "in": name})
        for number in range(POINTS)
    ]
    return StoredCollection(name=name, vectors={"size": 2, "distance": "Dot"}, points=points)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's folder of the collection, with three shards."""
    return write_collection(tmp_path_factory.mktemp("storage"), stored(), shards=3)


@pytest.fixture(scope="module")
def packed(folder: Path) -> Members:
    return snapshot_members(folder)


@pytest.fixture
def members(packed: Members) -> Members:
    """The members of its snapshot; a test may change them."""
    return dict(packed)


@pytest.fixture
def snapshot(members: Members, tmp_path: Path) -> Path:
    """Its snapshot file."""
    return write_snapshot(members, tmp_path / SERVER_NAME)


def contents(path: Path, copies: Path, collection: str = "docs") -> list[tuple[int, bytes, bytes]]:
    """Id, payload and digest of every point."""
    with closing(
        open_stored_source(path, collection=collection, copies=copies, say=lambda _: None)
    ) as source:
        return [
            (point_id.number, payload, digest)
            for page in walk_points(source, None, None, limit=7)
            for point_id, payload, digest in zip(
                page.ids, page.payloads, digest_points(page), strict=True
            )
        ]


def refused(path: Path, tmp_path: Path, collection: str = "docs") -> PreconditionError:
    copies = tmp_path / "copies"
    with pytest.raises(PreconditionError) as caught:
        open_stored_source(path, collection=collection, copies=copies, say=lambda _: None)
    assert caught.value.exit_code == ExitCode.PRECONDITION
    assert str(path) in str(caught.value)
    assert str(copies) not in str(caught.value)
    assert list(copies.iterdir()) == []
    return caught.value


@pytest.mark.slow
@pytest.mark.parametrize("form", SegmentForm)
def test_every_shard_of_a_snapshot_is_read(folder: Path, tmp_path: Path, form: SegmentForm) -> None:
    path = write_snapshot(snapshot_members(folder, form), tmp_path / SERVER_NAME)

    read = contents(path, tmp_path / "copies")

    assert read == contents(folder, tmp_path / "copies")
    assert [number for number, _, _ in read] == list(range(POINTS))
    assert list((tmp_path / "copies").iterdir()) == []


@pytest.mark.slow
def test_the_identity_has_the_digest_of_the_file(snapshot: Path, tmp_path: Path) -> None:
    with closing(
        open_stored_source(
            snapshot, collection="docs", copies=tmp_path / "copies", say=lambda _: None
        )
    ) as source:
        identity, collection = source.identity(), source.read_collection()

    assert identity == {
        "path": str(snapshot),
        "collection": "docs",
        "transport": "embedded",
        "sha256": hashlib.sha256(snapshot.read_bytes()).hexdigest(),
    }
    assert [shard.points for shard in collection.shards] == [10, 10, 10]
    assert collection.warnings == ()


def test_another_name_than_that_in_the_file_name_is_warned_of(
    snapshot: Path, tmp_path: Path
) -> None:
    with closing(
        open_stored_source(snapshot, collection="notes", copies=tmp_path / "c", say=lambda _: None)
    ) as source:
        (warning,) = source.read_collection().warnings

    assert warning == "the store is that of collection 'docs', not of 'notes'"


@pytest.mark.slow
def test_a_snapshot_of_the_storage_gives_the_named_collection(
    snapshot: Path, tmp_path: Path
) -> None:
    notes = write_collection(tmp_path / "storage", stored("notes"), shards=1)
    other = tmp_path / "notes-4711-2026-11-30-08-15-00.snapshot"
    parts = {"docs": snapshot, "notes": write_snapshot(snapshot_members(notes), other)}
    path = write_full_snapshot(parts, tmp_path / "full-snapshot-2026-11-30-08-15-00.snapshot")

    for name in parts:
        read = contents(path, tmp_path / "copies", name)
        assert {json.loads(payload)["in"] for _, payload, _ in read} == {name}
    error = refused(path, tmp_path, "pictures")
    assert "no snapshot of collection 'pictures', it has those of docs, notes" in str(error)
    assert error.remedy == "set source.collection to one of these"


def test_a_snapshot_of_the_storage_without_the_file_it_names_is_refused(
    snapshot: Path, tmp_path: Path
) -> None:
    path = write_full_snapshot({"docs": snapshot}, tmp_path / "full", {"docs": "../docs.snapshot"})

    assert "it has no snapshot of collection 'docs'" in str(refused(path, tmp_path))


def without(start: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        for path in [path for path in members if path.startswith(start)]:
            del members[path]

    return change


def only_shard_0(members: Members) -> None:
    members.clear()
    members["segments/x.tar"] = member("segments/x.tar", pack({}))


def add(path: str, content: bytes = b"{}") -> Callable[[Members], None]:
    return lambda members: members.update({path: member(path, content)})


def describe(text: bytes) -> Callable[[Members], None]:
    return add("config.json", text)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            without("1/"),
            "does not hold all of collection 'docs', which has 3 shards: shard 1 is mis",
        ),
        (without("2/segments/"), "shard 2 holds no segments"),
        (only_shard_0, "it is a snapshot of one shard, and nothing in it tells how many"),
        (without("config.json"), "it has no config.json"),
        (describe(b"{"), "its config.json is no JSON"),
        (describe(b"[]"), "its config.json describes no collection"),
        (describe(b'{"theme": "dark"}'), "its config.json describes no collection"),
        (add("0/segments/x/files/segment_manifest.json"), "it is a partial snapshot"),
        (
            add("0/segments/x/db_backup/meta/1"),
            "its segments are in RocksDB, as before server 1.16",
        ),
        (add("0/segments/x/payload_index_db_backup/1"), "its segments are in RocksDB"),
        (add("0/segments/x.tar", pack({"snapshot/db_backup/1": b""})), "its segments are in Rock"),
        (
            add("0/segments/x.tar", pack({"segment.json": b"{}"})),
            "is in no known place of a segment",
        ),
        (add("0/segments/x/segment.json"), "segment.json is in no known place of a segment"),
        (add("0/segments/x.zip"), "0/segments/x.zip is no segment"),
        (add("0/segments/x.tar", b"cut"), "0/segments/x.tar in"),
    ],
)
def test_a_file_that_is_no_whole_snapshot_is_refused(
    members: Members, tmp_path: Path, change: Callable[[Members], None], said: str
) -> None:
    change(members)
    path = write_snapshot(members, tmp_path / SERVER_NAME)

    assert said in str(refused(path, tmp_path))


def test_a_shard_that_another_node_holds_is_refused_with_the_way_on(
    members: Members, tmp_path: Path
) -> None:
    elsewhere = b'{"is_local": false, "this_peer_id": 1, "peers": {}}'
    add("1/replica_state.json", elsewhere)(members)
    error = refused(write_snapshot(members, tmp_path / SERVER_NAME), tmp_path)

    assert "shard 1 is on another node" in str(error)
    assert error.remedy.startswith("a snapshot has only the shards of the node that made it")


def test_a_segment_twice_is_refused(members: Members, tmp_path: Path) -> None:
    add("0/segments/x.tar", pack({"snapshot/files/segment.json": b"{}"}))(members)
    add("0/segments/x/files/segment.json")(members)
    path = write_snapshot(members, tmp_path / SERVER_NAME)

    assert "it has a segment twice" in str(refused(path, tmp_path))


@pytest.mark.fault("M29")
def test_custom_sharding_is_refused_as_from_a_folder(members: Members, tmp_path: Path) -> None:
    describe(b'{"params": {"sharding_method": "custom"}}')(members)
    path = write_snapshot(members, tmp_path / SERVER_NAME)

    with pytest.raises(PreconditionError, match="uses custom sharding"):
        open_stored_source(path, collection="docs", copies=tmp_path / "c", say=lambda _: None)


def test_a_segment_that_the_server_passes_over_is_passed_over(
    members: Members, tmp_path: Path
) -> None:
    add("0/segments/.deleted.tar", b"no archive")(members)
    path = write_snapshot(members, tmp_path / SERVER_NAME)

    assert len(contents(path, tmp_path / "copies")) == POINTS


@pytest.mark.fault("M21", "G12")
def test_a_snapshot_that_does_not_fit_is_refused_before_it_is_unpacked(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    with pytest.raises(LocalStorageError, match=r"a copy of [\d,]+ bytes, .* 1,000 free"):
        open_stored_source(snapshot, collection="docs", copies=tmp_path / "c", say=lambda _: None)
    assert list((tmp_path / "c").iterdir()) == []


class FullDisk(Disk):
    """A disk that is full after some files."""

    def __init__(self, files: int) -> None:
        self._left = files

    @override
    def create(self, path: Path) -> io.FileIO:
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create(path)


@pytest.mark.fault("M21", "G12")
@pytest.mark.parametrize("files", [0, 1, 20])
def test_a_disk_that_fills_up_meanwhile_is_an_error_and_nothing_is_left(
    snapshot: Path, tmp_path: Path, files: int
) -> None:
    with use_disk(FullDisk(files)), pytest.raises(LocalStorageError, match="No space left"):
        open_stored_source(snapshot, collection="docs", copies=tmp_path / "c", say=lambda _: None)

    assert list((tmp_path / "c").iterdir()) == []


def test_unpacking_that_takes_a_while_is_said(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrate.qdrant.folder.server_snapshot.source.REPORTED_BYTES_MIN", 1000)
    said: list[str] = []
    with closing(
        open_stored_source(snapshot, collection="docs", copies=tmp_path / "c", say=said.append)
    ):
        unpacking, kind = said

    assert unpacking.startswith("unpacking ")
    assert kind == f"{snapshot} is a snapshot file of a server, with shards 0, 1, 2"


def test_reading_changes_nothing_in_the_file(snapshot: Path, tmp_path: Path) -> None:
    before = snapshot.read_bytes(), snapshot.stat().st_mtime_ns
    contents(snapshot, tmp_path / "copies")

    assert (snapshot.read_bytes(), snapshot.stat().st_mtime_ns) == before
