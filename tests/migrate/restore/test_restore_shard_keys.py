"""A collection with custom sharding is written back by key; no point loses its key."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import ExitCode, PreconditionError
from migrate.model.records import PointId
from migrate.qdrant.server import open_server_source
from migrate.restore.folder import FolderTarget
from migrate.restore.restore import RestoreOptions, RestoreReport, restore_snapshot
from migrate.restore.server import ServerTarget
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.silence import Silence
from tests.harness.tiers import examples
from tests.servers.qdrant_points import StoredCollection, StoredPoint, make_keyed
from tests.servers.qdrant_rest import Answer, Cut, RestServer, rest_server

KEYS: tuple[int | str, ...] = (7, "7", "east", "empty")
OPTIONS = SnapshotOptions(page_points=3, part_points=5, allow_empty=True)
IDS = st.integers(0, 40) | st.uuids().map(str)
PLACED = st.lists(
    st.tuples(IDS, st.sampled_from(KEYS[:3])),
    max_size=25,
    unique_by=lambda placed: PointId.parse(placed[0]),
)


def runtime() -> Runtime:
    return Runtime(clock=VirtualClock(), progress=Silence())


def stored(placed: Sequence[tuple[int | str, int | str]]) -> StoredCollection:
    collection = StoredCollection(
        vectors={"size": 2, "distance": "Dot"},
        points=[
            StoredPoint(number, {"": [1.0, at]}, {"n": at}, shard_key=key)
            for at, (number, key) in enumerate(placed)
        ],
    )
    make_keyed(collection, *KEYS)
    return collection


PLAIN: list[tuple[int | str, int | str]] = [(1, "east"), (2, 7), (3, "7"), (4, "east")]


def snapshot_of(collection: StoredCollection, folder: Path) -> Snapshot:
    with (
        rest_server(collection) as server,
        closing(
            open_server_source(
                server.url,
                collection=collection.name,
                api_key=None,
                transport="rest",
                clock=VirtualClock(),
            )
        ) as source,
    ):
        report = take_snapshot(source, LocalFolder(folder), OPTIONS, runtime())
    return Snapshot(LocalFolder(Path(report.path)))


@contextmanager
def serving(
    collection: StoredCollection | None = None,
) -> Iterator[tuple[ServerTarget, RestServer]]:
    again = collection or StoredCollection(name="again", is_missing=True)
    again.is_writable = True
    with rest_server(again) as server:
        target = ServerTarget(server.url, collection=again.name, api_key=None, clock=VirtualClock())
        yield target, server
        target.close()


def restore(
    snapshot: Snapshot, target: ServerTarget | FolderTarget, **options: bool
) -> RestoreReport:
    return restore_snapshot(snapshot, target, RestoreOptions(**options), runtime())


def placed_in(collection: StoredCollection) -> set[tuple[object, object]]:
    return {(point.id, point.shard_key) for point in collection.points}


@pytest.mark.slow
@settings(max_examples=examples(12), deadline=None)
@given(placed=PLACED)
def test_a_restored_collection_has_every_point_under_its_key(
    tmp_path_factory: pytest.TempPathFactory, placed: list[tuple[int | str, int | str]]
) -> None:
    folder = tmp_path_factory.mktemp("restored")
    origin = stored(placed)
    snapshot = snapshot_of(origin, folder / "first")
    with serving() as (target, server):
        report = restore(snapshot, target)
        assert (report.equal, report.written, report.settings_differ) == (True, len(placed), ())
        assert placed_in(server.collection) == placed_in(origin)
        assert sorted(map(str, server.collection.shard_keys)) == sorted(map(str, KEYS))
        again = snapshot_of(server.collection, folder / "second")
        assert restore(snapshot, target).written == 0
    assert again.manifest.set_digest == snapshot.manifest.set_digest
    assert again.manifest.shard_keys == snapshot.manifest.shard_keys


@pytest.mark.fault("M29")
def test_a_collection_without_custom_sharding_does_not_take_the_points(tmp_path: Path) -> None:
    snapshot = snapshot_of(stored(PLAIN), tmp_path)
    plain = StoredCollection(name="again", vectors={"size": 2, "distance": "Dot"})
    with serving(plain) as (target, server):
        for append in (False, True):
            with pytest.raises(PreconditionError, match="has no custom sharding, and the points"):
                restore(snapshot, target, append=append)
        assert server.collection.points == []


@pytest.mark.fault("M29")
def test_points_without_keys_do_not_go_into_a_collection_with_custom_sharding(
    tmp_path: Path,
) -> None:
    plain = StoredCollection(
        vectors={"size": 2, "distance": "Dot"}, points=[StoredPoint(1, {"": [1.0, 2.0]})]
    )
    snapshot = snapshot_of(plain, tmp_path)
    with serving(stored([])) as (target, server):
        with pytest.raises(PreconditionError, match="uses custom sharding, and the points"):
            restore(snapshot, target)
        assert server.collection.points == []


@pytest.mark.fault("M29")
def test_an_embedded_store_does_not_take_the_points(tmp_path: Path) -> None:
    snapshot = snapshot_of(stored(PLAIN), tmp_path / "snapshots")
    target = FolderTarget(tmp_path / "store", collection="again")
    with pytest.raises(PreconditionError, match="embedded store has none: they would be lost"):
        restore(snapshot, target)
    assert not (tmp_path / "store").exists()


@pytest.mark.fault("M29")
def test_a_point_that_is_under_another_key_is_not_written_a_second_time(tmp_path: Path) -> None:
    snapshot = snapshot_of(stored(PLAIN), tmp_path)
    there = stored([(1, "east"), (2, "empty"), (99, 7)])
    with serving(there) as (target, server):
        before = placed_in(server.collection)
        with pytest.raises(PreconditionError, match=r"1 point .* under another shard key \(2\)"):
            restore(snapshot, target, append=True)
        assert placed_in(server.collection) == before


def test_points_are_added_under_their_keys_and_missing_keys_are_made(tmp_path: Path) -> None:
    snapshot = snapshot_of(stored(PLAIN), tmp_path)
    there = stored([(99, 7)])
    make_keyed(there, 7)
    with serving(there) as (target, server):
        report = restore(snapshot, target, append=True)
        assert (report.written, report.others, report.equal) == (4, 1, True)
        assert placed_in(server.collection) == {*PLAIN, (99, 7)}


@pytest.mark.fault("M26")
def test_a_restore_that_was_cut_at_a_key_goes_on(tmp_path: Path) -> None:
    snapshot = snapshot_of(stored(PLAIN), tmp_path)
    with serving() as (target, server):
        said = b'{"status":{"error":"Bad request: Distributed mode disabled"},"time":0.1}'
        server.faults.append(Answer(path="/shards", status=400, body=said))
        with pytest.raises(PreconditionError, match=r"shard key 7 cannot be made: .*Distributed"):
            restore(snapshot, target)
        assert server.collection.shard_keys == []
        report = restore(snapshot, target)
        assert (report.exit_code, report.equal) == (ExitCode.DONE, True)
        assert placed_in(server.collection) == set(PLAIN)


def test_a_key_whose_answer_was_lost_is_not_made_twice(tmp_path: Path) -> None:
    snapshot = snapshot_of(stored(PLAIN), tmp_path)
    with serving() as (target, server):
        server.faults.append(Cut(path="/shards", bytes_sent=5))
        assert restore(snapshot, target).equal
        assert not server.faults
        assert server.collection.shard_keys == list(KEYS)


@pytest.mark.fault("M26")
def test_a_point_that_the_server_puts_nowhere_is_drift(tmp_path: Path) -> None:
    snapshot = snapshot_of(stored(PLAIN), tmp_path)
    with serving() as (target, server):
        server.collection.is_stored = lambda point: point.id != 3
        report = restore(snapshot, target)
    assert (report.exit_code, report.unequal_points) == (ExitCode.DRIFT, ("3",))
