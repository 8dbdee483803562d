"""One list of authorities for REST, gRPC and the target, however it is named. Real sockets."""

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from migrate.cloudflare.client.api import ApiRequest, Operation
from migrate.errors import AccessError, UsageError
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.grpc.source import GrpcSource
from migrate.qdrant.rest.source import RestSource
from migrate.qdrant.source import ServerOptions
from migrate.transport.trust import read_authorities, trusting_context
from tests.harness.fakes.clock import VirtualClock
from tests.migrate.cloudflare.clients import connect, server_context
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server
from tests.servers.scripted_http import envelope, running_script

ASSETS = Path(__file__).parents[2] / "assets"
GOOD, AUTHORITY = ASSETS / "tls" / "good.pem", ASSETS / "tls" / "authority.pem"
GET = ApiRequest(
    operation=Operation(name="read", scope="Vectorize: Read"), method="GET", path="/something"
)
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def stored() -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"}, points=[StoredPoint(1, {"": [1.0, 2.0]})]
    )


def ask_rest(ca_file: Path | None) -> None:
    with rest_server(stored(), certificate=GOOD) as server:
        count(RestSource, server.url, ca_file)


def ask_grpc(ca_file: Path | None) -> None:
    with grpc_server(stored(), certificate=GOOD) as server:
        count(GrpcSource, server.url, ca_file)


def count(kind: type[RestSource | GrpcSource], url: str, ca_file: Path | None) -> None:
    source = kind(
        ServerAddress.parse(url),
        collection="chunks",
        api_key=None,
        clock=VirtualClock(),
        options=ServerOptions(ca_file=ca_file),
    )
    with closing(source):
        assert source.count_points() == 1


def ask_target(ca_file: Path | None) -> None:
    with (
        running_script([envelope({"n": 1})], context=server_context("good")) as server,
        closing(connect(server.base_url, ca_file=ca_file)) as http,
    ):
        http.send(GET, lambda answer: answer)


Ask = Callable[[Path | None], None]
every_client = pytest.mark.parametrize(
    "ask", [ask_rest, ask_grpc, ask_target], ids=["rest", "grpc", "target"]
)


@every_client
@pytest.mark.fault("F09", "X07")
def test_the_setting_serves_every_connection(ask: Ask) -> None:
    ask(AUTHORITY)


@every_client
@pytest.mark.fault("F09", "X07")
def test_the_variable_that_openssl_names_serves_every_connection(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    ask(None)


@every_client
@pytest.mark.fault("F09", "X07")
def test_a_folder_of_authorities_serves_every_connection(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(AUTHORITY, tmp_path / "0123abcd.0")
    (tmp_path / "readme").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    ask(None)


@every_client
@pytest.mark.fault("F09", "N15")
def test_what_no_list_holds_is_not_trusted_and_the_remedy_names_the_setting(ask: Ask) -> None:
    with pytest.raises(AccessError, match="not trusted") as caught:
        ask(None)

    assert "tls.ca_file (Q2V_TLS_CA_FILE)" in caught.value.remedy


def test_the_setting_adds_to_the_public_authorities() -> None:
    public = read_authorities().count(b"BEGIN CERTIFICATE")

    assert public > 50
    assert read_authorities(AUTHORITY).count(b"BEGIN CERTIFICATE") == public + 1
    assert len(trusting_context(AUTHORITY).get_ca_certs()) > 50


def test_a_key_in_the_file_is_not_passed_on() -> None:
    assert b"PRIVATE KEY" in GOOD.read_bytes()
    assert b"PRIVATE KEY" not in read_authorities(GOOD)


def unusable(folder: Path) -> dict[str, Path]:
    os.mkfifo(folder / "pipe")
    (folder / "empty.pem").write_bytes(b"")
    (folder / "key.pem").write_bytes(GOOD.read_bytes().partition(b"-----BEGIN CERT")[0])
    return {
        "missing": folder / "missing.pem",
        "folder": folder,
        "pipe": folder / "pipe",
        "empty": folder / "empty.pem",
        "key alone": folder / "key.pem",
    }


@pytest.mark.parametrize("case", ["missing", "folder", "pipe", "empty", "key alone"])
@pytest.mark.fault("F09", "F22")
def test_a_file_that_is_no_trust_store_is_refused_by_name(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = unusable(tmp_path)[case]
    with pytest.raises(UsageError, match=r"tls\.ca_file"):
        trusting_context(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(UsageError, match="SSL_CERT_FILE"):
        read_authorities()


def test_a_certificate_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.pem"
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(UsageError, match=r"tls\.ca_file"):
        trusting_context(path)


def test_an_empty_folder_of_authorities_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        monkeypatch.setenv("SSL_CERT_DIR", str(folder))
        with pytest.raises(UsageError, match="SSL_CERT_DIR"):
            read_authorities()


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:9", "ftp://proxy", "http://"])
@pytest.mark.fault("N14")
def test_a_proxy_of_an_odd_kind_is_refused_without_its_password(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", address.replace("://", "://me:s3cret@"))
    with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
        connect("https://q2v.invalid", allow_other_host=True)

    assert "s3cret" not in str(caught.value) + caught.value.remedy
