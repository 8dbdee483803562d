"""A certificate of this client reaches Qdrant over REST and gRPC, and no one else. Real sockets."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import AccessError, RemoteUnavailableError, UsageError
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerOptions
from migrate.transport.deadline import Line, _proxy
from migrate.transport.trust import ClientCertificate
from tests.harness.fakes.clock import VirtualClock
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server

TLS = Path(__file__).parents[2] / "assets" / "tls"
AUTHORITY, GOOD, EXPIRED, STRANGER = (
    TLS / name for name in ("authority.pem", "good.pem", "expired.pem", "loopback.pem")
)
# Made by `openssl ec -in good.pem -aes256`.
KEY_WITH_PASSPHRASE = """-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,8DA70F1AA89EAEA7C2C90D7FE039F2FA

/oglP8Y3RoxxWnRPcyGqROngOMiYV88P3U0VBC7Rh4w3uWa7DviaYg3Kjda5hitE
1wnxap59zSJMTUrIrqZWxJjCkKEpHkAGmdMJVOp3wfKvTE3hTMVbWMH0cv9iuwxB
oENHx0DUQSkAyeYX3AGKcrg6xUJ+qy0PGLxhLPPKtzU=
-----END EC PRIVATE KEY-----
"""
Serve = Callable[..., AbstractContextManager[Any]]
every_protocol = pytest.mark.parametrize(
    ("serve", "transport"), [(rest_server, "rest"), (grpc_server, "grpc")], ids=["rest", "grpc"]
)


def stored() -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"}, points=[StoredPoint(1, {"": [1.0, 2.0]})]
    )


def shown(pem: Path | None) -> ServerOptions:
    """Trusts the server, and shows the certificate in a file that has its key too."""
    client = None if pem is None else ClientCertificate(pem, pem)
    return ServerOptions(ca_file=AUTHORITY, client=client)


def count(url: str, transport: Any, options: ServerOptions) -> int:
    source = open_server_source(
        url,
        collection="chunks",
        api_key=None,
        transport=transport,
        clock=VirtualClock(),
        options=options,
    )
    with closing(source):
        return source.count_points()


@every_protocol
@pytest.mark.fault("M19")
def test_a_server_that_wants_a_certificate_gets_it(serve: Serve, transport: str) -> None:
    with serve(stored(), certificate=GOOD, client_authority=AUTHORITY) as server:
        assert count(server.url, transport, shown(GOOD)) == 1


@contextmanager
def behind_tls(protocol: str) -> Iterator[str]:
    """The address of a proxy that ends TLS, for clients of the authority alone, as nginx does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(GOOD)
    context.load_verify_locations(AUTHORITY)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([protocol])

    def serve(plain: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(plain, server_side=True):
            raise AssertionError("these tests show no certificate that it trusts")

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    serve(listening.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(("transport", "protocol"), [("rest", "http/1.1"), ("grpc", "h2")])
@pytest.mark.fault("M19")
@pytest.mark.parametrize("pem", [None, EXPIRED, STRANGER], ids=["none", "expired", "stranger"])
def test_a_refused_client_is_exit_6_after_few_attempts(
    transport: str, protocol: str, pem: Path | None
) -> None:
    with (
        behind_tls(protocol) as url,
        pytest.raises(AccessError, match="refuses the certificate of this client") as refused,
    ):
        count(url, transport, shown(pem))

    assert "tls.client_cert_file (Q2V_TLS_CLIENT_CERT_FILE)" in refused.value.remedy


@pytest.mark.slow
@pytest.mark.fault("M19")
def test_a_server_that_refuses_a_client_without_a_word_is_exit_7_with_the_likely_cause() -> None:
    with (
        grpc_server(stored(), certificate=GOOD, client_authority=AUTHORITY) as server,
        pytest.raises(RemoteUnavailableError) as refused,
    ):
        count(server.url, "grpc", shown(None))

    assert "if the server wants a client certificate, set" in refused.value.remedy


@every_protocol
@pytest.mark.fault("M19")
def test_a_key_that_does_not_fit_is_refused_by_name(
    serve: Serve, transport: str, tmp_path: Path
) -> None:
    with_passphrase = tmp_path / "key.pem"
    with_passphrase.write_text(KEY_WITH_PASSPHRASE)
    with serve(stored(), certificate=GOOD) as server:
        for key in (EXPIRED, AUTHORITY, with_passphrase, tmp_path / "missing"):
            options = ServerOptions(ca_file=AUTHORITY, client=ClientCertificate(GOOD, key))
            with pytest.raises(UsageError, match=r"tls\.client_key_file") as refused:
                count(server.url, transport, options)
            assert str(key) in str(refused.value)
        assert server.collection.requests == []


@every_protocol
@pytest.mark.fault("M19")
def test_a_plain_address_is_refused_beside_a_certificate(serve: Serve, transport: str) -> None:
    with (
        serve(stored()) as server,
        pytest.raises(UsageError, match="no certificate would be shown"),
    ):
        count(server.url, transport, shown(GOOD))


@pytest.mark.fault("M19")
def test_grpc_has_a_host_port_and_certificate_of_its_own() -> None:
    collection = stored()
    with (
        rest_server(collection, certificate=GOOD) as rest,
        grpc_server(collection, certificate=GOOD, client_authority=AUTHORITY) as grpc,
    ):
        options = ServerOptions(
            ca_file=AUTHORITY, client=ClientCertificate(GOOD, GOOD), grpc_url=grpc.url
        )
        for url in (rest.url, f"{rest.url}/behind/a/prefix"):
            assert count(url, "auto", options) == 1

    assert "/qdrant.Points/Count" in collection.requests
    assert not [request for request in collection.requests if "/points/count" in request]


@pytest.mark.fault("M19")
@pytest.mark.parametrize(
    ("grpc_url", "said"),
    [
        ("ftp://host", "source.grpc_url is 'ftp://host'"),
        ("http://user:secret@host", "source.grpc_url holds a user name or a password"),
        ("https://host/prefix", "gRPC works below none"),
        ("https://host:0", "source.grpc_url names no usable port"),
        ("http://grpc.example:6334", "would be sent in plain text to grpc.example"),
    ],
)
def test_an_address_of_grpc_that_cannot_be_used_is_named(grpc_url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_server_source(
            "https://rest.example",
            collection="chunks",
            api_key="key",
            transport="auto",
            clock=VirtualClock(),
            options=ServerOptions(grpc_url=grpc_url),
        )


@pytest.mark.fault("M19")
def test_a_proxy_does_not_get_to_see_the_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "https://proxy.example")
    loaded: list[object] = []
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", lambda *given, **_: loaded.append(given))
    client = ClientCertificate(GOOD, GOOD)

    found = _proxy(Line(host="qdrant.example", tls=True, loopback=False, client=client))

    assert found is not None
    assert found.ssl_context is not None
    assert loaded == []
