"""Collections on servers of their own, an index for each in one account, and a fleet.toml."""

import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from sandbox.server import RunningSandbox, running_sandbox
from tests.harness.network import LOOPBACK
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import API_KEY, API_TOKEN, points
from tests.harness.running.workspace import Result, start_here, target_settings
from tests.servers.qdrant_points import StoredCollection
from tests.servers.qdrant_rest import rest_server

_OF_A_MOVE = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_BASE_URL", "Q2V_VECTOR_INDEX")


@dataclass(kw_only=True)
class FleetBench:
    """A fleet of moves, which differ in their number of points."""

    folder: Path
    sandbox: RunningSandbox
    collections: dict[str, StoredCollection]
    environment: dict[str, str]
    namespace_id: str = ""
    shared: list[str] = field(default_factory=lambda: ["at_once = 4", "pause_s = 0"])
    more: dict[str, list[str]] = field(default_factory=dict)  # lines of a move

    @property
    def file(self) -> Path:
        return self.folder / "fleet.toml"

    @property
    def directory(self) -> Path:
        return self.folder / "fleet"

    def write(self) -> None:
        """Write fleet.toml."""
        lines = ["[fleet]", *self.shared]
        for name in self.collections:
            lines += ["[[move]]", f'config = "{name}.toml"', *self.more.get(name, [])]
        self.file.write_text("\n".join(lines) + "\n")

    def words(self, *words: str, as_json: bool = True) -> list[str]:
        place = ["--file", str(self.file), "--dir", str(self.directory)]
        return ["fleet", *words, *place, *(["--json"] if as_json else [])]

    def start(self, *words: str, as_json: bool = True) -> subprocess.Popen[str]:
        return self._start(self.words(*words, as_json=as_json))

    def _start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        pipes = (subprocess.PIPE, subprocess.PIPE)
        return start_here("-m", "q2v", *words, environment=self.environment, output=pipes)

    def run_as_typed(self, command: str) -> Result:
        """Run a command as it was printed."""
        process = self._start(shlex.split(command)[1:])
        stdout, stderr = process.communicate()
        return Result(process.returncode, stdout, stderr)

    def run(self, *words: str, as_json: bool = True) -> Result:
        process = self.start(*words, as_json=as_json)
        stdout, stderr = process.communicate()
        return Result(process.returncode, stdout, stderr)

    def entries(self) -> list[dict[str, Any]]:
        """The journal of the fleet."""
        lines = (self.directory / "fleet.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def vectors(self, name: str) -> int:
        """How many vectors the index of a move holds, behind the API."""
        return len(list(self.sandbox.store.read_vectors(f"{name}-index")))

    def ask(self, path: str, body: object) -> dict[str, Any]:
        """A request to the target past q2v."""
        answer = httpx.post(
            f"{self.sandbox.base_url}/accounts/{self.sandbox.account_id}/{path}",
            json=body,
            headers={"Authorization": f"Bearer {API_TOKEN}"},
            timeout=60,
            verify=LOOPBACK,
        )
        document: dict[str, Any] = answer.raise_for_status().json()
        return document


def rows(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The moves of a report by name."""
    return {row["name"]: row for row in report["moves"]}


def commands_of(directory: Path) -> list[int]:
    """The processes of this machine that are commands of a fleet in this folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                opened = [link.readlink() for link in (process / "fd").iterdir()]
            except OSError:
                continue
            if any(path.is_relative_to(directory / "logs") for path in opened):
                found.append(int(process.name))
    return found


@contextmanager
def fleet_bench(
    folder: Path, counts: dict[str, int], *, dimensions: Callable[[str], int] = lambda _: DIMENSIONS
) -> Iterator[FleetBench]:
    """Servers running, indexes and namespace made, settings files and fleet.toml written.

    `counts`: points by the name of a move. `dimensions`: of the index of a move.
    """
    with ExitStack() as stack:
        sandbox = stack.enter_context(running_sandbox(folder / "target", api_token=API_TOKEN))
        collections = {
            name: StoredCollection(
                points=points(count), vectors={"size": DIMENSIONS, "distance": "Cosine"}
            )
            for name, count in counts.items()
        }
        settings = target_settings(sandbox.base_url, sandbox.account_id, API_TOKEN)
        bench = FleetBench(
            folder=folder,
            sandbox=sandbox,
            collections=collections,
            environment={
                "QDRANT_API_KEY": API_KEY,
                "Q2V_TRANSPORT": "rest",
                **{key: text for key, text in settings.items() if key not in _OF_A_MOVE},
            },
        )
        made = bench.ask("storage/kv/namespaces", {"title": "files"})
        bench.namespace_id = made["result"]["id"]
        for name, collection in collections.items():
            server = stack.enter_context(rest_server(collection, api_key=API_KEY))
            make_index(bench, f"{name}-index", dimensions(name))
            (folder / f"{name}.toml").write_text(_settings(bench, name, server.url))
        bench.write()
        yield bench


def make_index(bench: FleetBench, index: str, dimensions: int = DIMENSIONS) -> None:
    """A vector index with the metadata index of the file."""
    shape = {"dimensions": dimensions, "metric": "cosine"}
    bench.ask("vectorize/v2/indexes", {"name": index, "config": shape})
    of_file = {"propertyName": "file_id", "indexType": "string"}
    bench.ask(f"vectorize/v2/indexes/{index}/metadata_index/create", of_file)


def _settings(bench: FleetBench, name: str, url: str) -> str:
    return "\n".join(
        [
            "[source]",
            f'url = "{url}"',
            'collection = "chunks"',
            "[target]",
            f'account_id = "{bench.sandbox.account_id}"',
            f'api_base_url = "{bench.sandbox.base_url}"',
            f'vector_index = "{name}-index"',
            f'kv_namespace_id = "{bench.namespace_id}"',
            "[kv]",
            f'key_template = "{name}-file:{{file_id}}"',
            f'counter_key = "{name}-count"',
            "",
        ]
    )


def names_of(entries: Sequence[dict[str, Any]], kind: str) -> list[tuple[str, str]]:
    """Move and step of each entry of a kind."""
    return [(one["move"], one["step"]) for one in entries if one["type"] == kind]
