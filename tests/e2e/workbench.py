"""A bench with a Qdrant on one side, the stand-in on the other, and `q2v` between them."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from q2v.main import cli
from sandbox.profile import INSTANT, Profile
from sandbox.server import RunningSandbox, running_sandbox
from tests.faults.kept_databases import kept_databases
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import RestServer, rest_server

DIMENSIONS = 64
INDEX = "bench"
API_KEY = "source-key-5f0c9a7e"
API_TOKEN = "target-token-93b1c2d4e5f60718"


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document of a command that was asked for it."""
        document = json.loads(self.stdout)
        assert isinstance(document, dict)
        return document


@dataclass(slots=True)
class Workbench:
    """Both servers, a folder, and the environment that points q2v at them."""

    folder: Path
    collection: StoredCollection
    source: RestServer
    sandbox: RunningSandbox
    environment: dict[str, str]
    namespace_id: str = ""
    extra: Sequence[str] = field(default_factory=tuple)

    def run(self, *words: str, as_json: bool = True) -> Result:
        """Run a command in this process."""
        arguments = [*words, "--dir", str(self.folder), *(["--json"] if as_json else [])]
        result = CliRunner().invoke(cli, arguments, env=self.environment)
        return Result(result.exit_code, result.stdout, result.stderr)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command as a process of its own."""
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "q2v", *words, "--dir", str(self.folder), "--json"],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def move(self) -> Result:
        """Snapshot and migrate; both have to succeed."""
        taken = self.run("snapshot")
        assert taken.exit_code == 0, taken.stderr
        return self.run("migrate")

    def stored(self) -> dict[str, tuple[np.ndarray[Any, Any], dict[str, object] | None]]:
        """What the vector index holds, read behind the API."""
        found: dict[str, tuple[np.ndarray[Any, Any], dict[str, object] | None]] = {}
        for vector_id, values, _, metadata in self.sandbox.store.read_vectors(INDEX):
            assert metadata is None or isinstance(metadata, dict)
            found[vector_id] = (values, metadata)
        return found

    def entries(self) -> dict[str, bytes]:
        """What the KV namespace holds, read behind the API."""
        return {key: value for key, value, _, _ in self.sandbox.store.read_kv(self.namespace_id)}

    def state(self) -> str:
        """Digest of the whole target."""
        return self.sandbox.store.state_digest(INDEX, self.namespace_id)

    def uploads(self) -> list[str]:
        """The body digest of every upload that reached the target."""
        return [
            request.body_sha256
            for request in self.sandbox.requests
            if request.path.endswith("/upsert")
        ]

    def files(self) -> Iterator[Path]:
        """Every file the tool has written."""
        yield from (path for path in self.folder.rglob("*") if path.is_file())


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
    own_databases: bool = False,
) -> Iterator[Workbench]:
    """Both servers running; the target provisioned unless told otherwise.

    Commands within this process use emptied databases again unless `own_databases` is set.
    """
    collection = StoredCollection(points=stored, vectors={"size": dimensions, "distance": distance})
    with (
        nullcontext() if own_databases else kept_databases(),
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
            "CLOUDFLARE_ACCOUNT_ID": sandbox.account_id,
            "CLOUDFLARE_API_TOKEN": api_token,
            "CLOUDFLARE_API_BASE_URL": sandbox.base_url,
            "Q2V_VECTOR_INDEX": INDEX,
            "Q2V_LIMITS_POLL_S": "0.05",
            "Q2V_LIMITS_KV_SETTLE_S": "0.05",
            "Q2V_LIMITS_SETTLE_TIMEOUT_S": "600",
            "Q2V_LIMITS_REQUESTS_PER_5MIN": "1200",
            **(settings or {}),
        }
        bench = Workbench(folder / "snapshots", collection, source, sandbox, environment)
        if provision:
            made = bench.run("provision")
            assert made.exit_code == 0, made.stderr
            bench.namespace_id = made.document["kv_namespace_id"]
            environment["Q2V_KV_NAMESPACE_ID"] = bench.namespace_id
        yield bench
