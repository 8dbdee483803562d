"""A URL of the wrong scheme or port: what was found there is said, and not tried again and again.

Real servers on real sockets: REST and gRPC, each in plain text and over TLS, against each client.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.errors import MigrationError, RemoteUnavailableError, UsageError
from migrate.qdrant import protocol_probe
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.grpc.source import GrpcSource
from migrate.qdrant.protocol_probe import Spoken, classify
from migrate.qdrant.rest.source import RestSource
from migrate.qdrant.server import open_server_source
from migrate.qdrant.source import ServerOptions
from tests.harness.fakes.clock import VirtualClock
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import Answer, Hang, rest_server
from tests.servers.speakers import page_or_tls, speaking

CERTIFICATE = Path(__file__).parents[3] / "assets" / "tls" / "loopback.pem"
ATTEMPTS_MAX = 7
OPTIONS = ServerOptions(read_s=30.0, total_s=30.0, ca_file=CERTIFICATE, attempts_max=ATTEMPTS_MAX)
SILENT = ServerOptions(read_s=0.5, total_s=0.5, attempts_max=ATTEMPTS_MAX)
SOURCES = {"rest": RestSource, "grpc": GrpcSource}


def stored() -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"}, points=[StoredPoint(1, {"": [1.0, 2.0]})]
    )


@pytest.fixture
def brief_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that says nothing at all is left soon, by each question about its protocol."""
    monkeypatch.setattr(protocol_probe, "ANSWER_S", 0.2)


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    """A server of each kind; by what it speaks."""
    with ExitStack() as servers:
        yield {
            "rest": servers.enter_context(rest_server(stored())).port,
            "rest over TLS": servers.enter_context(
                rest_server(stored(), certificate=CERTIFICATE)
            ).port,
            "grpc": servers.enter_context(grpc_server(stored())).port,
            "grpc over TLS": servers.enter_context(
                grpc_server(stored(), certificate=CERTIFICATE)
            ).port,
        }


def failure_of(
    transport: str, url: str, *, options: ServerOptions = OPTIONS
) -> tuple[MigrationError, int]:
    """How counting the points ended, and how many attempts that took."""
    clock = VirtualClock()
    source = SOURCES[transport](
        ServerAddress.parse(url),
        collection="chunks",
        api_key=None,
        clock=clock,
        options=options,
    )
    with closing(source), pytest.raises(MigrationError) as caught:
        source.count_points()
    return caught.value, len(clock.waits) + 1


TLS_MISSING = "does not speak TLS, and source.url says https://; it speaks"
TLS_WANTED = "speaks TLS, and source.url says http://"
MATRIX = [
    ("rest", "http", "rest over TLS", TLS_WANTED, "write https://"),
    ("rest", "http", "grpc over TLS", TLS_WANTED, "write https://"),
    ("rest", "http", "grpc", r"speaks HTTP/2 \(gRPC\), expected HTTP/1.1", 'transport = "grpc"'),
    ("rest", "https", "rest", f"{TLS_MISSING} HTTP/1.1 in plain", "http://"),
    ("rest", "https", "grpc", rf"{TLS_MISSING} HTTP/2 \(gRPC\) in plain", "http://"),
    ("rest", "https", "grpc over TLS", r"speaks HTTP/2 \(gRPC\), expected", 'transport = "grpc"'),
    ("grpc", "http", "grpc over TLS", TLS_WANTED, "write https://"),
    ("grpc", "http", "rest over TLS", TLS_WANTED, "write https://"),
    ("grpc", "http", "rest", r"speaks HTTP/1.1, expected HTTP/2 \(gRPC\)", 'transport = "rest"'),
    ("grpc", "https", "grpc", rf"{TLS_MISSING} HTTP/2 \(gRPC\) in plain", "http://"),
    ("grpc", "https", "rest", f"{TLS_MISSING} HTTP/1.1 in plain", "http://"),
    ("grpc", "https", "rest over TLS", "speaks HTTP/1.1, expected", 'transport = "rest"'),
]


@pytest.mark.fault("F25")
@pytest.mark.parametrize(
    ("transport", "scheme", "there", "words", "advice"),
    MATRIX,
    ids=[f"{transport} {scheme} to {there}" for transport, scheme, there, *_ in MATRIX],
)
def test_what_a_port_speaks_is_said_after_two_attempts(
    transport: str,
    scheme: str,
    there: str,
    words: str,
    advice: str,
    *,
    ports: dict[str, int],
) -> None:
    url = f"{scheme}://127.0.0.1:{ports[there]}"
    error, attempts = failure_of(transport, url)

    with pytest.raises(UsageError, match=words):
        raise error
    assert str(error).startswith(f"{url}: this port")
    assert advice in error.remedy
    assert attempts == 2


@pytest.mark.fault("F25")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_protocol_that_is_chosen_by_itself_says_it_as_well(
    scheme: str, ports: dict[str, int]
) -> None:
    other = "rest" if scheme == "https" else "rest over TLS"
    source = open_server_source(
        f"{scheme}://127.0.0.1:{ports[other]}",
        collection="chunks",
        api_key=None,
        transport="auto",
        clock=VirtualClock(),
        options=OPTIONS,
    )
    with closing(source), pytest.raises(UsageError, match="this port"):
        source.count_points()


@pytest.mark.fault("F25")
@pytest.mark.parametrize("transport", SOURCES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_banner_of_another_protocol_is_shown(transport: str, scheme: str) -> None:
    with speaking(b"SSH-2.0-OpenSSH_9.6\x1b[31m\r\nmore") as speaker:
        url = f"{scheme}://127.0.0.1:{speaker.port}"
        error, attempts = failure_of(transport, url, options=replace(OPTIONS, total_s=3.0))

    with pytest.raises(UsageError, match=r"neither HTTP nor TLS; it answers 'SSH-2\.0-OpenSSH"):
        raise error
    assert "\x1b" not in str(error)
    assert "correct host and port" in error.remedy
    assert attempts <= 2


@pytest.mark.fault("F25")
@pytest.mark.timeout(20)  # an answer is waited for 30 s
@pytest.mark.parametrize("url", ["http://127.0.0.1:{}", "https://127.0.0.1:{}/behind-a-proxy"])
@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.6\r\n", b"-ERR unknown command 'GET'\r\n"])
def test_the_protocol_that_is_chosen_by_itself_does_not_wait_for_an_answer_to_a_banner(
    banner: bytes, url: str
) -> None:
    with speaking(banner) as speaker, pytest.raises(UsageError) as stop:
        open_server_source(
            url.format(speaker.port),
            collection="chunks",
            api_key=None,
            transport="auto",
            clock=VirtualClock(),
            options=OPTIONS,
        )

    assert f"it answers '{banner.decode().strip()}'" in str(stop.value)
    assert stop.value.remedy == "correct host and port in source.url"


@pytest.mark.fault("F25")
@pytest.mark.usefixtures("brief_questions")
def test_a_port_that_says_nothing_is_named_before_an_answer_is_waited_for() -> None:
    said: list[str] = []
    with speaking(b"") as speaker:
        open_server_source(
            f"http://127.0.0.1:{speaker.port}",
            collection="chunks",
            api_key=None,
            transport="auto",
            clock=VirtualClock(),
            options=replace(SILENT, say=said.append),
        ).close()

    assert f"port {speaker.port} takes connections and has not answered yet" in said[0]


@pytest.mark.slow
@pytest.mark.fault("F25")
@pytest.mark.usefixtures("brief_questions")
@pytest.mark.parametrize("transport", SOURCES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_port_that_says_nothing_is_left_after_three_attempts(transport: str, scheme: str) -> None:
    with speaking(b"") as speaker:
        url = f"{scheme}://127.0.0.1:{speaker.port}"
        error, attempts = failure_of(transport, url, options=SILENT)

    with pytest.raises(RemoteUnavailableError, match="takes connections and answers nothing"):
        raise error
    assert attempts == 3


@pytest.mark.fault("F25", "N14")
@pytest.mark.parametrize("transport", SOURCES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_port_where_nothing_listens_is_tried_to_the_last_attempt(
    transport: str, scheme: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    error, attempts = failure_of(transport, f"{scheme}://127.0.0.1:{port}")

    with pytest.raises(RemoteUnavailableError, match="given up after 7 attempts"):
        raise error
    assert attempts == ATTEMPTS_MAX


PAGE = b"<html><h1>400</h1>The plain HTTP request was sent to HTTPS port</html>"


@pytest.mark.fault("F25")
def test_a_refusal_of_plain_http_is_looked_behind() -> None:
    """Common proxies answer plain HTTP on their TLS port with a page of their own."""
    with page_or_tls(PAGE, CERTIFICATE) as server:
        error, attempts = failure_of("rest", f"http://127.0.0.1:{server.port}")

    with pytest.raises(UsageError, match=TLS_WANTED):
        raise error
    assert attempts == 2


@pytest.mark.fault("F25")
def test_a_refusal_without_tls_behind_it_is_another_answer() -> None:
    with rest_server(stored()) as server:
        server.faults.append(Answer(400, body=PAGE, path="", times=99))
        error, attempts = failure_of("rest", server.url)

    with pytest.raises(RemoteUnavailableError, match="400 The plain HTTP request was sent"):
        raise error
    assert attempts == ATTEMPTS_MAX


@pytest.mark.fault("F25")
def test_a_server_that_answered_once_is_tried_to_the_last_attempt() -> None:
    """From then on silence is a server's trouble, not a wrong address."""
    clock = VirtualClock()
    with (
        rest_server(stored()) as server,
        closing(
            RestSource(
                ServerAddress.parse(server.url),
                collection="chunks",
                api_key=None,
                clock=clock,
                options=SILENT,
            )
        ) as source,
    ):
        assert source.count_points() == 1
        server.faults.append(Hang(path="", times=99))
        with pytest.raises(RemoteUnavailableError, match="given up after 7 attempts"):
            source.count_points()

    assert len(clock.waits) == ATTEMPTS_MAX - 1


@pytest.mark.fault("F10", "F25")
@pytest.mark.parametrize("transport", SOURCES)
def test_a_port_that_the_url_does_not_name_is_explained(transport: str) -> None:
    """Nothing listens there: no test of this project uses Qdrant's own ports."""
    error, _ = failure_of(transport, "https://127.0.0.3/prefix")

    assert "6333 for REST" in error.remedy
    assert "https://127.0.0.3:443/prefix" in error.remedy


@pytest.mark.parametrize(
    ("answer", "spoken"),
    [
        (b"HTTP/1.0 400 Bad Request\r\n", Spoken.HTTP),
        (b"\x15\x03\x01\x00\x02\x02\x46", Spoken.TLS),
        (b"\x16\x03\x03\x00\x7a", Spoken.TLS),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", Spoken.HTTP2),
        (b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00", Spoken.HTTP2),
        (b"-ERR wrong number of arguments\r\n", Spoken.OTHER),
        (b"\x00\x00\x12", Spoken.OTHER),
        (b"\n", Spoken.OTHER),
        (b"HTTP", Spoken.HTTP),
        (b"HTTQ", Spoken.OTHER),
    ],
)
def test_first_bytes_tell_the_protocol(answer: bytes, spoken: Spoken) -> None:
    assert classify(answer).spoken is spoken
