"""A service that refuses what the plan let pass: the bad vectors are left out, the rest moves."""

from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from tests.harness.running.workbench import Workbench, points, workbench

COUNT = 200
ONE_IN = 40
UPLOADS = {"Q2V_LIMITS_VECTORS_PER_UPLOAD": "50"}
IDS = [f"file-{number // 7:04d}_{number % 7}" for number in range(COUNT)]
BAD = {name for name in IDS if crc32(name.encode()) % ONE_IN == 0}
FAULT = f"refuse-ids:one-in={ONE_IN}"


def _reads_back(bench: Workbench, bad: set[str]) -> None:
    assert bench.stored().keys() == set(IDS) - bad
    assert b"".join(bench.entries().values()).count(b"file-") == COUNT - len(bad)
    assert bench.entries()["_vector_count"] == str(COUNT - len(bad)).encode()


@pytest.mark.slow
@pytest.mark.fault("N16", "I1", "I5", "I7")
def test_what_the_service_refuses_stays_behind_with_its_answer(tmp_path: Path) -> None:
    with workbench(tmp_path, points(COUNT), fault=FAULT, settings=UPLOADS) as bench:
        before = bench.state()
        moved = bench.move()
        compared = bench.run("reconcile")
        told = bench.run("status")
        again = bench.run("migrate")
        waived = bench.run("migrate", "--waive", "refused")
        last = bench.run("reconcile")

        _reads_back(bench, BAD)
        uploads = len(bench.uploads())
        assert bench.run("rollback", "--execute").exit_code == 0
        assert before == bench.state()
    assert BAD
    assert [moved.exit_code, compared.exit_code, again.exit_code] == [3, 3, 3]
    assert [waived.exit_code, last.exit_code] == [0, 0]
    document: dict[str, Any] = moved.document
    assert document["quarantined_reasons"] == {"refused": len(BAD)}
    assert document["acknowledged"] + document["quarantined"] == document["points"] == COUNT
    assert document["mutations"] + document["refused_uploads"] == uploads
    assert uploads <= 4 + 2 * len(BAD) * 6
    assert {point["vector_id"] for point in document["refused"]} == BAD
    assert {IDS[int(point["point_id"])] for point in document["refused"]} == BAD
    assert all("refused on order" in point["answer"] for point in document["refused"])
    assert told.document["refused"] == document["refused"]
    assert (told.document["pending"], told.document["acknowledged"]) == (0, COUNT - len(BAD))
    assert (compared.document["verdict"], last.document["verdict"]) == ("equal", "equal")


@pytest.mark.slow
@pytest.mark.fault("N17")
def test_a_service_that_takes_less_than_configured_gets_smaller_uploads(tmp_path: Path) -> None:
    settings = {"Q2V_LIMITS_VECTORS_PER_UPLOAD": "100"}
    with workbench(tmp_path, points(COUNT), fault="413:above=40000", settings=settings) as bench:
        moved = bench.move()

        assert bench.run("reconcile").exit_code == 0
        _reads_back(bench, set())
    assert moved.exit_code == 0
    assert 0 < moved.document["refused_uploads"] <= 7  # all of them parts of the first one


@pytest.mark.slow
@pytest.mark.fault("N16", "D04")
def test_a_service_that_refuses_all_stops_the_run_soon_and_says_why(tmp_path: Path) -> None:
    with workbench(tmp_path, points(COUNT), fault="refuse-ids:one-in=1") as bench:
        moved = bench.move()
        undone = bench.run("rollback", "--execute")

        assert len(bench.uploads()) <= 8 + 2 * 11
        assert bench.stored() == {}
    assert moved.exit_code == 3
    assert "refused on order" in moved.document["error"]["what"]
    assert undone.exit_code == 0


@pytest.mark.slow
@pytest.mark.fault("N16", "G01")
def test_lost_answers_among_refusals_change_nothing(tmp_path: Path) -> None:
    """A 504 in place of an ack, and the same bytes are taken again; refusals are refusals."""
    fault = f"{FAULT},lost-answer:every=6"
    with workbench(tmp_path, points(COUNT), fault=fault, settings=UPLOADS) as bench:
        moved = bench.move()

        assert bench.run("reconcile").document["verdict"] == "equal"
        _reads_back(bench, BAD)
    assert moved.document["quarantined_reasons"] == {"refused": len(BAD)}
