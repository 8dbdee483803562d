"""What answers in Qdrant's place is no word of Qdrant's: retried, shown, and exit 7 in the end.

The pages of `tests/cases/04-anothers-answer-qdrant`, over real sockets, for REST and gRPC.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from migrate.errors import (
    AccessError,
    MigrationError,
    PreconditionError,
    RemoteUnavailableError,
)
from migrate.model.records import PointId
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.grpc.source import GrpcSource
from migrate.qdrant.rest.answer import is_result, read_error
from migrate.qdrant.rest.source import RestSource
from migrate.qdrant.source import ServerOptions
from tests.harness.fakes.clock import VirtualClock
from tests.servers.http2_pages import Headers, http2_pages
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import Answer, Bend, RestServer, rest_server

PAGES = Path(__file__).parents[2] / "cases" / "04-anothers-answer-qdrant"
KEY = "s3cret-key-0123456789"
ATTEMPTS_MAX = 4
OPTIONS = ServerOptions(attempts_max=ATTEMPTS_MAX)


def page(name: str) -> bytes:
    return (PAGES / name).read_bytes()


def stored() -> StoredCollection:
    return StoredCollection(
        vectors={"size": 2, "distance": "Dot"},
        points=[StoredPoint(n, {"": [0.1, n + 0.5]}, {"n": n}) for n in range(30)],
    )


@contextmanager
def reading(server: RestServer, clock: VirtualClock | None = None) -> Iterator[RestSource]:
    source = RestSource(
        ServerAddress.parse(server.url),
        collection="chunks",
        api_key=KEY,
        clock=clock or VirtualClock(),
        options=OPTIONS,
    )
    with closing(source):
        yield source


FOREIGN: dict[str, tuple[int, bytes, str]] = {
    "nginx 400": (400, page("nginx-400.html"), "400 Bad Request"),
    "nginx 403": (403, page("nginx-403.html"), "403 Forbidden"),
    "nginx 404": (404, page("nginx-404.html"), "404 Not Found"),
    "nginx 502": (502, page("nginx-502.html"), "502 Bad Gateway"),
    "ingress 404": (404, b"default backend - 404", "default backend - 404"),
    "edge 1010": (403, b"error code: 1010\n", "error code: 1010"),
    "edge 1020": (403, page("edge-1020.html"), "Access denied"),
    "basic authentication": (401, page("nginx-401.html"), "401 Authorization Required"),
    "login page": (200, page("login.html"), "Sign in to continue"),
    "captive portal": (511, page("portal.html"), "Network Authentication Required"),
    "json of a gateway": (404, b'{"message":"no Route matched"}', "no Route matched"),
    "json of another store": (200, b'{"count":30}', '{"count":30}'),
    "json error of another kind": (403, b'{"status":"denied"}', "denied"),
    "policy": (403, b"RBAC: access denied", "RBAC: access denied"),
    "nothing": (404, b"", r"\(nothing\)"),
    "proxy wants a password": (407, b"", "407"),
    "too many, by a proxy": (429, b"<html>slow down</html>", "slow down"),
}


@pytest.mark.fault("F04")
@pytest.mark.parametrize("case", FOREIGN)
def test_an_answer_of_another_is_retried_and_shown(case: str) -> None:
    status, body, words = FOREIGN[case]
    clock = VirtualClock()
    with rest_server(stored(), api_key=KEY) as server, reading(server, clock) as source:
        server.faults.append(Answer(status, body=body, path="/collections/", times=99))
        with pytest.raises(RemoteUnavailableError, match=words) as caught:
            source.count_points()

    assert "what stands between q2v and Qdrant" in caught.value.remedy
    assert len(clock.waits) == ATTEMPTS_MAX - 1


@pytest.mark.fault("F04")
@pytest.mark.parametrize("case", FOREIGN)
def test_reading_goes_on_when_qdrant_answers_again(case: str) -> None:
    status, body, _ = FOREIGN[case]
    with rest_server(stored(), api_key=KEY) as server, reading(server) as source:
        source.read_collection()
        server.faults.append(Answer(status, body=body, path="/points/", times=2))
        ids = source.read_ids(None, limit=30)
        server.faults.append(Answer(status, body=body, path="/points/", times=2))
        found = source.read_points(PointId(0, 0), limit=30)

    both = min(len(ids), len(found))  # a busy machine can add a third failure: a page is halved
    assert ids[:both] == list(found.ids[:both])
    assert both > 0


@pytest.mark.fault("F04")
@pytest.mark.parametrize("method", ["read_collection", "count_points"])
def test_a_proxys_404_is_not_taken_for_a_missing_collection(method: str) -> None:
    with rest_server(stored(), api_key=KEY) as server, reading(server) as source:
        server.faults.append(
            Answer(404, body=page("nginx-404.html"), path="", times=99, headers={"Server": "nginx"})
        )
        with pytest.raises(RemoteUnavailableError, match="calls itself 'nginx'") as caught:
            getattr(source, method)()

    assert "has no collection" not in str(caught.value)


@pytest.mark.fault("F04")
def test_qdrants_own_404_is_a_missing_collection() -> None:
    with rest_server(stored(), api_key=KEY) as server, reading(server) as source:
        server.collection.name = "other"
        with pytest.raises(PreconditionError, match="has no collection 'chunks'; it has 'other'"):
            source.count_points()


OWN_REFUSALS = [
    (401, b"Must provide an API key or an Authorization bearer token"),
    (401, b"Invalid API key or JWT"),
    (403, b"Invalid api-key"),
    (403, b'{"status":{"error":"Forbidden: Global access is required"},"time":0.00001}'),
]


@pytest.mark.fault("F04", "N11")
@pytest.mark.parametrize(("status", "body"), OWN_REFUSALS, ids=str)
def test_qdrants_refusal_of_a_key_is_access_at_once(status: int, body: bytes) -> None:
    """The one answer that Qdrant gives in plain text."""
    clock = VirtualClock()
    with rest_server(stored(), api_key=KEY) as server, reading(server, clock) as source:
        server.faults.append(Answer(status, body=body, path="/collections/", times=99))
        with pytest.raises(AccessError):
            source.count_points()

    assert clock.waits == []


@pytest.mark.fault("F04", "X01", "X06")
def test_words_of_others_are_masked_printable_and_short() -> None:
    encoded = base64.b64encode(KEY.encode())
    keys = KEY.encode() + b" " + encoded
    odd = b"<html><body>key " + keys + b"\x1b[31m\n" + b"long " * 500 + b"</body></html>"
    with rest_server(stored(), api_key=KEY) as server, reading(server) as source:
        server.faults.append(
            Answer(403, body=odd, path="", times=99, headers={"Server": f"x-{KEY}"})
        )
        with pytest.raises(RemoteUnavailableError) as caught:
            source.count_points()

    text = str(caught.value)
    assert KEY not in text
    assert encoded.decode() not in text
    assert text.isprintable()
    assert "<" not in text
    assert len(text) < 600


@pytest.mark.fault("F04", "X12")
def test_a_proxy_that_lets_only_reads_through_does_not_hold_up_the_reading() -> None:
    """It answers the version and the shards itself, always: they are not asked for again."""
    clock = VirtualClock()
    with rest_server(stored(), api_key=KEY) as server, reading(server, clock) as source:
        for path in ("^/$", "/cluster$"):
            server.faults.append(Answer(403, body=page("nginx-403.html"), path=path, times=1))
        found = source.read_collection()

    assert found.server == "qdrant (version unknown)"
    assert clock.waits == []


@pytest.mark.fault("N13", "F04")
def test_a_redirect_to_a_login_page_is_named_without_its_query() -> None:
    with rest_server(stored(), api_key=KEY) as server, reading(server) as source:
        place = "https://login.example/start?state=s3cret"
        server.faults.append(Answer(302, body=b"", path="", headers={"Location": place}))
        with pytest.raises(
            RemoteUnavailableError, match=r"'https://login\.example/start'"
        ) as caught:
            source.count_points()

    assert "s3cret" not in str(caught.value)


@pytest.mark.fault("F04", "N08")
@pytest.mark.parametrize("missing", ["result", "status", "time"])
def test_a_success_without_its_whole_form_is_none(missing: str) -> None:
    def without(body: bytes) -> bytes:
        return json.dumps({k: v for k, v in json.loads(body).items() if k != missing}).encode()

    with rest_server(stored(), api_key=KEY) as server, reading(server) as source:
        server.faults.append(Bend(without, path="/points/", times=99))
        with pytest.raises(RemoteUnavailableError, match="an answer that is not Qdrant's"):
            source.count_points()


def test_the_form_of_a_large_answer_is_seen_at_its_edges() -> None:
    points = b'{"id":1,"payload":{"t":"' + b"x" * 20_000 + b'"}}'
    usage = b'{"usage":{"hardware":null},"result":{"points":[%s]},"status":"ok","time":0.1}'

    assert is_result(usage % points)
    assert not is_result(b"<html>" + points * 2 + b'"result" "status" "time"')
    assert not is_result((usage % points)[:-25])


def test_an_error_of_another_form_is_none() -> None:
    assert read_error(404, b'{"status":{"error":"Not found"},"time":0}') == "Not found"
    assert read_error(404, b'{"status":"error"}') is None
    assert read_error(404, b"Invalid API key") is None
    assert read_error(403, b"<p>Invalid API key</p>") is None
    assert read_error(401, b"Invalid API key " + b"x" * 300) is None


HTML: Headers = [("content-type", "text/html"), ("server", "nginx")]
LOGIN = page("login.html")


@pytest.mark.fault("F04")
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500, 502, 503, 504])
def test_a_page_in_answer_to_a_call_is_retried_and_named(status: int) -> None:
    error, calls, waits = end_of_calls(status, HTML, LOGIN)

    with pytest.raises(RemoteUnavailableError, match=f"HTTP {status} without a gRPC status"):
        raise error
    assert "what stands between q2v and Qdrant" in error.remedy
    assert (calls, waits) == (ATTEMPTS_MAX, ATTEMPTS_MAX - 1)


@pytest.mark.fault("F04")
@pytest.mark.parametrize("trailers", [(), (("x-trace", "1"),)], ids=["none", "odd"])
@pytest.mark.parametrize("body", [LOGIN, b""], ids=["page", "nothing"])
def test_a_success_without_a_grpc_status_is_none(body: bytes, trailers: Headers) -> None:
    error, calls, _ = end_of_calls(200, HTML, body, trailers)

    with pytest.raises(RemoteUnavailableError, match="without a gRPC status"):
        raise error
    assert calls == ATTEMPTS_MAX


@pytest.mark.fault("F04", "F25")
def test_a_grpc_server_of_another_service_is_no_page() -> None:
    answer = [("grpc-status", "12"), ("grpc-message", "unknown service qdrant.Points")]
    error, calls, _ = end_of_calls(200, [("content-type", "application/grpc"), *answer], b"")

    with pytest.raises(PreconditionError, match="unknown service"):
        raise error
    assert "not Qdrant's" in error.remedy
    assert calls == 1


def end_of_calls(
    status: int, headers: Headers, body: bytes, trailers: Headers = ()
) -> tuple[MigrationError, int, int]:
    """How counting the points ended, the calls the server saw, and the waits in between."""
    clock = VirtualClock()
    with http2_pages(status, headers=headers, body=body, trailers=trailers) as server:
        source = GrpcSource(
            ServerAddress.parse(f"http://127.0.0.1:{server.port}"),
            collection="chunks",
            api_key=KEY,
            clock=clock,
            options=OPTIONS,
        )
        with closing(source), pytest.raises((RemoteUnavailableError, PreconditionError)) as caught:
            source.count_points()
        return caught.value, server.calls, len(clock.waits)
