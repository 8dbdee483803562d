"""Answers of others, refusals of the token and quotas, as an operator meets them."""

from pathlib import Path

import pytest

from tests.harness.running.workbench import Workbench, points, workbench

pytestmark = pytest.mark.slow

COUNT = 60
UPLOADS = {"Q2V_LIMITS_VECTORS_PER_UPLOAD": "10"}


def _sent(bench: Workbench) -> int:
    return len(bench.sandbox.requests)


@pytest.mark.slow
@pytest.mark.fault("F04", "I5")
@pytest.mark.usefixtures("short_pauses")
def test_pages_of_others_in_between_cost_requests_and_no_vector(tmp_path: Path) -> None:
    with workbench(tmp_path, points(COUNT), settings=UPLOADS) as bench:
        bench.sandbox.order("foreign:every=3")
        moved = bench.move()
        compared = bench.run("reconcile")

        struck = bench.sandbox.struck()["foreign"]
        assert len(bench.stored()) == COUNT
    assert moved.exit_code == 0, moved.stderr
    assert (moved.document["refused_uploads"], moved.document["quarantined"]) == (0, 0)
    assert compared.document["verdict"] == "equal"
    assert struck >= 10  # each of the pages, at least once


@pytest.mark.slow
@pytest.mark.fault("F05", "F10", "N11")
@pytest.mark.parametrize(
    ("fault", "remedy"), [("6003", "copy the API token again"), ("9109", "address")]
)
def test_a_token_refused_with_400_is_a_matter_of_access_in_every_command(
    tmp_path: Path, fault: str, remedy: str
) -> None:
    with workbench(tmp_path, points(COUNT), settings=UPLOADS) as bench:
        assert bench.move().exit_code == 0
        bench.sandbox.order(f"{fault}:every=1")

        for words in (
            ["plan"],
            ["provision"],
            ["reconcile", "--fresh"],
            ["rollback", "--execute"],
        ):
            before = _sent(bench)
            ended = bench.run(*words)

            assert ended.exit_code == 6, (words, ended.stdout, ended.stderr)
            assert f"code {fault}" in ended.document["error"]["what"]
            assert remedy in ended.document["error"]["next"]
            assert _sent(bench) - before <= 2  # the verify endpoint of users, then of accounts


@pytest.mark.slow
@pytest.mark.fault("F05", "F10", "N11", "N16")
@pytest.mark.parametrize("fault", ["6003", "9109"])
def test_a_token_refused_in_the_middle_of_an_upload_holds_nothing_against_vectors(
    tmp_path: Path, fault: str
) -> None:
    with workbench(tmp_path, points(COUNT), settings=UPLOADS) as bench:
        assert bench.run("snapshot").exit_code == 0
        bench.sandbox.order(f"{fault}:every=9")
        stopped = bench.run("migrate")
        bench.sandbox.order(None)
        moved = bench.run("migrate")

        assert len(bench.stored()) == COUNT
    assert stopped.exit_code == 6
    assert moved.exit_code == 0
    assert moved.document["refused_uploads"] == 0


@pytest.mark.slow
@pytest.mark.fault("F07")
def test_a_daily_limit_of_kv_stops_at_once_and_the_run_goes_on_the_next_day(
    tmp_path: Path,
) -> None:
    with workbench(tmp_path, points(COUNT), settings=UPLOADS) as bench:
        assert bench.run("snapshot").exit_code == 0
        bench.sandbox.order("10048:every=1")
        stopped = bench.run("migrate")
        refused = [each for each in bench.sandbox.requests if each.status == 429]
        bench.sandbox.order(None)
        moved = bench.run("migrate")

        assert len(bench.entries()) == len(range(0, COUNT, 7)) + 1
    assert stopped.exit_code == 8
    assert "code 10048" in stopped.document["error"]["what"]
    assert "daily limit" in stopped.document["error"]["what"]
    assert "00:00 UTC" in stopped.document["error"]["next"]
    assert len(refused) == 1
    assert moved.exit_code == 0
    assert moved.document["quarantined"] == 0


@pytest.mark.slow
@pytest.mark.fault("F05", "F07", "N16")
def test_a_quota_of_the_account_is_not_held_against_vectors(tmp_path: Path) -> None:
    with workbench(tmp_path, points(COUNT), settings=UPLOADS) as bench:
        assert bench.run("snapshot").exit_code == 0
        bench.sandbox.order("40026:every=3")
        stopped = bench.run("migrate")
        bench.sandbox.order(None)
        moved = bench.run("migrate")

        assert len(bench.stored()) == COUNT
    assert stopped.exit_code == 8
    assert "code 40026" in stopped.document["error"]["what"]
    assert moved.exit_code == 0
    assert moved.document["refused_uploads"] == 0
