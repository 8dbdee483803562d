"""The ASGI app: token, budget, faults and log around the endpoints."""

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox import routes_kv, routes_vectorize
from sandbox.account import Account
from sandbox.clock import SandboxClock, WallClock
from sandbox.envelope import ok, refused
from sandbox.errors import ServiceError, no_route
from sandbox.faults import parse_faults
from sandbox.profile import INSTANT, Profile

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
API_TOKEN = "stand-in-token"  # noqa: S105 - the stand-in's own, known to everybody
LOG_REQUESTS_MAX = 100_000
_PAGE = b"<html><head><title>%s</title></head><body>%s</body></html>"
_ACCOUNT_PATH = re.compile(r"^/client/v4/accounts/([^/]*)")
_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}")
_WRITES = re.compile(r"/(insert|upsert|delete_by_ids|bulk|bulk/delete|values/[^/]+)$")


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request as it arrived."""

    method: str
    path: str
    query: str
    status: int
    body_bytes: int
    body_sha256: str
    at: float


class Gate:
    """Everything that happens before and after an endpoint, for every request."""

    def __init__(self, app: ASGIApp, account: Account, account_id: str, token: str) -> None:
        self._app = app
        self._account = account
        self._account_id = account_id
        self._token = token
        self.log: deque[LoggedRequest] = deque(maxlen=LOG_REQUESTS_MAX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        digest, size = hashlib.sha256(), 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            body = message.get("body", b"")
            digest.update(body)
            size += len(body)
            return message

        response = await self._answer(scope, counted)
        path = scope["path"]
        self.log.append(
            LoggedRequest(
                scope["method"],
                path,
                scope["query_string"].decode(),
                response.status_code if response is not None else 0,
                size,
                digest.hexdigest(),
                self._account.clock.now(),
            )
        )
        if response is None:
            return  # the connection is cut without an answer
        await response(scope, counted, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        faults = self._account.faults
        if delay := faults.delay_s():
            await asyncio.sleep(delay)
        if faults.due("html-502"):
            return Response(_PAGE % (b"502", b"Bad Gateway"), 502, media_type="text/html")
        try:
            self._check_token(scope)
            if faults.due("429"):
                self._account.budget.block()
            headers = self._account.budget.take()
            self._check_account(scope)
            response = await self._endpoint(scope, receive)
        except ServiceError as error:
            return refused(error)
        for name, value in headers.items():
            response.headers[name] = value
        return self._spoil(scope, response)

    def _spoil(self, scope: Scope, response: Response) -> Response | None:
        """Faults that strike after the work is done."""
        faults = self._account.faults
        if (
            response.status_code == HTTPStatus.OK
            and scope["method"] != "GET"
            and _WRITES.search(scope["path"])
        ):
            if faults.due("lost-answer"):
                return Response(_PAGE % (b"504", b"Gateway Time-out"), 504, media_type="text/html")
            if faults.due("reset"):
                return None
        elif response.status_code == HTTPStatus.OK and faults.due("garbage"):
            return Response(response.body[: len(response.body) // 2], media_type="application/json")
        return response

    def _check_token(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if headers.get(b"authorization", b"") != f"Bearer {self._token}".encode():
            raise ServiceError(401, 10000, "Authentication error")

    def _check_account(self, scope: Scope) -> None:
        found = _ACCOUNT_PATH.match(scope["path"])
        if found is None or found[1] == self._account_id:
            return
        if not _ACCOUNT_ID.fullmatch(found[1]):
            raise no_route()
        raise ServiceError(403, 10000, "Authentication error")

    async def _endpoint(self, scope: Scope, receive: Receive) -> Response:
        """Run the app and keep its answer, so that a fault can still change it."""
        status, headers, pieces = 500, [], []

        async def keep(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
            else:
                pieces.append(message.get("body", b""))

        await self._app(scope, receive, keep)
        response = Response(b"".join(pieces), status)
        response.raw_headers = [one for one in headers if one[0] != b"content-length"]
        response.headers["content-length"] = str(len(response.body))
        return response


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return refused(error)


async def _not_routed(_: Request, __: Exception) -> Response:
    return refused(no_route())


async def _verify(request: Request) -> Response:
    """GET /user/tokens/verify and /accounts/{account_id}/tokens/verify."""
    request.app.state.account.kv.namespaces("id", "asc")
    return ok({"id": "0" * 32, "status": "active"})


def create_app(
    state_dir: Path,
    *,
    profile: Profile = INSTANT,
    account_id: str = ACCOUNT_ID,
    api_token: str = API_TOKEN,
    fault: str | None = None,
    clock: SandboxClock | None = None,
) -> Gate:
    """The stand-in as an ASGI app over the state in a folder."""
    account = Account(state_dir, profile, clock or WallClock(), parse_faults(fault))
    handlers: dict[object, Callable[[Request, Exception], Awaitable[Response]]] = {
        ServiceError: _refuse,
        404: _not_routed,
        405: _not_routed,
    }
    app = Starlette(
        routes=[
            *routes_vectorize.routes(),
            *routes_kv.routes(),
            Route("/client/v4/user/tokens/verify", _verify),
            Route("/client/v4/accounts/{account_id}/tokens/verify", _verify),
        ],
        exception_handlers=handlers,  # type: ignore[arg-type]  # its own annotation is narrower
    )
    app.state.account = account
    app.router.redirect_slashes = False
    return Gate(app, account, account_id, api_token)


def account_of(gate: Gate) -> Account:
    """The account behind an app."""
    return gate._account  # noqa: SLF001 - the same module
