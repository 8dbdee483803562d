"""`q2v check`: a row for each thing that a move needs, before anything is read whole or written."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrate.check.source import OF_A_SOURCE, SAMPLE_POINTS
from migrate.check.target import OF_A_TARGET
from migrate.errors import ExitCode
from migrate.plan import target_shape
from migrate.storage.folder_lock import FolderLock
from migrate.storage.local_folder import LocalFolder
from tests.harness.running.workbench import Workbench, changed_point, points, workbench
from tests.harness.running.workspace import Result
from tests.servers.qdrant_rest import Answer

pytestmark = pytest.mark.fault("E01")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with workbench(tmp_path, points(500)) as made:
        yield made


def row(result: Result, name: str) -> dict[str, Any]:
    """The one row of this name."""
    (found,) = (each for each in result.document["checks"] if each["name"] == name)
    assert isinstance(found, dict)
    return found


def states(result: Result) -> dict[str, str]:
    return {each["name"]: each["state"] for each in result.document["checks"]}


def test_a_move_that_can_begin_has_a_row_for_each_thing_and_names_the_next_command(
    bench: Workbench,
) -> None:
    result = bench.run("check")

    assert result.exit_code == ExitCode.DONE, result.stdout
    found = states(result)
    # A plain key does not show its rights, and the sandbox's token has no expiry.
    assert {name for name, state in found.items() if state != "ok"} == {"source key", "token"}
    assert {"settings", "folder", "disk", "window", *OF_A_SOURCE, *OF_A_TARGET} <= set(found)
    assert result.document["situation"] == "no_snapshot"


@pytest.mark.fault("E02")
def test_it_writes_nothing_and_reads_no_more_than_the_first_points(bench: Workbench) -> None:
    before, sent = bench.state(), len(bench.sandbox.requests)

    bench.run("check")

    assert bench.state() == before
    assert bench.collection.writes == []
    assert max(bench.collection.limits) <= SAMPLE_POINTS
    assert len(bench.collection.limits) == 1  # one page of 500 points
    assert len(bench.sandbox.requests) - sent < 20
    assert not list(bench.directory.glob("*/manifest.json"))


def test_before_provision_what_is_missing_is_a_warning_with_its_command(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20), provision=False) as bench:
        result = bench.run("check")

    assert result.exit_code == ExitCode.DONE
    for name in ("index", "KV namespace"):
        assert row(result, name)["state"] == "warn"
        assert "q2v provision" in row(result, name)["advice"]
    assert result.document["next_argv"][:2] == ["q2v", "provision"]


def test_without_settings_each_missing_one_is_named_with_the_ways_to_set_it(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20), provision=False) as bench:
        for name in ("QDRANT_URL", "CLOUDFLARE_API_TOKEN", "Q2V_VECTOR_INDEX"):
            del bench.environment[name]
        result = bench.run("check")

    assert result.exit_code == ExitCode.USAGE
    settings = row(result, "settings")
    for name in ("QDRANT_URL", "CLOUDFLARE_API_TOKEN", "Q2V_VECTOR_INDEX"):
        assert name in settings["advice"]
    assert {states(result)[name] for name in (*OF_A_SOURCE, *OF_A_TARGET)} == {"skipped"}


def test_more_points_than_an_index_takes_are_a_warning(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_shape, "VECTORS_PER_INDEX_MAX", 499)

    result = bench.run("check")

    assert result.exit_code == ExitCode.DONE
    assert row(result, "points")["state"] == "warn"
    assert row(result, "points")["found"] == "500; 500 vectors are too many for an index of 499"
    assert "target.shards" in row(result, "points")["advice"]


def test_points_that_would_be_left_out_are_counted_by_reason_in_the_sample(tmp_path: Path) -> None:
    stored = points(300)
    stored[3] = changed_point(stored[3], file_id=None)
    stored[4] = changed_point(stored[4], chunk_index="4")
    with workbench(tmp_path, stored) as bench:
        result = bench.run("check")

    assert result.exit_code == ExitCode.DONE
    sample = row(result, "sample")
    assert sample["state"] == "warn"
    assert "198 of the first 200 points would move" in sample["found"]
    assert "field_missing 1, field_type 1" in sample["found"]


class TestFailing:
    """The exit code is that of the command that would meet the same."""

    def test_a_source_that_is_not_there(self, bench: Workbench) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        bench.environment["QDRANT_URL"] = f"http://127.0.0.1:{port}"

        result = bench.run("check")

        assert result.exit_code == ExitCode.UNAVAILABLE
        assert row(result, "source")["state"] == "fail"
        assert row(result, "index")["state"] == "ok"  # the target is asked all the same
        assert {states(result)[name] for name in OF_A_SOURCE[1:]} == {"skipped"}

    def test_a_source_key_that_is_refused(self, bench: Workbench) -> None:
        bench.environment["QDRANT_API_KEY"] = "other-key-7f3a91"

        result = bench.run("check")

        assert result.exit_code == ExitCode.ACCESS
        assert row(result, "source")["exit_code"] == ExitCode.ACCESS

    def test_a_collection_that_does_not_exist(self, bench: Workbench) -> None:
        bench.environment["QDRANT_COLLECTION"] = "other"

        result = bench.run("check")

        assert result.exit_code == ExitCode.PRECONDITION
        assert "other" in row(result, "source")["found"]

    def test_an_empty_collection(self, tmp_path: Path) -> None:
        with workbench(tmp_path, []) as bench:
            assert bench.run("check").exit_code == ExitCode.PRECONDITION
            allowed = bench.run("check", "--allow-empty")

        assert allowed.exit_code == ExitCode.DONE
        assert row(allowed, "sample")["state"] == "skipped"

    def test_a_token_that_the_service_does_not_know(self, bench: Workbench) -> None:
        bench.environment["CLOUDFLARE_API_TOKEN"] = "x" * 40

        result = bench.run("check")

        assert result.exit_code == ExitCode.ACCESS
        assert "q2v init" in row(result, "token")["advice"]
        assert {states(result)[name] for name in OF_A_TARGET[2:]} == {"skipped"}

    def test_an_index_of_another_shape(self, bench: Workbench) -> None:
        bench.environment |= {"Q2V_DIMENSIONS": "32", "Q2V_REDUCE": "matryoshka"}

        result = bench.run("check")

        assert result.exit_code == ExitCode.PRECONDITION
        assert "64 dimensions" in row(result, "index")["found"]
        assert row(result, "vector")["state"] == "warn"
        assert "q2v parity --at 32" in row(result, "vector")["advice"]

    def test_a_window_that_is_too_short(self, bench: Workbench) -> None:
        result = bench.run("check", "--deadline-s", "60")

        assert result.exit_code == ExitCode.PRECONDITION
        assert "the window has 1 min" in row(result, "window")["found"]

    def test_a_folder_in_which_another_q2v_works(self, bench: Workbench) -> None:
        with FolderLock(LocalFolder(bench.directory)):
            result = bench.run("check")

        assert result.exit_code == ExitCode.LOCKED
        assert row(result, "folder")["state"] == "fail"

    def test_the_first_row_that_fails_gives_the_exit_code(self, bench: Workbench) -> None:
        bench.environment |= {
            "QDRANT_API_KEY": "other-key-7f3a91",
            "CLOUDFLARE_API_TOKEN": "x" * 40,
        }
        bench.source.faults.append(Answer(404))

        result = bench.run("check")

        failed = [each for each in result.document["checks"] if each["state"] == "fail"]
        assert len(failed) > 1
        assert result.exit_code == failed[0]["exit_code"]


@pytest.mark.slow
def test_a_used_up_budget_is_said_at_once_instead_of_waited_for(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20), settings={"Q2V_LIMITS_REQUESTS_PER_5MIN": "30"}) as bench:
        results = [bench.run("check") for _ in range(6)]

    last = results[-1]
    assert last.exit_code == ExitCode.BUDGET
    assert "requests may be sent in" in row(last, "requests")["found"]
    assert {states(last)[name] for name in OF_A_TARGET[1:]} == {"skipped"}


def test_for_people_no_line_is_longer_than_80_columns_but_for_what_is_pasted(
    bench: Workbench,
) -> None:
    bench.environment["CLOUDFLARE_API_TOKEN"] = "x" * 40

    result = bench.run("check", as_json=False)

    long = [line for line in result.stdout.splitlines() if len(line) > 80]
    assert [line for line in long if str(bench.directory) not in line] == []
    assert "not ready: token; 1 of" in result.stdout
