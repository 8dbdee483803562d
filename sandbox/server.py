"""Serves the sandbox on loopback: in a thread for tests, or until stopped for the command."""

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sandbox.app import ACCOUNT_ID, API_TOKEN, SandboxApp, create_app
from sandbox.clock import Clock
from sandbox.exchange.answers import CUT_EXTENSION
from sandbox.exchange.request_log import RequestLog, RequestLogFile, RequestRecord
from sandbox.faults.faults import known_faults
from sandbox.faults.scenarios import FAULT_SCENARIOS
from sandbox.profile import INSTANT, PROFILES, Profile, with_budget
from sandbox.store import SandboxStore

__all__ = ["PortError", "RunningSandbox", "create_app", "running_sandbox", "serve"]

HOST = "127.0.0.1"


class PortError(Exception):
    """The port cannot be opened: another program listens there, or this user must not."""


@dataclass(frozen=True)
class RunningSandbox:
    """A running sandbox, on loopback."""

    base_url: str  # with /client/v4
    account_id: str
    api_token: str = field(repr=False)
    store: SandboxStore = field(repr=False)  # behind the API: no limits, no delays
    log: RequestLog = field(repr=False)
    struck: Callable[[], dict[str, int]] = field(repr=False)  # how often each fault has struck
    order: Callable[[str | None], None] = field(repr=False)  # other faults, from now on

    @property
    def requests(self) -> list[RequestRecord]:
        """Every request so far, oldest first."""
        return self.log.records()


@contextlib.contextmanager
def running_sandbox(
    state_dir: Path,
    *,
    profile: Profile = INSTANT,
    account_id: str = ACCOUNT_ID,
    api_token: str = API_TOKEN,
    fault: str | None = None,
    port: int = 0,
    clock: Clock | None = None,
) -> Iterator[RunningSandbox]:
    """Serve from a thread while the block runs; port 0 takes a free one."""
    log = RequestLog()
    app = create_app(
        state_dir,
        profile=profile,
        account_id=account_id,
        api_token=api_token,
        fault=fault,
        clock=clock,
        log=log,
    )
    with contextlib.closing(app):
        server = _ThreadedServer(app, port)
        with server:
            yield RunningSandbox(
                base_url=_base_url(server.port),
                account_id=account_id,
                api_token=api_token,
                store=app.store,
                log=log,
                struck=app.struck,
                order=app.order,
            )


def serve(
    state_dir: Path,
    *,
    profile: Profile = INSTANT,
    account_id: str = ACCOUNT_ID,
    api_token: str = API_TOKEN,
    fault: str | None = None,
    port: int = 0,
    log_path: Path | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. The first line on stdout names its address and token.

    `log_path` names a file that gets one line per request. Raises as `create_app`, OSError when
    that file cannot be opened, and PortError.
    """
    with contextlib.ExitStack() as stack:
        log = None
        if log_path is not None:
            log = stack.enter_context(contextlib.closing(RequestLogFile(log_path)))
        app = create_app(
            state_dir,
            profile=profile,
            account_id=account_id,
            api_token=api_token,
            fault=fault,
            log=log,
        )
        stack.enter_context(contextlib.closing(app))
        asyncio.run(_serve_until_stopped(app, port, account_id, api_token))


async def _serve_until_stopped(app: SandboxApp, port: int, account_id: str, api_token: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _listening_socket(port) as listener:
        line = {
            "base_url": _base_url(listener.getsockname()[1]),
            "account_id": account_id,
            "api_token": api_token,
        }
        async with _connections(app, listener):
            print(json.dumps(line), flush=True)  # noqa: T201 - stdout is the result
            await stop.wait()


def _base_url(port: int) -> str:
    return f"http://{HOST}:{port}/client/v4"


def _listening_socket(port: int) -> socket.socket:
    # The protocol has to be named: asyncio turns Nagle's delay off only for sockets that say they
    # are TCP, and an answer in two pieces would otherwise wait 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise PortError(f"port {port} of {HOST} cannot be opened: {error.strerror}") from error
    return listener


@contextlib.asynccontextmanager
async def _connections(app: SandboxApp, listener: socket.socket) -> AsyncIterator[None]:
    """Accept connections while the block runs, then drop those still open."""
    config = uvicorn.Config(app, log_config=None, access_log=False, date_header=False)
    config.load()
    state = ServerState()

    def protocol() -> HttpToolsProtocol:
        connection = HttpToolsProtocol(config=config, server_state=state, app_state={})

        async def app_with_cut(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {CUT_EXTENSION: {"tear_down": connection.transport.abort}}
            await app(scope, receive, send)

        connection.app = app_with_cut
        return connection

    server = await asyncio.get_running_loop().create_server(protocol, sock=listener)
    try:
        yield
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.gather(*state.tasks, return_exceptions=True)


class _ThreadedServer:
    """Serves from a thread of its own between enter and exit."""

    def __init__(self, app: SandboxApp, port: int) -> None:
        self._app = app
        self._listener = _listening_socket(port)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def __enter__(self) -> None:
        # The socket listens already: a request sent now waits until the thread accepts it.
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with _connections(self._app, self._listener):
            await self._stop.wait()


def main() -> None:
    """`python -m sandbox.server`: the command without the rest of the tool."""
    parser = argparse.ArgumentParser(description="Sandbox for Vectorize and Workers KV.")
    parser.add_argument("--state", type=Path, required=True, help="folder of its state")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--account-id", default=ACCOUNT_ID)
    parser.add_argument("--token", default=API_TOKEN)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="instant")
    parser.add_argument(
        "--fault",
        help=f"{', '.join(FAULT_SCENARIOS)}, or a comma-separated list of {known_faults()}",
    )
    parser.add_argument("--requests-per-5min", type=int, help="instead of the profile's budget")
    parser.add_argument("--log", type=Path, help="file that gets one JSON line per request")
    arguments = parser.parse_args()
    try:
        serve(
            arguments.state,
            profile=with_budget(PROFILES[arguments.profile], arguments.requests_per_5min),
            account_id=arguments.account_id,
            api_token=arguments.token,
            fault=arguments.fault,
            port=arguments.port,
            log_path=arguments.log,
        )
    except PortError as error:
        parser.error(f"{error}; name another with --port")


if __name__ == "__main__":
    main()
