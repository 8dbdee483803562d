"""What commands need whatever runs them: a --dir, a sandbox's state, and the settings of both."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.harness.journal_files import acknowledged_uploads, newest_journal
from tests.harness.running.loaded.client import start_loaded
from tests.harness.running.programs import start_python
from tests.harness.running.target import INDEX
from tests.harness.running.target_reader import TargetContent, read_target

REPOSITORY = Path(__file__).resolve().parents[3]
NAMESPACE = "Q2V_KV_NAMESPACE_ID"
Output = tuple[int | IO[bytes], int | IO[bytes]]  # stdout, stderr


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document of a command that was asked for it."""
        document = json.loads(self.stdout)
        assert isinstance(document, dict)
        return document


def target_settings(base_url: str, account_id: str, api_token: str) -> dict[str, str]:
    """Environment that points q2v at a sandbox and lets it wait for as little as possible."""
    return {
        "CLOUDFLARE_ACCOUNT_ID": account_id,
        "CLOUDFLARE_API_TOKEN": api_token,
        "CLOUDFLARE_API_BASE_URL": base_url,
        "Q2V_VECTOR_INDEX": INDEX,
        "Q2V_LIMITS_POLL_S": "0.05",
        "Q2V_LIMITS_KV_SETTLE_S": "0.05",
        "Q2V_LIMITS_SETTLE_TIMEOUT_S": "600",
        "Q2V_LIMITS_REQUESTS_PER_5MIN": "1200",
    }


@dataclass(kw_only=True)
class Workspace:
    """A folder with the sandbox's --state in it, the tool's --dir, and the environment."""

    folder: Path
    directory: Path  # the tool's --dir
    environment: dict[str, str]

    @property
    def state_folder(self) -> Path:
        """The sandbox's --state."""
        return self.folder / "target"

    @property
    def index(self) -> str:
        """The vector index that the settings name."""
        return self.environment["Q2V_VECTOR_INDEX"]

    @property
    def namespace_id(self) -> str:
        """The KV namespace that the settings name."""
        return self.environment[NAMESPACE]

    def arguments(self, *words: str, as_json: bool = True) -> list[str]:
        """The arguments of a command on this --dir."""
        return [*words, "--dir", str(self.directory), *(["--json"] if as_json else [])]

    def start(
        self,
        *words: str,
        program: str | None = None,
        as_json: bool = True,
        environment: Mapping[str, str] | None = None,
        output: Output = (subprocess.PIPE, subprocess.PIPE),
        new_interpreter: bool = False,
    ) -> subprocess.Popen[str]:
        """Start a command as a process; `program` is Python code in place of `-m q2v`.

        `new_interpreter` is for tests of what the system shows of the process.
        """
        return start_here(
            *(("-m", "q2v") if program is None else ("-c", program)),
            *self.arguments(*words, as_json=as_json),
            environment={**self.environment, **(environment or {})},
            output=output,
            new_interpreter=new_interpreter,
        )

    def run_process(self, *words: str, program: str | None = None, as_json: bool = True) -> Result:
        """`start`, and wait for the end."""
        process = self.start(*words, program=program, as_json=as_json)
        stdout, stderr = process.communicate()
        return Result(process.returncode, stdout, stderr)

    def files(self) -> Iterator[Path]:
        """Every file that the tool has written."""
        yield from (path for path in self.directory.rglob("*") if path.is_file())

    def acknowledged(self) -> set[str]:
        """SHA-256 of the uploads that the newest run's journal holds acks for."""
        return acknowledged_uploads(newest_journal(self.directory))

    def content(self) -> TargetContent:
        """What the target holds, read without the sandbox's code."""
        return read_target(self.state_folder)


def start_here(
    *arguments: str, environment: Mapping[str, str], output: Output, new_interpreter: bool = False
) -> subprocess.Popen[str]:
    """Start a Python in the repository's folder, with this added to the environment."""
    start = start_python if new_interpreter else start_loaded
    return start(
        *arguments,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=output[0],
        stderr=output[1],
    )


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the block, whatever fails in it."""
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
