"""Peak memory of snapshot and migrate for two collection sizes: it must not grow with the size."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.served import DIMENSIONS, TEXT_REPEATED

SIZES = (20_000, 100_000)
COMMANDS = ("snapshot", "migrate", "reconcile")
SCRATCH = Path("build") / "memory"
PEAK_MB_MAX = 600
GROWTH_MAX = 0.1


@contextmanager
def serving(*words: str) -> Iterator[str]:
    """A server process; gives its first line."""
    with subprocess.Popen(  # noqa: S603 - our own commands
        [sys.executable, "-m", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline()
        finally:
            process.terminate()


def run(words: Sequence[str], environment: Mapping[str, str]) -> tuple[dict[str, object], int]:
    """Run q2v as a process of its own; its document and its peak memory in MB."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "q2v", *words, "--json"],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    document = json.loads(output)
    if process.returncode:
        raise SystemExit(f"q2v {words[0]} ended with {process.returncode}: {output}")
    return document, _peak_mb(usage)


def _peak_mb(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss // 1024  # Linux gives KiB


def measure(
    size: int,
    folder: Path,
    *,
    dimensions: int = DIMENSIONS,
    reduced: int = 1_536,
    text_repeated: int = TEXT_REPEATED,
    settings: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Peak MB of each command for one size; prints a line each."""
    peaks = {}
    with (
        serving("benchmarks.served", str(size), str(dimensions), str(text_repeated)) as url,
        serving("sandbox.server", "--state", str(folder / "target")) as line,
    ):
        target = json.loads(line)
        environment = {
            "QDRANT_URL": url.strip(),
            "QDRANT_COLLECTION": "chunks",
            "Q2V_TRANSPORT": "grpc",
            "CLOUDFLARE_ACCOUNT_ID": target["account_id"],
            "CLOUDFLARE_API_TOKEN": target["api_token"],
            "CLOUDFLARE_API_BASE_URL": target["base_url"],
            "Q2V_VECTOR_INDEX": "bench",
            "Q2V_DIMENSIONS": str(reduced),
            "Q2V_REDUCE": "matryoshka",
            "Q2V_LIMITS_POLL_S": "0.1",
            **(settings or {}),
            "Q2V_LIMITS_CONTENT_FULL_MAX": "0",  # the budget would let 20,000 take five minutes
        }
        where = ["--dir", str(folder / "snapshots")]
        made, _ = run(["provision", *where], environment)
        environment["Q2V_KV_NAMESPACE_ID"] = str(made["kv_namespace_id"])
        for name in COMMANDS:
            started = time.monotonic()  # noqa: TID251 - a benchmark looks at the clock
            _, peaks[name] = run([name, *where], environment)
            seconds = time.monotonic() - started  # noqa: TID251 - as above
            sys.stdout.write(
                f"{name:9} {size:>9,} points  peak {peaks[name]:>4} MB  {seconds:6.1f} s  "
                f"{size / seconds:8,.0f} points/s\n"
            )
            sys.stdout.flush()
    return peaks


def main() -> None:
    """Measure both sizes and compare."""
    peaks = []
    for size in SIZES:
        # Inside the clone, in a folder that git ignores: a small /tmp would not hold it.
        SCRATCH.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
            peaks.append(measure(size, Path(folder)))
    for name in peaks[0]:
        growth = peaks[1][name] / peaks[0][name] - 1
        holds = abs(growth) < GROWTH_MAX and peaks[1][name] < PEAK_MB_MAX
        verdict = "holds" if holds else "DOES NOT HOLD"
        sys.stdout.write(f"{name}: {growth:+.1%} from {SIZES[0]:,} to {SIZES[1]:,}: {verdict}\n")


if __name__ == "__main__":
    main()
