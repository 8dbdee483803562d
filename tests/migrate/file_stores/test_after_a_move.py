"""A sync service that continues after a move: the store takes over what `q2v migrate` wrote."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from migrate.file_stores.contract import FileVector
from migrate.file_stores.rules import FileStoreRules
from migrate.model.records import VectorId
from migrate.run.choose.find import find_run
from tests.harness.fakes.steps import KilledError
from tests.harness.running.target import DIMENSIONS
from tests.harness.world import FILES, POINTS, World, open_world
from tests.migrate.file_stores.backends import Edge, edge_of

pytestmark = pytest.mark.slow


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as world, world.calm():
        world.snapshot()
        world.migrate()
        yield world


def rules_of(world: World) -> FileStoreRules:
    """The rules with which the newest run was moved."""
    with closing(find_run(world.directory, None, None)) as run:
        plan = run.plan
    return FileStoreRules(
        dimensions=plan.values.dimensions,
        metric=plan.values.metric,
        mapping=plan.mapping,
        writes=plan.writes,
    )


@pytest.mark.slow
def test_files_of_a_move_are_read_removed_and_written_again_and_reconcile_calls_them_equal(
    moved: World,
) -> None:
    before = moved.state()
    with edge_of(moved) as site:
        store = site.open(rules_of(moved))
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


def _chunks(file_id: str) -> list[FileVector]:
    return [
        FileVector(
            id=VectorId(f"{file_id}_{number}"),
            values=np.full(DIMENSIONS, 1 / 8, np.float32),
            metadata={"file_id": file_id, "chunk_index": number, "chunk_hash": "00" * 32},
        )
        for number in range(3)
    ]


@pytest.mark.slow
@pytest.mark.fault("W01", "T06")
def test_the_monitor_names_what_a_killed_call_that_is_not_repeated_has_left(moved: World) -> None:
    """Vectors without their entry, until the call is made again."""
    with edge_of(moved) as site:
        site.open(rules_of(moved)).upsert_vectors(_chunks("whole"))
        to_the_entry = next(
            at for at, one in enumerate(site.steps.done, 1) if one.name.endswith("bulk")
        )
        site.steps.strike_at = len(site.steps.done) + to_the_entry
        with pytest.raises(KilledError):
            site.open(rules_of(moved)).upsert_vectors(_chunks("torn"))
        torn = moved.monitor()
        named = Path(torn.files["orphaned"]).read_text().split()
        site.steps.strike_at, site.steps.dead = 0, False
        site.open(rules_of(moved)).upsert_vectors(_chunks("torn"))
        mended = moved.monitor()

    ids = [f"torn_{number}" for number in range(3)]
    assert torn.looked.verdict == "inconsistent"
    assert torn.looked.findings == {"orphaned": 3, "counter": 1}
    assert list(torn.first["orphaned"]) == ids
    assert named == ids
    assert mended.looked.verdict == "consistent", mended.looked.why


def _counter(site: Edge) -> int:
    stored = {key: value for key, value, _, _ in site.store.read_kv(site.namespace_id)}
    return int(stored["_vector_count"])
