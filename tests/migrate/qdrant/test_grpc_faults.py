"""What the gRPC source does when the server, the line or the answer is bad. Real sockets."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.utils import formatdate
from pathlib import Path

import grpc
import pytest

from migrate.errors import (
    AccessError,
    ArtefactDamagedError,
    BudgetExhaustedError,
    MigrationError,
    PreconditionError,
    RemoteUnavailableError,
)
from migrate.model.records import DenseColumn, PointId
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.grpc.source import GrpcSource
from migrate.qdrant.source import ServerOptions
from tests.clock import VirtualClock
from tests.servers.qdrant_grpc import Abort, GrpcFault, GrpcServer, Raw, Stall, grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint

KEY = "s3cret-key-0123456789"
ATTEMPTS_MAX = 4
QUICK = ServerOptions(attempts_max=ATTEMPTS_MAX)
ASSETS = Path(__file__).parents[2] / "assets"
VERSIONS = ["1.16.3", "1.19.0"]  # the old and the new vector layout


def stored(count: int = 3) -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"},
        points=[StoredPoint(n, {"": [0.1, n + 0.5]}, {"n": n}) for n in range(count)],
    )


@contextmanager
def reading(
    server: GrpcServer,
    *,
    clock: VirtualClock | None = None,
    options: ServerOptions = QUICK,
    api_key: str | None = None,
    collection: str = "chunks",
) -> Iterator[GrpcSource]:
    with closing(
        GrpcSource(
            ServerAddress.parse(server.url),
            collection=collection,
            api_key=api_key,
            clock=clock or VirtualClock(),
            options=options,
        )
    ) as source:
        yield source


PASSING: dict[str, GrpcFault] = {
    **{
        code.name: Abort(code)
        for code in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.UNKNOWN,
            grpc.StatusCode.ABORTED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        )
    },
    "garbage": Raw(b"\xff\xff\xff\xff<html>"),
    "empty page before the end": Raw(b"\x0a\x02\x08\x07"),  # next_page_offset: 7, no points
    "point without id": Raw(b"\x12\x00"),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
@pytest.mark.fault("N04", "N08", "S04")
def test_a_passing_fault_is_read_again(fault: GrpcFault) -> None:
    with grpc_server(stored()) as server, reading(server) as source:
        source.read_collection()
        server.faults.append(fault)
        page = source.read_points(None, limit=10)

    assert [point.key for point in stored().points] == list(page.ids)
    assert not server.faults


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
@pytest.mark.fault("N04", "N08")
def test_a_lasting_fault_ends_within_the_attempts(fault: GrpcFault) -> None:
    clock = VirtualClock()
    with grpc_server(stored()) as server, reading(server, clock=clock) as source:
        source.read_collection()
        server.faults.extend([fault] * 20)
        with pytest.raises(RemoteUnavailableError, match="given up after 4 attempts"):
            source.read_points(None, limit=10)

    assert len(clock.waits) == ATTEMPTS_MAX - 1
    assert server.collection.requests.count("/qdrant.Points/Scroll") == ATTEMPTS_MAX


@pytest.mark.fault("N10")
def test_a_call_without_answer_is_cut_off_and_read_again() -> None:
    options = ServerOptions(attempts_max=2, total_s=0.3)
    with grpc_server(stored(50)) as server, reading(server, options=options) as source:
        source.read_collection()
        server.faults.append(Stall())
        page = source.read_points(None, limit=1000)

    # What was not answered in time is asked for in half the size, once one id was answered.
    assert server.collection.limits == [1, 500]
    assert len(page) == 50


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.fault("S03")
def test_a_message_beyond_the_cap_is_asked_for_in_halves(version: str) -> None:
    options = ServerOptions(attempts_max=1, body_bytes_max=10_000)
    with (
        grpc_server(stored(1000), version=version) as server,
        reading(server, options=options) as source,
    ):
        page = source.read_points(None, limit=1000)

    assert server.collection.limits[:3] == [1000, 500, 250]
    assert 50 < len(page) <= 250


def test_a_page_beyond_the_librarys_own_bound_of_4_mb_is_read() -> None:
    vectors: dict[str, object] = {"size": 3072, "distance": "Dot"}
    points = [StoredPoint(n, {"": [0.5] * 3072}) for n in range(400)]
    collection = StoredCollection(vectors=vectors, points=points)
    large = ServerOptions(page_bytes=8_000_000)
    with grpc_server(collection) as server, reading(server, options=large) as source:
        page = source.read_points(None, limit=400)

    assert len(page) == 400
    assert collection.limits == [400]


@pytest.mark.fault("S03")
def test_a_limit_of_strict_mode_is_found_and_remembered() -> None:
    collection = stored(40)
    collection.max_query_limit = 6
    with (
        grpc_server(collection) as server,
        reading(server, options=ServerOptions(attempts_max=1)) as source,
    ):
        first = source.read_points(None, limit=40)
        again = source.read_points(first.ids[-1].successor(), limit=40)

    assert (len(first), len(again)) == (5, 5)
    assert collection.limits == [40, 20, 10, 5, 5]


@pytest.mark.fault("N01")
def test_a_stated_wait_is_honoured_in_full() -> None:
    clock = VirtualClock()
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    date = {"date": formatdate(1_000_000, usegmt=True)}
    with grpc_server(stored()) as server, reading(server, clock=clock) as source:
        server.faults.append(Abort(code, "Rate limiting", {"retry-after": "17"}))
        wanted = formatdate(1_000_030, usegmt=True)
        server.faults.append(Abort(code, "Rate limiting", {"retry-after": wanted, **date}))
        source.read_ids(None, limit=2)

    assert clock.waits == [17.0, 30.0]


@pytest.mark.fault("N01")
def test_a_wait_beyond_the_bound_stops_the_run() -> None:
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    with grpc_server(stored()) as server, reading(server) as source:
        server.faults.append(Abort(code, "Rate limiting", {"retry-after": "601"}))
        with pytest.raises(BudgetExhaustedError, match="asks to wait 601 s"):
            source.read_ids(None, limit=2)


@pytest.mark.fault("N11", "X01")
def test_a_wrong_key_stops_at_once_and_is_not_told() -> None:
    clock = VirtualClock()
    with (
        grpc_server(stored(), api_key="the right one") as server,
        reading(server, api_key=KEY, clock=clock) as source,
    ):
        with pytest.raises(AccessError, match="UNAUTHENTICATED") as caught:
            source.read_collection()
        assert KEY not in repr(caught.value) + caught.value.remedy + repr(source)

    assert clock.waits == []


@pytest.mark.fault("X01", "X12")
def test_the_key_travels_in_its_metadata_only() -> None:
    with grpc_server(stored(), api_key=KEY) as server, reading(server, api_key=KEY) as source:
        source.read_collection()
        source.read_points(None, limit=5)

    assert {KEY} == {metadata["api-key"] for metadata in server.metadata}
    assert KEY not in str(source.identity())
    assert len({metadata["x-qdrant-route-affinity"] for metadata in server.metadata}) == 1
    assert server.collection.writes == []


@pytest.mark.parametrize("certificate", ["loopback.pem", "elsewhere.pem"])
@pytest.mark.fault("N15", "X07")
def test_an_untrusted_certificate_stops_at_once(certificate: str) -> None:
    trusted = ASSETS / "elsewhere.pem" if certificate == "elsewhere.pem" else None
    clock = VirtualClock()
    with (
        grpc_server(stored(), certificate=ASSETS / certificate) as server,
        reading(server, clock=clock, options=ServerOptions(ca_file=trusted)) as source,
        pytest.raises(AccessError, match="certificate is not trusted"),
    ):
        source.count_points()

    assert clock.waits == []


@pytest.mark.fault("X07")
def test_a_private_authority_can_be_named() -> None:
    certificate = ASSETS / "loopback.pem"
    options = ServerOptions(ca_file=certificate)
    with (
        grpc_server(stored(), certificate=certificate, api_key=KEY) as server,
        reading(server, options=options, api_key=KEY) as source,
    ):
        assert source.count_points() == 3


@pytest.mark.fault("N14")
def test_nobody_listening_ends_within_the_attempts() -> None:
    clock = VirtualClock()
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    address = ServerAddress.parse(f"http://127.0.0.1:{port}")
    with (
        closing(
            GrpcSource(address, collection="c", api_key=None, clock=clock, options=QUICK)
        ) as source,
        pytest.raises(RemoteUnavailableError, match="UNAVAILABLE"),
    ):
        source.count_points()

    assert len(clock.waits) == ATTEMPTS_MAX - 1


def test_a_wrong_name_lists_the_collections_there_are() -> None:
    collection = stored()
    collection.other_names = ["archive"]
    with grpc_server(collection) as server, reading(server, collection="chunk") as source:
        for read in (source.read_collection, source.count_points):
            with pytest.raises(PreconditionError, match="it has 'archive', 'chunks'"):
                read()


@pytest.mark.fault("S02")
def test_an_answer_out_of_order_names_both_ids() -> None:
    collection = stored(30)
    with grpc_server(collection) as server, reading(server) as source:
        source.read_collection()
        collection.bend_page = lambda points: [points[0], *points]
        with pytest.raises(ArtefactDamagedError, match="point 10 after point 10"):
            source.read_points(PointId(0, 10), limit=10)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.fault("D01", "D02")
def test_odd_vectors_are_kept(version: str) -> None:
    """Not finite: in the column, with its bits. Wrong length: as received."""
    collection = stored(3)
    collection.points[1] = StoredPoint(1, {"": [float("nan"), float("-inf")]})
    collection.points[2] = StoredPoint(2, {"": [0.5, 1.5, float("inf")]})
    with grpc_server(collection, version=version) as server, reading(server) as source:
        page = source.read_points(None, limit=10)

    column = page.vectors[""]
    assert isinstance(column, DenseColumn)
    assert column.present.tolist() == [True, True, False]
    assert [str(value) for value in column.values[1].tolist()] == ["nan", "-inf"]
    assert page.irregular == (None, None, b'{"":[0.5,1.5,"inf"]}')


def test_the_description_has_the_shape_of_rest() -> None:
    multi = {"comparator": "max_sim"}
    collection = StoredCollection(
        vectors={
            "a": {"size": 2, "distance": "Cosine", "datatype": "uint8"},
            "m": {"size": 3, "distance": "Dot", "multivector_config": multi},
        },
        sparse_vectors={"s": {}},
    )
    with grpc_server(collection, version="1.18.1") as server, reading(server) as source:
        found = source.read_collection()

    config = found.config["config"]
    assert isinstance(config, dict)
    assert config["params"] == {
        "vectors": collection.vectors,
        "sparse_vectors": {"s": {}},
        "shard_number": 1,
    }
    assert (found.config["status"], found.config["optimizer_status"]) == ("green", "ok")
    assert found.server == "qdrant 1.18.1"


def test_custom_sharding_is_refused() -> None:
    collection = stored()
    collection.params["sharding_method"] = "custom"
    with (
        grpc_server(collection) as server,
        reading(server) as source,
        pytest.raises(PreconditionError, match="custom sharding"),
    ):
        source.read_collection()


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name != "OK"], ids=str)
def test_every_status_of_the_protocol_becomes_ours(code: grpc.StatusCode) -> None:
    """The library's list, not ours: a new kind of failure must not slip through as a bug."""
    with grpc_server(stored()) as server, reading(server) as source:
        server.faults.extend([Abort(code, method="Count")] * 20)
        with pytest.raises(MigrationError) as caught:
            source.count_points()

    assert caught.value.remedy
