"""After refusals every run has a way forward, and the advice that is printed is one of them."""

import re
from pathlib import Path
from zlib import crc32

import pytest

from tests.harness.running.workbench import points, workbench

COUNT = 30
UPLOADS = {"Q2V_LIMITS_VECTORS_PER_UPLOAD": "10"}
IDS = [f"file-{number // 7:04d}_{number % 7}" for number in range(COUNT)]
ONE_IN = 5
BAD = {name for name in IDS if crc32(name.encode()) % ONE_IN == 0}


@pytest.mark.slow
@pytest.mark.fault("F05", "N16", "I5", "I7")
def test_refused_vectors_are_sent_again_on_request(tmp_path: Path) -> None:
    fault = f"refuse-ids:one-in={ONE_IN}"
    with workbench(tmp_path, points(COUNT), fault=fault, settings=UPLOADS) as bench:
        before = bench.state()
        moved = bench.move()
        shown = bench.run("status", as_json=False).stdout
        bench.sandbox.order(None)
        idle = bench.run("migrate")
        again = bench.run("migrate", "--retry-refused")
        compared = bench.run("reconcile")
        nothing = bench.run("migrate", "--retry-refused")

        assert bench.stored().keys() == set(IDS)
        assert bench.entries()["_vector_count"] == str(COUNT).encode()
        assert bench.run("rollback", "--execute").exit_code == 0
        assert before == bench.state()
    assert BAD
    assert (moved.exit_code, idle.exit_code) == (3, 3)
    assert "q2v migrate --retry-refused" in shown
    assert (again.exit_code, again.document["round"]) == (0, "retry")
    assert (again.document["acknowledged"], again.document["refused"]) == (COUNT, [])
    assert again.document["kv_entries"] == len(range(0, COUNT, 7))
    assert (compared.exit_code, compared.document["verdict"]) == (0, "equal")
    assert (nothing.exit_code, nothing.document["requests"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.fault("F05", "N16")
def test_an_unknown_refusal_of_everything_stops_with_its_words_and_goes_on_later(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(COUNT), settings=UPLOADS) as bench:
        assert bench.run("snapshot").exit_code == 0
        bench.sandbox.order("49999:every=1")
        stopped = [bench.run("migrate") for _ in range(2)]
        told = bench.run("status").document
        uploads = len(bench.uploads())
        bench.sandbox.order(None)
        moved = bench.run("migrate")

        assert bench.stored().keys() == set(IDS)
    assert [one.exit_code for one in stopped] == [5, 5]
    assert "request could not be processed" in stopped[0].document["error"]["what"]
    assert "q2v migrate" in stopped[0].document["error"]["next"]
    assert (told["pending"], told["quarantined"]) == (COUNT, {})
    assert uploads <= 60
    assert (moved.exit_code, moved.document["quarantined"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.fault("F05", "F09", "N16", "D04")
def test_the_advice_after_too_many_refusals_has_its_effect_on_the_same_run(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(COUNT), fault="refuse-ids:one-in=1", settings=UPLOADS) as bench:
        moved = bench.move()
        advice = moved.document["error"]["next"]
        number = re.search(r"--max-quarantine (\d+)", advice)
        assert number is not None
        one_more = bench.run("migrate", "--max-quarantine", number[1])
        all_of_them = bench.run("migrate", "--max-quarantine", str(COUNT))
        bench.sandbox.order(None)
        again = bench.run("migrate", "--retry-refused")

        assert bench.stored().keys() == set(IDS)
    assert (moved.exit_code, one_more.exit_code) == (3, 3)
    assert f"refused {int(number[1]) + 1} vectors" in one_more.document["error"]["what"]
    assert all_of_them.exit_code == 3
    assert all_of_them.document["quarantined_reasons"] == {"refused": COUNT}
    assert all_of_them.document["run_id"] == again.document["run_id"]
    assert again.exit_code == 0


@pytest.mark.slow
@pytest.mark.fault("F05", "N16")
def test_vectors_refused_in_a_round_that_stopped_are_sent_again_in_it(tmp_path: Path) -> None:
    with workbench(tmp_path, points(COUNT), fault="refuse-ids:one-in=1", settings=UPLOADS) as bench:
        moved = bench.move()
        bench.sandbox.order(None)
        again = bench.run("migrate", "--retry-refused")

        assert bench.stored().keys() == set(IDS)
        assert bench.run("reconcile").exit_code == 0
    assert moved.exit_code == 3
    assert (again.exit_code, again.document["round"]) == (0, "full")


def test_a_retry_without_a_run_is_refused(tmp_path: Path) -> None:
    with workbench(tmp_path, points(COUNT), settings=UPLOADS) as bench:
        assert bench.run("snapshot").exit_code == 0
        ended = bench.run("migrate", "--retry-refused")

        assert bench.stored() == {}
    assert ended.exit_code == 2


@pytest.mark.slow
@pytest.mark.fault("F05", "F11")
def test_the_advice_names_the_folder_and_the_snapshot(tmp_path: Path) -> None:
    """Run as printed, it does not reach another folder, nor a newer snapshot."""
    with workbench(tmp_path, points(COUNT), fault=f"refuse-ids:one-in={ONE_IN}") as bench:
        bench.move()
        (run,) = bench.directory.glob("*/runs/*")
        assert bench.run("snapshot").exit_code == 0
        status = bench.run("status", str(run), as_json=False).stdout
        migrated = bench.run("migrate", str(run.parent.parent), as_json=False).stdout

    snapshot, options = run.parent.parent, f"--dir {bench.directory}"
    for shown in (status, migrated):
        assert f"`q2v migrate {snapshot} --retry-refused {options}`" in shown
        assert f"`q2v migrate {snapshot} --waive refused {options}`" in shown
