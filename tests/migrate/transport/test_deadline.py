"""One deadline covers a whole attempt, for both services and all three clients. Real sockets.

The clients' other time-outs are far beyond the deadline, so nothing else can end an attempt.
"""

import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from migrate.clock import SystemClock
from migrate.cloudflare.client.api import ApiRequest, Operation
from migrate.cloudflare.client.wire import HttpLimits
from migrate.errors import RemoteUnavailableError
from migrate.qdrant import protocol_probe
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.grpc.source import GrpcSource
from migrate.qdrant.rest.source import RestSource
from migrate.qdrant.source import ServerOptions
from tests.migrate.cloudflare.clients import connect
from tests.servers.dripping import Drip, dripping, hung_port

ASSETS = Path(__file__).parents[2] / "assets"
AUTHORITY = ASSETS / "tls" / "loopback.pem"
TOTAL_S, OTHER_S = 0.4, 600.0
GET = ApiRequest(
    operation=Operation(name="read", scope="Vectorize: Read"), method="GET", path="/something"
)
# A TLS record of the handshake that announces 16 kB, and an HTTP/2 frame that announces as much.
TLS_RECORD = b"\x16\x03\x03\x40\x00"
HTTP2_SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
HTTP2_HEADERS = b"\x00\x40\x00\x01\x00\x00\x00\x00\x01"

HTTP_DRIPS = {
    "nothing": Drip(then=b""),
    "status line": Drip(at_once=b"HTTP/1.1 2", then=b"0"),
    "one header": Drip(at_once=b"HTTP/1.1 200 OK\r\nX-Long: ", then=b"x"),
    "header after header": Drip(at_once=b"HTTP/1.1 200 OK\r\n", then=b"A: b\r\n"),
    "continue for ever": Drip(then=b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": Drip(at_once=b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n{", then=b" "),
    "chunk size": Drip(
        at_once=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", then=b"x"
    ),
    "trailer": Drip(
        at_once=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ",
        then=b"x",
    ),
}
GRPC_DRIPS = {
    "nothing": Drip(then=b""),
    "first settings": Drip(at_once=b"\x00\x40\x00\x04", then=b"\0"),
    "nothing after the settings": Drip(at_once=HTTP2_SETTINGS, then=b""),
    "settings for ever": Drip(at_once=HTTP2_SETTINGS, then=HTTP2_SETTINGS),
    "header": Drip(at_once=HTTP2_SETTINGS + HTTP2_HEADERS, then=b"\0"),
}
HANDSHAKES = {"nothing": Drip(then=b""), "record": Drip(at_once=TLS_RECORD, then=b"\0")}


@pytest.fixture(autouse=True)
def _brief_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a port speaks is asked after the deadline, of peers that never answer."""
    monkeypatch.setattr(protocol_probe, "ANSWER_S", 0.2)


def ask_target(url: str) -> None:
    limits = HttpLimits(
        connect_s=OTHER_S, read_s=OTHER_S, write_s=OTHER_S, total_s=TOTAL_S, attempts_max=1
    )
    with closing(
        connect(f"{url}/client/v4", clock=SystemClock(), limits=limits, allow_other_host=True)
    ) as http:
        http.send(GET, lambda answer: answer)


def ask_rest(url: str) -> None:
    ask_source(RestSource, url)


def ask_grpc(url: str) -> None:
    ask_source(GrpcSource, url)


def ask_source(kind: type[RestSource | GrpcSource], url: str) -> None:
    options = ServerOptions(
        connect_s=OTHER_S, read_s=OTHER_S, total_s=TOTAL_S, attempts_max=1, ca_file=AUTHORITY
    )
    source = kind(
        ServerAddress.parse(url),
        collection="chunks",
        api_key=None,
        clock=SystemClock(),
        options=options,
    )
    with closing(source):
        source.count_points()


Ask = Callable[[str], None]
CLIENTS: dict[str, Ask] = {"target": ask_target, "rest": ask_rest, "grpc": ask_grpc}


def end_of(ask: Ask, url: str) -> None:
    with pytest.raises(RemoteUnavailableError):
        ask(url)


@pytest.mark.fault("F14", "N10")
@pytest.mark.parametrize("drip", HTTP_DRIPS.values(), ids=HTTP_DRIPS)
@pytest.mark.parametrize("ask", [ask_target, ask_rest], ids=["target", "rest"])
def test_an_answer_that_drips_is_left_before_it_ends(ask: Ask, drip: Drip) -> None:
    with dripping(drip) as peer:
        end_of(ask, f"http://127.0.0.1:{peer.port}")

        assert peer.left_by_client.wait(60)
        assert not peer.ran_dry.is_set()


@pytest.mark.fault("F14", "N10")
@pytest.mark.parametrize("drip", GRPC_DRIPS.values(), ids=GRPC_DRIPS)
def test_a_call_that_drips_is_left_before_it_ends(drip: Drip) -> None:
    with dripping(drip) as peer:
        end_of(ask_grpc, f"http://127.0.0.1:{peer.port}")

        assert not peer.ran_dry.is_set()


@pytest.mark.fault("F14", "N10")
@pytest.mark.parametrize("drip", HANDSHAKES.values(), ids=HANDSHAKES)
@pytest.mark.parametrize("ask", CLIENTS.values(), ids=CLIENTS)
def test_a_handshake_that_drips_is_left_before_it_ends(ask: Ask, drip: Drip) -> None:
    with dripping(drip) as peer:
        end_of(ask, f"https://127.0.0.1:{peer.port}")

        assert peer.left_by_client.wait(60)
        assert not peer.ran_dry.is_set()


@pytest.mark.fault("F14", "N10")
@pytest.mark.parametrize("ask", [ask_target, ask_rest], ids=["target", "rest"])
def test_a_header_that_drips_within_tls_is_left_before_it_ends(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(AUTHORITY))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(AUTHORITY)
    drip = Drip(at_once=b"HTTP/1.1 200 OK\r\nX-Long: ", then=b"x", tls=context)
    with dripping(drip) as peer:
        end_of(ask, f"https://127.0.0.1:{peer.port}")

        assert peer.left_by_client.wait(60)
        assert not peer.ran_dry.is_set()


@pytest.mark.fault("F14", "N10", "N14")
@pytest.mark.parametrize("ask", CLIENTS.values(), ids=CLIENTS)
def test_a_connection_that_is_never_made_is_given_up(ask: Ask) -> None:
    """All that could end the attempt otherwise is the test's own time-out."""
    with hung_port() as port:
        end_of(ask, f"http://127.0.0.1:{port}")


@pytest.mark.fault("F14", "N10")
@pytest.mark.parametrize("ask", [ask_target, ask_rest], ids=["target", "rest"])
def test_a_proxy_that_drips_is_left_before_it_ends(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    drip = Drip(at_once=b"HTTP/1.1 200 Connection established\r\nX-Long: ", then=b"x")
    with dripping(drip) as peer:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{peer.port}")
        end_of(ask, "https://q2v.invalid")

        assert peer.left_by_client.wait(60)
        assert not peer.ran_dry.is_set()
