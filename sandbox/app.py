"""The ASGI app: reads a request to its end, answers it, keeps the log.

The state is touched under one lock, and only from the event loop. Requests that are answered at
once hold it to their end; the others take `steps`.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path

from sandbox.account.account_routes import AccountRoutes
from sandbox.account.script_routes import ScriptRoutes
from sandbox.account.token_routes import check_authorization, token_routes
from sandbox.asgi import Body, Receive, Scope, Send, answer_lifespan, cut, pieces
from sandbox.clock import Clock, SystemClock
from sandbox.errors import ServiceError, foreign_account, no_route
from sandbox.faults.faults import LOCKOUTS, Faults, parse_faults
from sandbox.faults.scenarios import expect_bad_days
from sandbox.kv.namespace_routes import KvNamespaceRoutes
from sandbox.kv.routes import KvRoutes
from sandbox.limits import BODY_BYTES_MAX
from sandbox.messages import Request, Response, edge_page, failure
from sandbox.profile import INSTANT, Profile
from sandbox.rate import RequestBudget
from sandbox.request_log import RequestRecord, RequestSink
from sandbox.routing import find_route
from sandbox.steps import Steps, take_steps
from sandbox.store import SandboxStore
from sandbox.vectorize.ndjson import UploadParser
from sandbox.vectorize.routes import VectorizeRoutes

ACCOUNT_ID = "5a4dbc0f5a4dbc0f5a4dbc0f5a4dbc0f"
API_TOKEN = "q2vSandboxTokenThatOpensNothingElse00000"  # noqa: S105 - opens only the stand-in

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
    """The stand-in as an ASGI app; it holds the state folder until `app.close()`.

    `fault` is an order list (`faults`), in which names of bad days (`bad_days`) may stand; those
    change the profile as well. Raises ValueError for an account id or a fault that cannot be,
    StateFolderError if the folder is in use. Without `log` no request is recorded, which saves
    hashing every upload.
    """
    order, profile = expect_bad_days(fault, profile)
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
    """The stand-in, ready to be served or called in a test."""

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
        self._account_id = account_id
        self._authorization = f"Bearer {api_token}"
        self._faults = faults
        self._log = log
        self._budget = RequestBudget(profile, clock)
        self._vectorize = VectorizeRoutes(store, profile, clock, refuses_id=self._refuses_id)
        self._routes = [
            *self._vectorize.routes(),
            *KvNamespaceRoutes(store).routes(),
            *KvRoutes(store, clock).routes(),
            *token_routes(api_token),
            *AccountRoutes(account_id, api_token).routes(),
            *ScriptRoutes(store).routes(),
        ]

    def struck(self) -> dict[str, int]:
        """How often each ordered fault has struck, and how many reads were stale."""
        with self.store.lock:
            stale = self._faults.struck["stale"] + self.store.vectors.stale_reads
            struck = {**self._faults.struck, "stale": stale}
        return {name: count for name, count in sorted(struck.items()) if count}

    def order(self, fault: str | None) -> None:
        """These faults from now on, in place of those in force; None: none.

        Raises ValueError for a fault that cannot be, names of bad days among them.
        """
        faults = parse_faults(fault)
        with self.store.lock:
            self._faults = faults

    def _refuses_id(self, vector_id: str) -> bool:
        return self._faults.refuses_id(vector_id)

    @property
    def _body_bytes_max(self) -> int:
        return min(BODY_BYTES_MAX, self._faults.body_bytes_max or BODY_BYTES_MAX)

    def close(self) -> None:
        """Release the state folder."""
        self.store.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection event, as ASGI asks for it."""
        if scope["type"] == "lifespan":
            await answer_lifespan(receive, send)
            return
        request, body = await self._read(_head(scope), receive)
        delay_s = self._faults.delay()
        if delay_s:
            await asyncio.sleep(delay_s)
        with self.store.lock:
            answer = self._answer(request, too_large=body.too_large)
        response = answer if isinstance(answer, Response) else await self._finish(answer)
        with self.store.lock:
            self._record(request, response, body)
        if response.cut:
            await cut(scope, receive)
        else:
            await self._send(request, response, send)

    async def _read(self, head: Request, receive: Receive) -> tuple[Request, Body]:
        """The request with its body: parsed already if it is an upload, else in one piece."""
        parser = self._early_parser(head)
        body = Body(bytes_max=self._bytes_max(head), hashed=self._log is not None)
        kept = bytearray()
        async for piece in pieces(receive):
            body.add(piece)
            if body.too_large:
                kept.clear()  # read to its end, so that the client hears the answer
            elif parser is None:
                kept += piece
            else:
                await self._feed(parser, piece)
        return replace(head, body=kept, upload=parser), body

    def _bytes_max(self, head: Request) -> int:
        try:
            return min(self._body_bytes_max, find_route(self._routes, head)[0].body_bytes_max)
        except ServiceError:
            return self._body_bytes_max  # the answer will say it

    async def _feed(self, parser: UploadParser, piece: bytes) -> None:
        """Read on in an upload, and let others in after each group of lines."""
        steps = parser.feed_in_steps(piece)
        while True:
            with self.store.lock:
                if next(steps, True):
                    return
            await asyncio.sleep(0)

    def _early_parser(self, head: Request) -> UploadParser | None:
        if head.headers.get("authorization") != self._authorization:
            return None
        with self.store.lock:
            try:
                return self._vectorize.early_parser(head)
            except ServiceError:
                return None  # the answer will say it

    def _answer(self, request: Request, *, too_large: bool) -> "Response | _Unfinished":
        try:
            check_authorization(request.headers.get("authorization", ""), self._authorization)
            self._budget.take()
            if too_large:
                return edge_page(413, "Request Entity Too Large")
            self._check_account(request)
            return self._dispatch(request)
        except ServiceError as error:
            return failure(error)

    def _check_account(self, request: Request) -> None:
        match request.segments:
            case ("client", "v4", "accounts", account_id, *_):
                if not _ACCOUNT_ID.fullmatch(account_id):
                    raise no_route()
                if account_id != self._account_id:
                    raise foreign_account()

    def _dispatch(self, request: Request) -> "Response | _Unfinished":
        route, free = find_route(self._routes, request)
        struck = self._faults.strike(route.kind)
        if struck & LOCKOUTS:
            self._budget.lock_out()
            self._budget.take()
        refusal = self._faults.refusal(struck)
        if refusal is not None:
            return refusal
        try:
            answer = route.answer(request.suffering(struck), *free)
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
                    request.path,
                    request.query,
                    response.status,
                    body.size,
                    body.sha256,
                    self._clock.now(),
                )
            )

    async def _send(self, request: Request, response: Response, send: Send) -> None:
        now = self._clock.now()
        headers = {
            "content-type": response.content_type,
            "content-length": str(len(response.body)),
            "date": formatdate(now, usegmt=True),
            "cf-ray": hashlib.sha256(f"{now}{request.path}".encode()).hexdigest()[:16] + "-LOC",
            **response.headers,
        }
        if not _KV_PATH.match(request.path):  # KV answers carry none, as observed
            headers |= self._budget.headers()
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": raw})
        await send({"type": "http.response.body", "body": response.body})


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """A request that is answered in steps, with the faults it suffers."""

    steps: Steps
    struck: frozenset[str]


def _head(scope: Scope) -> Request:
    return Request(
        scope["method"],
        scope["raw_path"].decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        b"",
    )
