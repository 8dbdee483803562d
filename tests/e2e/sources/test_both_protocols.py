"""A server is one source, whichever of its protocols a command reads it over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from tests.harness.running.workbench import (
    API_KEY,
    Workbench,
    changed_point,
    points,
    workbench,
)
from tests.servers.qdrant_grpc import grpc_server

TRANSPORT = "Q2V_TRANSPORT"


@pytest.fixture(params=[("rest", "grpc"), ("grpc", "rest")], ids=":".join)
def switching(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Workbench, str]]:
    """A server whose APIs have ports of their own, and the protocol to read it over afterwards."""
    first, second = request.param
    with (
        workbench(tmp_path, points(20)) as bench,
        grpc_server(bench.collection, api_key=API_KEY) as served,
    ):
        bench.environment |= {"Q2V_SOURCE_GRPC_URL": served.url, TRANSPORT: first}
        yield bench, second


@pytest.mark.slow
@pytest.mark.fault("F01", "S05")
def test_a_catch_up_over_the_other_protocol_continues(switching: tuple[Workbench, str]) -> None:
    bench, second = switching
    assert bench.move().exit_code == ExitCode.DONE
    bench.collection.points[3] = changed_point(bench.collection.points[3], text="changed")
    bench.environment[TRANSPORT] = second
    caught = bench.run("catch-up", "--frozen")
    equal = bench.run("reconcile")

    assert caught.exit_code == ExitCode.DONE, caught.stderr
    assert (caught.document["changed"], caught.document["added"]) == (1, 0)
    assert equal.document["verdict"] == "equal"


@pytest.mark.fault("F01", "S07")
def test_a_part_is_repaired_over_the_other_protocol(switching: tuple[Workbench, str]) -> None:
    bench, second = switching
    taken = bench.run("snapshot")
    [part] = Path(taken.document["path"]).glob("parts/*.parquet")
    part.unlink()
    bench.environment[TRANSPORT] = second
    repaired = bench.run("snapshot", "--repair-part", "0")

    assert repaired.exit_code == ExitCode.DONE, repaired.stderr
    assert bench.run("verify").exit_code == ExitCode.DONE


@pytest.mark.fault("F01", "S06")
def test_a_snapshot_is_resumed_over_the_other_protocol(
    switching: tuple[Workbench, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, second = switching

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("migrate.snapshot.take.encode_manifest", stop)
        assert bench.run("snapshot").exit_code == ExitCode.INTERRUPTED
    [begun] = bench.directory.glob("*/journal.jsonl")
    bench.environment[TRANSPORT] = second
    taken = bench.run("snapshot")

    assert taken.exit_code == ExitCode.DONE, taken.stderr
    assert Path(taken.document["path"]) == begun.parent


@pytest.mark.slow
def test_another_server_is_another_source_over_each_protocol(
    switching: tuple[Workbench, str], tmp_path: Path
) -> None:
    bench, second = switching
    assert bench.move().exit_code == ExitCode.DONE
    with (
        workbench(tmp_path / "other", points(20), provision=False) as other,
        grpc_server(other.collection, api_key=API_KEY) as served,
    ):
        bench.environment["QDRANT_URL"] = other.source.url
        bench.environment["Q2V_SOURCE_GRPC_URL"] = served.url
        bench.environment[TRANSPORT] = second
        refused = bench.run("catch-up", "--frozen")

    assert refused.exit_code == ExitCode.FOREIGN
    assert "was read from collection 'chunks'" in refused.stderr
