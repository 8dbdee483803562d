"""A reader in another process finds the shard keys by itself, and writes the same bytes."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from migrate.model.choices import TransportChoice
from migrate.model.records import VectorKind, VectorSpec
from migrate.qdrant.server import open_server_source
from migrate.runtime import Runtime
from migrate.snapshot.begun.part_writing import PartWriting
from migrate.snapshot.begun.state import Range
from migrate.snapshot.chain.flatten import SnapshotSource
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.ranges import PartReader
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.snapshot.tasks import ReaderProcess, ReadJob
from migrate.storage.layout import PARTS
from migrate.storage.local_folder import LocalFolder
from tests.e2e.older.older_files import ASSETS, VERSIONS
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.silence import Silence
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint, make_keyed
from tests.servers.qdrant_rest import rest_server

SPECS = (
    VectorSpec(name="", kind=VectorKind.DENSE, dimensions=2, distance="Dot", datatype="float32"),
)
WHOLE = Range(0, None, None)


@pytest.mark.slow
@pytest.mark.fault("M26")
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_range_is_the_same_part_whoever_reads_it(
    tmp_path: Path, transport: TransportChoice
) -> None:
    collection = StoredCollection(
        vectors={"size": 2, "distance": "Dot"},
        points=[
            StoredPoint(number, {"": [1.0, number]}, {"n": number}, shard_key=(7, "7")[number % 2])
            for number in range(40)
        ],
    )
    make_keyed(collection, 7, "7", "empty")
    serve = rest_server if transport == "rest" else grpc_server
    with serve(collection) as server:
        job = ReadJob(
            folder=LocalFolder(tmp_path / "a"),
            vectors=SPECS,
            url=server.url,
            collection=collection.name,
            api_key=None,
            load_key=None,
            transport=transport,
            compression="identity",
            ca_file=None,
            client=None,
            grpc_url=None,
            filter=None,
            page_points=7,
            second_reading="digest",
            leave_unreadable=False,
            recorded=True,
            moving=False,
        )
        job.folder.child(PARTS).make()
        with ReaderProcess(job, Silence()) as reader:
            part = reader.write(WHOLE)
            compared = reader.compare(WHOLE, part)
        with closing(
            open_server_source(
                server.url,
                collection=collection.name,
                api_key=None,
                transport=transport,
                clock=VirtualClock(),
            )
        ) as source:
            folder = LocalFolder(tmp_path / "b")
            folder.child(PARTS).make()
            here = PartReader(
                source,
                PartWriting(folder, SPECS, recorded=True),
                page_points=3,
                second_reading="digest",
            ).write(WHOLE)

    assert (part.rows, part.sha256) == (here.rows, here.sha256)
    assert compared.differing == []
    assert compared.by_key == {"7": 20, '"7"': 20}


@pytest.mark.parametrize("version", VERSIONS)
def test_points_without_keys_have_the_bytes_that_earlier_versions_wrote(
    tmp_path: Path, version: str
) -> None:
    older = json.loads((ASSETS / version / "snapshot" / "manifest.json").read_bytes())
    copied = tmp_path / older["snapshot_id"]
    shutil.copytree(ASSETS / version / "snapshot", copied)
    snapshot = Snapshot(LocalFolder(copied))
    report = take_snapshot(
        SnapshotSource(snapshot),
        LocalFolder(tmp_path / "again"),
        SnapshotOptions(),
        Runtime(clock=VirtualClock(), progress=Silence()),
    )
    again = json.loads((Path(report.path) / "manifest.json").read_bytes())

    assert again["content_root"] == older["content_root"]
    assert again["parts"] == older["parts"]
    assert again.keys() == older.keys()
