"""Memory that the system does not give is a local failure with a next step, not a bug."""

import resource
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from migrate.errors import ExitCode
from q2v.invocation import Invocation
from q2v.memory import ADDRESS_SPACE_BYTES_MIN, is_memory_short
from q2v.output.failures import explain
from tests.harness.running.programs import run_python

pytestmark = pytest.mark.fault("F22")
HUGE = 1 << 60


def _too_long_a_text() -> None:
    bytearray(HUGE)


def _too_large_an_array() -> None:
    np.empty(HUGE // 8, np.float64)


def _too_large_a_buffer() -> None:
    pa.allocate_buffer(HUGE)


def _no_more_threads() -> None:
    before = threading.stack_size(1 << 46)  # more than the address space of any process
    try:
        threading.Thread(target=str).start()
    finally:
        threading.stack_size(before)


@pytest.mark.parametrize(
    "demand", [_too_long_a_text, _too_large_an_array, _too_large_a_buffer, _no_more_threads]
)
def test_a_refused_demand_for_memory_is_exit_9(demand: Callable[[], None], tmp_path: Path) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as raised:
        demand()

    assert is_memory_short(raised.value)
    failure = explain(raised.value, Invocation(folder=tmp_path))
    assert failure.exit_code == ExitCode.LOCAL_IO
    assert "memory" in failure.what
    assert not list(tmp_path.iterdir()), "no crash log: it is no bug"


def test_another_error_is_not_taken_for_one_of_memory() -> None:
    assert not is_memory_short(RuntimeError("a bug"))
    assert not is_memory_short(ImportError("no module named x"))


def test_a_command_with_too_little_address_space_ends_before_it_begins(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES_MIN - 1,) * 2)

    ended = run_python(
        *("-m", "q2v", "status", "--dir", str(tmp_path / "snapshots")), preexec_fn=limit
    )

    assert ended.returncode == ExitCode.LOCAL_IO
    assert f"{ADDRESS_SPACE_BYTES_MIN:,} B are needed" in ended.stderr
    assert "ulimit -v unlimited" in ended.stderr
    assert not (tmp_path / "snapshots").exists()
