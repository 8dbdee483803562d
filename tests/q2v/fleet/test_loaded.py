"""The process that forks for each command of a fleet has every command and nothing that runs."""

import os

import pytest

from tests.harness.running.programs import output_of_python, run_python

pytestmark = pytest.mark.slow

_LOOK = """
import gc, sys, threading
from pathlib import Path
import q2v.commands.loaded
from q2v.commands import COMMANDS

places = [one.place.partition(":")[0] for one in COMMANDS.values() if not one.extra]
links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.exists()]
print(sorted(place for place in places if place not in sys.modules))
print(threading.active_count(), sorted({path.read_text().strip() for path in
      Path("/proc/self/task").glob("*/comm")} - {Path("/proc/self/comm").read_text().strip()}))
print([str(link) for link in links if "socket" in str(link)])
print(gc.get_freeze_count() > 0)
sys.stdout.flush()
os._exit(0)
"""
_WORK = """
import os, sys
import q2v.commands.loaded
import duckdb, numpy, pyarrow.compute

process = os.fork()
if process == 0:
    square = numpy.ones((600, 600), dtype=numpy.float32)
    total = pyarrow.compute.sum(pyarrow.array((square @ square)[0])).as_py()
    (rows,) = duckdb.connect().execute("SELECT count(*) FROM range(200000)").fetchone()
    os._exit(0 if (total, rows) == (360_000.0, 200_000) else 3)
print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
sys.stdout.flush()
os._exit(0)
"""

_FLEET = """
from migrate.workers.processes import start_process

process = start_process("q2v.commands.loaded", WORK)
process.join()
print(process.exitcode)
"""


@pytest.mark.slow
def test_all_commands_are_loaded_without_a_thread_or_a_connection() -> None:
    """But for the one that the jemalloc in Arrow keeps, and stops while a process forks."""
    said = output_of_python(
        "-c", f"import os\n{_LOOK}", env={**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    ).splitlines()

    assert said in (["[]", "1 ['jemalloc_bg_thd']", "[]", "True"], ["[]", "1 []", "[]", "True"])


@pytest.mark.slow
def test_the_libraries_work_in_a_process_that_was_forked() -> None:
    """With the threads that OpenBLAS has on several cores; it stops them while a process forks."""
    several = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}

    assert output_of_python("-c", _WORK, env=several).strip() == "0"


@pytest.mark.slow
def test_the_process_that_forks_ends_without_a_word() -> None:
    """Both pipes are read to their end, which is when that process has ended too."""
    done = run_python("-c", _FLEET.replace("WORK", "int"))

    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


@pytest.mark.slow
def test_a_failure_in_a_forked_process_is_still_shown() -> None:
    done = run_python("-c", _FLEET.replace("WORK", "int, 'no number'"))

    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr.startswith("Process ")
    assert done.stderr.endswith("ValueError: invalid literal for int() with base 10: 'no number'\n")


@pytest.mark.slow
def test_a_failure_of_the_process_that_forks_is_still_shown() -> None:
    """Its end is that of an interpreter whose program has failed."""
    program = """
    # multiprocessing.forkserver
    import q2v.commands.loaded
    raise OSError("no handle is left")
    """
    done = run_python("-c", "\n".join(line.strip() for line in program.splitlines()))

    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("OSError: no handle is left\n")
