"""One machine with real processes: a `q2v sandbox`, and `q2v` commands that write to it."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.commands import serving
from migrate.storage.layout import BUDGET
from q2v.settings import Settings
from sandbox.app import ACCOUNT_ID, API_TOKEN
from sandbox.clock import SystemClock
from sandbox.profile import PROFILES
from sandbox.store import SandboxStore
from tests.e2e.lines import GrowingLines

REPOSITORY = Path(__file__).resolve().parents[2]
INDEX, DIMENSIONS = "bench", 64
UPLOAD_VECTORS = 250
_REQUESTS_IN_A_ROW = 800  # of the 1,200 that the tool sends in five minutes


@dataclass(slots=True)
class Site:
    """A --dir and a target's state, both in one folder; copies of it make other sites."""

    folder: Path
    profile: str = "instant"  # of the stand-in
    namespace_id: str = ""
    base_url: str = ""  # of the stand-in that is being served
    requests: GrowingLines = field(init=False)  # the stand-in's log
    _counted: int = 0  # requests logged when five minutes last passed

    def __post_init__(self) -> None:
        self.requests = GrowingLines(self.folder / "requests.jsonl")

    @property
    def directory(self) -> Path:
        """The tool's --dir."""
        return self.folder / "snapshots"

    @property
    def state(self) -> Path:
        """The stand-in's --state."""
        return self.folder / "target"

    def copy(self, folder: Path) -> "Site":
        """Another site with the same past; its stand-in is not running."""
        shutil.copytree(self.folder, folder)
        return Site(folder, self.profile, self.namespace_id)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """A `q2v sandbox` process while the block runs."""
        words = ["sandbox", "--profile", self.profile, "--state", str(self.state)]
        words += ["--log", str(self.requests.path), "--requests-per-5min", "1000000"]
        with subprocess.Popen(  # noqa: S603 - our own command
            [*_Q2V, *words],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it complains of uploads that a kill has cut
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                self.base_url = json.loads(process.stdout.readline())["base_url"]
                yield
            finally:
                process.terminate()

    def wait(self, process: subprocess.Popen[str], seconds: float) -> bool:
        """Whether a process is still there after so long. Its budget does not run out.

        The budget has tests of its own; here it would only be waited for.
        """
        seen = len(self.requests.refreshed())
        if seen - self._counted > _REQUESTS_IN_A_ROW:
            self._counted = seen
            self._forget_requests()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is None

    def _forget_requests(self) -> None:
        """Let five minutes pass: as after them, no earlier request counts."""
        path = self.directory / BUDGET / "requests"
        if path.exists():
            with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
                connection.execute("DELETE FROM spent WHERE why <> 'boot'")

    # --- the tool ----------------------------------------------------------------------------

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """A command as a process of its own; what it says goes to two files."""
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            return subprocess.Popen(  # noqa: S603 - our own command
                [*_Q2V, *words, "--dir", str(self.directory), "--json"],
                cwd=REPOSITORY,
                env={**os.environ, **self._environment(), **environment},
                stdout=stdout,
                stderr=stderr,
                text=True,
            )

    def run(self, *words: str, **environment: str) -> str:
        """A command that is left alone and has to succeed; returns its stdout."""
        with ended_at_last(self.start(*words, **environment)) as process:
            return self.check(process)

    def check(self, process: subprocess.Popen[str]) -> str:
        """Wait for a command that has to succeed; returns its stdout."""
        while self.wait(process, 0.05):
            pass
        said = self._stderr.read_text(encoding="utf-8")
        assert process.returncode == 0, f"{process.args!r} ended with {process.returncode}: {said}"
        return self._stdout.read_text(encoding="utf-8")

    @property
    def _stdout(self) -> Path:
        return self.folder / "stdout.txt"

    @property
    def _stderr(self) -> Path:
        return self.folder / "stderr.txt"

    def _environment(self) -> dict[str, str]:
        return {
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT_ID,
            "CLOUDFLARE_API_TOKEN": API_TOKEN,
            "CLOUDFLARE_API_BASE_URL": self.base_url,
            "Q2V_VECTOR_INDEX": INDEX,
            "Q2V_KV_NAMESPACE_ID": self.namespace_id,
            "Q2V_LIMITS_VECTORS_PER_UPLOAD": str(UPLOAD_VECTORS),
            "Q2V_LIMITS_POLL_S": "0.2",
            "Q2V_LIMITS_KV_SETTLE_S": str(PROFILES[self.profile].kv_visible_after_s + 0.2),
            "Q2V_LIMITS_REQUESTS_PER_5MIN": "1200",
        }


_Q2V = (sys.executable, "-m", "q2v")


def build_site(folder: Path, points: int, profile: str) -> Site:
    """A sealed snapshot of so many points, and a target that holds somebody's content."""
    folder.mkdir(parents=True)
    site = Site(folder, profile)
    with serving("benchmarks.served", str(points), str(DIMENSIONS), "0") as url:
        source = {
            "QDRANT_URL": url.strip(),
            "QDRANT_COLLECTION": "chunks",
            "Q2V_TRANSPORT": "grpc",
        }
        with site.serving():
            site.namespace_id = json.loads(site.run("provision", **source))["kv_namespace_id"]
            site.run("snapshot", **source)
    _furnish(site, points)
    return site


def _furnish(site: Site, points: int) -> None:
    """What was there before us: some of our ids with other content, foreign ids, KV entries."""
    last_file = f"file-{(points - 1) // 12:07d}"
    with closing(SandboxStore(site.state, PROFILES[site.profile], SystemClock())) as store:
        ids = ["file-0000000_0", f"{last_file}_0", "foreign-1", "foreign-2"]
        for number, vector_id in enumerate(ids):
            values = np.zeros(DIMENSIONS, np.float32)
            values[number] = 1.0
            namespace = "theirs" if number == 1 else None
            store.put_vector(INDEX, vector_id, values, {"from": "a trial", "n": number}, namespace)
        store.put_kv(
            site.namespace_id, "file:file-0000000", b'["old"]', {"by": "a trial"}, 4_000_000_000
        )
        store.put_kv(site.namespace_id, "file:elsewhere", b'["x"]')
        store.put_kv(site.namespace_id, Settings().kv.counter_key, b"4")


def was_killed(process: subprocess.Popen[str]) -> bool:
    """Kill a process that may have ended by itself; whether the kill struck it alive."""
    process.kill()
    return process.wait() == -signal.SIGKILL


@contextmanager
def ended_at_last(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the block, whatever fails in it."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()
