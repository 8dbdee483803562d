"""The verifier over HTTP: signs, sends within a deadline, tries again, and believes only proofs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx

from migrate.cloudflare.client.base_url import BaseUrl
from migrate.cloudflare.client.faults import FAULTS, Fault, is_untrusted, speaks_no_tls
from migrate.cloudflare.client.verdict import backoff_s
from migrate.cloudflare.client.wire import read_capped
from migrate.cloudflare.verifier.judging import (
    SIGNATURE_HEADER,
    WORDS_MAX,
    FailedOnceError,
    judge,
    unusable,
)
from migrate.cloudflare.verifier.lanes import Lanes
from migrate.cloudflare.verifier.protocol import (
    OtherProtocolError,
    UnprovenError,
    encode_question,
    question_path,
    read_answer,
    read_states,
    request_text,
)
from migrate.model.hmac_key import SealKey
from migrate.model.limits import VERIFIER_REQUESTS_MAX
from migrate.model.records import VectorId, Verified, VerifierState
from migrate.ports import Clock, Progress
from migrate.transport.deadline import Deadline, DeadlineTransport, Line
from migrate.transport.masking import printable
from migrate.transport.trust import distrust_remedy
from migrate.workers.repeat import retry_on

T = TypeVar("T")

ATTEMPTS_MAX = 4
_OTHER_PROTOCOL_REMEDY = (
    "deploy the verifier of this version of q2v: `q2v worker init` writes it into a new folder"
)
_UNPROVEN_REMEDY = "deploy the verifier again from this version of q2v, and give it a new key"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierLimits:
    """Time limits of one attempt in seconds, and the most requests at once."""

    connect_s: float = 10.0
    total_s: float = 120.0  # 100 reads in six lanes, each of them up to five times
    at_once: int = VERIFIER_REQUESTS_MAX


@dataclass(frozen=True, slots=True)
class VerifierAccess:
    """Where the verifier is, and the key of requests and answers."""

    address: BaseUrl
    key: SealKey = field(repr=False)
    ca_file: Path | None = None  # PEM of further authorities to trust


class EdgeVerifier:
    """`ports.ContentVerifier` over HTTP."""

    def __init__(
        self,
        access: VerifierAccess,
        *,
        clock: Clock,
        jitter: Callable[[], float],
        nonce: Callable[[], str],
        progress: Progress,
        limits: VerifierLimits | None = None,
    ) -> None:
        """`jitter` gives random numbers in [0, 1), `nonce` 32 random hex digits.

        Raises UsageError for authorities that cannot be used.
        """
        address = access.address
        self._address = address
        self._key = access.key
        self._clock = clock
        self._jitter = jitter
        self._nonce = nonce
        self._progress = progress
        self._limits = limits or VerifierLimits()
        self._deadline = Deadline(clock)
        self.lanes = Lanes(self._limits.at_once)
        line = Line(
            host=address.host,
            tls=address.url.startswith("https:"),
            loopback=address.loopback,
            ca_file=access.ca_file,
        )
        self._client = httpx.Client(
            transport=DeadlineTransport(line, self._deadline),
            headers={"User-Agent": "q2v"},
            follow_redirects=False,
            trust_env=False,  # the transport decides about proxies; no other variable is used
            timeout=httpx.Timeout(self._limits.total_s, connect=self._limits.connect_s),
        )

    def address(self) -> str:
        """See `ContentVerifier`."""
        return self._address.url

    def read_state(self, index: str) -> VerifierState:
        """See `ContentVerifier`."""
        return self._exchange("GET", "/ready", b"", lambda text: _state_of(index, text))

    def verify(self, index: str, expected: Sequence[tuple[VectorId, bytes]]) -> Verified:
        """See `ContentVerifier`."""
        found = self._exchange(
            "POST",
            question_path(index),
            encode_question(expected),
            lambda text: read_answer(text, expected),
        )
        if found.retries:
            self.lanes.narrow()  # the service has had enough
        else:
            self.lanes.widen()
        return found

    def close(self) -> None:
        """Close the connections. Calling it again does nothing."""
        self._client.close()

    def _exchange(self, method: str, path: str, body: bytes, read: Callable[[bytes], T]) -> T:
        """Send until there is an answer that proves something, within the attempts."""
        try:
            return retry_on(
                FailedOnceError,
                lambda: read(self._attempt(method, path, body)),
                attempts_max=ATTEMPTS_MAX,
                wait_s=lambda _, attempt: backoff_s(attempt, self._jitter()),
                clock=self._clock,
                before_pause=self._report_failure,
            )
        except FailedOnceError as error:
            raise unusable(
                f"no usable answer in {ATTEMPTS_MAX} attempts: {error}",
                remedy="check the logs of the verifier, then run reconcile again",
            ) from error
        except UnprovenError as error:
            raise unusable(f"its answer proves nothing: {error}", remedy=_UNPROVEN_REMEDY) from None
        except OtherProtocolError as error:
            raise unusable(str(error), remedy=_OTHER_PROTOCOL_REMEDY) from None

    def _attempt(self, method: str, path: str, body: bytes) -> bytes:
        with self.lanes.one():
            # A new number and time for each attempt: an answer fits no other attempt.
            nonce, time_s = self._nonce(), int(self._clock.wall_s())
            signature = self._key.code(request_text(method, path, time_s, nonce, body))
            headers = {
                "x-q2v-time": str(time_s),
                "x-q2v-nonce": nonce,
                SIGNATURE_HEADER: signature,
                "Content-Type": "application/octet-stream",
            }
            response, text = self._send(method, path, body, headers)
        if text is None:
            raise unusable("its answer is too large", remedy=_UNPROVEN_REMEDY)
        return judge(
            self._key,
            signature,
            response.status_code,
            response.headers,
            text,
            now_s=self._clock.wall_s(),
        )

    def _send(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[httpx.Response, bytes | None]:
        """The response and its body; the body is None above the limit of all answers."""
        request = self._client.build_request(
            method, self._address.url + path, content=body or None, headers=headers
        )
        try:
            with self._deadline.within(self._limits.total_s):
                response = self._client.send(request, stream=True)
                try:
                    return response, read_capped(response)
                finally:
                    response.close()
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise self._translate(error) from error

    def _translate(self, error: Exception) -> Exception:
        """The error for an exception of httpx; a misuse of the library is returned as it is."""
        text = str(error) or type(error).__name__
        if speaks_no_tls(error):
            return unusable(
                f"it does not speak TLS at this port: {text}",
                remedy="check scheme and port of target.verifier_url",
            )
        if is_untrusted(error):
            return unusable(
                f"its certificate or TLS version is not trusted: {text}",
                remedy=distrust_remedy(self._address.host),
            )
        kind = next(FAULTS[base] for base in type(error).__mro__ if base in FAULTS)
        if kind is Fault.TRANSIENT:
            return FailedOnceError(f"{type(error).__name__}: {text}")
        return error

    def _report_failure(self, error: FailedOnceError, attempt: int, _: float) -> None:
        self.lanes.narrow()
        self._progress.say(f"verifier: attempt {attempt} of {ATTEMPTS_MAX} failed: {error}")


def _state_of(index: str, text: bytes) -> VerifierState:
    """How an index is, from the answer about all.

    Raises VerifierUnusableError without the index, FailedOnceError when it could not be described.
    """
    states = read_states(text)
    state = states.get(index)
    if isinstance(state, VerifierState):
        return state
    if state is not None:
        shown = printable(state, characters_max=WORDS_MAX)
        raise FailedOnceError(f"it could not describe vector index '{index}': {shown}")
    known = ", ".join(f"'{printable(name, characters_max=WORDS_MAX)}'" for name in states)
    raise unusable(
        f"it has no vector index '{index}', it has {known or 'none'}",
        remedy="put a binding for the index into `vectorize` and its name into `VECTORIZE_INDEXES` "
        "of verifier.wrangler.jsonc, and deploy the verifier again",
    )
