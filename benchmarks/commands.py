"""Run whole commands of q2v as processes of their own, against servers of this folder."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.made import DIMENSIONS, REDUCED, TEXT_REPEATED
from benchmarks.services import sink
from benchmarks.services.changing import CHANGE
from migrate.clock import SystemClock

_LAUNCH = (sys.executable, "-m", "benchmarks.launch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one command has said and cost; its own upload workers included."""

    document: dict[str, object]
    wall_s: float
    phases_s: dict[str, float]  # what it said it was doing -> how long
    cpu_s: float
    peak_mb: int  # of its largest process

    def number(self, name: str) -> int:
        """A whole number of the document."""
        value = self.document[name]
        assert isinstance(value, int)
        return value


def cpu_ticks(pid: int) -> int:
    """CPU that a running process has used, in the kernel's ticks (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@contextmanager
def serving(*words: str) -> Iterator[str]:
    """A server process; gives its first line."""
    with serving_process(*words) as (line, _):
        yield line


@contextmanager
def serving_process(*words: str) -> Iterator[tuple[str, int]]:
    """A server process; gives its first line and its process id."""
    with subprocess.Popen(  # noqa: S603 - our own commands
        [sys.executable, "-m", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline(), process.pid
        finally:
            process.terminate()


def run(words: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run q2v; raises SystemExit when it does not end with 0."""
    clock = SystemClock()
    phases: dict[str, float] = {}
    told: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        figures, output = Path(folder) / "figures", Path(folder) / "output"
        started = at = clock.monotonic_s()
        with (
            output.open("w") as out,
            subprocess.Popen(  # noqa: S603 - our own commands
                [*_LAUNCH, str(figures), sys.executable, "-m", "q2v", *words, "--json"],
                env={**os.environ, **environment},
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
            ) as process,
        ):
            assert process.stderr is not None
            phase = "start"
            for line in process.stderr:
                told.append(line)
                now = clock.monotonic_s()
                phases[phase] = phases.get(phase, 0.0) + now - at
                phase, at = line.partition(":")[0].strip(), now
        wall_s = clock.monotonic_s() - started
        phases[phase] = phases.get(phase, 0.0) + started + wall_s - at
        if process.returncode:
            raise SystemExit(
                f"q2v {words[0]}: {process.returncode}: {output.read_text()}\n{''.join(told)}"
            )
        return Run(
            document=json.loads(output.read_text()),
            wall_s=wall_s,
            phases_s=phases,
            **json.loads(figures.read_text()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a collection of made points moves: servers that run, settings, a folder."""

    environment: dict[str, str]
    folder: Path
    servers: tuple[int, ...]  # process ids

    def run(self, name: str, *words: str) -> Run:
        """One command."""
        return run([name, *words, "--dir", str(self.folder / "snapshots")], self.environment)

    def change(self) -> None:
        """Change every hundredth point, in the source and in what the sink makes up."""
        for process_id in self.servers:
            os.kill(process_id, CHANGE)


@contextmanager
def place(
    size: int,
    folder: Path,
    *,
    dimensions: int = DIMENSIONS,
    reduced: int = REDUCED,
    text_repeated: int = TEXT_REPEATED,
    settings: Mapping[str, str] | None = None,
    into_sink: bool = False,
) -> Iterator[Place]:
    """Serve `size` points, and a target: the sandbox, or the sink that keeps nothing."""
    made = [str(size), str(dimensions), str(text_repeated)]
    with ExitStack() as servers:
        url, source_pid = servers.enter_context(
            serving_process("benchmarks.services.served", *made)
        )
        pids = [source_pid]
        if into_sink:
            line, sink_pid = servers.enter_context(
                serving_process("benchmarks.services.sink", *made, str(reduced))
            )
            pids.append(sink_pid)
            target = sink.credentials(line.strip())
        else:
            state = str(folder / "target")
            line = servers.enter_context(serving("sandbox.server", "--state", state))
            target = json.loads(line)
        environment = {
            "QDRANT_URL": url.strip(),
            "QDRANT_COLLECTION": "chunks",
            "Q2V_TRANSPORT": "grpc",
            "CLOUDFLARE_ACCOUNT_ID": target["account_id"],
            "CLOUDFLARE_API_TOKEN": target["api_token"],
            "CLOUDFLARE_API_BASE_URL": target["base_url"],
            "Q2V_VECTOR_INDEX": sink.INDEX,
            "Q2V_DIMENSIONS": str(reduced),
            "Q2V_REDUCE": "matryoshka" if reduced < dimensions else "none",
            "Q2V_LIMITS_POLL_S": "0.1",
            "Q2V_LIMITS_CONTENT_FULL_MAX": "0",  # the budget would let 20,000 take five minutes
            **(settings or {}),
        }
        found = Place(environment=environment, folder=folder, servers=tuple(pids))
        if into_sink:
            environment["Q2V_KV_NAMESPACE_ID"] = sink.NAMESPACE
        else:
            document = found.run("provision").document
            environment["Q2V_KV_NAMESPACE_ID"] = str(document["kv_namespace_id"])
        yield found
