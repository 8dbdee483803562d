"""What the journal says may be less than what the target holds, and never more."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.errors import IndeterminateError
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.run.journal import Store
from migrate.snapshot.folder import Snapshot
from tests.harness.fakes.memory_source import UnexpectedError
from tests.harness.fakes.memory_target import MemoryKv, MemoryVectors
from tests.harness.move import Move, all_ids, planned_move, snapshot_of_chunks

POINTS, PER_UPLOAD = 20, 8  # three uploads
IDS = set(all_ids(POINTS))


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of_chunks(tmp_path_factory.mktemp("order"), POINTS)


def acknowledged(move: Move) -> int:
    """Vectors that the journal calls acknowledged."""
    with move.opened() as run:
        return run.state().rounds[-1].acknowledged(Store.VECTORS)


def kill_at(turn: int) -> Callable[[], None]:
    """Raises at its turn, counted from 0."""
    turns = count()

    def kill() -> None:
        if next(turns) == turn:
            raise UnexpectedError

    return kill


@pytest.mark.fault("U01", "I2", "I3")
@pytest.mark.parametrize("way", ["before", "after"])
@pytest.mark.parametrize("turn", range(3))
def test_only_what_the_target_has_taken_is_acknowledged(
    taken: Snapshot, way: str, turn: int
) -> None:
    """Killed on the way of an upload, there or back: the next run sends what is in doubt."""
    move = planned_move(taken, MemoryVectors(), vectors_per_upload=PER_UPLOAD)
    setattr(move.vectors, f"{way}_upload", kill_at(turn))
    with pytest.raises(UnexpectedError):
        move.migrate()

    assert acknowledged(move) == turn * PER_UPLOAD <= len(move.vectors.stored)
    setattr(move.vectors, f"{way}_upload", lambda: None)
    move.migrate()
    assert move.vectors.stored.keys() == IDS
    assert move.reconcile().verdict == "equal"


class SlowVectors(MemoryVectors):
    """Takes every upload, and shows its vectors only from `visible_from` reads on."""

    visible_from = 0
    reads = 0

    @override
    def fetch(self, ids: Sequence[VectorId]) -> dict[VectorId, Vector]:
        self.reads += 1
        return super().fetch(ids) if self.reads >= self.visible_from else {}


class OrderedKv(MemoryKv):
    """Notes the keys in the order in which they were written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []

    @override
    def write(self, entries: Sequence[KvEntry]) -> list[str]:
        self.written += [entry.key for entry in entries]
        return super().write(entries)


@pytest.mark.fault("U03", "I4")
def test_no_kv_entry_is_written_before_the_vectors_read_back(taken: Snapshot) -> None:
    vectors, kv = SlowVectors(), OrderedKv()
    vectors.visible_from = 10**9
    move = planned_move(taken, vectors, kv)
    with pytest.raises(IndeterminateError):
        move.migrate()

    assert kv.written == []
    vectors.visible_from = 0
    move.migrate()
    assert len(kv.written) == len(kv.stored) == 6


@pytest.mark.fault("K03", "I4")
def test_the_counter_is_written_after_every_entry(tmp_path: Path) -> None:
    """Whoever sees the counter may believe every entry."""
    kv = OrderedKv()
    move = planned_move(snapshot_of_chunks(tmp_path, POINTS), MemoryVectors(), kv)
    move.migrate()

    assert kv.written == [*sorted(f"file:file-{number}" for number in range(5)), "_vector_count"]
