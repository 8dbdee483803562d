"""What the target answers is compared as a set, however plausible it looks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.model.records import VectorId
from migrate.ports import Target
from migrate.runtime import Runtime
from reconcile.gate.answers import ask_queries
from reconcile.gate.criteria import Evidence
from tests.harness.fakes.memory_target import Calls, MemoryVectors
from tests.harness.move import Move, new_move
from tests.reconcile.plants import payloads

INDEXES = {"file_id": "string"}
pytestmark = pytest.mark.fault("J01")


class BentAnswers(MemoryVectors):
    """Answers to a filter that are changed on their way."""

    def __init__(self, calls: Calls, bend: Callable[[list[VectorId]], list[VectorId]]) -> None:
        super().__init__(calls=calls)
        self._bend = bend

    @override
    def find(
        self,
        values: Sequence[float],
        where: Mapping[str, str | float | bool],
        *,
        limit: int,
        namespace: str | None = None,
    ) -> list[VectorId]:
        found = super().find(values, where, limit=limit, namespace=namespace)
        return self._bend(found) if where else found


def ask(folder: Path, bend: Callable[[list[VectorId]], list[VectorId]]) -> Evidence:
    """What the gate finds in a finished move of five files of six chunks."""
    fresh = new_move(folder)
    vectors = BentAnswers(fresh.calls, bend)
    move = Move(folder, fresh.source, vectors, fresh.kv)
    move.source.points = payloads()
    vectors.metadata_indexes = dict(INDEXES)
    move.plan()
    move.migrate()
    with move.opened() as run:
        runtime = Runtime(clock=move.clock, progress=move.progress)
        return ask_queries(run, Target(vectors, move.kv), INDEXES, runtime, pause_s=1)


def test_right_answers_hold(tmp_path: Path) -> None:
    found = ask(tmp_path, list)

    assert found.holds is True, found.found


@pytest.mark.parametrize(
    "bend",
    [
        lambda ids: ids[:-1],
        lambda ids: [*ids[:-1], VectorId("of-another_0")],
        lambda ids: [*ids, VectorId("of-another_0")],
        lambda ids: [*ids[:-1], ids[0]],
        lambda ids: [],
    ],
    ids=["one too few", "one of another file", "one too many", "one twice", "none"],
)
def test_a_filter_that_finds_too_few_or_others_is_wrong(
    tmp_path: Path, bend: Callable[[list[VectorId]], list[VectorId]]
) -> None:
    found = ask(tmp_path, bend)

    assert found.holds is False
    assert "a filter file_id = 'file-0' finds" in found.found
