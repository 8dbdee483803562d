"""A restored collection equals the snapshot: in an embedded store, and on a server."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import qdrant_edge
from typing_extensions import override

from migrate.errors import AccessError, ExitCode, PreconditionError
from migrate.restore.folder import FolderTarget
from migrate.restore.restore import RestoreOptions, RestoreReport, restore_snapshot
from migrate.restore.server import ServerTarget
from migrate.restore.target import CollectionTarget
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import take_difference
from migrate.snapshot.chain.flatten import SnapshotSource
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.steps import KilledError
from tests.harness.tiers import one_in
from tests.migrate.qdrant.sources import edge, rest, write_shard
from tests.servers.on_disk.qdrant_storage import write_collection
from tests.servers.qdrant_points import SparseValues, StoredCollection, StoredPoint
from tests.servers.qdrant_rest import Answer, RestServer, rest_server

WHOLE = SnapshotOptions(page_points=3, part_points=5, allow_empty=True)
MULTI = {"comparator": "max_sim"}
UUIDS = ("00000000-0000-0000-0000-00000000000a", "ffffffff-ffff-ffff-ffff-ffffffffffff")
PAYLOADS: tuple[dict[str, object] | None, ...] = (
    None,
    {},
    {"text": "größer 😀", "": 1, "a.b": {"$c": [1, 1.0, None, True, {"d": []}]}},
    {"u64": 2**64 - 1, "i64": -(2**63), "big": 1e300, "small": -0.0, "null": None},
)


def one_vector(distance: str = "Dot", datatype: str = "float32") -> StoredCollection:
    """Integer and UUID ids, all types of payload, and a point without its vector."""
    ids: list[int | str] = [0, 7, 2**53 + 1, 2**64 - 1, *UUIDS]
    return StoredCollection(
        vectors={"size": 3, "distance": distance, "datatype": datatype},
        points=[
            StoredPoint(
                one,
                {"": [number + 1.0, 2.0, 250.0]} if number != 1 else {},
                PAYLOADS[number % len(PAYLOADS)],
            )
            for number, one in enumerate(ids)
        ],
    )


def all_kinds() -> StoredCollection:
    """Named dense, multi and sparse vectors, each of them absent from some point."""
    return StoredCollection(
        vectors={
            "a": {"size": 2, "distance": "Cosine"},
            "b": {"size": 3, "distance": "Euclid"},
            "m": {"size": 2, "distance": "Dot", "multivector_config": MULTI},
        },
        sparse_vectors={"s": {}},
        points=[
            StoredPoint(
                1,
                {
                    "a": [1.0, 2.0],
                    "b": [1.5, -0.0, 3.5],
                    "m": [[1.0, 2.0], [3.0, 4.0]],
                    "s": SparseValues([1, 7, 4_000_000_000], [0.1, 0.2, 0.3]),
                },
                {"n": 1},
            ),
            StoredPoint(2, {"a": [3.0, 4.0], "s": SparseValues([], [])}),
            StoredPoint(UUIDS[0], {"m": [[9.0, 8.0]]}),
            StoredPoint(UUIDS[1], {}),
        ],
    )


COLLECTIONS: dict[str, Callable[[], StoredCollection]] = {
    **{
        f"one-{distance}": partial(one_vector, distance)
        for distance in ("Cosine", "Dot", "Euclid", "Manhattan")
    },
    "one-float16": lambda: one_vector(datatype="float16"),
    "one-uint8": lambda: one_vector(datatype="uint8"),
    "all kinds": all_kinds,
    "one multivector": lambda: StoredCollection(
        vectors={"size": 2, "distance": "Dot", "multivector_config": MULTI},
        points=[StoredPoint(1, {"": [[1.0, 2.0], [3.0, 4.0]]}), StoredPoint(2, {})],
    ),
    "empty": lambda: StoredCollection(vectors={"size": 2, "distance": "Dot"}),
}


@dataclass
class Store:
    """A collection that does not exist yet, and a way to read it apart from the restore."""

    target: CollectionTarget
    server: RestServer | None  # None: an embedded store

    def snapshot(self, folder: Path) -> Snapshot:
        """A snapshot of what it holds."""
        with self.target.open_source() as source:
            report = take_snapshot(source, LocalFolder(folder), WHOLE, runtime())
        return Snapshot(LocalFolder(Path(report.path)))


@contextmanager
def folder_store(folder: Path) -> Iterator[Store]:
    yield Store(FolderTarget(folder / "store", collection="again"), None)


@contextmanager
def server_store(folder: Path) -> Iterator[Store]:
    collection = StoredCollection(name="again", is_writable=True, is_missing=True)
    with rest_server(collection) as server:
        target = ServerTarget(server.url, collection="again", api_key=None, clock=VirtualClock())
        yield Store(target, server)
        target.close()


STORES = {"folder": folder_store, "server": server_store}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with STORES[request.param](tmp_path) as found:
        yield found


def runtime() -> Runtime:
    return Runtime(clock=VirtualClock(), progress=Silence())


def sealed(collection: StoredCollection, folder: Path, *, embedded: bool = True) -> Snapshot:
    """A snapshot of the collection, read from an embedded store or from a server."""
    (folder / "origin").mkdir()
    backend = edge if embedded else rest("1.19.0")
    with backend(collection, folder / "origin") as source:
        report = take_snapshot(source, LocalFolder(folder / "snapshots"), WHOLE, runtime())
    return Snapshot(LocalFolder(Path(report.path)))


def restore(snapshot: Snapshot, store: Store, **options: bool) -> RestoreReport:
    return restore_snapshot(snapshot, store.target, RestoreOptions(**options), runtime())


@pytest.mark.fault("Y01")
@pytest.mark.parametrize("name", one_in(3, COLLECTIONS))
def test_what_is_read_back_is_what_was_sealed(name: str, store: Store, tmp_path: Path) -> None:
    snapshot = sealed(COLLECTIONS[name](), tmp_path)

    report = restore(snapshot, store)

    again = store.snapshot(tmp_path / "again")
    assert again.manifest.set_digest == snapshot.manifest.set_digest
    assert again.manifest.vectors == snapshot.manifest.vectors
    assert report.set_digest == snapshot.manifest.set_digest
    assert (report.exit_code, report.equal, report.created) == (ExitCode.DONE, True, True)
    assert (report.written, report.unequal_points) == (snapshot.manifest.points, ())
    of_the_engine = ("payload_memory is None, in the snapshot 'cold'",)  # no setting of a server
    assert report.settings_differ == (() if store.server is None else of_the_engine)


SETTINGS: dict[str, object] = {
    "params": {
        "vectors": {
            "size": 3,
            "distance": "Dot",
            "on_disk": True,
            "hnsw_config": {"m": 24},
            "quantization_config": {"scalar": {"type": "int8", "always_ram": True}},
        },
        "shard_number": 3,
        "write_consistency_factor": 1,
        "replication_factor": 2,
        "read_fan_out_factor": 2,
        "on_disk_payload": True,
    },
    "hnsw_config": {"m": 32, "ef_construct": 77, "full_scan_threshold": 9_999, "on_disk": False},
    "optimizer_config": {"indexing_threshold": 12_345, "max_segment_size": None},
    "wal_config": {"wal_capacity_mb": 16},
    "quantization_config": {"binary": {"always_ram": True}},
    "strict_mode_config": {"enabled": False},
}
SCHEMA = {
    "file_id": {
        "data_type": "keyword",
        "points": 6,
        "params": {"type": "keyword", "on_disk": True},
    },
    "n": {"data_type": "integer", "points": 2},
}


def with_settings(tmp_path: Path) -> Snapshot:
    collection = replace(one_vector(), info={"config": SETTINGS, "payload_schema": SCHEMA})
    return sealed(collection, tmp_path, embedded=False)


def test_a_server_gets_the_settings_and_payload_indexes(tmp_path: Path) -> None:
    snapshot = with_settings(tmp_path)

    with server_store(tmp_path) as store:
        report = restore(snapshot, store)
        assert store.server is not None
        described = store.server.collection.describe()

    assert report.settings_differ == ()
    assert report.indexes == 2
    found = described["config"]
    assert isinstance(found, dict)
    assert found["params"] == SETTINGS["params"]
    for name in ("hnsw_config", "wal_config", "quantization_config", "strict_mode_config"):
        assert found[name] == SETTINGS[name]
    assert found["optimizer_config"]["indexing_threshold"] == 12_345
    schema = described["payload_schema"]
    assert isinstance(schema, dict)
    assert {name: one.get("params", one["data_type"]) for name, one in schema.items()} == {
        "file_id": {"type": "keyword", "on_disk": True},
        "n": "integer",
    }


def test_an_embedded_store_gets_the_settings_that_the_engine_has(tmp_path: Path) -> None:
    snapshot = with_settings(tmp_path)

    with folder_store(tmp_path) as store:
        report = restore(snapshot, store)

    assert report.equal
    described = json.loads((tmp_path / "store" / "edge_config.json").read_bytes())
    vector = described["vectors"][""]
    assert (described["hnsw_config"]["ef_construct"], vector["hnsw_config"]["m"]) == (77, 24)
    assert vector["hnsw_config"]["ef_construct"] == 77  # those that it does not change
    assert vector["quantization_config"] == {"scalar": {"type": "int8", "always_ram": True}}
    assert described["optimizers"]["indexing_threshold"] == 12_345
    shard = qdrant_edge.EdgeShard.load(str(tmp_path / "store"))
    assert sorted(shard.info().payload_schema) == ["file_id", "n"]
    shard.close()
    assert any("shard_number" in text for text in report.settings_differ)
    assert not any("payload index" in text for text in report.settings_differ)  # they are there


def test_a_server_that_has_a_setting_in_another_way_is_named(tmp_path: Path) -> None:
    snapshot = with_settings(tmp_path)

    with server_store(tmp_path) as store:
        assert store.server is not None
        restore(snapshot, store)
        config = store.server.collection.info["config"]
        assert isinstance(config, dict)
        config["hnsw_config"] = {**config["hnsw_config"], "m": 16}
        report = restore(snapshot, store)

    assert report.settings_differ == ("hnsw_config.m is 16, in the snapshot 32",)
    assert (report.written, report.already_there) == (0, 6)


@pytest.mark.slow
@pytest.mark.fault("Y02")
@pytest.mark.parametrize("after", [0, 1, 3])
def test_after_a_kill_only_what_is_missing_is_sent(
    after: int, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = sealed(one_vector(), tmp_path)

    class Killed:
        left = after

        def check(self) -> None:
            self.left -= 1
            if self.left < 0:
                raise KilledError

    killed = replace(runtime(), stop=Killed())
    monkeypatch.setattr("migrate.restore.restore.BATCH_BYTES", 1)  # a point a request
    with pytest.raises(KilledError):
        restore_snapshot(snapshot, store.target, RestoreOptions(), killed)
    second = restore(snapshot, store)
    third = restore(snapshot, store)

    assert (second.already_there, second.written, second.created) == (after, 6 - after, False)
    assert second.exit_code is third.exit_code is ExitCode.DONE
    assert (third.already_there, third.written) == (6, 0)
    assert store.snapshot(tmp_path / "again").manifest.set_digest == snapshot.manifest.set_digest


@pytest.mark.fault("Y02")
@pytest.mark.parametrize("append", [False, True])
def test_killed_after_the_creation_the_payload_indexes_are_created_by_the_next_call(
    append: bool, tmp_path: Path
) -> None:
    snapshot = with_settings(tmp_path)

    with server_store(tmp_path) as store:
        assert store.server is not None
        target = store.target

        class Killed(ServerTarget):
            @override
            def create_index(self, field: str, schema: object) -> None:
                raise KilledError

        killed = Killed(store.server.url, collection="again", api_key=None, clock=VirtualClock())
        with closing(killed), pytest.raises(KilledError):
            restore_snapshot(snapshot, killed, RestoreOptions(append=append), runtime())
        assert target.read_collection() is not None
        second = restore(snapshot, store, append=append)
        described = store.server.collection.describe()

    assert (second.created, second.written, second.equal) == (False, 6, True)
    assert second.settings_differ == ()
    schema = described["payload_schema"]
    assert isinstance(schema, dict)
    assert sorted(schema) == ["file_id", "n"]


@pytest.mark.fault("Y02")
def test_a_store_whose_creation_was_killed_is_created(tmp_path: Path) -> None:
    snapshot = sealed(one_vector(), tmp_path)
    (tmp_path / "store" / "segments" / "0b0e6c1e-5c3e-5a3e-9c5e-2a1b3c4d5e6f").mkdir(parents=True)
    (tmp_path / "store" / "edge_config.json").write_bytes(b"{}")

    with folder_store(tmp_path) as store:
        assert restore(snapshot, store).equal


def other_points() -> StoredCollection:
    """A point of the snapshot with another content, and one that it does not have."""
    return StoredCollection(
        name="again",
        vectors={"size": 3, "distance": "Dot", "datatype": "float32"},
        points=[
            StoredPoint(7, {"": [9.0, 9.0, 9.0]}, {"mine": True}),
            StoredPoint(8, {"": [8.0, 8.0, 8.0]}, {"other": True}),
        ],
        is_writable=True,
    )


@contextmanager
def occupied(kind: str, folder: Path, held: StoredCollection) -> Iterator[Store]:
    """A store that holds points of others."""
    if kind == "folder":
        write_shard(held, folder / "store")
        with folder_store(folder) as found:
            yield found
        return
    with rest_server(held) as server:
        target = ServerTarget(server.url, collection="again", api_key=None, clock=VirtualClock())
        yield Store(target, server)
        target.close()


@pytest.mark.fault("Y03")
@pytest.mark.parametrize("kind", sorted(STORES))
def test_a_collection_of_others_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    snapshot = sealed(one_vector(), tmp_path)

    with occupied(kind, tmp_path, other_points()) as store:
        before = store.snapshot(tmp_path / "before").manifest.set_digest
        with pytest.raises(PreconditionError, match=r"1 of its points .* 1 have .*\(7, 8\)"):
            restore(snapshot, store)

        assert store.snapshot(tmp_path / "after").manifest.set_digest == before
        assert store.server is None or store.server.collection.writes == []


@pytest.mark.slow
@pytest.mark.fault("Y03")
@pytest.mark.parametrize("kind", sorted(STORES))
def test_appending_keeps_other_points_and_says_what_it_replaces(kind: str, tmp_path: Path) -> None:
    snapshot = sealed(one_vector(), tmp_path)

    with occupied(kind, tmp_path, other_points()) as store:
        planned = restore(snapshot, store, append=True, dry_run=True)
        report = restore(snapshot, store, append=True)
        again = store.snapshot(tmp_path / "again")

    assert (planned.replaced, planned.others, planned.written, planned.unequal) == (1, 1, 0, 6)
    assert (report.replaced, report.others, report.written) == (1, 1, 6)
    assert planned.replaced_points == report.replaced_points == ("7",)
    assert (report.equal, report.exit_code) == (True, ExitCode.DONE)
    assert again.manifest.points == 7


def test_other_vectors_are_refused(tmp_path: Path) -> None:
    snapshot = sealed(one_vector("Euclid"), tmp_path)

    with (
        occupied("server", tmp_path, other_points()) as store,
        pytest.raises(PreconditionError, match="has vectors"),
    ):
        restore(snapshot, store, append=True)


def test_a_dry_run_writes_nothing(store: Store, tmp_path: Path) -> None:
    snapshot = sealed(one_vector(), tmp_path)

    report = restore(snapshot, store, dry_run=True)

    assert (report.unequal, report.written, report.created) == (6, 0, False)
    assert store.target.read_collection() is None
    assert not (tmp_path / "store").exists()


def test_the_question_is_asked_before_anything_is_written(store: Store, tmp_path: Path) -> None:
    snapshot = sealed(one_vector(), tmp_path)
    asked: list[str] = []

    def refuse(sentence: str) -> None:
        asked.append(sentence)
        raise KilledError

    with pytest.raises(KilledError):
        restore_snapshot(snapshot, store.target, RestoreOptions(), runtime(), confirm=refuse)

    assert store.target.read_collection() is None
    assert asked[0].startswith("writes 6 points into the new collection 'again' of ")


@pytest.mark.slow
@pytest.mark.fault("Y05")
def test_a_chain_is_restored_as_its_flattened_form(store: Store, tmp_path: Path) -> None:
    held = one_vector()
    folder = LocalFolder(tmp_path / "snapshots")
    with rest("1.19.0")(held, tmp_path) as source:
        first = take_snapshot(source, folder, WHOLE, runtime())
        changed = replace(held.points[0], payload={"changed": True})
        added = StoredPoint(5, {"": [5.0, 5.0, 5.0]}, {"added": True})
        held.points = [changed, added, *held.points[2:]]
        parent = Snapshot(LocalFolder(Path(first.path)))
        chained = Snapshot(
            LocalFolder(Path(take_difference(source, parent, WHOLE, runtime()).path))
        )
    flat = take_snapshot(SnapshotSource(chained), LocalFolder(tmp_path / "flat"), WHOLE, runtime())
    assert chained.parent is not None

    report = restore(chained, store)
    again = restore(Snapshot(LocalFolder(Path(flat.path))), store)

    assert (report.equal, report.written) == (True, 6)
    assert report.set_digest == flat.set_digest == again.set_digest
    assert (again.equal, again.written) == (True, 0)


def irregular() -> StoredCollection:
    """One point of another length than the collection says, as only a broken server gives it."""
    held = one_vector()
    held.points[2] = replace(held.points[2], vectors={"": [1.0]})
    return held


@pytest.mark.fault("Y04")
def test_points_that_cannot_be_written_back_are_refused_by_name(
    store: Store, tmp_path: Path
) -> None:
    snapshot = sealed(irregular(), tmp_path, embedded=False)

    with pytest.raises(PreconditionError, match=str(2**53 + 1)) as refused:
        restore(snapshot, store)
    report = restore(snapshot, store, leave_irregular=True)

    assert "--leave-irregular" in refused.value.remedy
    assert (report.written, report.equal, report.exit_code) == (5, False, ExitCode.DRIFT)
    assert report.unequal_points == (str(2**53 + 1),)


@pytest.mark.fault("Y04")
def test_a_point_that_the_server_refuses_is_named_and_the_others_are_written(
    tmp_path: Path,
) -> None:
    held = one_vector()
    held.points[2] = replace(held.points[2], vectors={"": [float("inf"), 1.0, 1.0]})
    snapshot = sealed(held, tmp_path)

    with server_store(tmp_path) as store:
        report = restore(snapshot, store)

    named = str(2**53 + 1)
    assert (report.written, report.exit_code) == (5, ExitCode.DRIFT)
    assert report.unequal_points == (named,)
    assert "null" in report.refused[named]


@pytest.mark.fault("Y04")
def test_a_server_that_refuses_every_point_ends_it(tmp_path: Path) -> None:
    held = one_vector()
    held.points = [StoredPoint(one, {"": [1.0, 1.0, 1.0]}) for one in range(100)]
    snapshot = sealed(held, tmp_path)

    with server_store(tmp_path) as store:
        assert store.server is not None
        full = Answer(400, body=b'{"status":{"error":"quota exceeded"},"time":0.0}')
        store.server.faults.append(replace(full, path=r"points\?wait", times=1_000))
        with pytest.raises(PreconditionError, match="quota exceeded"):
            restore(snapshot, store)
        assert len(store.server.collection.requests) < 200


@pytest.mark.fault("Y06")
def test_a_collection_that_is_deleted_meanwhile_is_no_fault_of_the_points(tmp_path: Path) -> None:
    snapshot = sealed(one_vector(), tmp_path)

    with server_store(tmp_path) as store:
        assert store.server is not None
        gone = b'{"status":{"error":"Not found: Collection `again` doesn\'t exist!"},"time":0.0}'
        store.server.faults.append(Answer(404, body=gone, path=r"points\?wait"))
        with pytest.raises(PreconditionError, match="deleted meanwhile"):
            restore(snapshot, store)

        assert restore(snapshot, store).equal


@pytest.mark.fault("Y06")
def test_a_failing_server_is_asked_again(tmp_path: Path) -> None:
    snapshot = sealed(one_vector(), tmp_path)

    with server_store(tmp_path) as store:
        assert store.server is not None
        store.server.faults += [
            Answer(503, path="again$"),
            Answer(429, path=r"points\?wait", headers={"Retry-After": "1"}),
            Answer(500, path=r"points\?wait", times=2),
        ]
        report = restore(snapshot, store)

    assert report.equal


@pytest.mark.fault("Y06")
def test_a_key_that_may_only_read_is_told_what_it_needs(tmp_path: Path) -> None:
    snapshot = sealed(one_vector(), tmp_path)
    collection = StoredCollection(name="again", is_missing=True)  # refuses writes with 403

    with rest_server(collection) as server:
        target = ServerTarget(server.url, collection="again", api_key="k", clock=VirtualClock())
        with pytest.raises(AccessError) as refused:
            restore(snapshot, Store(target, server))
        target.close()

    assert "write" in refused.value.remedy


@pytest.mark.fault("Y03")
def test_a_folder_of_a_server_or_of_something_else_is_left_alone(tmp_path: Path) -> None:
    home = write_collection(tmp_path, one_vector(), shards=1)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")

    for folder in (home, home / "0", tmp_path / "notes"):
        with pytest.raises(PreconditionError, match=r"server's folder|not empty"):
            FolderTarget(folder, collection="again")
