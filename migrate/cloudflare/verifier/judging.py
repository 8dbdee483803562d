"""Decide what an answer of the verifier's address means. Pure."""

from collections.abc import Mapping

import orjson

from migrate.cloudflare.verifier.protocol import answer_text
from migrate.errors import VerifierUnusableError
from migrate.model.hmac_key import SealKey
from migrate.model.stamps import parse_http_date
from migrate.transport.answer_words import words_of
from migrate.transport.masking import printable

SIGNATURE_HEADER = "x-q2v-hmac"
CLOCK_DIFFERENCE_S_MAX = 120  # as the Worker has it
_NOT_FOUND = 404
_SERVER_ERRORS_MIN = 500
_TOO_MANY_REQUESTS = 429
_OK, _UNAVAILABLE = 200, 503
_CPU_LIMIT = b"1102"  # the number on the page that Cloudflare answers
_PAID = (
    "deploy it to an account with Workers Paid; Workers Free allows 50 subrequests and 10 ms of "
    "CPU time for a request"
)
WORDS_MAX = 200


class FailedOnceError(Exception):
    """The request failed in a way that may pass."""


def unusable(what: str, *, remedy: str) -> VerifierUnusableError:
    """The error for a verifier that cannot be used."""
    return VerifierUnusableError(what, remedy=remedy)


def judge(
    key: SealKey,
    request_signature: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now_s: float,
) -> bytes:
    """The body of a signed success.

    Raises FailedOnceError for what may pass, VerifierUnusableError for what cannot.
    """
    given = headers.get(SIGNATURE_HEADER)
    if key.fits(answer_text(request_signature, status, body), given):
        return _judge_signed(status, body)
    if status == _OK or given is not None:
        raise unusable(
            f"it answers HTTP {status} without a signature of this key for this request",
            remedy="check that the URL is that of the verifier, and that no cache stands before it",
        )
    if status == _NOT_FOUND:
        raise _not_found(headers.get("date"), now_s)
    shown = printable(words_of(body), characters_max=WORDS_MAX)
    if status >= _SERVER_ERRORS_MIN and _CPU_LIMIT in body:
        raise unusable(f"it exceeds the CPU time of its plan (HTTP {status})", remedy=_PAID)
    if status >= _SERVER_ERRORS_MIN or status == _TOO_MANY_REQUESTS:
        raise FailedOnceError(f"HTTP {status}: {shown}")
    raise unusable(
        f"HTTP {status} from something else than the verifier: {shown}",
        remedy="check the URL; behind Cloudflare Access, let this machine pass without a login",
    )


def _judge_signed(status: int, body: bytes) -> bytes:
    if status == _OK:
        return body
    try:
        record = orjson.loads(body)
    except orjson.JSONDecodeError:
        record = None
    found = record if isinstance(record, dict) else {}
    what = printable(str(found.get("what", "")), characters_max=WORDS_MAX)
    if found.get("error") == "subrequests":
        raise unusable(f"its plan allows too few subrequests: {what}", remedy=_PAID)
    if found.get("error") == "configuration":
        raise unusable(
            f"it is configured wrongly: {what}",
            remedy="correct verifier.wrangler.jsonc, and deploy the verifier again",
        )
    raise FailedOnceError(f"it could not read: {what}")


def _not_found(date: str | None, now_s: float) -> VerifierUnusableError:
    """The error for 404, which a verifier answers to everything that is not a good request."""
    theirs_s = parse_http_date(date)
    if theirs_s is not None and abs(theirs_s - now_s) > CLOCK_DIFFERENCE_S_MAX:
        return unusable(
            f"HTTP 404: the clock of this machine differs by {abs(theirs_s - now_s):.0f} s from "
            f"the service's, at most {CLOCK_DIFFERENCE_S_MAX} s are accepted",
            remedy="set the clock of this machine",
        )
    return unusable(
        "HTTP 404: another key, or no verifier at this address",
        remedy="check target.verifier_url, and set the Worker's secret to the key again: "
        "`wrangler secret put Q2V_VERIFIER_KEY`",
    )
