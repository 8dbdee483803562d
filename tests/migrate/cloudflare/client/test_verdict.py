"""What an answer is worth, and how long to wait."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.cloudflare.client.api import decode_envelope
from migrate.cloudflare.client.verdict import (
    BACKOFF_S_MAX,
    AccessDenied,
    AnswerHead,
    Blocked,
    Ok,
    QuotaReached,
    Redirected,
    Refused,
    Retry,
    Verdict,
    backoff_s,
    judge_answer,
    parse_ratelimit,
    refusal_remedy,
)
from migrate.model.limits import BLOCK_S
from migrate.model.stamps import RETRY_AFTER_S_TOP, parse_retry_after

DATE = "Mon, 23 Nov 2026 12:00:00 GMT"


def failed(*codes: int) -> bytes:
    errors = [{"code": code, "message": f"text of {code}"} for code in codes]
    return orjson.dumps({"success": False, "errors": errors, "result": None})


GOOD = orjson.dumps({"success": True, "errors": [], "result": {}})
HTML = b"<html>bad gateway</html>"

CASES: list[tuple[int, bytes, type[Verdict]]] = [
    (200, GOOD, Ok),
    (201, GOOD, Ok),
    (200, failed(40012), Refused),
    (200, b'{"success": false}', Retry),
    (200, b'{"result": {}}', Retry),
    (200, b'{"success": 1}', Retry),
    (200, HTML, Retry),
    (200, b"", Retry),
    (200, b"\xef\xbb\xbf" + GOOD, Retry),
    (200, GOOD[:-1], Retry),
    (200, b"[]", Retry),
    (301, b"", Redirected),
    (307, GOOD, Redirected),
    (400, failed(3000), Refused),
    (404, failed(3000), Refused),
    (400, failed(40041), Retry),
    (429, failed(40041), Retry),
    (400, failed(40023), Refused),
    (400, failed(99999), Refused),
    *[(status, HTML, Retry) for status in (400, 401, 403, 404, 407, 409, 410, 422, 451, 511)],
    *[(status, b"error code: 1010", Retry) for status in (400, 403, 404)],
    (404, b'{"error": "not found"}', Retry),
    (403, b'{"success": false, "message": "forbidden"}', Retry),
    (200, b'{"errors": [{"code": 40012}]}', Retry),
    (400, b'{"success": true, "errors": []}', Retry),
    (400, b'{"success": false, "errors": []}', Refused),
    (403, b'{"success": false, "errors": []}', AccessDenied),
    (400, failed(6003), AccessDenied),
    (400, failed(9109), AccessDenied),
    (400, failed(10000), AccessDenied),
    (400, failed(40026), QuotaReached),
    (429, failed(10048), QuotaReached),
    (400, failed(10048), QuotaReached),
    (500, failed(3000), Retry),
    (401, failed(10000), AccessDenied),
    (400, failed(9106), AccessDenied),
    (401, b"", Retry),
    (403, failed(10000), AccessDenied),
    (403, failed(7003, 7000), Refused),
    (404, failed(7003), Refused),
    (404, failed(10009), Refused),
    (408, b"", Retry),
    (413, HTML, Refused),
    (429, b"", Blocked),
    (429, failed(971), Blocked),
    (400, failed(10429), Blocked),
    (500, failed(1234), Retry),
    *[(status, HTML, Retry) for status in (500, 502, 503, 504, *range(520, 528))],
]


@pytest.mark.fault("N04", "N08", "N09", "N11", "N12", "N13", "N17")
@pytest.mark.parametrize(("status", "body", "verdict"), CASES)
def test_codes_decide_before_statuses(status: int, body: bytes, verdict: type[Verdict]) -> None:
    judged = judge_answer(AnswerHead(status=status), decode_envelope(body))

    assert isinstance(judged, verdict)


@given(
    st.integers(200, 599), st.binary(max_size=40) | st.sampled_from([GOOD, failed(1), failed(971)])
)
def test_only_a_2xx_that_says_success_is_one(status: int, body: bytes) -> None:
    """No other combination of status and body ever counts as taken."""
    judged = judge_answer(AnswerHead(status=status), decode_envelope(body))

    assert isinstance(judged, Ok) == (status < 300 and body == GOOD)


def test_a_raw_body_counts_by_its_status_alone() -> None:
    assert judge_answer(AnswerHead(status=200), None, raw=True) == Ok()
    assert isinstance(judge_answer(AnswerHead(status=200, page=True), None, raw=True), Retry)
    assert isinstance(judge_answer(AnswerHead(status=404), None, raw=True), Retry)
    assert isinstance(
        judge_answer(AnswerHead(status=404), decode_envelope(failed(10009)), raw=True), Refused
    )


def test_a_challenge_of_the_edge_says_nothing_about_the_token() -> None:
    judged = judge_answer(AnswerHead(status=403, challenged=True), None)

    assert isinstance(judged, Retry)


def test_the_refusal_keeps_the_deciding_code_and_text() -> None:
    judged = judge_answer(AnswerHead(status=403), decode_envelope(failed(7000, 7003)))

    assert judged == Refused(403, 7003, "text of 7003")


@pytest.mark.fault("F07")
@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (10048, "free usage limit exceeded", QuotaReached),
        (12345, "KV PUT: daily limit reached", QuotaReached),
        (10429, "limit exceeded for today, upgrade your plan", QuotaReached),
        (971, "Please wait and consider throttling your request speed", Blocked),
        (12345, "slow down", Blocked),
    ],
)
def test_the_code_or_the_sentence_of_a_429_tells_a_quota(
    code: int, text: str, kind: type[Verdict]
) -> None:
    body = orjson.dumps({"success": False, "errors": [{"code": code, "message": text}]})
    judged = judge_answer(AnswerHead(status=429), decode_envelope(body))

    assert isinstance(judged, kind)
    assert str(code) in str(judged)
    assert text in str(judged)


@pytest.mark.fault("F05")
def test_the_quota_code_on_a_query_is_about_its_option() -> None:
    text = 'vectorize.upstream_error - returnMetadata: expected value "none", "indexed" or "all"'
    body = orjson.dumps({"success": False, "errors": [{"code": 40026, "message": text}]})

    judged = judge_answer(AnswerHead(status=400), decode_envelope(body))
    assert judged == Refused(400, 40026, text)


@pytest.mark.fault("F05")
def test_a_line_that_speaks_of_a_day_is_no_quota() -> None:
    """A refusal of content may repeat the content."""
    text = "invalid metadata 'daily quota report, today'"
    for code in (40018, 49_999):
        body = orjson.dumps({"success": False, "errors": [{"code": code, "message": text}]})

        assert judge_answer(AnswerHead(status=400), decode_envelope(body)) == Refused(
            400, code, text
        )


@pytest.mark.fault("N01", "N02")
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 300 ", 300.0),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("\u0661", None),
        ("9" * 400, RETRY_AFTER_S_TOP),
        ("Mon, 23 Nov 2026 12:02:05 GMT", 125.0),
        ("Mon, 23 Nov 2026 13:02:05 +0100", 125.0),
        ("Mon, 23 Nov 2026 12:00:00 GMT", None),
        ("Mon, 23 Nov 2026 11:00:00 GMT", None),
        ("Mon, 99 Nov 2026 12:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_S_TOP),
    ],
)
def test_retry_after_in_all_its_forms(text: str | None, seconds: float | None) -> None:
    assert seconds == parse_retry_after(text, date=DATE)


@pytest.mark.fault("N01")
@pytest.mark.parametrize("date", [None, "", "today"])
def test_a_date_without_the_servers_own_date_is_not_usable(date: str | None) -> None:
    assert parse_retry_after("Mon, 23 Nov 2026 12:02:05 GMT", date=date) is None


_IN_2020_S, _IN_2040_S = 1_577_836_800, 2_208_988_800  # seconds since 1970


@given(st.integers(_IN_2020_S, _IN_2040_S), st.integers(1, 86_000))
def test_a_date_counts_from_the_servers_clock_whatever_ours_says(now_s: int, seconds: int) -> None:
    now = datetime.fromtimestamp(now_s, UTC)
    until = format_datetime(now + timedelta(seconds=seconds), usegmt=True)

    assert seconds == parse_retry_after(until, date=format_datetime(now, usegmt=True))


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_breaks_the_reading_of_the_header(text: str, date: str) -> None:
    seconds = parse_retry_after(text, date=date)

    assert seconds is None or 0 < seconds <= RETRY_AFTER_S_TOP


@pytest.mark.fault("N02")
@pytest.mark.parametrize("text", [None, "0", "-1", "garbage"])
def test_a_429_without_a_usable_time_means_the_documented_block(text: str | None) -> None:
    judged = judge_answer(AnswerHead(status=429, retry_after=text, date=DATE), None)

    assert isinstance(judged, Blocked)
    assert judged.seconds == BLOCK_S


@given(st.integers(1, 5_000), st.floats(0, 1, exclude_max=True))
def test_back_off_is_a_share_of_a_doubling_interval(attempt: int, fraction: float) -> None:
    interval = backoff_s(attempt, 1.0)

    assert 0 <= backoff_s(attempt, fraction) <= interval <= BACKOFF_S_MAX
    assert interval == min(BACKOFF_S_MAX, 2 ** (attempt - 1))


@pytest.mark.fault("N03")
@pytest.mark.parametrize(
    ("text", "state"),
    [
        ('"default";r=50;t=30', (50, 30.0)),
        ('"burst"; q=100; r=7; t=60, "default";r=900;t=300', (7, 60.0)),
        ('"default";q=1200;w=300', None),
        ("r=5", None),
        ("", None),
        (None, None),
    ],
)
def test_the_ratelimit_header_tells_the_strictest_state(
    text: str | None, state: tuple[int, float] | None
) -> None:
    assert state == parse_ratelimit(text)


def test_every_refusal_has_a_next_step() -> None:
    assert "provision" in refusal_remedy(400, 3000)
    assert "takes no body of this size" in refusal_remedy(413, None)
    assert refusal_remedy(418, 99)
