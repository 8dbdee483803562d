"""A count that the pages never reach is not a writer, and is refused with both numbers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.errors import ExitCode, PreconditionError
from migrate.model.records import Collection, PointId, ShardCount
from migrate.snapshot.counting import READINGS
from migrate.snapshot.folder import Snapshot
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads, take

POINTS = 23


class ReplicatedSource(MemorySource):
    """Counts as one replica after the other does, and shows the pages of one of them."""

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__(chunk_payloads(POINTS))
        self.counts = counts
        self.counted = 0
        self.suspects: tuple[str, ...] = ("replicas that differ",)
        self.hidden: tuple[str, ...] = ()
        self.shards: tuple[ShardCount, ...] = ()

    @override
    def count_points(self) -> int:
        self.counted += 1
        return self.counts[(self.counted - 1) % len(self.counts)]

    @override
    def read_collection(self) -> Collection:
        return replace(
            super().read_collection(),
            suspects=self.suspects,
            hidden=self.hidden,
            shards=self.shards,
        )


def refusal(source: MemorySource, folder: Path) -> PreconditionError:
    with pytest.raises(PreconditionError) as caught:
        take(source, folder)
    assert caught.value.exit_code == ExitCode.PRECONDITION
    assert list(folder.glob("*/manifest.json")) == []
    return caught.value


@pytest.mark.fault("F01", "F10")
@pytest.mark.parametrize("count", [POINTS + 25, POINTS - 3])
def test_a_count_that_never_agrees_is_refused_before_anything_is_read(
    tmp_path: Path, count: int
) -> None:
    source = ReplicatedSource([count])
    error = refusal(source, tmp_path)

    assert f"counts {count} points and its pages hold {POINTS}, the same in 4 readings" in str(
        error
    )
    assert "likely cause: replicas that differ" in str(error)
    assert "stop the writers" not in error.remedy
    assert "points" not in [what for what, _ in source.reads]  # no page of contents
    assert source.counted == READINGS


@pytest.mark.fault("F01", "F10")
def test_a_disagreement_that_comes_during_the_reading_is_found_at_the_end(tmp_path: Path) -> None:
    source = ReplicatedSource([POINTS])
    clock = VirtualClock()

    def lose_a_replica(number: int) -> None:
        if source.reads and source.reads[-1][0] == "points":
            source.counts = [POINTS + 2]

    source.before_read = lose_a_replica
    with pytest.raises(PreconditionError, match="counts 25 points and its pages hold 23, the same"):
        take(source, tmp_path, clock=clock)
    assert len(clock.waits) == READINGS - 1  # the readings lie apart


@pytest.mark.fault("F01", "F10")
def test_replicas_that_answer_in_turn_are_not_called_writers(tmp_path: Path) -> None:
    source = ReplicatedSource([POINTS, POINTS + 1])
    error = refusal(source, tmp_path)

    assert "answers with changing numbers that come back: it counts 24, 23, 24, 23" in str(error)
    assert "likely cause: replicas that differ" in str(error)


@pytest.mark.fault("F10", "S01")
def test_a_source_that_is_written_while_it_is_counted_is_read(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))

    def add_once(number: int) -> None:
        if [what for what, _ in source.reads] == ["collection", "count"]:
            source.points[10**6] = {}

    source.before_read = add_once
    assert take(source, tmp_path).points == POINTS + 1


@pytest.mark.fault("F01")
def test_hidden_points_keep_a_snapshot_from_being_sealed(tmp_path: Path) -> None:
    source = ReplicatedSource([POINTS])
    source.hidden = ("9 points that stay invisible until they are optimized",)
    error = refusal(source, tmp_path)

    assert "cannot be read whole: 9 points that stay invisible" in str(error)
    assert "deferred_points" in error.remedy
    source.hidden = ()
    report = take(source, tmp_path)  # the advice works, and what was read is kept
    assert report.resumed
    assert report.points == POINTS


@pytest.mark.fault("F01")
def test_the_manifest_names_the_shards_that_were_read(tmp_path: Path) -> None:
    source = ReplicatedSource([POINTS])
    source.shards = (ShardCount(number=0, points=20), ShardCount(number=1, points=3))
    report = take(source, tmp_path / "shards")
    plain = take(MemorySource(chunk_payloads(POINTS)), tmp_path / "plain")

    manifest = Snapshot(LocalFolder(Path(report.path))).manifest
    assert manifest.shards == source.shards
    assert manifest.content_root == Snapshot(LocalFolder(Path(plain.path))).manifest.content_root
    assert b'"shards"' not in (Path(plain.path) / "manifest.json").read_bytes()


@pytest.mark.fault("F10", "S01")
def test_what_keeps_changing_names_the_suspects_too(tmp_path: Path) -> None:
    class Flapping(ReplicatedSource):
        @override
        def read_ids(self, start: PointId | None, *, limit: int) -> Sequence[PointId]:
            self.points[60]["shift"] = len(self.reads)
            return super().read_ids(start, limit=limit)

    source = Flapping([POINTS])
    source.before_read = lambda number: source.points[60].update(shift=number)

    assert "if nothing writes, the likely cause is replicas that differ" in str(
        refusal(source, tmp_path)
    )
