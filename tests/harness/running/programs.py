"""Start programs for tests. Every program that a test starts is started here."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TypedDict, Unpack

Stream = int | IO[bytes] | IO[str] | None


class How(TypedDict, total=False):
    """Parameters of `subprocess.Popen` that tests use."""

    cwd: Path
    env: Mapping[str, str]  # the whole environment; without it, that of the tests
    stdin: Stream
    stdout: Stream
    stderr: Stream
    preexec_fn: Callable[[], None]


def start_program(*words: str | Path, **how: Unpack[How]) -> subprocess.Popen[str]:
    """Start a program without a shell; its streams are texts."""
    return subprocess.Popen(list(map(str, words)), text=True, **how)  # noqa: S603 - words of tests


def run_program(
    *words: str | Path, given: str | None = None, timeout_s: float | None = None, **how: Unpack[How]
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit code; stdin is `given`, or empty.

    stdout and stderr are kept unless `how` says where they go. Raises `subprocess.TimeoutExpired`
    when the program has not ended after `timeout_s`; it is killed then.
    """
    filled = How(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    filled.update(how)
    with start_program(*words, **filled) as process:
        try:
            stdout, stderr = process.communicate(given, timeout_s)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def start_python(*words: str | Path, **how: Unpack[How]) -> subprocess.Popen[str]:
    """Start the Python that runs the tests."""
    return start_program(sys.executable, *words, **how)


def run_python(
    *words: str | Path, timeout_s: float | None = None, **how: Unpack[How]
) -> subprocess.CompletedProcess[str]:
    """Run the Python that runs the tests to its end, whatever its exit code."""
    return run_program(sys.executable, *words, timeout_s=timeout_s, **how)


def output_of_python(*words: str | Path, **how: Unpack[How]) -> str:
    """What a Python program prints that has to succeed."""
    done = run_python(*words, **how)
    assert done.returncode == 0, done.stderr
    return done.stdout
