"""What a worker's memory settings change, seen in a process of its own."""

import platform
import subprocess
import sys

import pytest

MANY_BUFFERS = """
import resource, sys
from q2v.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(5):
    buffers = [b"x" * 30_000_000 for _ in range(3)]
    del buffers
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(how: str) -> int:
    """Pages of memory that a process was given while it made the same buffers five times."""
    words = [sys.executable, "-c", MANY_BUFFERS, how]
    told = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603 - ours
    return int(told.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing is changed elsewhere")
def test_freed_buffers_serve_the_next_ones() -> None:
    assert faults("keep") < faults("plain") / 2
