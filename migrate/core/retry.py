"""Judge an answer of the target: take it, send again, wait, or stop. Pure decisions.

Codes decide before statuses: the service answers "no such index" with 400 and code 3000, and its
write rate limit with 400 and code 40041 (contract 1.3, 1.4, 2.1, 3.2, 5.6).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from migrate.core.envelope import ApiError, Envelope
from migrate.core.limits import BLOCK_S

ACCESS_CODES = frozenset({9106, 10000})  # observed; wrangler treats both alike
NO_ROUTE_CODE = 7003  # no such route, or a malformed account id
GLOBAL_BLOCK_CODES = frozenset({971, 10429})  # observed 2026: the account's request budget
WRITE_RATE_CODE = 40041  # observed 2026: Vectorize's own write rate, with any status
NO_INDEX_CODES = frozenset({3000, 3005})  # not found, deleted
DUPLICATE_INDEX_CODE = 3002
TOO_MANY_IDS_CODE = 40007
NO_KV_NAMESPACE_CODE = 10013
DUPLICATE_NAMESPACE_CODE = 10014

RETRY_AFTER_S_TOP = 86_400.0  # larger numbers mean the same: not today

# The first status of each class.
REDIRECTS, CLIENT_ERRORS, SERVER_ERRORS = 300, 400, 500

BACKOFF_S_BASE = 1.0
BACKOFF_S_MAX = 60.0
DOUBLINGS_MAX = 6  # beyond it the interval is at its maximum anyway

_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)
_MORE_DIGITS = re.compile(r"[0-9]{10,}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """What of an answer's head decides."""

    status: int
    retry_after: str | None = None
    date: str | None = None
    challenged: bool = False  # `cf-mitigated: challenge`: the edge wants a browser


@dataclass(frozen=True, slots=True)
class Ok:
    """The answer counts, as far as status and envelope tell."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Send the same bytes again, not before `after_s` seconds if the server named them."""

    reason: str
    after_s: float | None


@dataclass(frozen=True, slots=True)
class Blocked:
    """The whole account has to be silent for this long."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Sending the same bytes again cannot help."""

    status: int
    code: int | None
    text: str


@dataclass(frozen=True, slots=True)
class AccessDenied:
    """Token unknown, expired, or without the permission."""

    status: int
    code: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Redirected:
    """The address answers with another address, which never gets the token."""

    status: int


Verdict = Ok | Retry | Blocked | Refused | AccessDenied | Redirected


def judge_answer(head: AnswerHead, envelope: Envelope | None, *, raw: bool = False) -> Verdict:
    """The one place where a status and codes become a decision.

    `envelope` is None when the body is no JSON object. `raw` says that a success of this
    operation has no envelope (KV values).
    """
    if raw and head.status == HTTPStatus.OK:
        return Ok()
    errors = envelope.errors if envelope is not None else ()
    if envelope is not None and envelope.success is True and not errors and head.status < REDIRECTS:
        return Ok()
    by_code = _judge_codes(head, errors)
    return by_code if by_code is not None else _judge_status(head, envelope)


def _judge_codes(head: AnswerHead, errors: tuple[ApiError, ...]) -> Verdict | None:
    """What the error codes alone decide; None leaves it to the status."""
    codes = {error.code for error in errors}
    if codes & ACCESS_CODES:
        return AccessDenied(head.status, *_first(errors, ACCESS_CODES))
    if WRITE_RATE_CODE in codes:
        return Retry(
            f"HTTP {head.status}, code {WRITE_RATE_CODE}: writes come too fast for the index",
            parse_retry_after(head.retry_after, date=head.date),
        )
    if codes & GLOBAL_BLOCK_CODES:
        return _blocked(head, f"code {min(codes & GLOBAL_BLOCK_CODES)}")
    if NO_ROUTE_CODE in codes:
        return Refused(head.status, *_first(errors, frozenset({NO_ROUTE_CODE})))
    return None


def _judge_status(head: AnswerHead, envelope: Envelope | None) -> Verdict:
    if head.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _blocked(head, "HTTP 429")
    if head.status == HTTPStatus.REQUEST_TIMEOUT or head.status >= SERVER_ERRORS or head.challenged:
        reason = f"HTTP {head.status}" + (" (the edge asks for a browser)" * head.challenged)
        return Retry(reason, parse_retry_after(head.retry_after, date=head.date))
    if REDIRECTS <= head.status < CLIENT_ERRORS:
        return Redirected(head.status)
    errors = envelope.errors if envelope is not None else ()
    code, text = _first(errors, None)
    if head.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AccessDenied(head.status, code, text)
    if head.status >= CLIENT_ERRORS or code is not None:
        return Refused(head.status, code, text)
    return _judge_success(head, envelope)


def _judge_success(head: AnswerHead, envelope: Envelope | None) -> Verdict:
    """A 2xx without any error code is not yet a success."""
    if envelope is None:
        return Retry(f"HTTP {head.status} with a body that is no JSON object", None)
    if envelope.success is not True:
        return Retry(f"HTTP {head.status} without 'success': true and without an error code", None)
    return Ok()


def _blocked(head: AnswerHead, what: str) -> Blocked:
    """Without a usable Retry-After the documented block of the account applies (A-LIM)."""
    seconds = parse_retry_after(head.retry_after, date=head.date)
    if seconds is None:
        return Blocked(BLOCK_S, f"{what} without a usable Retry-After")
    return Blocked(seconds, f"{what} with Retry-After {seconds:.0f} s")


def _first(errors: tuple[ApiError, ...], wanted: frozenset[int] | None) -> tuple[int | None, str]:
    """Code and message of the first error among `wanted`, None = any."""
    for error in errors:
        if wanted is None or error.code in wanted:
            return error.code, error.message
    return None, ""


def parse_retry_after(text: str | None, *, date: str | None) -> float | None:
    """Seconds to wait, > 0 and at most `RETRY_AFTER_S_TOP`; None when missing or not usable.

    A date is read against the answer's own Date header `date`, never against our clock. Zero,
    negative and unreadable values are None: the caller then waits what the documentation says.
    """
    stripped = (text or "").strip()
    if _MORE_DIGITS.fullmatch(stripped):
        return RETRY_AFTER_S_TOP
    if _DIGITS.fullmatch(stripped):
        seconds = float(stripped)
    else:
        until, now = _parse_http_date(stripped), _parse_http_date(date)
        if until is None or now is None:
            return None
        seconds = (until - now).total_seconds()
    return min(seconds, RETRY_AFTER_S_TOP) if seconds > 0 else None


def _parse_http_date(text: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed


def backoff_s(attempt: int, fraction: float) -> float:
    """Full jitter: a random share of an interval that doubles with every attempt.

    `attempt` counts failed attempts from 1, `fraction` is a random number in [0, 1).
    """
    return fraction * min(BACKOFF_S_MAX, BACKOFF_S_BASE * 2.0 ** min(attempt - 1, DOUBLINGS_MAX))


_RATE_STATE = re.compile(r'"[^"]*"\s*((?:;\s*[a-z]+\s*=\s*[0-9]{1,9}\s*)+)', re.ASCII)


def parse_ratelimit(text: str | None) -> tuple[int, float] | None:
    """The strictest (requests left, seconds) of a `Ratelimit` header; None when not readable."""
    states = []
    for match in _RATE_STATE.finditer((text or "")[:1000]):
        fields = dict(re.findall(r"([a-z]+)\s*=\s*([0-9]+)", match[1]))
        if "r" in fields and "t" in fields:
            states.append((int(fields["r"]), float(fields["t"])))
    return min(states) if states else None


_REMEDIES = {
    NO_ROUTE_CODE: "check CLOUDFLARE_ACCOUNT_ID and target.api_base_url",
    DUPLICATE_INDEX_CODE: "choose another target.vector_index, or use the existing one",
    NO_KV_NAMESPACE_CODE: "check target.kv_namespace_id, or run q2v provision",
    DUPLICATE_NAMESPACE_CODE: "choose another namespace title, or use the existing one",
    40012: "plan again: the index has other dimensions than the upload",
    40016: "shorten the metadata in the mapping, then plan again",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "lower limits.upload_bytes, then run again",
}


def refusal_remedy(status: int, code: int | None) -> str:
    """The operator's next step after a refusal."""
    if code in NO_INDEX_CODES:
        return "check target.vector_index, or run q2v provision; an index is never made on the way"
    fallback = "compare the message with the provider's documentation; nothing was retried"
    return _REMEDIES.get(code if code is not None else status, fallback)
