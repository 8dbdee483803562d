"""The ASGI app: reads a request to its end, answers it, keeps the log.

The state is touched under one lock, and only from the event loop. Requests that are answered at
once hold it to their end; the others take `steps`.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router, request_response
from starlette.types import Receive, Scope, Send

from sandbox.account.account_routes import AccountRoutes
from sandbox.account.script_routes import ScriptRoutes
from sandbox.account.token_routes import check_authorization, token_routes
from sandbox.clock import Clock, SystemClock
from sandbox.errors import ServiceError, foreign_account, no_route
from sandbox.exchange.answers import edge_page, failure
from sandbox.exchange.body import Body
from sandbox.exchange.javascript import respelt
from sandbox.exchange.operation import Call, Operation
from sandbox.exchange.paths import ExactRoute, decoded, free_parts
from sandbox.exchange.request_log import RequestRecord, RequestSink
from sandbox.exchange.steps import Steps, take_steps
from sandbox.faults.faults import LOCKOUTS, Faults, parse_faults
from sandbox.faults.scenarios import expand_scenarios
from sandbox.kv.namespace_routes import KvNamespaceRoutes
from sandbox.kv.routes import KvRoutes
from sandbox.limits import BODY_BYTES_MAX
from sandbox.profile import INSTANT, Profile
from sandbox.rate import RequestBudget
from sandbox.store import SandboxStore
from sandbox.vectorize.ndjson import UploadParser
from sandbox.vectorize.routes import VectorizeRoutes

ACCOUNT_ID = "5a4dbc0f5a4dbc0f5a4dbc0f5a4dbc0f"
API_TOKEN = "q2vSandboxTokenThatOpensNothingElse00000"  # noqa: S105 - opens only the sandbox

_PREFIX = "/client/v4/"
_ACCOUNT_PATH = re.compile(_PREFIX + "accounts/([^/]*)")
_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}")
_KV_PATH = re.compile(r"/client/v4/accounts/[^/]*/storage/kv/")


def create_app(
    state_dir: Path,
    *,
    profile: Profile = INSTANT,
    account_id: str = ACCOUNT_ID,
    api_token: str = API_TOKEN,
    fault: str | None = None,
    clock: Clock | None = None,
    log: RequestSink | None = None,
) -> "SandboxApp":
    """The sandbox as an ASGI app; it holds the state folder until `app.close()`.

    `fault` is an order list (`faults`), in which names of scenarios (`scenarios`) may be; those
    change the profile as well. Raises ValueError for an invalid account id or fault,
    StateFolderError if the folder is in use. Without `log` no request is recorded, which saves
    hashing every upload.
    """
    order, profile = expand_scenarios(fault, profile)
    faults = parse_faults(order)
    if not _ACCOUNT_ID.fullmatch(account_id):
        raise ValueError(f"an account id is 32 hexadecimal digits, not {account_id!r}")
    clock = clock or SystemClock()
    return SandboxApp(
        SandboxStore(state_dir, profile, clock),
        profile=profile,
        clock=clock,
        account_id=account_id,
        api_token=api_token,
        faults=faults,
        log=log,
    )


class SandboxApp:
    """The sandbox, ready to be served or called in a test."""

    def __init__(
        self,
        store: SandboxStore,
        *,
        profile: Profile,
        clock: Clock,
        account_id: str,
        api_token: str,
        faults: Faults,
        log: RequestSink | None,
    ) -> None:
        self.store = store
        self._clock = clock
        self._javascript_numbers = profile.javascript_numbers
        self._account_id = account_id
        self._authorization = f"Bearer {api_token}"
        self._faults = faults
        self._log = log
        self._budget = RequestBudget(profile, clock)
        operations = [
            *VectorizeRoutes(store, profile, clock, refuses_id=self._refuses_id).routes(),
            *KvNamespaceRoutes(store).routes(),
            *KvRoutes(store, clock).routes(),
            *token_routes(api_token),
            *AccountRoutes(account_id, api_token).routes(),
            *ScriptRoutes(store).routes(),
        ]
        self._router = Router(
            [
                ExactRoute(each.method, _PREFIX + each.path, partial(self._exchange, each))
                for each in operations
            ],
            redirect_slashes=False,
            default=request_response(partial(self._exchange, None)),
        )

    def struck(self) -> dict[str, int]:
        """How often each ordered fault has struck, and how many reads were stale."""
        with self.store.lock:
            stale = self._faults.struck["stale"] + self.store.vectors.stale_reads
            struck = {**self._faults.struck, "stale": stale}
        return {name: count for name, count in sorted(struck.items()) if count}

    def order(self, fault: str | None) -> None:
        """Replace the active faults by these; None: no faults.

        Raises ValueError for an unknown fault; names of scenarios are not known here.
        """
        faults = parse_faults(fault)
        with self.store.lock:
            self._faults = faults

    def _refuses_id(self, vector_id: str) -> bool:
        return self._faults.refuses_id(vector_id)

    def close(self) -> None:
        """Release the state folder."""
        self.store.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection event, as ASGI asks for it."""
        if scope["type"] == "http":
            # Routes match the path as sent: an encoded slash in a key separates nothing.
            scope["path"] = scope["raw_path"].decode("latin-1")
        await self._router(scope, receive, send)

    async def _exchange(self, operation: Operation | None, request: Request) -> Response:
        body = await self._read(operation, request)
        delay_s = self._faults.delay()
        if delay_s:
            await asyncio.sleep(delay_s)
        with self.store.lock:
            answer = self._answer(operation, request, body)
        response = answer if isinstance(answer, Response) else await self._finish(answer)
        if self._javascript_numbers:
            response = respelt(response)
        with self.store.lock:
            self._record(request, response, body)
        response.raw_headers += self._common_headers(request.scope["path"])
        return response

    async def _read(self, operation: Operation | None, request: Request) -> Body:
        """The body: parsed already if it is an upload, else in one piece."""
        bytes_max = BODY_BYTES_MAX if operation is None else operation.body_bytes_max
        body = Body(
            bytes_max=min(bytes_max, self._faults.body_bytes_max or BODY_BYTES_MAX),
            hashed=self._log is not None,
            upload=self._open_upload(operation, request),
        )
        async for piece in request.stream():
            body.add(piece)
            if body.upload is not None and not body.too_large:
                await self._feed(body.upload, piece)
        return body

    async def _feed(self, parser: UploadParser, piece: bytes) -> None:
        """Parse a piece of an upload; other requests are answered after each group of lines."""
        steps = parser.feed_in_steps(piece)
        while True:
            with self.store.lock:
                if next(steps, True):
                    return
            await asyncio.sleep(0)

    def _open_upload(self, operation: Operation | None, request: Request) -> UploadParser | None:
        if operation is None or operation.open_upload is None:
            return None
        if request.headers.get("authorization") != self._authorization:
            return None
        with self.store.lock:
            try:
                return operation.open_upload(request, *free_parts(request))
            except ServiceError:
                return None  # the answer will say it

    def _answer(
        self, operation: Operation | None, request: Request, body: Body
    ) -> "Response | _Unfinished":
        try:
            check_authorization(request.headers.get("authorization", ""), self._authorization)
            self._budget.take()
            if body.too_large:
                return edge_page(413, "Request Entity Too Large")
            self._check_path(request.scope["path"])
            if operation is None:
                raise no_route()
            return self._dispatch(operation, request, body)
        except ServiceError as error:
            return failure(error)

    def _check_path(self, path: str) -> None:
        account = _ACCOUNT_PATH.match(decoded(path))
        if account is not None and not _ACCOUNT_ID.fullmatch(account[1]):
            raise no_route()
        if account is not None and account[1] != self._account_id:
            raise foreign_account()

    def _dispatch(
        self, operation: Operation, request: Request, body: Body
    ) -> "Response | _Unfinished":
        struck = self._faults.strike(operation.kind)
        if struck & LOCKOUTS:
            self._budget.lock_out()
            self._budget.take()
        refusal = self._faults.refusal(struck)
        if refusal is not None:
            return refusal
        call = Call(request, body.kept, body.upload, struck)
        try:
            answer = operation.answer(call, *free_parts(request))
        except ServiceError as error:
            return failure(error)
        if isinstance(answer, Response):
            return self._faults.replacement(struck, answer)
        return _Unfinished(answer, struck)

    async def _finish(self, begun: "_Unfinished") -> Response:
        try:
            response = await take_steps(begun.steps, self.store.lock)
        except ServiceError as error:
            return failure(error)
        with self.store.lock:
            return self._faults.replacement(begun.struck, response)

    def _record(self, request: Request, response: Response, body: Body) -> None:
        if self._log is not None:
            self._log.append(
                RequestRecord(
                    request.method,
                    request.scope["path"],
                    request.scope["query_string"].decode("latin-1"),
                    response.status_code,
                    body.size,
                    body.sha256,
                    self._clock.now(),
                )
            )

    def _common_headers(self, path: str) -> list[tuple[bytes, bytes]]:
        now = self._clock.now()
        headers = {
            "date": formatdate(now, usegmt=True),
            "cf-ray": hashlib.sha256(f"{now}{path}".encode()).hexdigest()[:16] + "-LOC",
        }
        if not _KV_PATH.match(path):  # KV answers carry none, as observed
            headers |= self._budget.headers()
        return [(name.encode(), value.encode()) for name, value in headers.items()]


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """A request that is answered in steps, with the faults it suffers."""

    steps: Steps
    struck: frozenset[str]
