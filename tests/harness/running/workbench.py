"""Commands in this process, between a Qdrant and a sandbox on real sockets."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from click.testing import CliRunner

from q2v.main import cli
from sandbox.profile import INSTANT, Profile
from sandbox.server import RunningSandbox, running_sandbox
from tests.harness.network import LOOPBACK
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workspace import NAMESPACE, Result, Workspace, target_settings
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import RestServer, rest_server

API_KEY = "source-key-5f0c9a7e"
API_TOKEN = "target-token-93b1c2d4e5f60718"


@dataclass(kw_only=True)
class InProcessCommands(Workspace):
    """Runs commands in this process; the sandbox is served by a thread of it."""

    sandbox: RunningSandbox

    def run(self, *words: str, as_json: bool = True) -> Result:
        """Run a command."""
        arguments = self.arguments(*words, as_json=as_json)
        result = CliRunner().invoke(cli, arguments, env=self.environment)
        return Result(result.exit_code, result.stdout, result.stderr)

    def run_as_typed(self, words: Sequence[str]) -> Result:
        """Run a command as it stands, without a --dir or flag of the bench."""
        result = CliRunner().invoke(cli, list(words), env=self.environment)
        return Result(result.exit_code, result.stdout, result.stderr)

    def uploads(self) -> list[str]:
        """The body digest of every upload that reached the target."""
        return [
            request.body_sha256
            for request in self.sandbox.requests
            if request.path.endswith("/upsert")
        ]


@dataclass(kw_only=True)
class Workbench(InProcessCommands):
    """Both servers and the tool between them."""

    collection: StoredCollection
    source: RestServer

    def provision(self) -> None:
        """Make the target, and name its KV namespace in the settings."""
        made = self.run("provision")
        assert made.exit_code == 0, made.stderr
        self.environment[NAMESPACE] = made.document["kv_namespace_id"]

    def move(self) -> Result:
        """Snapshot, which has to succeed, and migrate."""
        taken = self.run("snapshot")
        assert taken.exit_code == 0, taken.stderr
        return self.run("migrate")

    def ask_target(self, path: str, body: Mapping[str, object] | list[str]) -> dict[str, Any]:
        """A request to the target past q2v; `path` is below the account's. Returns the answer."""
        answer = httpx.post(
            f"{self.sandbox.base_url}/accounts/{self.sandbox.account_id}/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.environment['CLOUDFLARE_API_TOKEN']}"},
            timeout=60,
            verify=LOOPBACK,
        )
        document: dict[str, Any] = answer.raise_for_status().json()
        return document

    def stored(self) -> dict[str, tuple[np.ndarray[Any, Any], dict[str, object] | None]]:
        """What the vector index holds, read behind the API."""
        found: dict[str, tuple[np.ndarray[Any, Any], dict[str, object] | None]] = {}
        for vector_id, values, _, metadata in self.sandbox.store.read_vectors(self.index):
            assert metadata is None or isinstance(metadata, dict)
            found[vector_id] = (values, metadata)
        return found

    def entries(self) -> dict[str, bytes]:
        """What the KV namespace holds, read behind the API."""
        return {key: value for key, value, _, _ in self.sandbox.store.read_kv(self.namespace_id)}

    def state(self) -> str:
        """Digest of the whole target."""
        return self.sandbox.store.state_digest(self.index, self.namespace_id)


@contextmanager
def workbench(
    folder: Path,
    stored: list[StoredPoint],
    *,
    dimensions: int = DIMENSIONS,
    distance: str = "Cosine",
    profile: Profile = INSTANT,
    fault: str | None = None,
    settings: Mapping[str, str] | None = None,
    provision: bool = True,
    api_key: str = API_KEY,
    api_token: str = API_TOKEN,
) -> Iterator[Workbench]:
    """Both servers running; the target provisioned unless told otherwise."""
    collection = StoredCollection(points=stored, vectors={"size": dimensions, "distance": distance})
    with (
        rest_server(collection, api_key=api_key) as source,
        running_sandbox(
            folder / "target", profile=profile, api_token=api_token, fault=fault
        ) as sandbox,
    ):
        environment = {
            "QDRANT_URL": source.url,
            "QDRANT_API_KEY": api_key,
            "QDRANT_COLLECTION": collection.name,
            "Q2V_TRANSPORT": "rest",
            **target_settings(sandbox.base_url, sandbox.account_id, api_token),
            **(settings or {}),
        }
        bench = Workbench(
            folder=folder,
            directory=folder / "snapshots",
            environment=environment,
            sandbox=sandbox,
            collection=collection,
            source=source,
        )
        if provision:
            bench.provision()
        yield bench


def chunk_hash(text: str) -> str:
    """What the sync service writes."""
    return hashlib.sha256(text.encode()).hexdigest()


def chunk(file_id: str, index: int, **more: object) -> dict[str, object]:
    """A payload as the sync service writes it."""
    text = f"chunk {index} of {file_id}: größer als gedacht"
    return {
        "file_id": file_id,
        "file_name": f"{file_id}.txt",
        "file_path": f"/drive/{file_id}.txt",
        "chunk_index": index,
        "chunk_hash": chunk_hash(text),
        "last_modified": "2026-11-01T12:00:00Z",
        "text": text,
        **more,
    }


def unit_vectors(count: int, dimensions: int = DIMENSIONS) -> np.ndarray[Any, Any]:
    """Float32 unit vectors, the same every time."""
    values = np.random.default_rng(7).standard_normal((count, dimensions)).astype(np.float32)
    normalised: np.ndarray[Any, Any] = values / np.linalg.norm(values, axis=1, keepdims=True)
    return normalised


def changed_point(stored: StoredPoint, **fields: object) -> StoredPoint:
    """The same point with other payload fields."""
    return replace(stored, payload={**(stored.payload or {}), **fields})


def points(count: int, *, per_file: int = 7, dimensions: int = DIMENSIONS) -> list[StoredPoint]:
    """Points with integer ids, seven chunks a file."""
    vectors = unit_vectors(count, dimensions)
    return [
        StoredPoint(
            id=number,
            vectors={"": vectors[number].tolist()},
            payload=chunk(f"file-{number // per_file:04d}", number % per_file),
        )
        for number in range(count)
    ]
