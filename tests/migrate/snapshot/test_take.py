"""A snapshot survives any kill, is the same whatever the pages, and never seals a moving source."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typing_extensions import override

from migrate.errors import ExitCode, PreconditionError, UnreadablePointError
from migrate.model.digest import digest_points
from migrate.model.pages import take_rows
from migrate.model.records import Page, PointId
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import UNREADABLE_MAX, SnapshotManifest
from migrate.snapshot.ranges import SecondReading
from migrate.snapshot.take import SnapshotOptions, SnapshotReport
from migrate.storage.layout import part_name
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.memory_source import (
    SMALL_PAGES,
    SPEC,
    MemorySource,
    UnexpectedError,
    chunk_payloads,
    page_of,
    take,
)
from tests.harness.fakes.silence import Silence
from tests.harness.tiers import one_in

PART_ROWS = 5
POINTS = 23  # four full parts and one of three
# The reads of an undisturbed run: collection, count, ids and their end; three for each part;
# the same again from SECOND_READING on; count and collection.
READS = 4 + 15 + 15 + 2
SECOND_READING = 4 + 15


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows a part instead of 64,000: the number is a constant, its meaning is the same."""
    monkeypatch.setattr("migrate.snapshot.begun.state._PART_ROWS_MAX", PART_ROWS)


def sealed(report: SnapshotReport) -> SnapshotManifest:
    """The manifest, after checking that the parts are the ones it names and hold what it says."""
    snapshot = Snapshot(LocalFolder(Path(report.path)))
    manifest = snapshot.manifest
    assert sum(part.bytes for part in manifest.parts) == report.bytes
    assert snapshot.unknown_files() == []
    rows = list(snapshot.read(with_vectors=("",)))
    digests = [digest for some in rows for digest in some.digests]
    assert digests == [digest for some in rows for digest in digest_points(some.page)]
    assert len(digests) == manifest.points == report.points
    return manifest


def stored(report: SnapshotReport) -> dict[int, bytes]:
    rows = Snapshot(LocalFolder(Path(report.path))).read(with_vectors=())
    return {
        point_id.number: payload
        for some in rows
        for point_id, payload in zip(some.page.ids, some.page.payloads, strict=True)
    }


def payloads_of(source: MemorySource) -> dict[int, bytes]:
    ids = [PointId(0, number) for number in sorted(source.points)]
    return dict(zip(sorted(source.points), page_of(source.points, ids).payloads, strict=True))


def undisturbed(tmp_path: Path) -> SnapshotManifest:
    return sealed(take(MemorySource(chunk_payloads(POINTS)), tmp_path / "undisturbed"))


@pytest.mark.fault("I8")
def test_the_bytes_are_the_same_whatever_the_pages(tmp_path: Path) -> None:
    manifests = []
    for page_points, answer_points_max in ((1, 1), (7, 10**9), (256, 3), (1000, 10**9)):
        source = MemorySource(chunk_payloads(POINTS))
        source.answer_points_max = answer_points_max
        folder = tmp_path / str(page_points)
        report = take(source, folder, SnapshotOptions(page_points=page_points))
        manifests.append(sealed(report))
        assert stored(report) == payloads_of(source)

    assert len({one.content_root for one in manifests}) == 1
    assert len({one.parts for one in manifests}) == 1
    assert [part.rows for part in manifests[0].parts] == [5, 5, 5, 5, 3]
    assert [part.first_id for part in manifests[0].parts] == ["10", "60", "110", "160", "210"]


def test_the_report_says_what_was_taken(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    source.warnings = ("yellow",)
    progress = Silence()
    report = take(source, tmp_path, progress=progress)
    manifest = sealed(report)

    assert (report.points, report.parts, report.dimensions) == (POINTS, 5, 4)
    assert (report.resumed, report.warnings) == (False, ("yellow",))
    assert (report.content_root, report.set_digest) == (
        manifest.content_root,
        manifest.set_digest,
    )
    assert progress.said == ["source: yellow"]
    assert manifest.count_start == manifest.count_end == POINTS


def test_the_number_of_reads_that_the_sweep_covers(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    take(source, tmp_path)

    assert len(source.reads) == READS


@pytest.mark.fault("G01", "G17", "S06", "I2")
@pytest.mark.parametrize("killed_at", one_in(3, range(READS)))
def test_killed_at_any_read_and_resumed_gives_the_same_bytes(
    tmp_path: Path, killed_at: int
) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    source.before_read = kill_at(killed_at)
    with pytest.raises(UnexpectedError):
        take(source, tmp_path / "run")
    sealed_parts = parts_on_disk(tmp_path / "run")
    source.before_read = lambda number: None
    before = len(source.reads)
    report = take(source, tmp_path / "run")
    manifest = sealed(report)

    expected = undisturbed(tmp_path)
    assert manifest.parts == expected.parts
    assert manifest.content_root == expected.content_root
    assert stored(report) == payloads_of(source)
    first_pass = reads_per_start(source.reads[before:])
    for part in sealed_parts:  # only the second reading looks at them again
        assert first_pass[part] == 1


def kill_at(read: int) -> Callable[[int], None]:
    def raise_there(number: int) -> None:
        if number == read:
            raise UnexpectedError

    return raise_there


def parts_on_disk(directory: Path) -> list[int]:
    """Ordinals of the parts that are sealed: their whole file is there."""
    return sorted(int(path.stem[-5:]) for path in directory.glob("*/parts/part-*.parquet"))


def reads_per_start(reads: list[tuple[str, PointId | None]]) -> dict[int, int]:
    """How often each part was read from its start."""
    starts: list[PointId | None] = [None, *(PointId(0, 10 + 50 * part) for part in range(1, 5))]
    return {
        part: sum(what == "points" and where == start for what, where in reads)
        for part, start in enumerate(starts)
    }


@pytest.mark.fault("G17")
def test_killed_over_and_over_it_still_ends(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    attempts = 0
    report = None
    while report is None:
        attempts += 1
        source.before_read = kill_at(len(source.reads) + 25)
        try:
            report = take(source, tmp_path / "run")
        except UnexpectedError:
            source.reads.append(("kill", None))

    assert attempts > 1
    assert sealed(report).content_root == undisturbed(tmp_path).content_root


@pytest.mark.fault("S06", "S07")
def test_parts_that_no_entry_vouches_for_are_read_anew(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    source.before_read = kill_at(18)
    with pytest.raises(UnexpectedError):
        take(source, tmp_path / "run")
    (folder,) = (tmp_path / "run").iterdir()
    parts = LocalFolder(folder / "parts")
    parts.file(part_name(0)).write(b"torn")
    parts.file(part_name(9)).write(b"of nobody")
    (folder / "parts" / ".part-00003.parquet.q2v-tmp").write_bytes(b"half")
    source.before_read = lambda number: None
    report = take(source, tmp_path / "run")

    assert report.resumed
    assert sealed(report).content_root == undisturbed(tmp_path).content_root


def change_at(read: int, change: Callable[[], object]) -> Callable[[int], None]:
    def at(number: int) -> None:
        if number == read:
            change()

    return at


@pytest.mark.fault("S01")
@pytest.mark.parametrize("when", one_in(3, range(2, SECOND_READING + 1)))
@pytest.mark.parametrize("kind", ["added", "added last", "changed", "deleted", "part deleted"])
def test_points_that_change_during_the_snapshot_are_found(
    tmp_path: Path, when: int, kind: str
) -> None:
    """Before or after they were read: the snapshot is the source as it is at the end."""
    source = MemorySource(chunk_payloads(POINTS))
    changes: dict[str, Callable[[], object]] = {
        "added": lambda: source.points.update({115: {"new": True}}),
        "added last": lambda: source.points.update({10**6: {"new": True}}),
        "changed": lambda: source.points.update({120: {"shift": 1}}),
        "deleted": lambda: source.points.pop(120),
        "part deleted": lambda: [source.points.pop(number) for number in range(110, 160, 10)],
    }
    source.before_read = change_at(when, changes[kind])
    report = take(source, tmp_path)

    assert sealed(report).points == len(source.points)
    assert stored(report) == payloads_of(source)


@pytest.mark.fault("S01")
@pytest.mark.parametrize("kind", ["added", "deleted"])
def test_a_second_reading_by_ids_finds_what_came_and_went(tmp_path: Path, kind: str) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    changes: dict[str, Callable[[], object]] = {
        "added": lambda: source.points.update({115: {}}),
        "deleted": lambda: source.points.pop(120),
    }
    source.before_read = change_at(SECOND_READING, changes[kind])
    report = take(source, tmp_path, replace(SMALL_PAGES, second_reading="ids"))

    assert sealed(report).second_reading == "ids"
    assert stored(report) == payloads_of(source)


@pytest.mark.fault("S01")
def test_a_source_that_never_rests_is_never_sealed(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))

    def change(number: int) -> None:
        source.points[60]["shift"] = number

    source.before_read = change
    with pytest.raises(PreconditionError, match=r"keeps changing: .* 1 point .* 60$") as caught:
        take(source, tmp_path)

    assert caught.value.exit_code == ExitCode.PRECONDITION
    assert list(tmp_path.glob("*/manifest.json")) == []
    source.before_read = lambda number: None
    report = take(source, tmp_path)
    assert report.resumed
    assert sealed(report).points == POINTS
    assert stored(report) == payloads_of(source)


@pytest.mark.fault("S01", "S05")
def test_a_change_after_the_second_reading_is_found_by_the_last_checks(tmp_path: Path) -> None:
    last_count = READS - 2
    source = MemorySource(chunk_payloads(POINTS))
    source.before_read = change_at(last_count, lambda: source.points.pop(10))
    with pytest.raises(PreconditionError, match="23 points were read twice, it now counts 22"):
        take(source, tmp_path / "count")

    other = MemorySource(chunk_payloads(POINTS))
    changed = (replace(SPEC, distance="Dot"),)
    other.before_read = change_at(last_count + 1, lambda: setattr(other, "specs", changed))
    with pytest.raises(PreconditionError, match="and has other vectors"):
        take(other, tmp_path / "vectors")

    assert list(tmp_path.glob("*/*/manifest.json")) == []


@pytest.mark.fault("P05")
def test_an_empty_collection_is_refused_unless_allowed(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="holds no points"):
        take(MemorySource({}), tmp_path / "refused")
    report = take(MemorySource({}), tmp_path / "allowed", replace(SMALL_PAGES, allow_empty=True))

    assert (sealed(report).points, report.parts) == (0, 1)


@pytest.mark.fault("P06")
@pytest.mark.parametrize("points", [1, 2, 3, PART_ROWS, PART_ROWS + 1])
def test_both_sides_of_a_page_and_of_a_part(tmp_path: Path, points: int) -> None:
    source = MemorySource(chunk_payloads(points))
    report = take(source, tmp_path)

    assert len(sealed(report).parts) == -(-points // PART_ROWS)
    assert stored(report) == payloads_of(source)


def test_a_finished_snapshot_is_not_resumed_and_not_touched(tmp_path: Path) -> None:
    first = take(MemorySource(chunk_payloads(POINTS)), tmp_path)
    again = take(MemorySource(chunk_payloads(POINTS)), tmp_path)

    assert first.path != again.path
    assert not again.resumed
    assert sealed(first).content_root == sealed(again).content_root


@pytest.mark.fault("G14", "S05")
def test_an_unsealed_snapshot_of_another_collection_is_left_alone(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    source.before_read = kill_at(18)
    with pytest.raises(UnexpectedError):
        take(source, tmp_path)
    other = MemorySource(chunk_payloads(3))
    other.name = "other"

    assert not take(other, tmp_path).resumed
    source.before_read = lambda number: None
    assert take(source, tmp_path).resumed


@pytest.mark.fault("S07")
@pytest.mark.parametrize(
    ("first", "end"), [(0, POINTS), (4, 6), (5, 10), (22, 23), (7, 7), (0, 99), (23, 30)]
)
def test_any_rows_can_be_read_from_a_snapshot(tmp_path: Path, first: int, end: int) -> None:
    report = take(MemorySource(chunk_payloads(POINTS)), tmp_path)
    rows = list(
        Snapshot(LocalFolder(Path(report.path))).read(with_vectors=(), first_row=first, end_row=end)
    )

    numbers = sorted(chunk_payloads(POINTS))
    assert [one.number for some in rows for one in some.page.ids] == numbers[first:end]
    assert [some.first_row + at for some in rows for at in range(len(some.page))] == list(
        range(first, min(end, POINTS))
    )


class PartlyUnreadable(MemorySource):
    """A source that does not give the points of `poisoned`."""

    poisoned: frozenset[int] = frozenset()

    @override
    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        page = super().read_points(start, limit=limit)
        bad = [n for n, point_id in enumerate(page.ids) if point_id.number in self.poisoned]
        if bad and bad[0] == 0:
            raise UnreadablePointError(
                f"point {page.ids[0].text} cannot be read",
                remedy="leave it out",
                point_id=page.ids[0].text,
                point_id_type=page.ids[0].id_type.value,
            )
        return take_rows(page, 0, bad[0]) if bad else page


@pytest.mark.fault("F06")
@pytest.mark.parametrize("second_reading", ["digest", "ids"])
def test_points_left_out_are_rows_with_their_id_and_stand_in_the_manifest(
    tmp_path: Path, second_reading: SecondReading
) -> None:
    options = replace(SMALL_PAGES, leave_unreadable=True, second_reading=second_reading)
    source = PartlyUnreadable(chunk_payloads(POINTS))
    source.poisoned = frozenset({10, 60, 230})

    report = take(source, tmp_path, options)

    manifest = sealed(report)
    assert report.unreadable == manifest.unreadable == ("10", "60", "230")
    assert (report.points, report.exit_code) == (POINTS, ExitCode.QUARANTINED)
    assert stored(report)[60] == b"{}"
    assert manifest.format == 2
    assert b'"unreadable":["10","60","230"]' in (Path(report.path) / "manifest.json").read_bytes()


@pytest.mark.slow
@pytest.mark.fault("F06")
def test_more_unreadable_points_than_single_ones_stop_the_snapshot(tmp_path: Path) -> None:
    count = UNREADABLE_MAX + 1
    source = PartlyUnreadable(chunk_payloads(count))
    source.poisoned = frozenset(source.points)

    with pytest.raises(PreconditionError, match="more than 1,000 points cannot be read"):
        take(source, tmp_path, replace(SMALL_PAGES, leave_unreadable=True))


@pytest.mark.fault("F06")
def test_a_manifest_without_points_left_out_is_written_as_before(tmp_path: Path) -> None:
    report = take(MemorySource(chunk_payloads(POINTS)), tmp_path, replace(SMALL_PAGES, readers=1))

    content = (Path(report.path) / "manifest.json").read_bytes()
    assert b"unreadable" not in content
    assert b'"format":1' in content
