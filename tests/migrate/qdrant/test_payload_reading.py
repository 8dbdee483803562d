"""Reading payloads without vectors: few bytes, and the same care for pages and odd payloads."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.clock import SystemClock
from migrate.model.choices import TransportChoice
from migrate.ports import PointSource
from migrate.qdrant.server import open_server_source
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import DifferenceReport, take_difference
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.silence import Silence
from tests.migrate.qdrant.rest import test_single_point
from tests.migrate.qdrant.rest.test_single_point import reading
from tests.servers.counting_relay import counting_relay
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint, larger_than
from tests.servers.qdrant_rest import rest_server

DIMENSIONS = 512
POINTS = 200
CHANGED = (3, 90, 91)


def stored(payload: dict[str, object] | None = None) -> StoredCollection:
    return StoredCollection(
        vectors={"size": DIMENSIONS, "distance": "Dot"},
        points=[
            StoredPoint(n, {"": [n + 0.125] * DIMENSIONS}, payload or {"text": f"chunk {n}"})
            for n in range(POINTS)
        ],
    )


def change(collection: StoredCollection) -> None:
    for number in CHANGED:
        collection.points[number] = replace(
            collection.points[number], payload={"text": "another chunk"}
        )


def open_source(port: int, transport: TransportChoice) -> PointSource:
    return open_server_source(
        f"http://127.0.0.1:{port}",
        collection="chunks",
        api_key=None,
        transport=transport,
        clock=SystemClock(),
    )


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_difference_of_payloads_takes_few_bytes_and_finds_the_same_points(
    tmp_path: Path, transport: TransportChoice
) -> None:
    collection = stored()
    server = rest_server(collection) if transport == "rest" else grpc_server(collection)
    options = SnapshotOptions(moving=True)
    with (
        server as served,
        counting_relay(served.port) as relay,
        closing(open_source(relay.port, transport)) as source,
    ):
        runtime = Runtime(clock=VirtualClock(), progress=Silence())
        base = take_snapshot(source, LocalFolder(tmp_path), options, runtime)
        change(collection)

        def differ(*, payload_only: bool) -> tuple[DifferenceReport, int, int]:
            bytes_, requests = relay.answer_bytes, len(collection.limits)
            parent = Snapshot(LocalFolder(Path(base.path)))
            report = take_difference(
                source, parent, replace(options, payload_only=payload_only), runtime
            )
            return report, relay.answer_bytes - bytes_, len(collection.limits) - requests

        whole, whole_bytes, _ = differ(payload_only=False)
        found, payload_bytes, requests = differ(payload_only=True)

    assert found.changed == whole.changed == len(CHANGED)
    assert found.read_whole == len(CHANGED)
    vectors_bytes = POINTS * DIMENSIONS * 4
    assert whole_bytes > vectors_bytes
    assert payload_bytes < vectors_bytes / 5
    assert requests <= 5, "two of payloads, and one for each piece of changed points"
    first, second = (Snapshot(LocalFolder(Path(one.path))) for one in (whole, found))
    assert first.manifest.set_digest == second.manifest.set_digest


@pytest.mark.fault("C08")
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_a_page_of_payloads_that_is_refused_or_fails_is_halved(transport: TransportChoice) -> None:
    refusing = replace(stored(), max_query_limit=50)
    with reading(refusing, transport, []) as (source, _):
        assert 0 < len(source.read_payloads(None, limit=100)) <= 50
    failing = replace(stored(), breaks=larger_than(30))
    with reading(failing, transport, []) as (source, _):
        page = source.read_payloads(None, limit=100)

    assert 0 < len(page) <= 30
    assert page.vectors == {}


@pytest.mark.fault("C08", "F27", "F23")
@pytest.mark.parametrize("case", test_single_point.POINTS)
def test_a_payload_that_grpc_cannot_carry_is_read_over_rest_without_vectors(case: str) -> None:
    collection = test_single_point.stored(test_single_point.POINTS[case])
    with reading(collection, "rest", []) as (source, _):
        whole = source.read_points(None, limit=100)
    with reading(collection, "grpc", []) as (source, _):
        page = source.read_payloads(None, limit=100)

    assert (page.ids, page.payloads, page.irregular) == (
        whole.ids,
        whole.payloads,
        whole.irregular,
    )
    assert page.vectors == {}
