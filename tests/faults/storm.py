"""Bad weather between the tool and the service: every network fault of the matrix, by chance."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate

import httpx
from typing_extensions import override

from sandbox.app import SandboxApp
from tests.harness.fakes.steps import Kind, Steps
from tests.harness.network import Trouble, call_app
from tests.harness.world import WorldClock

LOST_BEFORE: tuple[type[httpx.TransportError], ...] = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.WriteError,
    httpx.WriteTimeout,
    httpx.RemoteProtocolError,
)
LOST_AFTER: tuple[type[httpx.TransportError], ...] = (
    httpx.ReadError,
    httpx.ReadTimeout,
    httpx.RemoteProtocolError,
)
SERVER_ERRORS = (500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526)
GARBAGE: tuple[Callable[[bytes], bytes], ...] = (
    lambda body: body[: len(body) // 2],
    lambda _: b"",
    lambda _: b"<html><title>Attention Required!</title></html>",
    lambda _: b"null",
    lambda _: b'{"success": "yes", "result": 17}',
    lambda body: b"\xef\xbb\xbf" + body[:-1],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Share of requests that suffer each; 0.0 to 1.0."""

    lost_before: float = 0.0
    late: float = 0.0  # of the lost ones: they arrive after all, some requests later
    lost_after: float = 0.0
    server_error: float = 0.0
    garbage: float = 0.0
    throttled: float = 0.0


class LostRequest(Trouble):
    """The request never reaches the service."""

    def __init__(self, kind: type[httpx.TransportError]) -> None:
        self._kind = kind

    @override
    def before(self) -> None:
        raise self._kind("lost on the way")


class LostAnswer(Trouble):
    """The service has done its work; nobody hears of it."""

    def __init__(self, kind: type[httpx.TransportError]) -> None:
        self._kind = kind

    @override
    def after(self, response: httpx.Response) -> httpx.Response:
        raise self._kind("the answer was lost")


class Instead(Trouble):
    """An answer that the service has not given."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    @override
    def instead(self) -> httpx.Response:
        return self._response


class Garbled(Trouble):
    """The service's answer, changed on the way."""

    def __init__(self, garble: Callable[[bytes], bytes]) -> None:
        self._garble = garble

    @override
    def after(self, response: httpx.Response) -> httpx.Response:
        headers = {"content-type": "application/json", "date": response.headers["date"]}
        return httpx.Response(
            response.status_code, headers=headers, content=self._garble(response.content)
        )


@dataclass(slots=True)
class Storm:
    """`network.Weather` by chance; checks that nobody speaks before the silence it asked for."""

    rates: Rates
    chance: random.Random
    app: SandboxApp
    clock: WorldClock
    troubles: int = 0
    _late: list[httpx.Request] = field(default_factory=list)
    _silent_until: float = 0.0
    _throttled_last: bool = False  # the newest request was answered with 429

    def __call__(self, number: int, request: httpx.Request) -> Trouble | None:
        """What happens to this request."""
        now = self.clock.now()
        assert now >= self._silent_until - 1e-3, "a request before the time a 429 had stated"
        if self._late and self.chance.random() < 0.5:
            call_app(self.app, self._late.pop(0))
        self._throttled_last = False
        trouble = self._draw(request)
        self.troubles += trouble is not None
        return trouble

    def forgive_unheard(self, steps: Steps) -> None:
        """A process that was struck before it could note a 429 cannot tell the next one of it."""
        if not self._throttled_last or not 0 < steps.strike_at <= len(steps.done):
            return
        for step in reversed(steps.done[: steps.strike_at - 1]):
            if step.kind is Kind.SEND:
                self._silent_until = 0.0
                return
            if step.kind is Kind.WRITE:
                return  # it was noted

    def pass_by(self) -> None:
        """The weather clears; what was still under way arrives."""
        for request in self._late:
            call_app(self.app, request)
        self._late = []
        self.rates = Rates()

    def _draw(self, request: httpx.Request) -> Trouble | None:
        luck, rates = self.chance.random(), self.rates
        for rate, make in (
            (rates.lost_before, self._lose),
            (rates.lost_after, lambda _: LostAnswer(self.chance.choice(LOST_AFTER))),
            (rates.server_error, lambda _: self._server_error()),
            (rates.garbage, lambda _: Garbled(self.chance.choice(GARBAGE))),
            (rates.throttled, lambda _: self._throttle()),
        ):
            if luck < rate:
                return make(request)
            luck -= rate
        return None

    def _lose(self, request: httpx.Request) -> Trouble:
        request.read()
        if request.method in {"POST", "PUT"} and self.chance.random() < self.rates.late:
            self._late.append(request)
        return LostRequest(self.chance.choice(LOST_BEFORE))

    def _server_error(self) -> Trouble:
        status = self.chance.choice(SERVER_ERRORS)
        page = f"<html><title>{status}</title></html>"
        return Instead(httpx.Response(status, headers={"content-type": "text/html"}, text=page))

    def _throttle(self) -> Trouble:
        """429 in one of its forms."""
        now = self.clock.now()
        seconds = self.chance.choice([1, 7, 60, 299])
        headers = {"date": formatdate(now, usegmt=True)}
        match self.chance.randrange(4):
            case 0:
                headers["retry-after"] = str(seconds)
            case 1:
                seconds = max(1, seconds)
                headers["retry-after"] = formatdate(int(now) + seconds, usegmt=True)
                seconds -= 1  # whole seconds in both dates
            case 2:
                headers["retry-after"] = "soon"
                seconds = 300
            case _:
                seconds = 300
        self._silent_until = now + seconds
        self._throttled_last = True
        body = b'{"success":false,"errors":[{"code":10429,"message":"slow down"}],"result":null}'
        return Instead(httpx.Response(429, headers=headers, content=body))
