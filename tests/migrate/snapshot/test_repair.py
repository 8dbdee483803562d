"""A damaged part comes back bit for bit from the source, or the snapshot stays as it is."""

import hashlib
from pathlib import Path

import pytest

from migrate.errors import (
    ArtefactDamagedError,
    ForeignStateError,
    MigrationError,
    PreconditionError,
    UsageError,
)
from migrate.snapshot.folder import Snapshot, part_file
from migrate.snapshot.sealed.repair import RepairReport, repair_part
from migrate.snapshot.take import SnapshotOptions
from tests.harness.fakes.memory_source import (
    MemorySource,
    UnexpectedError,
    chunk_payloads,
    take_and_open,
)
from tests.harness.fakes.silence import Silence
from tests.harness.paths import path_of

pytestmark = pytest.mark.fault("S07")

POINTS = 23  # four parts of five points and one of three


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> MemorySource:
    monkeypatch.setattr("migrate.snapshot.begun.state._PART_ROWS_MAX", 5)
    return MemorySource(chunk_payloads(POINTS))


@pytest.fixture
def snapshot(source: MemorySource, tmp_path: Path) -> Snapshot:
    return take_and_open(source, tmp_path, SnapshotOptions(page_points=2))


def repair(source: MemorySource, snapshot: Snapshot, ordinal: int, page: int = 3) -> RepairReport:
    return repair_part(source, snapshot, ordinal, page_points=page, progress=Silence())


def content(snapshot: Snapshot) -> dict[str, str]:
    return {
        str(path.relative_to(path_of(snapshot.folder))): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in path_of(snapshot.folder).rglob("*")
        if path.is_file()
    }


def damage(snapshot: Snapshot, ordinal: int) -> None:
    path = path_of(part_file(snapshot.folder, snapshot.manifest.parts[ordinal]))
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("ordinal", range(5))
@pytest.mark.parametrize("page", [1, 2, 1000])
def test_a_damaged_part_comes_back_bit_for_bit(
    source: MemorySource, snapshot: Snapshot, ordinal: int, page: int
) -> None:
    before = content(snapshot)
    damage(snapshot, ordinal)
    with pytest.raises(ArtefactDamagedError) as caught:
        list(snapshot.read(with_vectors=()))
    assert f"--repair-part {ordinal}" in caught.value.remedy

    assert repair(source, snapshot, ordinal, page).repaired
    assert before == content(snapshot)


def test_a_part_that_is_gone_comes_back(source: MemorySource, snapshot: Snapshot) -> None:
    before = content(snapshot)
    part_file(snapshot.folder, snapshot.manifest.parts[1]).remove()

    assert repair(source, snapshot, 1).repaired
    assert before == content(snapshot)


def test_a_whole_part_is_left_alone_and_the_source_is_not_asked(
    source: MemorySource, snapshot: Snapshot
) -> None:
    before, reads = content(snapshot), len(source.reads)

    assert not repair(source, snapshot, 2).repaired
    assert (before, reads) == (content(snapshot), len(source.reads))


def changed(source: MemorySource) -> None:
    source.points[70] = {**source.points[70], "text": "changed"}


def deleted(source: MemorySource) -> None:
    del source.points[70]


def added(source: MemorySource) -> None:
    source.points[71] = dict(source.points[70])


@pytest.mark.parametrize("change", [changed, deleted, added])
def test_a_source_that_has_changed_since_repairs_nothing(
    source: MemorySource, snapshot: Snapshot, change: object
) -> None:
    """Part 1 holds the points 60 to 100."""
    damage(snapshot, 1)
    before = content(snapshot)
    assert callable(change)
    change(source)

    with pytest.raises(PreconditionError, match="part 1: the source gives"):
        repair(source, snapshot, 1)
    assert before == content(snapshot)


def test_points_outside_the_part_may_have_changed(source: MemorySource, snapshot: Snapshot) -> None:
    before = content(snapshot)
    damage(snapshot, 1)
    for number in (50, 110):
        source.points[number] = {}
    source.points[105] = {}

    assert repair(source, snapshot, 1).repaired
    assert before == content(snapshot)


def test_a_failure_half_way_leaves_everything_as_it_was(
    source: MemorySource, snapshot: Snapshot
) -> None:
    damage(snapshot, 1)
    before = content(snapshot)
    reads = len(source.reads)

    def fail(number: int) -> None:
        if number == reads + 2:
            raise UnexpectedError

    source.before_read = fail
    with pytest.raises(UnexpectedError):
        repair(source, snapshot, 1, 1)
    assert before == content(snapshot)
    source.before_read = lambda number: None
    assert repair(source, snapshot, 1).repaired


@pytest.mark.fault("S05", "G14")
def test_another_source_repairs_nothing(source: MemorySource, snapshot: Snapshot) -> None:
    damage(snapshot, 1)
    before = content(snapshot)
    source.name = "other"

    with pytest.raises(ForeignStateError, match="was read from"):
        repair(source, snapshot, 1)
    assert before == content(snapshot)


@pytest.mark.parametrize("ordinal", [5, 10**9])
def test_a_part_that_never_was_is_a_usage_error(
    source: MemorySource, snapshot: Snapshot, ordinal: int
) -> None:
    with pytest.raises(UsageError, match="its parts are 0 to 4") as caught:
        repair(source, snapshot, ordinal)
    assert isinstance(caught.value, MigrationError)
