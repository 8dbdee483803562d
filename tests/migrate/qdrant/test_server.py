"""Choosing protocol and port, and what the description of a collection warns of."""

from collections.abc import Mapping
from contextlib import closing

import pytest

from migrate.errors import MigrationError, UsageError
from migrate.model.choices import TransportChoice
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.collection import read_collection
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerOptions
from tests.harness.fakes.clock import VirtualClock
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server


def stored() -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"}, points=[StoredPoint(1, {"": [1.0, 2.0]})]
    )


def transport_in_use(
    url: str,
    transport: TransportChoice,
    *,
    grpc_port: int | None = None,
    options: ServerOptions | None = None,
) -> str:
    source = open_server_source(
        url,
        collection="chunks",
        api_key=None,
        transport=transport,
        clock=VirtualClock(),
        grpc_port=grpc_port,
        options=options,
    )
    with closing(source):
        assert source.count_points() == 1
        return source.identity()["transport"]


def test_auto_takes_grpc_where_it_answers() -> None:
    with rest_server(stored()) as rest, grpc_server(stored()) as grpc:
        assert transport_in_use(rest.url, "auto", grpc_port=grpc.port) == "grpc"
        assert transport_in_use(grpc.url, "auto") == "grpc"
        assert transport_in_use(rest.url, "rest", grpc_port=grpc.port) == "rest"


def test_auto_falls_back_to_rest_and_says_so() -> None:
    heard: list[str] = []
    options = ServerOptions(say=heard.append)
    with rest_server(stored()) as rest:
        assert transport_in_use(rest.url, "auto", options=options) == "rest"

        assert [f"no gRPC at 127.0.0.1:{rest.port}; reading over REST"] == heard


def test_grpc_is_not_replaced_when_it_was_asked_for() -> None:
    with rest_server(stored()) as rest, pytest.raises(MigrationError):
        transport_in_use(rest.url, "grpc", options=ServerOptions(attempts_max=1))


@pytest.mark.parametrize(
    ("url", "rest_url", "grpc_target"),
    [
        ("http://localhost", "http://localhost:6333", "localhost:6334"),
        ("http://localhost:6333/", "http://localhost:6333", "localhost:6334"),
        ("http://localhost:6334", "http://localhost:6333", "localhost:6334"),
        ("https://x.cloud.example", "https://x.cloud.example:6333", "x.cloud.example:6334"),
        ("https://x.example:443/qdrant/", "https://x.example:443/qdrant", "x.example:443"),
        ("http://[::1]:7000", "http://[::1]:7000", "[::1]:7000"),
        ("http://a_b:7000", "http://a_b:7000", "a_b:7000"),
        (
            "http://m\u00fcnchen.example:7",
            "http://m\u00fcnchen.example:7",
            "m\u00fcnchen.example:7",
        ),
    ],
)
def test_a_url_gives_both_ports(url: str, rest_url: str, grpc_target: str) -> None:
    address = ServerAddress.parse(url)

    assert (rest_url, grpc_target) == (address.rest_url, address.grpc_target)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6333",
        "ftp://localhost",
        "http://",
        "",
        "http://h:0",
        "http://h:99999",
        "http://h:port",
        "http://[::1",
        "https://me:s3cret@host:6333",
        "https://s3cret@host",
        "http://a..b",
        "http://.",
        f"http://{'x' * 70}.example:6333",
        "http://xn--a.example",
        "http://two words",
        "http://%20",
        "http://a\\b",
    ],
)
@pytest.mark.fault("X01")
def test_an_unusable_url_is_refused_without_repeating_secrets(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        ServerAddress.parse(url)

    assert "s3cret" not in str(caught.value) + caught.value.remedy


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "LOCALHOST"])
def test_a_key_may_stay_on_this_machine_in_plain_text(host: str) -> None:
    ServerAddress.parse(f"http://{host}:6333").check_key("key")


@pytest.mark.parametrize(
    "host", ["10.0.0.7", "localhost.example.com", "127.0.0.1.example.com", "qdrant", "[::2]"]
)
@pytest.mark.fault("X07")
def test_a_key_leaves_this_machine_only_encrypted(host: str) -> None:
    with pytest.raises(UsageError, match="plain text"):
        ServerAddress.parse(f"http://{host}:6333").check_key("key")
    ServerAddress.parse(f"https://{host}:6333").check_key("key")


@pytest.mark.parametrize("key", ["", "s3cret\n", "s3cret\x00", "s3crét"])
def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        ServerAddress.parse("https://host").check_key(key)

    assert "s3c" not in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_would_change_the_path_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no collection name"):
        open_server_source(
            "http://localhost",
            collection=name,
            api_key=None,
            transport="rest",
            clock=VirtualClock(),
        )


def test_a_name_with_special_characters_is_found() -> None:
    collection = stored()
    collection.name = "a/b ?#%20ü"
    with rest_server(collection) as server:
        source = open_server_source(
            server.url,
            collection=collection.name,
            api_key=None,
            transport="rest",
            clock=VirtualClock(),
        )
        with closing(source):
            assert source.count_points() == 1


WARNINGS: dict[str, tuple[Mapping[str, object], Mapping[str, object], str]] = {
    "red": ({"status": "red"}, {}, "status is red"),
    "grey": ({"status": "grey"}, {}, "status is grey"),
    "optimizer": ({"optimizer_status": {"error": "disk full"}}, {}, "disk full"),
    "queue": ({"update_queue": {"length": 3}}, {}, "3 writes are acknowledged but not visible"),
    "deferred": ({"update_queue": {"deferred_points": 9}}, {}, "9 points are invisible"),
    "own warning": ({"warnings": [{"message": "low disk"}]}, {}, "the server warns: low disk"),
    "transfer": ({}, {"shard_transfers": [{"shard_id": 1}]}, "1 shard transfers are running"),
    "resharding": ({}, {"resharding_operations": [{}]}, "1 resharding operations are running"),
    "replica": ({}, {"remote_shards": [{"state": "Dead"}]}, "not active: Dead"),
}


@pytest.mark.parametrize("case", WARNINGS)
@pytest.mark.fault("S04")
def test_states_that_make_a_reading_unsafe_are_told(case: str) -> None:
    info, cluster, wanted = WARNINGS[case]
    collection = stored()
    collection.info |= info
    collection.cluster = {"local_shards": [{"state": "Active"}], **cluster}
    with rest_server(collection) as server:
        source = open_server_source(
            server.url, collection="chunks", api_key=None, transport="rest", clock=VirtualClock()
        )
        with closing(source):
            (warning,) = source.read_collection().warnings

    assert wanted in warning


def describe(version: str | None, **more: object) -> tuple[str, ...]:
    params: dict[str, object] = {"vectors": {"size": 2, "distance": "Dot"}, "shard_number": 2}
    info: dict[str, object] = {"status": "green", "config": {"params": params, **more}}
    return read_collection("c", info, version=version, cluster=None).warnings


def test_versions_are_judged() -> None:
    assert describe("1.14.0") == ()
    assert "outside 1.7 to 1.20" in describe("2.0.1")[0]
    assert "outside 1.7 to 1.20" in describe("1.6.9")[0]
    assert "1.14.0 repairs it" in describe("1.13.6")[0]
    assert "does not report" in describe(None)[0]


def test_deferred_points_are_announced_by_the_setting_too() -> None:
    (warning,) = describe("1.17.1", optimizer_config={"prevent_unoptimized": True})

    assert "prevent_unoptimized" in warning


def test_a_collection_of_sparse_vectors_alone_is_described() -> None:
    params = {
        "vectors": None,
        "sparse_vectors": {"s": {"index": {"datatype": "float16"}}, "t": None},
    }
    info: dict[str, object] = {"config": {"params": params}}

    vectors = read_collection("c", info, version="1.20.0", cluster=None).vectors

    assert [(spec.name, spec.datatype) for spec in vectors] == [("s", "float16"), ("t", "float32")]


@pytest.mark.parametrize(
    "info",
    [{}, {"config": None}, {"config": {"params": {"vectors": {"a": {"size": "3"}}}}}],
    ids=str,
)
def test_what_is_no_description_is_no_collection(info: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"size|no object"):
        read_collection("c", info, version="1.20.0", cluster=None)
