"""Killed, stopped, started twice, or cut off: the same command goes on and nothing is lost."""

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from sandbox.profile import INSTANT, STRICT
from tests.e2e.processes import wait_until
from tests.harness.running.workbench import Workbench, points, workbench

SMALL_UPLOADS = {"Q2V_LIMITS_VECTORS_PER_UPLOAD": "10"}


def _acknowledged(bench: Workbench) -> int:
    """Uploads with an ack in the journal."""
    journals = list(bench.directory.glob("*/runs/*/journal.jsonl"))
    return sum(path.read_text().count('"type":"ack"') for path in journals)


def _kill_once_acknowledged(bench: Workbench, uploads: int) -> None:
    process = bench.start("migrate")
    wait_until(process, lambda: _acknowledged(bench) >= uploads)
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
@pytest.mark.fault("G01", "G09", "U01")
def test_a_killed_migrate_goes_on_and_sends_nothing_twice_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    profile = replace(INSTANT, name="slow-commits", commit_delay_s=0.2)
    with workbench(tmp_path, points(400), profile=profile, settings=SMALL_UPLOADS) as bench:
        bench.run("snapshot")
        for uploads in (3, 11, 30):
            _kill_once_acknowledged(bench, uploads)

        finished = bench.run("migrate")

        assert finished.exit_code == 0
        assert len(bench.stored()) == 400
        assert bench.run("reconcile").exit_code == 0
        # Each kill leaves at most one upload in doubt; only those may arrive a second time.
        repeated = len(bench.uploads()) - len(set(bench.uploads()))
        assert len(set(bench.uploads())) == 40
        assert repeated <= 3


@pytest.mark.slow
@pytest.mark.fault("N06", "K02")
@pytest.mark.parametrize("fault", ["lost-answer:every=2", "reset:every=3", "kv-partial:every=2"])
def test_answers_that_get_lost_after_the_write_cost_nothing(tmp_path: Path, fault: str) -> None:
    """The write was taken, the answer was not heard: the same bytes again, one effect."""
    with workbench(tmp_path, points(100), fault=fault, settings=SMALL_UPLOADS) as bench:
        result = bench.move()

        assert result.exit_code == 0
        assert len(bench.stored()) == 100
        assert bench.run("reconcile").exit_code == 0


@pytest.mark.slow
def test_the_strict_sandbox_is_met_with_patience(tmp_path: Path) -> None:
    """Late commits, foreign watermarks, stale reads, half-failed bulk writes, remembered misses."""
    profile = replace(
        STRICT,
        name="strict, quicker",
        commit_delay_s=0.3,
        count_lag_s=2.0,
        foreign_watermark_rate=1.0,
        foreign_watermark_after_s=0.0,
        stale_read_rate=0.3,
        stale_age_s=0.5,
        kv_visible_after_s=0.6,
        kv_miss_cached_s=0.6,
        kv_write_gap_s=0.1,
        kv_partial_rate=0.5,
        kv_empty_page_rate=0.5,
    )
    settings = {**SMALL_UPLOADS, "Q2V_LIMITS_POLL_S": "0.3", "Q2V_LIMITS_KV_SETTLE_S": "0.8"}
    with workbench(tmp_path, points(100), profile=profile, settings=settings) as bench:
        before = bench.state()
        assert bench.move().exit_code == 0
        assert bench.run("reconcile").document["verdict"] == "equal"
        assert bench.run("rollback", "--execute").exit_code == 0
        assert before == bench.state()


@pytest.mark.slow
@pytest.mark.fault("G08")
def test_of_two_at_once_the_second_is_sent_away(tmp_path: Path) -> None:
    profile = replace(INSTANT, name="slow-commits", commit_delay_s=2.0)
    with workbench(tmp_path, points(50), profile=profile) as bench:
        bench.run("snapshot")
        first = bench.start("migrate")
        wait_until(first, lambda: _acknowledged(bench) > 0)

        second = bench.run("migrate")

        output, _ = first.communicate()
        assert first.returncode == 0, output
    assert second.exit_code == 11
    assert f"pid {first.pid}" in second.document["error"]["what"]


@pytest.mark.slow
@pytest.mark.fault("G12")
def test_sigterm_stops_after_a_flush_and_the_run_goes_on(tmp_path: Path) -> None:
    profile = replace(INSTANT, name="slow-commits", commit_delay_s=3.0)
    with workbench(tmp_path, points(50), profile=profile) as bench:
        bench.run("snapshot")
        process = bench.start("migrate")
        wait_until(process, lambda: _acknowledged(bench) > 0)
        process.send_signal(signal.SIGTERM)
        process.communicate()

        assert process.returncode == 143
        assert bench.run("migrate").exit_code == 0
        assert len(bench.uploads()) == 1


@pytest.mark.slow
@pytest.mark.fault("U08")
def test_a_stop_file_stops_before_the_next_write(tmp_path: Path) -> None:
    with workbench(tmp_path, points(50), settings=SMALL_UPLOADS) as bench:
        bench.run("snapshot")
        _kill_once_acknowledged(bench, 1)
        (run,) = bench.directory.glob("*/runs/*")
        (run / "STOP").touch()
        sent = len(bench.uploads())

        stopped = bench.run("migrate")

        assert len(bench.uploads()) <= sent + 1
        (run / "STOP").unlink()
        assert bench.run("migrate").exit_code == 0
    assert stopped.exit_code == 8


@pytest.mark.slow
@pytest.mark.fault("R07")
@pytest.mark.usefixtures("short_pauses")
def test_a_target_that_cannot_be_read_is_indeterminate_never_equal(tmp_path: Path) -> None:
    with workbench(tmp_path, points(50)) as bench:
        bench.move()
        bench.environment["QDRANT_URL"] = "http://127.0.0.1:9"

        result = bench.run("reconcile")

    assert result.exit_code == 13
    assert result.document["verdict"] == "indeterminate"
    assert result.document["counts"]["vector_index"] is None


@pytest.mark.slow
@pytest.mark.fault("S04")
def test_a_killed_snapshot_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    """Bytes do not depend on page size, kills or restarts."""
    with workbench(tmp_path / "calm", points(700)) as calm:
        assert calm.run("snapshot").exit_code == 0
        expected = _part_bytes(calm)
    for number, page in enumerate((13, 128)):
        with workbench(tmp_path / f"wild-{number}", points(700)) as bench:
            process = bench.start("snapshot", "--page-points", str(page))
            wait_until(process, partial(_has_read, bench))
            process.send_signal(signal.SIGKILL)
            process.communicate()

            result = bench.run("snapshot", "--page-points", str(page))

            assert result.exit_code == 0
            assert expected == _part_bytes(bench)


def _has_read(bench: Workbench) -> bool:
    return len(bench.collection.requests) >= 5


def _part_bytes(bench: Workbench) -> list[bytes]:
    return [path.read_bytes() for path in sorted(bench.directory.glob("*/parts/*.parquet"))]


@pytest.mark.fault("G06")
def test_a_folder_that_cannot_be_written_stops_before_any_remote_write(tmp_path: Path) -> None:
    with workbench(tmp_path, points(5)) as bench:
        bench.directory = tmp_path / "in-the-way"
        bench.directory.write_text("a file, not a folder")

        result = bench.run("snapshot")

        assert bench.collection.writes == []
    assert result.exit_code in {2, 9}
    assert os.path.lexists(bench.directory)
