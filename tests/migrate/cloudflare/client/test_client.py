"""The client on real sockets: what it takes for a success, what it repeats, what it says."""

import gzip
import hashlib
import inspect
import ssl
from collections.abc import Callable

import httpx
import pytest

from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.api import (
    NDJSON,
    Answer,
    ApiRequest,
    Operation,
    Oversized,
    Received,
    Refusal,
    UnusableAnswerError,
)
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp
from migrate.cloudflare.client.faults import FAULTS
from migrate.cloudflare.client.wire import ANSWER_BYTES_MAX, HttpLimits
from migrate.errors import (
    AccessError,
    BudgetExhaustedError,
    MigrationError,
    RemoteUnavailableError,
    TargetRefusedError,
    UsageError,
)
from migrate.model.limits import PIECE_BYTES
from migrate.transport.trust import trusting_context
from tests.harness.fakes.clock import ImpatientClock, VirtualClock
from tests.migrate.cloudflare.clients import (
    ACCOUNT_ID,
    ATTEMPTS_MAX,
    FAST,
    TLS_ASSETS,
    TOKEN,
    Talker,
    connect,
    scripted,
    server_context,
)
from tests.servers.scripted_http import (
    CutAfterRequest,
    CutBeforeBody,
    Hang,
    NeverRead,
    Reply,
    Step,
    envelope,
    failure,
    running_script,
)
from tests.servers.speakers import speaking

READ = Operation(name="read something", scope="Vectorize: Read")
GET = ApiRequest(operation=READ, method="GET", path="/something")
GOOD = envelope({"n": 1})


def upload(*pieces: bytes) -> ApiRequest:
    return ApiRequest(
        operation=READ, method="POST", path="/upload", body=pieces, content_type=NDJSON
    )


def whole(answer: Answer) -> object:
    assert answer.envelope is not None
    return answer.envelope.result


def test_a_request_carries_the_token_in_its_header_and_nowhere_else() -> None:
    with scripted([GOOD]) as (server, http):
        assert http.send(GET, whole) == {"n": 1}

    (seen,) = server.requests
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert seen.target == "/client/v4/something"
    assert TOKEN not in seen.target


@pytest.mark.fault("K05")
@pytest.mark.parametrize(
    ("segment", "on_the_wire"),
    [
        ("file:f1", "file%3Af1"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("50%+x", "50%25%2Bx"),
        ("a%2Fb", "a%252Fb"),
        ("../x", "..%2Fx"),
        ("\u00e9\U0001f600", "%C3%A9%F0%9F%98%80"),
        (" !'()*;@&=$,[]", "%20%21%27%28%29%2A%3B%40%26%3D%24%2C%5B%5D"),
    ],
)
def test_a_path_segment_arrives_with_everything_encoded(segment: str, on_the_wire: str) -> None:
    with scripted([GOOD]) as (server, http):
        http.send(
            ApiRequest(operation=READ, method="GET", path=http.account_path("x", segment)), whole
        )

    assert server.requests[0].target == f"/client/v4/accounts/{ACCOUNT_ID}/x/{on_the_wire}"


@pytest.mark.fault("N05", "N06")
@pytest.mark.parametrize("fault", [CutBeforeBody(), CutAfterRequest(), failure(504)], ids=str)
def test_an_upload_is_repeated_byte_for_byte(fault: Step) -> None:
    """Before or after the server has it all, the same bytes go again, with their exact length."""
    pieces = [b"x" * 1_000, b"", b"y" * PIECE_BYTES * 2, b"z"]
    body = b"".join(pieces)
    with scripted([fault, fault, GOOD]) as (server, http):
        http.send(upload(*pieces), whole)

    last = server.requests[-1]
    assert len(server.requests) == 3
    assert (last.body_bytes, last.body_sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert last.headers["content-length"] == str(len(body))
    assert "transfer-encoding" not in last.headers
    assert last.headers["content-type"] == "application/x-ndjson"


UNUSABLE: dict[str, Reply] = {
    "html": Reply(body=b"<html>hello</html>"),
    "empty": Reply(),
    "truncated JSON": Reply(body=GOOD.body[:-3]),
    "shorter than announced": Reply(body=GOOD.body, content_length=len(GOOD.body) + 5),
    "cut within the body": Reply(body=GOOD.body, cut_after_bytes=150),
    "cut within the head": Reply(body=GOOD.body, cut_after_bytes=20),
    "byte order mark": Reply(body=b"\xef\xbb\xbf" + GOOD.body),
    "array": Reply(body=b"[]"),
    "success false without a code": Reply(body=b'{"success": false, "errors": []}'),
    "success missing": Reply(body=b'{"result": {}}'),
    "broken gzip": Reply(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
    "cut gzip": Reply(body=gzip.compress(GOOD.body)[:-20], headers={"Content-Encoding": "gzip"}),
    "broken chunks": Reply(body=b"zz\r\nx", headers={"Transfer-Encoding": "chunked"}),
    "no HTTP": Reply(status=99),
}


@pytest.mark.fault("N08", "N09")
@pytest.mark.parametrize("reply", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_answer_is_no_success(reply: Reply) -> None:
    """Repeated within the attempts, then given up; one good answer in between is enough."""
    with scripted([reply]) as (server, http), pytest.raises(RemoteUnavailableError):
        http.send(GET, whole)
    assert len(server.requests) == ATTEMPTS_MAX

    with scripted([reply, reply, GOOD]) as (_, http):
        assert http.send(GET, whole) == {"n": 1}


@pytest.mark.fault("N08")
def test_a_success_without_its_content_is_repeated() -> None:
    def picky(answer: Answer) -> object:
        if whole(answer) != {"n": 2}:
            raise UnusableAnswerError("without the mutation id")
        return 2

    with scripted([GOOD, envelope({"n": 2})]) as (server, http):
        assert http.send(GET, picky) == 2
    assert len(server.requests) == 2


def test_compressed_answers_are_read() -> None:
    zipped = Reply(body=gzip.compress(GOOD.body), headers={"Content-Encoding": "gzip"})
    with scripted([zipped]) as (_, http):
        assert http.send(GET, whole) == {"n": 1}


@pytest.mark.fault("N04")
@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 524, 526, 408])
def test_faults_of_the_edge_are_repeated_with_full_jitter(status: int) -> None:
    clock, talker = VirtualClock(), Talker()
    page = Reply(status=status, body=b"<html>edge</html>", headers={"cf-ray": "8f2"})
    expected = pytest.raises(RemoteUnavailableError, match=rf"{status}.*says 'edge'.*cf-ray 8f2")
    with scripted([page], clock=clock, progress=talker) as (server, http), expected:
        http.send(GET, whole)

    assert len(server.requests) == ATTEMPTS_MAX
    assert clock.waits == [0.5, 1.0, 2.0]
    assert len(talker.said) == ATTEMPTS_MAX - 1


@pytest.mark.fault("N01")
def test_retry_after_of_a_503_is_honoured() -> None:
    clock = VirtualClock()
    with scripted([failure(503, Retry_After="17"), GOOD], clock=clock) as (_, http):
        http.send(GET, whole)

    assert clock.waits == [17.0]


@pytest.mark.fault("N01")
@pytest.mark.parametrize("status", [429, 503])
def test_more_silence_than_ten_minutes_ends_the_run(status: int) -> None:
    clock = VirtualClock()
    with scripted([failure(status, Retry_After="601"), GOOD], clock=clock) as (server, http):
        for _ in range(2):
            with pytest.raises(BudgetExhaustedError):
                http.send(GET, whole)

    assert len(server.requests) == 1
    assert sum(clock.waits) == 0


@pytest.mark.fault("N01", "N02")
@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (failure(429, (971, "slow down"), Retry_After="42"), 42),
        (failure(429, Retry_After="600"), 600),
        (failure(429, (10429, "slow down")), 300),
        (failure(429, Retry_After="0"), 300),
        (failure(429, Retry_After="-7"), 300),
        (failure(429, Retry_After="a while"), 300),
        (failure(400, (971, "slow down")), 300),
        (Reply(status=429, body=b"<html>"), 300),
    ],
)
def test_a_429_silences_everything_for_the_stated_time(answer: Reply, seconds: int) -> None:
    clock, talker = VirtualClock(), Talker()
    with scripted([answer, GOOD], clock=clock, progress=talker) as (_, http):
        http.send(GET, whole)

    assert seconds <= clock.monotonic_s() < seconds + 1
    assert any("blocked the account" in text for text in talker.said)


@pytest.mark.fault("N02")
def test_a_429_that_does_not_end_uses_up_the_budget() -> None:
    with scripted([failure(429)]) as (server, http), pytest.raises(BudgetExhaustedError):
        http.send(GET, whole)

    assert len(server.requests) == 3  # ten minutes of silence are the most


@pytest.mark.fault("N01")
def test_a_date_is_read_against_the_answers_own_clock() -> None:
    clock = VirtualClock()
    headers = {
        "Date": "Mon, 23 Nov 2026 12:00:00 GMT",
        "Retry-After": "Mon, 23 Nov 2026 12:01:30 GMT",
    }
    with scripted([Reply(status=429, headers=headers), GOOD], clock=clock) as (_, http):
        http.send(GET, whole)

    assert 90 <= clock.monotonic_s() < 91


@pytest.mark.fault("N09")
def test_the_write_rate_is_a_reason_to_wait_whatever_the_status() -> None:
    clock = VirtualClock()
    slow = failure(400, (40041, "Too Many Requests"))
    with scripted([slow, slow, GOOD], clock=clock) as (_, http):
        http.send(GET, whole)

    assert clock.waits == [0.5, 1.0]


@pytest.mark.fault("N03")
def test_a_ratelimit_header_slows_down_and_says_so() -> None:
    clock, talker = VirtualClock(), Talker()
    tight = Reply(body=GOOD.body, headers={"Ratelimit": '"default";r=0;t=25'})
    with scripted([tight, GOOD], clock=clock, progress=talker) as (_, http):
        http.send(GET, whole)
        http.send(GET, whole)

    assert 25 <= clock.monotonic_s() < 26
    assert "0 more requests in 25 s" in talker.said[0]


@pytest.mark.fault("N09")
@pytest.mark.parametrize(
    "answer",
    [
        failure(400, (40023, "line Some(0)")),
        failure(200, (40023, "line Some(0)")),
        failure(422, (40023, "line Some(0)")),
    ],
)
def test_a_refusal_is_final_and_keeps_status_and_code(answer: Reply) -> None:
    with scripted([answer]) as (server, http), pytest.raises(TargetRefusedError) as refusal:
        http.send(GET, whole)

    assert len(server.requests) == 1
    assert refusal.value.evidence == {"status": answer.status, "code": 40023}
    assert str(refusal.value) == f"read something: HTTP {answer.status}, code 40023: line Some(0)"


@pytest.mark.fault("N17")
def test_a_413_page_of_the_edge_is_a_refusal() -> None:
    page = Reply(status=413, body=b"<html>too large</html>")
    with scripted([page]) as (_, http), pytest.raises(TargetRefusedError) as refusal:
        http.send(upload(b"x"), whole)

    assert refusal.value.evidence == {"status": 413, "code": None}


def test_a_refusal_says_whether_an_earlier_try_may_have_been_taken() -> None:
    with scripted([CutAfterRequest(), failure(400, (3002, "duplicate"))]) as (_, http):
        outcome = http.exchange(GET, whole)

    assert isinstance(outcome, Refusal)
    assert (outcome.code, outcome.attempts) == (3002, 2)


@pytest.mark.fault("N11", "N12")
@pytest.mark.parametrize(
    "answer",
    [
        failure(401, (10000, "Authentication error")),
        failure(403, (10000, "Authentication error")),
        failure(400, (9106, "Authentication failed")),
    ],
)
def test_a_token_that_is_not_taken_stops_at_once_and_names_the_permission(answer: Reply) -> None:
    with scripted([answer]) as (server, http), pytest.raises(AccessError) as denied:
        http.send(GET, whole)

    assert len(server.requests) == 1
    assert "Vectorize: Read" in denied.value.remedy


@pytest.mark.fault("N13")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(status: int) -> None:
    with running_script([GOOD]) as elsewhere:
        moved = Reply(status=status, headers={"Location": f"{elsewhere.base_url}/something"})
        with scripted([moved]) as (server, http), pytest.raises(RemoteUnavailableError):
            http.send(GET, whole)

    assert len(server.requests) == 1
    assert elsewhere.connections == 0


@pytest.mark.fault("N10")
@pytest.mark.parametrize(
    "step",
    [
        Hang(),
        Reply(body=GOOD.body, trickle=True),
        Reply(body=b" " * 65_536, endless=True, headers={"Content-Encoding": "identity"}),
    ],
    ids=["hang", "trickle", "endless"],
)
def test_no_server_holds_us_past_the_deadline(step: Step) -> None:
    """In real time: whatever it does, an attempt ends."""
    clock = ImpatientClock()
    limits = HttpLimits(connect_s=0.3, read_s=0.3, write_s=0.3, total_s=0.5, attempts_max=1)
    with running_script([step]) as server:
        http = connect(server.base_url, clock=clock, limits=limits)
        started_s = clock.monotonic_s()
        with pytest.raises(RemoteUnavailableError):
            http.send(GET, whole)

        assert clock.monotonic_s() - started_s < 2
        http.close()


@pytest.mark.fault("N10")
def test_a_server_that_does_not_read_does_not_hold_an_upload() -> None:
    limits = HttpLimits(connect_s=0.3, read_s=0.3, write_s=0.3, total_s=0.5, attempts_max=1)
    clock = ImpatientClock()
    with running_script([NeverRead()]) as server:
        http = connect(server.base_url, clock=clock, limits=limits)
        started_s = clock.monotonic_s()
        with pytest.raises(RemoteUnavailableError, match="WriteTimeout"):
            http.send(upload(b"x" * 30_000_000), whole)

        assert clock.monotonic_s() - started_s < 2
        http.close()


@pytest.mark.slow
@pytest.mark.fault("N10", "X10")
def test_an_answer_above_the_cap_is_dropped() -> None:
    """Compressed, it is small on the wire: what counts is what it becomes."""
    bomb = gzip.compress(b" " * (ANSWER_BYTES_MAX + 1), compresslevel=1)
    fits = gzip.compress(GOOD.body + b" " * (ANSWER_BYTES_MAX - len(GOOD.body)), compresslevel=1)
    zipped = {"Content-Encoding": "gzip"}
    with running_script(
        [Reply(body=bomb, headers=zipped), Reply(body=fits, headers=zipped)]
    ) as server:
        http = connect(server.base_url, clock=VirtualClock(), limits=HttpLimits())
        assert http.exchange(GET, whole) == Oversized(ANSWER_BYTES_MAX)
        assert http.exchange(GET, whole) == Received(value={"n": 1})
        http.close()


@pytest.mark.fault("N14")
@pytest.mark.parametrize(
    "make",
    [
        lambda _: "http://127.0.0.1:9/client/v4",
        lambda patch: (patch.setenv("https_proxy", "http://127.0.0.1:9"), "https://q2v.invalid")[1],
        lambda patch: (patch.delenv("https_proxy", raising=False), "https://q2v.invalid")[1],
    ],
    ids=["refused", "proxy refused", "no such name"],
)
def test_no_connection_is_tried_again_and_then_given_up(
    make: Callable[[pytest.MonkeyPatch], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    clock = VirtualClock()
    http = connect(make(monkeypatch), clock=clock, allow_other_host=True)

    with pytest.raises(RemoteUnavailableError, match="ConnectError"):
        http.send(GET, whole)
    assert len(clock.waits) == ATTEMPTS_MAX - 1
    http.close()


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with scripted([GOOD]) as (_, http):
        assert http.send(GET, whole) == {"n": 1}


@pytest.mark.fault("N15", "X07")
@pytest.mark.parametrize("certificate", ["expired", "other_host", "good"])
def test_an_untrusted_certificate_stops_at_once(
    certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expired, of another host, or of an authority we do not know: no retry, no request."""
    if certificate != "good":
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS_ASSETS / "authority.pem"))
    clock = VirtualClock()
    with running_script([GOOD], context=server_context(certificate)) as server:
        http = connect(server.base_url, clock=clock)
        with pytest.raises(AccessError, match="not trusted"):
            http.send(GET, whole)
        http.close()

    assert server.requests == []
    assert clock.waits == []


@pytest.mark.fault("F25")
def test_https_to_a_port_without_tls_is_a_wrong_address() -> None:
    """No matter of trust, and not repeated: only a correction of the address can help."""
    clock = VirtualClock()
    with speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as plain:
        http = connect(f"https://127.0.0.1:{plain.port}", clock=clock)
        with pytest.raises(UsageError, match="does not speak TLS") as caught:
            http.send(GET, whole)
        http.close()

    assert "target.api_base_url" in caught.value.remedy
    assert clock.waits == []


@pytest.mark.fault("X07")
def test_a_certificate_of_a_trusted_authority_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS_ASSETS / "authority.pem"))
    with running_script([GOOD], context=server_context("good")) as server:
        http = connect(server.base_url)
        assert http.send(GET, whole) == {"n": 1}
        http.close()


@pytest.mark.fault("X07")
def test_less_than_tls_1_2_is_not_spoken() -> None:
    assert trusting_context().minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.fault("X02")
@pytest.mark.parametrize("status", [200, 400, 401, 503])
def test_neither_token_nor_account_gets_into_a_message(status: int) -> None:
    """A server may repeat what it was sent; we never do."""
    echo = f"Bearer {TOKEN} for account {ACCOUNT_ID.upper()}"
    talker = Talker()
    answers = [failure(status, (40023, echo), cf_ray=TOKEN), Reply(status=503, body=echo.encode())]
    for answer in answers:
        with (
            scripted([answer], progress=talker) as (_, http),
            pytest.raises(MigrationError) as stop,
        ):
            http.send(GET, whole)
        text = " ".join([str(stop.value), stop.value.remedy, *talker.said]).lower()

        assert TOKEN.lower() not in text
        assert ACCOUNT_ID not in text


def test_the_identity_tells_accounts_apart_without_naming_them() -> None:
    identity = connect("http://127.0.0.1:9").identity()

    assert identity["host"] == "127.0.0.1"
    assert ACCOUNT_ID not in str(identity)
    assert len(identity["account"]) == 16


@pytest.mark.parametrize("value", ["", " ", "a b", "a\n", "t\u00f6ken", '"quoted"', "a/b", ".."])
def test_an_odd_token_or_account_is_refused_without_being_repeated(value: str) -> None:
    for account_id, token in ((value, TOKEN), (ACCOUNT_ID, value)):
        with pytest.raises(UsageError) as refusal:
            _client(account_id, token)

        assert value.strip() == "" or value not in str(refusal.value)


def _client(account_id: str, token: str) -> CloudflareHttp:
    clock = VirtualClock()
    return CloudflareHttp(
        Account(parse_base_url("http://127.0.0.1:9"), account_id, token),
        budget=RequestBudget(None, clock=clock),
        clock=clock,
        jitter=lambda: 0.0,
        limits=FAST,
    )


def test_every_exception_of_the_library_is_accounted_for() -> None:
    """A new version of httpx with a new exception class fails here, not in a migration window."""
    classes = {
        value
        for _, value in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(value, BaseException)
    }

    assert classes == set(FAULTS)
