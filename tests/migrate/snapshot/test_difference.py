"""A chain of differences holds what a fresh snapshot would hold, or says that it does not."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import ArtefactDamagedError, ForeignStateError, PreconditionError
from migrate.model.digest import digest_points
from migrate.runtime import Runtime
from migrate.snapshot.chain.changes import NO_ROW
from migrate.snapshot.chain.difference import DifferenceReport, take_difference
from migrate.snapshot.chain.flatten import SnapshotSource
from migrate.snapshot.folder import Snapshot, part_file
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.steps import KilledError
from tests.harness.tiers import examples

PART_POINTS = 5
POINTS = 23
FROZEN = SnapshotOptions(page_points=3, part_points=PART_POINTS, allow_empty=True)
MOVING = SnapshotOptions(page_points=3, part_points=PART_POINTS, allow_empty=True, moving=True)


def runtime() -> Runtime:
    return Runtime(clock=VirtualClock(), progress=Silence())


def take(source: MemorySource, folder: Path, options: SnapshotOptions = FROZEN) -> Snapshot:
    report = take_snapshot(source, LocalFolder(folder), options, runtime())
    return Snapshot(LocalFolder(Path(report.path)))


def differ(
    source: MemorySource, parent: Snapshot, options: SnapshotOptions = FROZEN
) -> tuple[DifferenceReport, Snapshot]:
    report = take_difference(source, parent, options, runtime())
    return report, Snapshot(LocalFolder(Path(report.path)))


def held(snapshot: Snapshot) -> list[tuple[str, bytes]]:
    """Id and digest of every row, each digest computed again from what was read."""
    found: list[tuple[str, bytes]] = []
    for rows in snapshot.read(with_vectors=("",)):
        assert rows.first_row == len(found)
        assert list(rows.digests) == digest_points(rows.page)
        found += [
            (one.text, digest) for one, digest in zip(rows.page.ids, rows.digests, strict=True)
        ]
    return found


def held_by_parts(snapshot: Snapshot) -> list[tuple[str, bytes]]:
    """The same, with each part read by itself."""
    found: dict[int, tuple[str, bytes]] = {}
    for part in snapshot.live_parts():
        for rows, page in part.read(with_vectors=("",)):
            for row, one, digest in zip(rows.tolist(), page.ids, digest_points(page), strict=True):
                if row != NO_ROW:
                    assert row not in found
                    found[row] = (one.text, digest)
    return [found[row] for row in range(len(found))]


def edit(source: MemorySource, edits: dict[int, int | None]) -> None:
    """Give points another content, or delete those of None."""
    for number, shift in edits.items():
        if shift is None:
            source.points.pop(number, None)
        else:
            source.points[number] = {**chunk_payloads(1)[10], "chunk_index": number, "shift": shift}


edits = st.dictionaries(
    st.integers(0, 10 * POINTS + 20), st.none() | st.integers(0, 3), max_size=12
)


@pytest.mark.slow
@settings(max_examples=examples(25))
@given(chain=st.lists(edits, min_size=1, max_size=4), is_moving=st.booleans())
def test_a_chain_holds_what_a_fresh_snapshot_of_the_same_points_holds(
    tmp_path_factory: pytest.TempPathFactory, chain: list[dict[int, int | None]], is_moving: bool
) -> None:
    folder = tmp_path_factory.mktemp("chain")
    source = MemorySource(chunk_payloads(POINTS))
    last = take(source, folder / "a", MOVING if is_moving else FROZEN)
    for step in chain:
        edit(source, step)
        _, last = differ(source, last)
    fresh = take(source, folder / "b")
    source.points.clear()  # nothing is read from it any more
    flat = take(SnapshotSource(last), folder / "c")  # type: ignore[arg-type]

    assert held(last) == held(fresh) == held(flat)
    assert held_by_parts(last) == held(last)
    assert held_by_parts(fresh) == held(last)
    assert last.manifest.set_digest == fresh.manifest.set_digest == flat.manifest.set_digest
    assert last.manifest.points == fresh.manifest.points
    assert not last.manifest.moving
    assert [(part.rows, part.sha256) for part in flat.manifest.parts] == [
        (part.rows, part.sha256) for part in fresh.manifest.parts
    ]
    assert flat.manifest.content_root == fresh.manifest.content_root


@pytest.mark.slow
@given(step=edits, data=st.data())
@settings(max_examples=examples(25))
def test_any_range_of_a_difference_is_that_part_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, step: dict[int, int | None], data: st.DataObject
) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    base = take(source, tmp_path_factory.mktemp("range"))
    edit(source, step)
    _, last = differ(source, base)
    rows = held(last)
    first = data.draw(st.integers(0, len(rows)))
    end = data.draw(st.integers(first, len(rows)))

    found = [
        (some.first_row + at, one.text)
        for some in last.read(with_vectors=(), first_row=first, end_row=end)
        for at, one in enumerate(some.page.ids)
    ]

    assert found == [(row, rows[row][0]) for row in range(first, end)]


def test_counts_say_what_was_added_changed_and_deleted(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    edit(source, {5: 1, 10: 1, 20: 2, 30: None})

    report, last = differ(source, base)

    assert (report.added, report.changed, report.deleted) == (1, 2, 1)
    assert report.points == last.manifest.points == POINTS
    assert [change.kind.value for change in last.changes()] == [
        "added",
        "changed",
        "changed",
        "deleted",
    ]
    assert sum(part.rows for part in last.manifest.parts) == 3


@pytest.mark.parametrize("base_options", [FROZEN, MOVING])
def test_without_a_change_only_what_is_not_proven_yet_is_sealed(
    tmp_path: Path, base_options: SnapshotOptions
) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    base = take(source, tmp_path, base_options)

    once, _ = differ(source, base, MOVING)
    proven, last = differ(source, base)

    assert not once.sealed
    assert proven.sealed == base.manifest.moving
    assert last.manifest.moving is False
    assert len(list(tmp_path.iterdir())) == 1 + proven.sealed, "no folder is left behind"


def test_a_first_snapshot_of_a_moving_source_is_sealed_and_marked(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    source.before_read = lambda number: edit(source, {10 * (number % POINTS): number})

    base = take(source, tmp_path, MOVING)

    assert base.manifest.moving
    assert base.manifest.second_reading == "none"
    assert base.manifest.format == 3
    assert len(held(base)) == base.manifest.points


@pytest.mark.slow
def test_catching_up_with_a_writer_ends_when_the_writer_does(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    source.before_read = lambda number: edit(source, {10 * (number % POINTS) + 5: number})
    last = take(source, tmp_path, MOVING)
    _, last = differ(source, last, MOVING)
    assert last.manifest.moving

    with pytest.raises(PreconditionError, match="keeps changing") as caught:
        differ(source, last)
    assert "without --frozen" in caught.value.remedy
    source.before_read = lambda number: None
    _, last = differ(source, last)

    assert not last.manifest.moving
    assert dict(held(last)).keys() == {str(number) for number in source.points}


def test_a_change_between_the_two_readings_is_read_again(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    source.reads.clear()
    edit(source, {20: 7})
    differ_reads: list[int] = []

    def write_once(number: int) -> None:
        differ_reads.append(number)
        if len(differ_reads) == 14:  # within the second reading
            edit(source, {30: 9, 40: None})

    source.before_read = write_once
    _, last = differ(source, base)

    fresh = take(source, tmp_path / "fresh")
    assert held(last) == held(fresh)


@pytest.mark.fault("C02")
@pytest.mark.parametrize("at", range(2, 30, 3))
def test_after_a_kill_the_reading_begins_again_and_ends_the_same(tmp_path: Path, at: int) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    edit(source, {5: 1, 20: 2, 30: None})
    source.reads.clear()

    def kill(number: int) -> None:
        if number == at:
            raise KilledError

    source.before_read = kill
    try:
        differ(source, base)
    except KilledError:
        source.before_read = lambda number: None
        differ(source, base)
    source.before_read = lambda number: None
    folders = [LocalFolder(path) for path in sorted(tmp_path.iterdir())]

    assert len(folders) == 2
    assert held(Snapshot(folders[1])) == held(take(source, tmp_path / "fresh"))


def test_another_source_is_refused_with_both_names(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    other = MemorySource(chunk_payloads(POINTS))
    other.name = "others"

    with pytest.raises(ForeignStateError, match=r"'points' of .* 'others' of "):
        differ(other, base)


def test_other_vectors_are_refused(tmp_path: Path) -> None:
    base = take(MemorySource(chunk_payloads(POINTS)), tmp_path)

    with pytest.raises(PreconditionError, match="has vectors"):
        differ(MemorySource(chunk_payloads(POINTS), dimensions=8), base)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.fault("C05")
@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda base, last: _flip(last / "changes.parquet"), ArtefactDamagedError),
        (lambda base, last: (last / "changes.parquet").unlink(), ArtefactDamagedError),
        (lambda base, last: _flip(last / "manifest.json"), ArtefactDamagedError),
        (lambda base, last: _flip(last / "parts" / "part-00000.parquet"), ArtefactDamagedError),
        (lambda base, last: _flip(base / "parts" / "part-00001.parquet"), ArtefactDamagedError),
        (lambda base, last: (base / "manifest.json").unlink(), ArtefactDamagedError),
    ],
)
def test_damage_anywhere_in_the_chain_is_found_before_it_is_used(
    tmp_path: Path, damage: Callable[[Path, Path], object], error: type[Exception]
) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    edit(source, {10: 1, 30: None})
    _, last = differ(source, base)

    damage(tmp_path / base.folder.name, tmp_path / last.folder.name)

    with pytest.raises(error):
        held(Snapshot(last.folder))


@pytest.mark.fault("C05")
def test_another_snapshot_in_the_parents_place_is_refused(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    edit(source, {10: 1})
    _, last = differ(source, base)
    manifest = tmp_path / base.folder.name / "manifest.json"
    other = take(MemorySource(chunk_payloads(POINTS + 1)), tmp_path / "other")
    content = (tmp_path / "other" / other.folder.name / "manifest.json").read_text()
    manifest.write_text(content.replace(other.folder.name, base.folder.name))

    with pytest.raises((ForeignStateError, ArtefactDamagedError)):
        Snapshot(last.folder)


def test_every_stored_part_covers_its_rows(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    base = take(source, tmp_path)
    edit(source, {5: 1, 100: 2, 110: None, 500: 3})
    _, last = differ(source, base)

    for part in last.stored_parts():
        file = part_file(part.folder, part.part)
        content = file.read(bytes_max=10**6)
        file.write(b"")
        untouched = [(0, part.first_row), (part.end_row, last.manifest.points)]
        for first, end in untouched:
            list(last.read(with_vectors=("",), first_row=first, end_row=end))
        with pytest.raises(ArtefactDamagedError):
            part.check()
        file.write(content)
        part.check()
