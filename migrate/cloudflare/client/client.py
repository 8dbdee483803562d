"""The HTTP client of the target: it applies the budget, deadlines and retries to each request."""

import itertools
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar, assert_never

import httpx

from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.api import (
    Answer,
    ApiRequest,
    Operation,
    Outcome,
    Oversized,
    Received,
    Refusal,
    UnusableAnswerError,
    decode_envelope,
    encode_segment,
    refusal_sentence,
)
from migrate.cloudflare.client.base_url import BaseUrl, account_fingerprint
from migrate.cloudflare.client.codes import refused_error
from migrate.cloudflare.client.errors import AnswerErrors, RetryableError
from migrate.cloudflare.client.faults import FAULTS, Fault, is_untrusted, speaks_no_tls
from migrate.cloudflare.client.verdict import (
    AccessDenied,
    AnswerHead,
    Blocked,
    Ok,
    QuotaReached,
    Redirected,
    Refused,
    Retry,
    backoff_s,
    judge_answer,
    parse_ratelimit,
    refusal_remedy,
)
from migrate.cloudflare.client.wire import ANSWER_BYTES_MAX, HttpLimits, HttpWire
from migrate.errors import (
    AccessError,
    BudgetExhaustedError,
    RemoteUnavailableError,
    TargetRefusedError,
    UsageError,
)
from migrate.model.stamps import parse_http_date
from migrate.ports import Clock, Progress
from migrate.transport.answer_words import is_page, words_of
from migrate.transport.trust import distrust_remedy
from migrate.words import counted
from migrate.workers.repeat import retry_on

T = TypeVar("T")

ANSWERS_TIMED_MAX = 100  # the latest answers, for the median

# These two log every URL, and the URLs hold the account id.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Account:
    """The address of the API, and the account and token that requests use."""

    base_url: BaseUrl
    account_id: str = field(repr=False)
    token: str = field(repr=False)
    ca_file: Path | None = None  # PEM of further authorities to trust


class CloudflareHttp:
    """Requests for one account. Safe to use from several threads."""

    def __init__(
        self,
        account: Account,
        *,
        budget: RequestBudget,
        clock: Clock,
        jitter: Callable[[], float],
        progress: Progress | None = None,
        limits: HttpLimits | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`jitter` gives random numbers in [0, 1); `transport` is as in HttpWire.

        Raises UsageError for an odd token or id.
        """
        _check_secret(account.token, "CLOUDFLARE_API_TOKEN")
        _check_secret(account.account_id, "CLOUDFLARE_ACCOUNT_ID")
        self._base_url = account.base_url
        self._account_id = account.account_id
        self._errors = AnswerErrors((account.token, account.account_id))
        self._budget = budget
        self._clock = clock
        self._jitter = jitter
        self._progress = progress
        self._limits = limits or HttpLimits()
        self._service_ahead_s: float | None = None  # minus the monotonic clock
        self._answers_s: deque[float] = deque(maxlen=ANSWERS_TIMED_MAX)
        self._wire = HttpWire(
            account.base_url,
            account.token,
            clock=clock,
            limits=self._limits,
            ca_file=account.ca_file,
            transport=transport,
        )

    def service_wall_s(self) -> float | None:
        """The service's clock now, in seconds since 1970; None before the first answer."""
        if self._service_ahead_s is None:
            return None
        return self._clock.monotonic_s() + self._service_ahead_s

    def identity(self) -> dict[str, str]:
        """Host and a fingerprint of the account, for plans and manifests."""
        return {"host": self._base_url.host, "account": account_fingerprint(self._account_id)}

    def account_path(self, *segments: str) -> str:
        """A path of this account with every character of the segments percent-encoded."""
        return "/".join(["", "accounts", self._account_id, *map(encode_segment, segments)])

    def send(self, request: ApiRequest, read: Callable[[Answer], T], *, raw: bool = False) -> T:
        """As `exchange`, but a refusal or an oversized answer raises an error.

        Raises TargetRefusedError for a refusal, RemoteUnavailableError for an oversized answer.
        """
        return self.value_of(request.operation, self.exchange(request, read, raw=raw))

    def value_of(self, operation: Operation, outcome: Outcome[T]) -> T:
        """The value. Raises TargetRefusedError or RemoteUnavailableError for the other outcomes."""
        match outcome:
            case Received():
                return outcome.value
            case Refusal():
                raise self.refused(operation, outcome)
            case Oversized():
                raise RemoteUnavailableError(
                    f"{operation.name}: the answer is larger than {outcome.bytes_max} B",
                    remedy="check which server answers at target.api_base_url, then run again: it "
                    "resumes",
                )
            case _:
                assert_never(outcome)

    def exchange(
        self, request: ApiRequest, read: Callable[[Answer], T], *, raw: bool = False
    ) -> Outcome[T]:
        """Send the request until it has a usable answer, within the budget and the attempts.

        `read` takes the value out of the answer and raises UnusableAnswerError when the value is
        missing. `raw` says that the body of a success has no envelope. Raises AccessError,
        RemoteUnavailableError, BudgetExhaustedError, LocalStorageError.
        """
        attempts = itertools.count(1)
        blocks_s: list[float] = []
        try:
            return retry_on(
                RetryableError,
                lambda: self._attempt(request, read, next(attempts), blocks_s, raw=raw),
                attempts_max=self._limits.attempts_max,
                wait_s=self._wait_s,
                clock=self._clock,
                before_pause=partial(self._report_failure, request.operation),
            )
        except RetryableError as error:
            raise self._errors.exhausted(
                request.operation, error, self._limits.attempts_max
            ) from error

    def refused(self, operation: Operation, refusal: Refusal) -> TargetRefusedError:
        """The error for a refusal."""
        return refused_error(
            refusal_sentence(operation, refusal.status, refusal.code, refusal.text, refusal.ray),
            remedy=refusal_remedy(refusal.status, refusal.code),
            status=refusal.status,
            code=refusal.code,
        )

    def median_answer_s(self) -> float | None:
        """Median seconds between a request and the end of its answer; None before the first."""
        return median(list(self._answers_s)) if self._answers_s else None

    def close(self) -> None:
        """Close the connections. Calling it again does nothing."""
        self._wire.close()

    def _attempt(
        self,
        request: ApiRequest,
        read: Callable[[Answer], T],
        number: int,
        blocks_s: list[float],
        *,
        raw: bool,
    ) -> Outcome[T]:
        """Send once and decide about the answer. `blocks_s` is the length of each block so far."""
        response, body = self._send_once(request)
        if body is None:
            return Oversized(ANSWER_BYTES_MAX)
        self._note_ratelimit(response.headers.get("ratelimit"))
        self._note_date(response.headers.get("date"))
        head = AnswerHead(
            status=response.status_code,
            retry_after=response.headers.get("retry-after"),
            date=response.headers.get("date"),
            challenged=response.headers.get("cf-mitigated") == "challenge",
            page=is_page(response.headers.get("content-type")),
        )
        envelope = decode_envelope(body)
        ray = self._errors.shown(response.headers.get("cf-ray", ""))
        verdict = judge_answer(head, envelope, raw=raw)
        match verdict:
            case Ok():
                answer = Answer(envelope=None if raw else envelope, body=body, date=head.date)
                return self._take(answer, read, ray)
            case Refused():
                text = self._errors.shown(verdict.text or words_of(body))
                return Refusal(
                    status=verdict.status, code=verdict.code, text=text, ray=ray, attempts=number
                )
            case Retry():
                raise self._retry_error(verdict, body, ray)
            case Blocked():
                self._budget.block(verdict.seconds)
                blocks_s.append(verdict.seconds)
                raise self._errors.blocked(
                    request.operation, verdict, body, silence_s=sum(blocks_s)
                )
            case AccessDenied() | QuotaReached() | Redirected():
                raise self._errors.final(request.operation, verdict, ray)
            case _:
                assert_never(verdict)

    def _send_once(self, request: ApiRequest) -> tuple[httpx.Response, bytes | None]:
        departure = self._budget.acquire(self._progress, within_s=self._wire.total_s(request))
        try:
            answer = self._wire.send_once(request)
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise self._translate(request.operation, error) from error
        finally:
            self._budget.release(departure)
        self._answers_s.append(self._clock.monotonic_s() - departure.at_s)
        return answer

    def _take(self, answer: Answer, read: Callable[[Answer], T], ray: str) -> Received[T]:
        """The value. Raises the error of a retry for a success without the expected content."""
        try:
            return Received(value=read(answer))
        except UnusableAnswerError as error:
            verdict = Retry(f"a success, but {error}", None)
            raise self._retry_error(verdict, answer.body, ray) from error

    def _retry_error(self, verdict: Retry, body: bytes, ray: str) -> Exception:
        """The error for another attempt; if the wait is too long, the account is blocked for it."""
        error = self._errors.retry(verdict, body, ray)
        if isinstance(error, BudgetExhaustedError) and verdict.after_s is not None:
            self._budget.block(verdict.after_s)
        return error

    def _translate(self, operation: Operation, error: Exception) -> Exception:
        """The error for an exception of httpx; a misuse of the library is returned as it is."""
        text = self._errors.shown(str(error) or type(error).__name__)
        if speaks_no_tls(error):
            return UsageError(
                f"{operation.name}: {self._base_url.host} does not speak TLS at this port: {text}",
                remedy="check scheme and port of target.api_base_url; nothing was sent",
            )
        if is_untrusted(error):
            return AccessError(
                f"{operation.name}: the server's certificate or TLS version is not trusted: {text}",
                remedy=f"{distrust_remedy(self._base_url.host)}; nothing was sent",
            )
        kind = next(FAULTS[base] for base in type(error).__mro__ if base in FAULTS)
        match kind:
            case Fault.TRANSIENT:
                return RetryableError(f"{type(error).__name__}: {text}")
            case Fault.BUG:
                return error
            case _:
                assert_never(kind)

    def _wait_s(self, error: RetryableError, attempt: int) -> float:
        """The back-off with full jitter, or the time that the service asks for if it is longer."""
        if error.blocked:
            return 0.0  # the request budget waits
        return max(error.after_s or 0.0, backoff_s(attempt, self._jitter()))

    def _report_failure(
        self, operation: Operation, error: RetryableError, attempt: int, _: float
    ) -> None:
        if self._progress is not None:
            of = f"attempt {attempt} of {self._limits.attempts_max}"
            self._progress.say(f"{operation.name}: {of} failed: {error}")

    def _note_date(self, header: str | None) -> None:
        date_s = parse_http_date(header)
        if date_s is not None:
            self._service_ahead_s = date_s - self._clock.monotonic_s()

    def _note_ratelimit(self, header: str | None) -> None:
        """Reduce the budget by a `Ratelimit` header. It never enlarges it (docs/services.md)."""
        state = parse_ratelimit(header)
        if state is not None and self._budget.note_remaining(*state) and self._progress is not None:
            remaining, seconds = state
            self._progress.say(
                f"the service allows {counted(remaining, 'more request')} in {seconds:.0f} s, "
                "because other "
                "programs use the account: slowing down"
            )


def _check_secret(value: str, name: str) -> None:
    """Raise UsageError for a malformed secret. The message does not repeat it, as httpx would."""
    allowed = value.isascii() and value.isprintable() and not any(c in value for c in ' /?#%"\\')
    if not value or not allowed or value in {".", ".."}:
        raise UsageError(
            f"{name} is empty or holds characters that are not valid in it",
            remedy=f"copy {name} again, without quotes and line ends",
        )
