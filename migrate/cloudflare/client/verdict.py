"""Decide about an answer of the target: accept it, retry, wait, or stop. Pure.

An answer counts as the service's only in the service's form (`Envelope.is_service_form`). The
answer of a proxy, an edge or a login page says nothing about the token, the index or the vectors,
and the request is sent again. Two statuses count in any form: 429, because waiting does no harm,
and 413, because a body that is too large for a proxy has to become smaller.

Codes take precedence over statuses: the service answers "no such index" with 400 and code 3000, and
its write rate limit with 400 and code 40041 (`cloudflare/client/codes.py` lists all of them).
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

from migrate.cloudflare.client.api import ApiError, Envelope
from migrate.cloudflare.client.codes import Subject, names_quota, remedy_of, subject_of
from migrate.model.limits import BLOCK_S
from migrate.model.stamps import parse_retry_after

# The first status of each class.
REDIRECTS, CLIENT_ERRORS, SERVER_ERRORS = 300, 400, 500

BACKOFF_S_BASE = 1.0
BACKOFF_S_MAX = 60.0
DOUBLINGS_MAX = 6  # beyond it the interval is at its maximum anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """The parts of an answer's status and headers that the decision uses."""

    status: int
    retry_after: str | None = None
    date: str | None = None
    challenged: bool = False  # `cf-mitigated: challenge`: the edge wants a browser
    page: bool = False  # the content type is that of an HTML page


@dataclass(frozen=True, slots=True)
class Ok:
    """A success, by its status and its envelope."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Send the same bytes again, after at least `after_s` seconds if the server named a time."""

    reason: str  # may hold a sentence of the server: not masked
    after_s: float | None
    foreign: bool = False  # the answer is not in the service's form


@dataclass(frozen=True, slots=True)
class Blocked:
    """No request of the account may be sent for `seconds`."""

    seconds: float
    reason: str  # with the service's code and sentence if it gave them: not masked
    names_error: bool = False


@dataclass(frozen=True, slots=True)
class QuotaReached:
    """A daily or account limit, which does not end after some minutes."""

    status: int
    code: int | None
    text: str


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
    """A redirect. It is not followed, so the token is not sent to the other address."""

    status: int


Verdict = Ok | Retry | Blocked | QuotaReached | Refused | AccessDenied | Redirected


def judge_answer(head: AnswerHead, envelope: Envelope | None, *, raw: bool = False) -> Verdict:
    """Decide by the codes of an answer, then by its status.

    `envelope` is None when the body is no JSON object. `raw` says that a success of this
    operation has no envelope (KV values); an HTML page is not such a success.
    """
    if raw and head.status == HTTPStatus.OK and not head.page:
        return Ok()
    if envelope is not None and envelope.success is True and not envelope.errors:
        if head.status < REDIRECTS:
            return Ok()
    elif envelope is not None and envelope.is_service_form:
        by_code = _judge_codes(head, envelope.errors)
        if by_code is not None:
            return by_code
    return _judge_status(head, envelope)


def _judge_codes(head: AnswerHead, errors: tuple[ApiError, ...]) -> Verdict | None:
    """The decision by the error codes alone; None when the status decides."""
    by_subject: dict[Subject, ApiError] = {}
    for error in errors:
        subject = _subject(head, error)
        if subject is not None:
            by_subject.setdefault(subject, error)
    if found := by_subject.get(Subject.ACCESS):
        return AccessDenied(head.status, found.code, found.message)
    if found := by_subject.get(Subject.QUOTA):
        return QuotaReached(head.status, found.code, found.message)
    if found := by_subject.get(Subject.WRITE_RATE):
        return Retry(
            f"{_answered(head, found)}: writes come too fast for the index",
            parse_retry_after(head.retry_after, date=head.date),
        )
    if found := by_subject.get(Subject.BUDGET):
        return _blocked(head, found)
    if (found := by_subject.get(Subject.REQUEST)) and head.status < SERVER_ERRORS:
        return Refused(head.status, found.code, found.message)
    return None


def _subject(head: AnswerHead, error: ApiError) -> Subject | None:
    """What an error is about. Its text is used only where it cannot quote the content sent."""
    known = subject_of(error.code, error.message)
    limited = head.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.PAYMENT_REQUIRED}
    if limited and known in {None, Subject.BUDGET} and names_quota(error.message):
        return Subject.QUOTA
    return known


def _judge_status(head: AnswerHead, envelope: Envelope | None) -> Verdict:
    error = envelope.errors[0] if envelope is not None and envelope.errors else None
    if head.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _blocked(head, error)
    if REDIRECTS <= head.status < CLIENT_ERRORS:
        return Redirected(head.status)
    if head.status < REDIRECTS:
        return _judge_success(head, envelope)
    reason = _retry_reason(head, envelope)
    if reason is not None:
        foreign = envelope is None or not envelope.is_service_form
        after_s = parse_retry_after(head.retry_after, date=head.date)
        return Retry(reason, after_s, foreign=foreign)
    code, text = (None, "") if error is None else (error.code, error.message)
    if head.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return AccessDenied(head.status, code, text)
    return Refused(head.status, code, text)


def _retry_reason(head: AnswerHead, envelope: Envelope | None) -> str | None:
    """Why a failed request is sent again; None for a refusal by the service."""
    if head.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return None
    if head.status == HTTPStatus.REQUEST_TIMEOUT or head.status >= SERVER_ERRORS:
        return f"HTTP {head.status}"
    if head.challenged:
        return f"HTTP {head.status} (the edge asks for a browser)"
    if envelope is None or not envelope.is_service_form or envelope.success:
        return f"HTTP {head.status}, not in the form of the service"
    return None


def _judge_success(head: AnswerHead, envelope: Envelope | None) -> Verdict:
    """A 2xx that is not a success: a refusal if it has a code, else a retry."""
    if envelope is None:
        reason = f"HTTP {head.status} with a body that is no JSON object"
        return Retry(reason, None, foreign=True)
    if envelope.errors and envelope.is_service_form:
        return Refused(head.status, envelope.errors[0].code, envelope.errors[0].message)
    reason = f"HTTP {head.status} without 'success': true and without an error code"
    return Retry(reason, None, foreign=not envelope.is_service_form)


def _blocked(head: AnswerHead, error: ApiError | None) -> Blocked:
    """A block for the time of Retry-After, else for the documented time (A-LIM)."""
    what = _answered(head, error)
    seconds = parse_retry_after(head.retry_after, date=head.date)
    if seconds is None:
        return Blocked(BLOCK_S, f"{what}, without a usable Retry-After", error is not None)
    return Blocked(seconds, f"{what}, with Retry-After {seconds:.0f} s", error is not None)


def _answered(head: AnswerHead, error: ApiError | None) -> str:
    """The status of an answer, with the code and message of its error."""
    if error is None:
        return f"HTTP {head.status}"
    return f"HTTP {head.status}, code {error.code}, '{error.message}'"


def backoff_s(attempt: int, fraction: float) -> float:
    """Seconds to wait with full jitter: a random share of an interval that doubles each time.

    `attempt` counts failed attempts from 1, `fraction` is a random number in [0, 1).
    """
    return fraction * min(BACKOFF_S_MAX, BACKOFF_S_BASE * 2.0 ** min(attempt - 1, DOUBLINGS_MAX))


_RATE_STATE = re.compile(r'"[^"]*"\s*((?:;\s*[a-z]+\s*=\s*[0-9]{1,9}\s*)+)', re.ASCII)


def parse_ratelimit(text: str | None) -> tuple[int, float] | None:
    """The strictest (requests, seconds) of a `Ratelimit` header; None when it is not readable."""
    states = []
    for match in _RATE_STATE.finditer((text or "")[:1000]):
        fields = dict(re.findall(r"([a-z]+)\s*=\s*([0-9]+)", match[1]))
        if "r" in fields and "t" in fields:
            states.append((int(fields["r"]), float(fields["t"])))
    return min(states) if states else None


def refusal_remedy(status: int, code: int | None) -> str:
    """The operator's next step after a refusal."""
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return (
            "check the proxies between this machine and the service: one takes no body of this size"
        )
    fallback = "compare the message with the provider's documentation; nothing was retried"
    return remedy_of(code) or fallback


def access_remedy(status: int, code: int | None, scope: str) -> str:
    """The operator's next step after a refusal of the token; `scope` is the permission needed.

    "" for a request that every token may send: then the service does not know this token. Nor does
    it know one that it answers with 401; a known one that may not do this gets 403.
    """
    if not scope:
        needed = (
            "the service does not know this token, or not in this account: copy both again, or "
            "make another token; `q2v init` says which permissions it needs"
        )
    elif status == HTTPStatus.UNAUTHORIZED:
        needed = (
            "the service does not know this token: it was cut when it was copied, rolled, deleted, "
            f"or has expired; copy it again, or make another one with '{scope}', which `q2v init` "
            "lists with the others"
        )
    else:
        needed = f"use a token of this account with '{scope}'"
    return remedy_of(code) or needed


def quota_remedy(code: int | None) -> str:
    """The operator's next step when a daily or account limit is reached."""
    return remedy_of(code) or (
        "wait until the limit ends (daily ones: 00:00 UTC) or change the account's plan, then "
        "run the same command again: it resumes"
    )
