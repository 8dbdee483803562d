"""The verifier in the real workerd: CPU time a vector, memory, and time beside REST.

Needs what `make worker/node_modules/.installed` installs.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import orjson
from typing_extensions import override

from benchmarks.commands import serving
from benchmarks.measure import Demand, Line
from migrate.clock import SystemClock
from migrate.cloudflare.budget.budget import RequestBudget
from migrate.cloudflare.client.base_url import parse_base_url
from migrate.cloudflare.client.client import Account, CloudflareHttp
from migrate.cloudflare.vectorize import VectorizeTarget
from migrate.cloudflare.verifier.client import EdgeVerifier, VerifierAccess, VerifierLimits
from migrate.errors import MigrationError
from migrate.model.canonical import encode_canonical_json
from migrate.model.digest import digest_vector, digest_vectors
from migrate.model.hmac_key import SealKey
from migrate.model.limits import FETCH_IDS_MAX
from migrate.model.records import VectorId
from migrate.runtime import NoProgress
from migrate.workers.ordered import in_order
from sandbox.profile import INSTANT, with_budget
from sandbox.server import RunningSandbox, running_sandbox
from sandbox.vectorize.ndjson import UploadedVector

DIMENSIONS = 1_536
QUESTION = 2_000  # vectors
ROUNDS = 10  # questions whose CPU time is counted
INVOCATIONS = 32
HEAPS_MB = (24, 32, 40, 48, 56, 64, 96)
AGAINST_REST = 100_000  # vectors
INDEX, KEY = "bench", "bench-key-0123456789abcdef01234567"
WORKER = Path(__file__).parents[1] / "worker"
MODULES = WORKER / "node_modules"
START_S_MAX = 30.0

Expected = list[tuple[VectorId, bytes]]


def made(count: int, start: int = 0) -> tuple[list[str], np.ndarray, list[bytes]]:
    """Ids, unit vectors and metadata of about 1 kB."""
    generator = np.random.default_rng(start)
    values = generator.standard_normal((count, DIMENSIONS)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    numbers = range(start, start + count)
    ids = [f"file-{number // 20:06d}_{number % 20}" for number in numbers]
    metadata = [
        encode_canonical_json(
            {
                "file_id": f"file-{number // 20:06d}",
                "chunk_index": number % 20,
                "chunk_hash": f"{number:064x}",
                "score": number / 7,
                "text": f"chunk {number}: größer als gedacht, und länger. " * 18,
            }
        )
        for number in numbers
    ]
    return ids, values, metadata


def lines(folder: Path) -> Iterator[Line]:
    """CPU time and memory, against an index that costs nothing to read."""
    ids, values, metadata = made(QUESTION)
    expected = _expected(ids, values, metadata)
    records = {
        name: {"id": name, "values": row.astype(float).tolist(), "metadata": orjson.loads(text)}
        for name, row, text in zip(ids, values, metadata, strict=True)
    }
    file = folder / "records.json"
    file.write_bytes(orjson.dumps(records))
    with serving("benchmarks.services.bare_index", str(file)) as port:
        yield _cpu_line(folder, int(port), expected, records)
        yield _heap_line(folder, int(port), expected)


def _expected(ids: Sequence[str], values: np.ndarray, metadata: Sequence[bytes]) -> Expected:
    digests = digest_vectors(ids, values, metadata)
    return [(VectorId(name), digest) for name, digest in zip(ids, digests, strict=True)]


def _cpu_line(folder: Path, port: int, expected: Expected, records: object) -> Line:
    body = orjson.dumps(records)
    with _workerd(folder, port) as (url, pid), _verifier(url) as verifier:
        verifier.verify(INDEX, expected)  # compiled from then on
        before = _cpu_s(pid)
        for _ in range(ROUNDS):
            found = verifier.verify(INDEX, expected)
            assert not found.suspects
        ours = (_cpu_s(pid) - before) * 1e6 / (ROUNDS * len(expected))
    started = time.process_time()
    parsed = orjson.loads(body)
    values = np.array([one["values"] for one in parsed.values()], np.float32)
    texts = [encode_canonical_json(one["metadata"]) for one in parsed.values()]
    digest_vectors(list(parsed), values, texts)
    theirs = (time.process_time() - started) * 1e6 / len(expected)
    return Line(
        name=f"verifier: CPU of workerd a vector, {DIMENSIONS}",
        ours=ours,
        unit="us",
        against="the same in Python",
        theirs=theirs,
        figure=ours,
        demand=Demand(at_most=400),
    )


def _heap_line(folder: Path, port: int, expected: Expected) -> Line:
    smallest = next(
        (heap_mb for heap_mb in HEAPS_MB if _passes(folder, port, expected, heap_mb)), 1_000
    )
    return Line(
        name=f"verifier: V8 heap that {INVOCATIONS} invocations need",
        ours=smallest,
        unit="MB",
        against=f"the smallest of {HEAPS_MB} MB with which all succeed",
        theirs=None,
        figure=smallest,
        demand=Demand(at_most=64),
    )


def _passes(folder: Path, port: int, expected: Expected, heap_mb: int) -> bool:
    """Whether all invocations at once succeed with a heap of this size."""
    with (
        _workerd(folder, port, f"--max-heap-size={heap_mb}") as (url, _),
        _verifier(url, first=INVOCATIONS) as verifier,
    ):
        try:
            verify = partial(verifier.verify, INDEX)
            answers = in_order(verify, [expected] * INVOCATIONS, width=INVOCATIONS)
            return not any(found.suspects for _, found in answers)
        except MigrationError:
            return False


def against_rest_line(folder: Path, count: int = AGAINST_REST) -> Line:
    """Contents of one index of the sandbox, read by the verifier and by REST."""
    profile = with_budget(INSTANT, 1_000_000_000)  # q2v keeps its own
    with running_sandbox(folder / "edge-target", profile=profile) as sandbox:
        expected = _fill(sandbox, count)
        with _kit(sandbox) as url, _verifier(url) as verifier:
            ours, _ = _timed(SystemClock(), lambda: _by_verifier(verifier, expected))
        clock = SkippingClock()
        with _rest(folder, sandbox, clock) as target:
            theirs, requests = _timed(clock, lambda: _by_rest(target, expected))
    return Line(
        name=f"verifier: {count:,} contents of the sandbox",
        ours=ours,
        unit="s",
        against=f"REST, {requests:,} requests, waits for the budget not waited but counted",
        theirs=theirs,
        figure=ours / theirs,
        demand=Demand(at_most=0.1),
    )


def _fill(sandbox: RunningSandbox, count: int) -> Expected:
    store, expected = sandbox.store, Expected()
    store.vectors.indexes.create(INDEX, "", {"dimensions": DIMENSIONS, "metric": "cosine"})
    for start in range(0, count, 5_000):
        ids, values, metadata = made(min(5_000, count - start), start)
        with store.lock:
            index = store.vectors.indexes.get(INDEX)
            first = store.vectors.keep_rows(index, values)
            uploaded = [
                UploadedVector(name, first + at, None, text)
                for at, (name, text) in enumerate(zip(ids, metadata, strict=True))
            ]
            store.vectors.write_vectors(index, uploaded, replace=True)
            store.vectors.log.commit_all(index.index_id)
        expected += _expected(ids, values, metadata)
    return expected


def _by_verifier(verifier: EdgeVerifier, expected: Expected) -> int:
    batches = [expected[at : at + QUESTION] for at in range(0, len(expected), QUESTION)]
    for _, found in in_order(partial(verifier.verify, INDEX), batches, width=INVOCATIONS):
        assert not found.suspects
    return len(batches)


def _by_rest(target: VectorizeTarget, expected: Expected) -> int:
    batches = [expected[at : at + FETCH_IDS_MAX] for at in range(0, len(expected), FETCH_IDS_MAX)]
    read = in_order(lambda batch: target.fetch([name for name, _ in batch]), batches, width=8)
    for batch, found in read:
        assert all(digest_vector(found[name]) == digest for name, digest in batch)
    return len(batches)


def _timed(clock: SystemClock, work: Callable[[], int]) -> tuple[float, int]:
    started = clock.monotonic_s()
    done = work()
    return clock.monotonic_s() - started, done


class SkippingClock(SystemClock):
    """The machine's clock, but a wait is over at once and its time counted all the same."""

    def __init__(self) -> None:
        self._skipped_s = 0.0
        self._lock = threading.Lock()

    @override
    def monotonic_s(self) -> float:
        """With all that was not waited."""
        return super().monotonic_s() + self._skipped_s

    @override
    def wait(self, seconds: float) -> None:
        """Waits of several threads overlap, as real ones do."""
        ends_s = self.monotonic_s() + seconds
        with self._lock:
            self._skipped_s = max(self._skipped_s, ends_s - super().monotonic_s())


@contextmanager
def _rest(folder: Path, sandbox: RunningSandbox, clock: SystemClock) -> Iterator[VectorizeTarget]:
    budget = RequestBudget(folder / "edge-budget.sqlite", clock=clock)
    http = CloudflareHttp(
        Account(parse_base_url(sandbox.base_url), sandbox.account_id, sandbox.api_token),
        budget=budget,
        clock=clock,
        jitter=lambda: 0.5,
    )
    try:
        yield VectorizeTarget(http, INDEX)
    finally:
        http.close()


@contextmanager
def _verifier(url: str, *, first: int | None = None) -> Iterator[EdgeVerifier]:
    """A client; `first` is how many requests may be under way at the beginning."""
    verifier = EdgeVerifier(
        VerifierAccess(parse_base_url(url), SealKey(KEY)),
        clock=SystemClock(),
        jitter=lambda: 0.5,
        nonce=lambda: "0" * 32,
        progress=NoProgress(),
        limits=VerifierLimits(total_s=600.0),
    )
    for _ in range(0 if first is None else 20 * first):
        verifier.lanes.widen()
    try:
        yield verifier
    finally:
        verifier.close()


def _cpu_s(pid: int) -> float:
    """CPU time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _node() -> str:
    pinned = next(MODULES.glob("node-linux-*/bin/node"), None)
    found = str(pinned) if pinned is not None else shutil.which("node")
    assert found, "no Node.js: run `make worker/node_modules/.installed`"
    return found


@contextmanager
def _workerd(folder: Path, index_port: int, *v8_flags: str) -> Iterator[tuple[str, int]]:
    """The verifier with an index at this port; its address and process id."""
    words = ("--bundle", "--format=esm", "--external:node:*", "--log-level=error")
    script, out = MODULES / "esbuild" / "bin" / "esbuild", folder / "worker.mjs"
    entry = WORKER / "src" / "verifier" / "worker.ts"
    subprocess.run(  # noqa: S603 - a fixed command
        [_node(), str(script), str(entry), *words, f"--outfile={out}"], check=True
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "config.capnp"
    config.write_text(_config(index_port, port, v8_flags), encoding="ascii")
    program = next(MODULES.glob("@cloudflare/workerd-*/bin/workerd"))
    quiet = subprocess.DEVNULL
    command = [str(program), "serve", "--experimental", str(config)]
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:  # noqa: S603 - as above
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    clock = SystemClock()
    ends_s = clock.monotonic_s() + START_S_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert clock.monotonic_s() < ends_s, "workerd does not listen"
            clock.wait(0.05)
        else:
            return


# A text of Cap'n Proto.
_INDEXES = orjson.dumps({INDEX: "VECTORIZE_INDEX"}).decode().replace('"', r"\"")


def _config(index_port: int, port: int, v8_flags: Sequence[str]) -> str:
    flags = ", ".join(f'"{flag}"' for flag in v8_flags)
    return f"""using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  v8Flags = [{flags}],
  services = [
    (name = "worker", worker = (
      compatibilityDate = "2026-11-01",
      modules = [(name = "worker.mjs", esModule = embed "worker.mjs")],
      bindings = [
        (name = "VECTORIZE_INDEX", wrapped = (
          moduleName = "cloudflare-internal:vectorize-api",
          innerBindings = [
            (name = "fetcher", service = "index"), (name = "indexId", text = "{INDEX}"),
            (name = "indexVersion", text = "v2"), (name = "useNdJson", json = "true")])),
        (name = "VECTORIZE_INDEXES", json = "{_INDEXES}"),
        (name = "Q2V_VERIFIER_KEY", text = "{KEY}")],
      globalOutbound = "nothing")),
    (name = "index", external = (address = "127.0.0.1:{index_port}", http = ())),
    (name = "nothing", network = (allow = [])),
    (name = "internet", network = (allow = []))],
  sockets = [(name = "worker", address = "127.0.0.1:{port}", http = (), service = "worker")]
);
"""


@contextmanager
def _kit(sandbox: RunningSandbox) -> Iterator[str]:
    """The verifier in front of the sandbox, through worker/kit; its address."""
    order = {
        "worker": {
            "main": str(WORKER / "src" / "verifier" / "worker.ts"),
            "vectorize": {"VECTORIZE_INDEX": INDEX},
            "vars": {"Q2V_VERIFIER_KEY": KEY, "VECTORIZE_INDEXES": {INDEX: "VECTORIZE_INDEX"}},
        },
        "sandbox": {
            "base_url": sandbox.base_url,
            "account_id": sandbox.account_id,
            "api_token": sandbox.api_token,
        },
    }
    command = [_node(), str(WORKER / "kit" / "serve.ts")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:  # noqa: S603 - as above
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(orjson.dumps(order) + b"\n")
        process.stdin.flush()
        yield orjson.loads(process.stdout.readline())["url"]
        process.stdin.close()


def main() -> None:
    """All lines of this part: `python -m benchmarks.edge FOLDER [VECTORS]`."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for line in lines(folder):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    count = int(sys.argv[2]) if len(sys.argv) > 2 else AGAINST_REST  # noqa: PLR2004 - an argument
    sys.stdout.write(f"{against_rest_line(folder, count)}\n")


if __name__ == "__main__":
    main()
