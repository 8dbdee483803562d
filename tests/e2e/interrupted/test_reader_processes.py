"""Readers in processes of their own: the same bytes as from one, whoever of them is killed."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from migrate.snapshot.begun import state
from tests.e2e.processes import is_running, started_by, wait_for_end, wait_until
from tests.harness.running.workbench import Workbench, points, workbench
from tests.harness.running.workspace import ending

pytestmark = pytest.mark.slow
COUNT = 3_000
READERS = 2
# Parts of 1,000 points, and readers for as little as a test reads.
SNAPSHOT = (
    "import migrate.workers.processes as p; p.WORKER_BYTES_MIN = 1; "
    "import migrate.snapshot.begun.state as s; s.PART_BYTES = 1; "
    "import q2v.__main__ as q; q.run()"
)


@contextmanager
def reading(bench: Workbench) -> Iterator[subprocess.Popen[str]]:
    """A snapshot that has sealed its first part; it is gone at the end."""
    words = "snapshot", "--readers", str(READERS)
    process = bench.start(*words, program=SNAPSHOT, environment={"Q2V_SNAPSHOT_PAGE_POINTS": "100"})
    with ending(process):
        wait_until(process, lambda: bool(_sealed_parts(bench)))
        yield process


def _sealed_parts(bench: Workbench) -> int:
    journals = list(bench.directory.glob("*/journal.jsonl"))
    return sum(path.read_text().count('"type":"part_sealed"') for path in journals)


def finish(bench: Workbench) -> dict[str, bytes]:
    """The command to its end, begun or resumed; the parts it leaves, by name."""
    with reading(bench) as process:
        output, told = process.communicate()
    assert process.returncode == 0, told
    assert '"snapshot_id"' in output
    return _parts(bench)


def finish_alone(bench: Workbench) -> dict[str, bytes]:
    """The same by this process, without readers."""
    bench.environment["Q2V_SNAPSHOT_PAGE_POINTS"] = "100"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(state, "PART_BYTES", 1)
        result = bench.run("snapshot", "--readers", "1")
    assert result.exit_code == 0, result.stderr
    return _parts(bench)


def _parts(bench: Workbench) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bench.directory.glob("*/parts/*")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts as one process leaves them."""
    with workbench(tmp_path_factory.mktemp("one"), points(COUNT)) as bench:
        return finish_alone(bench)


@pytest.mark.fault("S06")
def test_several_readers_leave_the_bytes_that_one_leaves(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    with workbench(tmp_path, points(COUNT)) as bench:
        found = finish(bench)

    assert len(found) == COUNT / 1_000
    assert found == undisturbed


@pytest.mark.fault("G01", "S06")
def test_when_q2v_is_killed_its_readers_end_and_the_next_one_goes_on(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    with workbench(tmp_path, points(COUNT)) as bench:
        with reading(bench) as process:
            readers = started_by(process.pid)
            process.kill()
            process.wait()
            wait_for_end(readers)

        assert len(readers) == READERS
        assert finish(bench) == undisturbed


@pytest.mark.fault("G01")
def test_a_reader_that_is_killed_ends_the_snapshot_and_the_next_one_goes_on(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    with workbench(tmp_path, points(COUNT)) as bench:
        with reading(bench) as process:
            os.kill(started_by(process.pid)[0], signal.SIGKILL)
            output, _ = process.communicate()

        assert process.returncode == 9, output
        assert "a worker process ended with status -9" in output
        assert finish_alone(bench) == undisturbed


@pytest.mark.fault("G12")
def test_sigterm_does_not_wait_for_what_is_being_read(
    tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    with workbench(tmp_path, points(COUNT)) as bench:
        with reading(bench) as process:
            readers = started_by(process.pid)
            process.send_signal(signal.SIGTERM)
            process.communicate()

        assert process.returncode == 143
        assert not any(map(is_running, readers))
        assert finish_alone(bench) == undisturbed


@pytest.mark.fault("N11")
def test_a_source_that_refuses_the_key_is_told_as_by_one_process(tmp_path: Path) -> None:
    """What a reader raises crosses to the one who reports it: kind, words, and what to do."""
    with workbench(tmp_path, points(COUNT)) as bench, reading(bench) as process:
        bench.source.api_key = "another"
        output, _ = process.communicate()

    assert process.returncode == 6, output
    assert "QDRANT_API_KEY" in output
