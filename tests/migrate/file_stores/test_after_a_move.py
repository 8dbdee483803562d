"""A sync service that continues after a move: the store takes over what `q2v migrate` wrote."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from migrate.file_stores.rules import FileStoreRules
from migrate.run.choose import find_run
from tests.harness.world import FILES, POINTS, World, open_world
from tests.migrate.file_stores.backends import Edge, edge_of


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world, world.calm():
        world.snapshot()
        world.migrate()
        yield world


def test_files_of_a_move_are_read_removed_and_written_again_and_reconcile_calls_them_equal(
    moved: World,
) -> None:
    with closing(find_run(moved.directory, None, None)) as run:
        plan = run.plan
    rules = FileStoreRules(
        dimensions=plan.values.dimensions,
        metric=plan.values.metric,
        mapping=plan.mapping,
        writes=plan.writes,
    )
    before = moved.state()
    with edge_of(moved) as site:
        store = site.open(rules)
        files = {
            f"file-{number}": store.get_vectors_by_file_id(f"file-{number}")
            for number in range(FILES)
        }
        held = _counter(site)

        assert sum(map(len, files.values())) == POINTS
        for file_id, chunks in files.items():
            store.delete_vectors_by_file_id(file_id)
            assert _counter(site) == held - len(chunks)
            store.upsert_vectors(chunks)
            assert _counter(site) == held
        assert store.count_vectors() == held

    assert moved.state() == before
    assert moved.reconcile().verdict == "equal"


def _counter(site: Edge) -> int:
    stored = {key: value for key, value, _, _ in site.store.read_kv(site.namespace_id)}
    return int(stored["_vector_count"])
