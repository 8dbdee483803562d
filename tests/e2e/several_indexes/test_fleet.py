"""A fleet takes a collection over three indexes through catch-ups; a process for each command."""

import json
from pathlib import Path

import pytest

from migrate.errors import ExitCode
from migrate.mapping.shards import shard_of
from tests.e2e.fleet.bench import FleetBench, fleet_bench, make_index, names_of, rows
from tests.e2e.several_indexes.bench import file_of, vector_id
from tests.harness.running.workbench import changed_point, chunk
from tests.servers.qdrant_points import StoredPoint

SHARDS = ("docs-0", "docs-1", "docs-2")
POINTS = 24


def list_shards(bench: FleetBench) -> None:
    """The move `docs` goes into three indexes in place of one."""
    for name in SHARDS:
        make_index(bench, name)
    file = bench.folder / "docs.toml"
    one, several = 'vector_index = "docs-index"', f"shards = {json.dumps(SHARDS)}"
    file.write_text(file.read_text().replace(one, several))


def edit(bench: FleetBench, name: str, number: int) -> None:
    """Others change a point, move one to another file, delete one and add one."""
    stored = bench.collections[name].points
    stored[0] = changed_point(stored[0], text=f"changed {number}")
    stored[1] = changed_point(stored[1], file_id=f"moved-{number}", chunk_index=0)
    stored.pop()
    added = chunk(f"added-{number}", 0)
    stored.append(StoredPoint(id=900 + number, vectors=stored[0].vectors, payload=added))


def pages_read(bench: FleetBench, name: str) -> int:
    return sum("scroll" in one for one in bench.collections[name].requests)


def check_moved(bench: FleetBench) -> None:
    """Every vector is in the index of its file, and in no other."""
    for index in SHARDS:
        expected = {
            vector_id(one)
            for one in bench.collections["docs"].points
            if shard_of(file_of(one), SHARDS) == index
        }
        held = {one for one, *_ in bench.sandbox.store.read_vectors(index)}
        assert held == expected, index


@pytest.mark.search  # 24 processes
@pytest.mark.timeout(900)
@pytest.mark.fault("E07", "M40")
def test_catch_ups_read_the_source_once_for_all_indexes(tmp_path: Path) -> None:
    with fleet_bench(tmp_path, {"docs": POINTS, "wiki": POINTS}) as bench:
        list_shards(bench)
        begun = bench.run("run", "snapshot --moving", "migrate")
        read: list[dict[str, int]] = []
        caught = []
        for number, step in enumerate(("catch-up", "catch-up --frozen")):
            before = {name: pages_read(bench, name) for name in bench.collections}
            for name in bench.collections:
                edit(bench, name, number)
            caught.append(bench.run("run", step))
            read.append({name: pages_read(bench, name) - before[name] for name in before})
        proven = bench.run("run", "reconcile", "gate --until 2036-01-01T00:00+00:00", "archive")
        check_moved(bench)
        archives = list((bench.directory / "docs").glob("*.q2v.tar.zst"))
        steps = names_of(bench.entries(), "begun")

    for result in (begun, *caught, proven):
        assert result.exit_code == ExitCode.DONE, result.stdout
    for one in read:
        assert one["docs"] == one["wiki"] > 0, "the source of docs was read for each index"
    assert rows(proven.document)["docs"]["verdict"] == "equal"
    assert [step for move, step in steps if move == "docs" and "catch-up" in step] == [
        f"{step} [{name}]" for step in ("catch-up", "catch-up --frozen") for name in SHARDS
    ]
    assert len(archives) == 1
