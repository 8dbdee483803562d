"""Write what the tests of later versions read: files of one version, in every state of a run.

The servers are those of this tree. The commands are processes of the tree that --code names, so an
older version writes its files as well:

    git worktree add ../before <commit>
    .venv/bin/python -m tests.e2e.older.write_older_files --code ../before --into DIR

DIR is `tests/assets/written-by-<date>`.

A process is killed by the target itself: after the request took effect, before it is answered.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import click
import numpy as np

from sandbox.exchange.request_log import RequestRecord
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.store import SandboxStore
from tests.e2e.older.older_files import Target, build_target, q2v_environment
from tests.harness.running.programs import start_program
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import API_KEY, chunk, unit_vectors
from tests.servers.qdrant_points import StoredCollection, StoredPoint
from tests.servers.qdrant_rest import rest_server

REPOSITORY = Path(__file__).resolve().parents[3]
POINTS = 36
COMMAND_S_MAX = 300
ACCOUNT_ID = "5a4dbc0f" * 4
KV_NAMESPACE_ID = "76d4786531d9441af5a67cfe789222e1"
INDEX = "bench"
# An empty field of a payload moves as no field; the plan counts that.
SETTINGS = {"Q2V_MAPPING_NULLS": "leave_out"}
MIGRATE = (
    *("migrate", "--yes", "--into-non-empty"),
    *("--waive", "field_missing", "--waive", "unrepresentable"),
)
KILLED_AT_UPLOAD = 4  # of six; counted from 1
REFUSED_ONE_IN = 7  # ids whose CRC-32 this divides are refused at first
DRIFTED_ENTRY = "file:file-0004"
REMOVED_ID = "file-0002_5"
OVERWRITTEN_ID = "file-0001_3"  # by another writer, after the repair


def source_points() -> list[StoredPoint]:
    """36 points: integer ids up to the largest, UUIDs, and payloads of every JSON type.

    Number 20 has an integer that JSON numbers of the target cannot hold and number 21 lacks its
    number in the file: these two do not move.
    """
    vectors = unit_vectors(POINTS, DIMENSIONS)
    return [
        StoredPoint(id=_point_id(n), vectors={"": vectors[n].tolist()}, payload=_payload(n))
        for n in range(POINTS)
    ]


def _point_id(number: int) -> int | str:
    if number % 2:
        return str(uuid.UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128))
    return number if number < POINTS - 4 else 2**64 - POINTS + number


def _payload(number: int) -> dict[str, object]:
    payload = chunk(f"file-{number // 7:04d}", number % 7)
    more: Sequence[dict[str, object]] = (
        {"author": None, "score": 0.1 + number, "pages": number},
        {"title": "Übergröße, 日本語 🗂", "tags": ["a", "ß", ""], "draft": True},
        {"score": -1.5e-7, "large": 2**53 - number, "empty": {}, "list": []},
        {"nested": {"by": "Zoë", "n": 1.5, "ok": True}, "draft": False},
        {},
    )
    payload |= more[number % len(more)]
    if number == 20:
        payload["large"] = 2**53 + 1
    if number == 21:
        del payload["chunk_index"]
    return payload


def former_target() -> Target:
    """What the target holds before every run."""
    along = [base64.b64encode(row.tobytes()).decode() for row in np.eye(2, DIMENSIONS, dtype="<f4")]
    trial: dict[str, object] = {"from": "a trial", "n": 1.5, "words": ["größer"]}
    vectors = [
        {"id": "file-0000_1", "values": along[0], "namespace": "theirs", "metadata": trial},
        {"id": "foreign-1", "values": along[1], "namespace": None, "metadata": None},
    ]
    entries = [
        {"key": "_vector_count", "value": "2", "metadata": None, "expiration": None},
        {
            "key": "file:file-0000",
            "value": '["old"]',
            "metadata": {"by": "a trial"},
            "expiration": 4_000_000_000,
        },
        {"key": "theirs/ö", "value": "kept", "metadata": None, "expiration": None},
    ]
    return {
        "vector_index": {
            "name": INDEX,
            "dimensions": DIMENSIONS,
            "metric": "cosine",
            "created_at": 1795916002.9921072,
        },
        "kv_namespace_id": KV_NAMESPACE_ID,
        "account_id": ACCOUNT_ID,
        "settings": SETTINGS,
        "vectors": vectors,
        "kv": entries,
    }


@dataclass(frozen=True, slots=True)
class _WritingSite:
    """A --dir of the version that writes, and the served target."""

    code: Path
    python: str
    directory: Path
    sandbox: RunningSandbox
    environment: Mapping[str, str]

    def q2v(self, *words: str, expected: int = 0) -> None:
        """Run a command to its end. Raises RuntimeError on another exit code."""
        self._end(self._start(words), expected)

    def q2v_killed(self, *words: str, operation: str, ordinal: int) -> None:
        """Run a command that is killed at a request: the `ordinal`-th of this last path segment."""
        process = self._start(words)
        left = ordinal

        def kill(record: RequestRecord) -> None:
            nonlocal left
            left -= record.path.endswith(f"/{operation}")
            if left == 0:
                process.kill()
                process.wait()

        self.sandbox.log.before_answer = kill
        try:
            self._end(process, -9)
        finally:
            self.sandbox.log.before_answer = lambda record: None

    def run_folder(self) -> Path:
        """The one run of the one snapshot."""
        (run,) = self.directory.glob("*/runs/*")
        return run

    def _start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        return start_program(
            *(self.python, "-m", "q2v", *words, "--dir", str(self.directory), "--json"),
            cwd=self.code,  # its packages come before installed ones
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def _end(self, process: subprocess.Popen[str], expected: int) -> None:
        _, errors = process.communicate(timeout=COMMAND_S_MAX)
        if process.returncode != expected:
            raise RuntimeError(f"exit {process.returncode}, expected {expected}: {errors}")


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the files of one version into a folder of the assets."""

    code: Path  # the tree with its packages
    python: str
    into: Path
    work: Path  # for targets and --dir; removed by the caller

    def write(self) -> None:
        """All states: see README.md of a folder that was written."""
        before = self.work / "before"
        self._take_snapshot(before / "snapshots")
        build_target(before / "target", former_target())
        _write_json(self.into / "before.json", former_target())
        with self._site("half") as site:
            site.q2v_killed(*MIGRATE, operation="upsert", ordinal=KILLED_AT_UPLOAD)
            _expect_two_left_out(site)
            self._keep("half-written", site)
        with self._site("whole") as site:
            _refuse_then_retry(site)
            _plant_drift(site)
            site.q2v("reconcile", "--no-source", expected=4)
            self._keep("complete-with-drift", site)
            site.q2v("migrate", "--yes")
            site.q2v("reconcile", "--no-source")
            self._overwrite_and_force(site)
            self._keep("complete-and-equal", site)
            # The KV entries are put back before the first vector.
            words = ("rollback", "--execute", "--yes")
            site.q2v_killed(*words, operation="upsert", ordinal=1)
            self._keep("half-rolled-back", site)

    def _take_snapshot(self, directory: Path) -> None:
        source = StoredCollection(
            points=source_points(), vectors={"size": DIMENSIONS, "distance": "Cosine"}
        )
        with (
            rest_server(source, api_key=API_KEY) as server,
            running_sandbox(self.work / "unused", account_id=ACCOUNT_ID) as sandbox,
        ):
            environment = {
                "QDRANT_URL": server.url,
                "QDRANT_API_KEY": API_KEY,
                "QDRANT_COLLECTION": source.name,
                "Q2V_TRANSPORT": "rest",
            }
            site = _WritingSite(self.code, self.python, directory, sandbox, environment)
            site.q2v("snapshot")
        (snapshot,) = (path.parent for path in directory.glob("*/manifest.json"))
        _copy(snapshot, self.into / "snapshot")

    @contextmanager
    def _site(self, name: str) -> Iterator[_WritingSite]:
        """The snapshot and the former target once more, and that target served."""
        folder = self.work / name
        shutil.copytree(self.work / "before", folder)
        with running_sandbox(folder / "target", account_id=ACCOUNT_ID) as sandbox:
            environment = q2v_environment(
                sandbox, vector_index=INDEX, kv_namespace_id=KV_NAMESPACE_ID
            )
            # One upload at a time: which ones arrived before a kill is then no chance.
            environment |= {"Q2V_LIMITS_UPLOADS_IN_FLIGHT": "1", **SETTINGS}
            yield _WritingSite(self.code, self.python, folder / "snapshots", sandbox, environment)

    def _overwrite_and_force(self, site: _WritingSite) -> None:
        """Another writer's vector is kept by a repair until it is named."""
        (values,) = (
            values
            for vector_id, values, _, _ in site.sandbox.store.read_vectors(INDEX)
            if vector_id == OVERWRITTEN_ID
        )
        site.sandbox.store.put_vector(INDEX, OVERWRITTEN_ID, values, {"by": "others"}, "theirs")
        site.q2v("reconcile", "--no-source", expected=4)
        forced = self.work / "overwrite.ids"
        forced.write_text(f"{OVERWRITTEN_ID}\n", encoding="utf-8")
        site.q2v("migrate", "--yes", "--force", str(forced))
        site.q2v("reconcile", "--no-source")

    def _keep(self, name: str, site: _WritingSite) -> None:
        folder = self.into / "runs" / name
        _copy(site.run_folder(), folder / "run")
        _write_json(folder / "target.json", {**former_target(), **_read(site.sandbox.store)})


def _refuse_then_retry(site: _WritingSite) -> None:
    """A full round in which the target refuses some vectors, and a round that sends those again."""
    ids = [f"file-{n // 7:04d}_{n % 7}" for n in range(POINTS) if n not in {20, 21}]
    assert sum(crc32(each.encode()) % REFUSED_ONE_IN == 0 for each in ids) == 2
    site.sandbox.order(f"refuse-ids:one-in={REFUSED_ONE_IN}")
    site.q2v(*MIGRATE, expected=3)
    site.sandbox.order(None)
    site.q2v("migrate", "--yes", "--retry-refused")


def _expect_two_left_out(site: _WritingSite) -> None:
    left_out = (site.run_folder() / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(left_out) == 2, left_out


def _plant_drift(site: _WritingSite) -> None:
    store = site.sandbox.store
    store.remove_vector(INDEX, REMOVED_ID)
    store.put_kv(KV_NAMESPACE_ID, DRIFTED_ENTRY, b'["changed by others"]')


def _read(store: SandboxStore) -> Target:
    """The content of the target, as target.json has it."""
    return {
        "vectors": [
            {
                "id": vector_id,
                "values": base64.b64encode(values.astype("<f4").tobytes()).decode(),
                "namespace": namespace,
                "metadata": metadata,
            }
            for vector_id, values, namespace, metadata in store.read_vectors(INDEX)
        ],
        "kv": [
            {"key": key, "value": value.decode(), "metadata": metadata, "expiration": expiration}
            for key, value, metadata, expiration in store.read_kv(KV_NAMESPACE_ID)
        ],
    }


def _copy(folder: Path, into: Path) -> None:
    """Without other runs, locks and scratch files."""
    shutil.copytree(folder, into, ignore=shutil.ignore_patterns("runs", ".*"))


def _write_json(path: Path, held: Target) -> None:
    """One line for each record, so that a difference of two states can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = json.dumps(
        {name: value for name, value in held.items() if name not in {"vectors", "kv"}},
        ensure_ascii=False,
    )
    lists = (
        f'"{name}": [\n'
        + ",\n".join(json.dumps(record, ensure_ascii=False) for record in held[name])
        + "\n]"
        for name in ("vectors", "kv")
    )
    path.write_text(head[:-1] + ",\n" + ",\n".join(lists) + "}\n", encoding="utf-8")


@click.command()
@click.option("--code", type=click.Path(exists=True, path_type=Path), default=REPOSITORY)
@click.option("--python", default=sys.executable, help="Interpreter with what that code needs.")
@click.option("--into", type=click.Path(path_type=Path), required=True)
def main(code: Path, python: str, into: Path) -> None:
    """Write the files; the folder must not exist. A README.md beside them is yours to write."""
    if into.exists():
        raise click.ClickException(f"{into} exists: files of an older version are not replaced")
    with tempfile.TemporaryDirectory() as work:
        Writer(code.resolve(), python, into, Path(work)).write()


if __name__ == "__main__":
    main()
