"""One machine with real processes: a `q2v sandbox`, and `q2v` commands that write to it."""

import json
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import serving
from migrate.storage.layout import BUDGET
from sandbox.app import ACCOUNT_ID, API_TOKEN
from sandbox.clock import SystemClock
from sandbox.profile import PROFILES
from sandbox.store import SandboxStore
from tests.harness.journal_files import GrowingLines
from tests.harness.running.target import DIMENSIONS, put_former_content
from tests.harness.running.workspace import (
    NAMESPACE,
    Workspace,
    ending,
    start_here,
    target_settings,
)

UPLOAD_VECTORS = 250
_REQUESTS_IN_A_ROW = 800  # of the 1,200 that the tool sends in five minutes


@dataclass(kw_only=True)
class Site(Workspace):
    """Runs commands as processes. Copies of its folder make other sites."""

    profile: str  # of the sandbox
    _counted: int = 0  # requests logged when five minutes last passed

    def __post_init__(self) -> None:
        self.requests = GrowingLines(self.folder / "requests.jsonl")  # the sandbox's log
        self._stdout, self._stderr = self.folder / "stdout.txt", self.folder / "stderr.txt"

    def copy(self, folder: Path) -> "Site":
        """Another site with the same past; its sandbox is not running."""
        shutil.copytree(self.folder, folder)
        return _site(folder, dict(self.environment), self.profile)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """A `q2v sandbox` process while the block runs."""
        words = ["sandbox", "--profile", self.profile, "--state", str(self.state_folder)]
        words += ["--log", str(self.requests.path), "--requests-per-5min", "1000000"]
        # On stderr it complains of uploads that a kill has cut.
        output = subprocess.PIPE, subprocess.DEVNULL
        with start_here("-m", "q2v", *words, environment={}, output=output) as process:
            assert process.stdout is not None
            try:
                base_url = json.loads(process.stdout.readline())["base_url"]
                self.environment["CLOUDFLARE_API_BASE_URL"] = base_url
                yield
            finally:
                process.terminate()

    def wait(self, process: subprocess.Popen[str], seconds: float) -> bool:
        """Whether the process still runs after `seconds`.

        Its request budget never runs out: the budget has tests of its own, and waits cost time.
        """
        seen = len(self.requests.refreshed())
        if seen - self._counted > _REQUESTS_IN_A_ROW:
            self._counted = seen
            self._forget_requests()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is None

    def _forget_requests(self) -> None:
        """Empty the request budget, as five minutes without a request do."""
        path = self.directory / BUDGET / "requests"
        if path.exists():
            with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
                connection.execute("DELETE FROM spent WHERE why <> 'boot'")

    def launch(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command whose output goes to two files, so that no pipe fills up."""
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            return self.start(*words, environment=environment, output=(stdout, stderr))

    def run(self, *words: str, **environment: str) -> str:
        """A command without a kill, which has to succeed; returns its stdout."""
        with ending(self.launch(*words, **environment)) as process:
            return self.check(process)

    def check(self, process: subprocess.Popen[str]) -> str:
        """Wait for a command that has to succeed; returns its stdout."""
        while self.wait(process, 0.05):
            pass
        said = self._stderr.read_text(encoding="utf-8")
        assert process.returncode == 0, f"{process.args!r} ended with {process.returncode}: {said}"
        return self._stdout.read_text(encoding="utf-8")


def _site(folder: Path, environment: dict[str, str], profile: str) -> Site:
    directory = folder / "snapshots"
    return Site(folder=folder, directory=directory, environment=environment, profile=profile)


def build_site(folder: Path, points: int, profile: str) -> Site:
    """A sealed snapshot of `points` points, and a target that another writer has used."""
    folder.mkdir(parents=True)
    environment = {
        **target_settings("", ACCOUNT_ID, API_TOKEN),
        "Q2V_LIMITS_VECTORS_PER_UPLOAD": str(UPLOAD_VECTORS),
        "Q2V_LIMITS_POLL_S": "0.2",
        "Q2V_LIMITS_KV_SETTLE_S": str(PROFILES[profile].kv_visible_after_s + 0.2),
    }
    site = _site(folder, environment, profile)
    with serving("benchmarks.services.served", str(points), str(DIMENSIONS), "0") as url:
        source = {
            "QDRANT_URL": url.strip(),
            "QDRANT_COLLECTION": "chunks",
            "Q2V_TRANSPORT": "grpc",
        }
        with site.serving():
            provisioned = json.loads(site.run("provision", **source))
            site.environment[NAMESPACE] = provisioned["kv_namespace_id"]
            site.run("snapshot", **source)
    ours = ["file-0000000_0", f"file-{(points - 1) // 12:07d}_0"]
    store = SandboxStore(site.state_folder, PROFILES[profile], SystemClock())
    with closing(store):
        put_former_content(store, site.namespace_id, ours=ours)
    return site


def was_killed(process: subprocess.Popen[str]) -> bool:
    """Kill a process that may have ended by itself; whether the kill struck it alive."""
    process.kill()
    return process.wait() == -signal.SIGKILL
