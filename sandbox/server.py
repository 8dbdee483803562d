"""Serve the stand-in on loopback: in a thread for tests, or until stopped."""

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from sandbox.app import ACCOUNT_ID, API_TOKEN, Gate, LoggedRequest, account_of, create_app
from sandbox.clock import SandboxClock
from sandbox.profile import INSTANT, Profile
from sandbox.store import Store

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RunningSandbox:
    """A stand-in that is being served."""

    base_url: str
    account_id: str
    api_token: str
    store: Store
    gate: Gate

    @property
    def requests(self) -> Sequence[LoggedRequest]:
        """Every request so far."""
        return list(self.gate.log)


def _listen(port: int) -> socket.socket:
    # The protocol has to be named: asyncio turns Nagle off only where it sees TCP, and an answer in
    # two pieces would otherwise wait 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    return listener


def _base_url(listener: socket.socket) -> str:
    return f"http://{HOST}:{listener.getsockname()[1]}/client/v4"


def _server(gate: Gate) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(gate, log_level="error", lifespan="off", timeout_keep_alive=60)
    )


@contextmanager
def running_sandbox(
    state_dir: Path,
    *,
    profile: Profile = INSTANT,
    account_id: str = ACCOUNT_ID,
    api_token: str = API_TOKEN,
    fault: str | None = None,
    port: int = 0,
    clock: SandboxClock | None = None,
) -> Iterator[RunningSandbox]:
    """A stand-in on an own port, in a thread of this process."""
    gate = create_app(
        state_dir,
        profile=profile,
        account_id=account_id,
        api_token=api_token,
        fault=fault,
        clock=clock,
    )
    listener = _listen(port)
    server = _server(gate)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    listener.listen(128)  # connections wait here until the thread takes them
    thread.start()
    account = account_of(gate)
    try:
        yield RunningSandbox(_base_url(listener), account_id, api_token, Store(account), gate)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        account.close()


def serve(
    state_dir: Path,
    *,
    profile: Profile,
    account_id: str = ACCOUNT_ID,
    api_token: str = API_TOKEN,
    fault: str | None = None,
    port: int = 0,
) -> None:
    """Print one line of JSON with address, account and token, then serve until stopped."""
    gate = create_app(
        state_dir, profile=profile, account_id=account_id, api_token=api_token, fault=fault
    )
    listener = _listen(port)
    line = {"base_url": _base_url(listener), "account_id": account_id, "api_token": api_token}
    listener.listen(128)
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    try:
        asyncio.run(_server(gate).serve([listener]))
    finally:
        listener.close()
        account_of(gate).close()
