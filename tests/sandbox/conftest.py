"""A sandbox on a real socket, a clock that the test moves, a client that knows the paths."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.clock import ManualClock
from sandbox.profile import INSTANT, Profile
from sandbox.server import RunningSandbox, running_sandbox
from tests.harness.network import LOOPBACK
from tests.harness.running.programs import start_program

REPOSITORY = Path(__file__).resolve().parents[2]
DIMENSIONS = 32
NDJSON = {"content-type": "application/x-ndjson"}


@contextmanager
def served(state: Path, *options: str) -> Any:
    """The sandbox as a process of its own; gives the process and what its first line said."""
    command = [sys.executable, "-m", "sandbox.server", "--state", str(state), *options]
    with start_program(*command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def line(vector_id: str, first: float = 0.5, **members: object) -> str:
    """One line of an upload; its values differ in the first number only."""
    values = [first] + [0.25] * (DIMENSIONS - 1)
    return json.dumps({"id": vector_id, "values": values, **members})


class Client:
    """HTTP calls to one sandbox, with an index `docs` and a namespace that exist."""

    def __init__(self, sandbox: RunningSandbox, clock: ManualClock) -> None:
        self.sandbox = sandbox
        self.clock = clock
        self.http = httpx.Client(
            base_url=sandbox.base_url,
            headers={"authorization": f"Bearer {sandbox.api_token}"},
            timeout=300,
            verify=LOOPBACK,
        )
        account = f"/accounts/{sandbox.account_id}"
        self.indexes = f"{account}/vectorize/v2/indexes"
        self.docs = f"{self.indexes}/docs"
        self.namespaces = f"{account}/storage/kv/namespaces"
        sandbox.store.create_vector_index("docs", DIMENSIONS, "cosine")
        self.namespace_id = sandbox.store.create_kv_namespace("files")
        self.kv = f"{self.namespaces}/{self.namespace_id}"

    def upsert(self, *lines: str, **options: Any) -> httpx.Response:
        return self.upload("upsert", *lines, **options)

    def upload(self, operation: str, *lines: str, **options: Any) -> httpx.Response:
        body = "\n".join(lines)
        return self.http.post(f"{self.docs}/{operation}", content=body, headers=NDJSON, **options)

    def get_by_ids(self, *ids: str) -> Any:
        return self.result(self.http.post(f"{self.docs}/get_by_ids", json={"ids": ids}))

    def delete_by_ids(self, ids: Sequence[str]) -> httpx.Response:
        return self.http.post(f"{self.docs}/delete_by_ids", json={"ids": ids})

    def info(self) -> Any:
        return self.result(self.http.get(f"{self.docs}/info"))

    def list_page(self, **parameters: Any) -> Any:
        return self.result(self.http.get(f"{self.docs}/list", params=parameters))

    def query(self, **body: Any) -> httpx.Response:
        return self.http.post(f"{self.docs}/query", json=body)

    def write_kv(self, *pairs: dict[str, Any]) -> httpx.Response:
        return self.http.put(f"{self.kv}/bulk", json=pairs)

    def read_kv(self, *keys: str) -> Any:
        answer = self.http.post(f"{self.kv}/bulk/get", json={"keys": keys})
        return self.result(answer)["values"]

    @staticmethod
    def result(answer: httpx.Response) -> Any:
        body = answer.json()
        assert (answer.status_code, body["success"]) == (200, True), answer.text
        return body["result"]


def refusal(answer: httpx.Response) -> tuple[int, int]:
    """Status and code of a refusal in the envelope."""
    body = answer.json()
    assert body["success"] is False
    assert body["result"] is None
    return answer.status_code, body["errors"][0]["code"]


Start = Callable[..., Client]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def start(tmp_path: Path, clock: ManualClock) -> Iterator[Start]:
    """Starts a sandbox with a profile and faults; stops it after the test."""
    with ExitStack() as stack:

        def start_one(profile: Profile = INSTANT, fault: str | None = None) -> Client:
            sandbox = stack.enter_context(
                running_sandbox(tmp_path / "state", profile=profile, fault=fault, clock=clock)
            )
            client = Client(sandbox, clock)
            stack.enter_context(client.http)
            return client

        yield start_one


@pytest.fixture
def client(start: Start) -> Client:
    """A sandbox of profile `instant`."""
    return start()
