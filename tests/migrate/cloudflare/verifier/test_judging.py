"""What an answer of the verifier's address means, and how many requests it gets at once."""

import pytest

from migrate.cloudflare.verifier.address import parse_verifier_url
from migrate.cloudflare.verifier.judging import FailedOnceError, judge
from migrate.cloudflare.verifier.lanes import FIRST, Lanes
from migrate.cloudflare.verifier.protocol import answer_text
from migrate.errors import UsageError, VerifierUnusableError
from migrate.model.hmac_key import SealKey

KEY = SealKey("0123456789abcdef0123456789abcdef")
NOW_S = 1_800_000_000.0
NOW = "Fri, 15 Jan 2027 08:00:00 GMT"


def judged(status: int, body: bytes = b"{}", *, signed_for: str | None = "r", **more: str) -> bytes:
    headers = dict(more)
    if signed_for is not None:
        headers["x-q2v-hmac"] = KEY.code(answer_text(signed_for, status, body))
    return judge(KEY, "r", status, headers, body, now_s=NOW_S)


@pytest.mark.fault("H02")
def test_only_a_signed_answer_to_this_request_is_taken() -> None:
    assert judged(200) == b"{}"
    for signed_for in ("another", None):
        with pytest.raises(VerifierUnusableError, match="without a signature of this key for this"):
            judged(200, signed_for=signed_for)


@pytest.mark.fault("H04")
def test_a_clock_that_differs_is_named_in_place_of_the_key() -> None:
    with pytest.raises(VerifierUnusableError, match="another key, or no verifier"):
        judged(404, signed_for=None, date=NOW)
    with pytest.raises(VerifierUnusableError, match=r"differs by 300 s .* at most 120 s"):
        judged(404, signed_for=None, date="Fri, 15 Jan 2027 08:05:00 GMT")


@pytest.mark.fault("H05", "H07")
def test_what_may_pass_is_tried_again_and_what_cannot_is_not() -> None:
    for status, body, signed_for in (
        (500, b"error code: 1101", None),
        (503, b"", None),
        (429, b"slow down", None),
        (503, b'{"error":"reads","what":"down"}', "r"),
    ):
        with pytest.raises(FailedOnceError):
            judged(status, body, signed_for=signed_for)
    for status, body, signed_for in (
        (503, b"error code: 1102", None),
        (503, b'{"error":"subrequests","what":"Too many"}', "r"),
        (302, b"", None),
        (403, b"forbidden", None),
    ):
        with pytest.raises(VerifierUnusableError):
            judged(status, body, signed_for=signed_for)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://q2v-verifier.someone.workers.dev", True),
        ("https://q2v-verifier.someone.workers.dev:8443/", True),
        ("http://127.0.0.1:8787", True),
        ("http://localhost:8787", True),
        ("https://verify.example.com", False),
        ("https://workers.dev.example.com", False),
        ("https://evilworkers.dev", False),
        ("http://q2v-verifier.someone.workers.dev", False),
        ("https://user@q2v.someone.workers.dev", False),
        ("https://q2v.someone.workers.dev/path", False),
        ("https://q2v.someone.workers.dev?x", False),
    ],
)
def test_which_addresses_get_ids(url: str, allowed: bool) -> None:
    if allowed:
        assert parse_verifier_url(url).url == url.rstrip("/")
    else:
        with pytest.raises(UsageError, match=r"verifier URL .* is refused"):
            parse_verifier_url(url)


def test_another_host_has_to_be_allowed_and_still_needs_tls() -> None:
    allowed = parse_verifier_url("https://verify.example.com", allow_other_host=True)

    assert allowed.host == "verify.example.com"
    with pytest.raises(UsageError, match="plain http is for this machine only"):
        parse_verifier_url("http://verify.example.com", allow_other_host=True)


@pytest.mark.fault("H07")
def test_requests_at_once_grow_with_successes_and_are_halved_by_failures() -> None:
    lanes = Lanes(32)
    assert lanes.open == FIRST
    for _ in range(2_000):
        lanes.widen()
    assert lanes.open == 32
    widths = []
    for _ in range(7):
        lanes.narrow()
        widths.append(lanes.open)
    assert widths == [16, 8, 4, 2, 1, 1, 1]
    lanes.widen()
    assert lanes.open == 2
    assert Lanes(1).open == 1
