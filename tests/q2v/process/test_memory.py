"""What a worker's memory settings change, seen in a process of its own."""

import os
import platform

import pytest

from migrate.workers.processes import KEEP_FREED_MEMORY
from tests.harness.running.programs import output_of_python

MANY_BUFFERS = """
import resource

for _ in range(5):
    buffers = [b"x" * 30_000_000 for _ in range(3)]
    del buffers
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(environment: dict[str, str]) -> int:
    """Pages of memory that a process was given while it made the same buffers five times."""
    return int(output_of_python("-c", MANY_BUFFERS, env={**os.environ, **environment}))


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing is changed elsewhere")
def test_freed_buffers_serve_the_next_ones() -> None:
    assert faults(KEEP_FREED_MEMORY) < faults({}) / 2
