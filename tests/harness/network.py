"""A network without sockets: the tool's real HTTP client on one side, the sandbox on the other.

Tests that ask a server on loopback past the tool use `LOOPBACK`.
"""

import ssl
from collections.abc import Callable, MutableMapping
from typing import Any

import httpx
from typing_extensions import override

from sandbox.app import SandboxApp
from sandbox.exchange.answers import CUT_EXTENSION
from tests.harness.fakes.steps import Kind, Steps

# For clients that speak plain HTTP: reading the list of authorities takes 30 CPU ms each time.
LOOPBACK = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# Decides about one request: None lets it pass. Called with the request's number from 1.
Weather = Callable[[int, httpx.Request], "Trouble | None"]


class Trouble:
    """What the network does to one exchange; the plain one does nothing."""

    def before(self) -> None:
        """Called before the request reaches the service; may raise an httpx error."""

    def instead(self) -> httpx.Response | None:
        """An answer in place of the service's, which never sees the request."""

    def after(self, response: httpx.Response) -> httpx.Response:
        """The answer as it arrives; may raise an httpx error: the service has done its work."""
        return response


class InProcessNetwork(httpx.BaseTransport):
    """Hands requests to the app in this thread. Every request is a step of the sweep."""

    def __init__(
        self,
        app: SandboxApp,
        steps: Steps | None = None,
        *,
        unsynced: Callable[[], bool] = lambda: False,
        sent: Callable[[httpx.Request], None] = lambda request: None,
        weather: Weather | None = None,
    ) -> None:
        """`sent` is called with every request that leaves, whatever becomes of it."""
        self._app = app
        self._steps = steps or Steps()
        self._unsynced = unsynced
        self._sent = sent
        self._weather = weather
        self.requests = 0

    @override
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._steps.pass_(
            Kind.SEND, f"{request.method} {request.url.path}", unsynced=self._unsynced()
        )
        self.requests += 1
        self._sent(request)
        trouble = self._weather(self.requests, request) if self._weather else None
        if trouble is None:
            return call_app(self._app, request)
        trouble.before()
        instead = trouble.instead()
        return trouble.after(call_app(self._app, request)) if instead is None else instead


def call_app(app: SandboxApp, request: httpx.Request) -> httpx.Response:
    """One exchange with an ASGI app that never waits for anything."""
    body = request.read()
    inbox: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body}]
    outbox: list[MutableMapping[str, Any]] = []
    torn: list[bool] = []

    async def receive() -> MutableMapping[str, Any]:
        return inbox.pop() if inbox else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        outbox.append(message)

    scope: MutableMapping[str, Any] = {
        "type": "http",
        "method": request.method,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "extensions": {CUT_EXTENSION: {"tear_down": lambda: torn.append(True)}},
    }
    exchange = app(scope, receive, send)
    try:
        while exchange.send(None) is None:  # a pause for other requests, of which there are none
            pass
    except StopIteration:
        pass
    else:
        raise AssertionError("the sandbox waits for something that no event loop will bring")
    if torn or not outbox:
        raise httpx.ReadError("the connection was cut", request=request)
    head, *rest = outbox
    return httpx.Response(
        head["status"],
        headers=head["headers"],
        content=b"".join(message.get("body", b"") for message in rest),
        request=request,
    )
