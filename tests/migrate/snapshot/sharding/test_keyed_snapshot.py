"""A snapshot of a collection with custom sharding holds the shard key of every point."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from migrate.errors import ArtefactDamagedError, PreconditionError, UnreadablePointError
from migrate.model.digest import digest_points
from migrate.model.records import Page, PointId, ShardKeyCount, encode_shard_key
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import DifferenceReport, take_difference
from migrate.snapshot.chain.flatten import SnapshotSource
from migrate.snapshot.folder import Snapshot, part_file
from migrate.snapshot.manifest import decode_manifest, encode_manifest
from migrate.snapshot.sealed.repair import repair_part
from migrate.snapshot.sealed.verify import verify_chain, verify_points
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder
from reconcile.scan.source import scan_source
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.steps import KilledError
from tests.harness.tiers import examples

POINTS = 23
KEYS: tuple[int | str, ...] = ("east", 7, "7", "empty")
FROZEN = SnapshotOptions(page_points=3, part_points=5, allow_empty=True)
MOVING = replace(FROZEN, moving=True)
PAYLOADS = replace(FROZEN, payload_only=True)


def runtime() -> Runtime:
    return Runtime(clock=VirtualClock(), progress=Silence())


def keyed(points: int = POINTS) -> MemorySource:
    """Points under three keys in turn, and a key without points."""
    source = MemorySource(chunk_payloads(points))
    source.keys = {key: set() for key in KEYS}
    for at, number in enumerate(source.points):
        put(source, number, KEYS[at % 3])
    return source


def put(source: MemorySource, number: int, key: int | str) -> None:
    """Have the point under this key, and under no other."""
    assert source.keys is not None
    for ids in source.keys.values():
        ids.discard(number)
    source.keys.setdefault(key, set()).add(number)


def opened(path: str) -> Snapshot:
    return Snapshot(LocalFolder(Path(path)))


def take(source: MemorySource, folder: Path, options: SnapshotOptions = FROZEN) -> Snapshot:
    return opened(take_snapshot(source, LocalFolder(folder), options, runtime()).path)


def differ(
    source: MemorySource, parent: Snapshot, options: SnapshotOptions = FROZEN
) -> tuple[DifferenceReport, Snapshot]:
    report = take_difference(source, parent, options, runtime())
    return report, opened(report.path)


def held(snapshot: Snapshot) -> dict[int, object]:
    """Id -> shard key of every row; each digest is computed again from what was read."""
    found: dict[int, object] = {}
    for rows in snapshot.read(with_vectors=("",)):
        assert list(rows.digests) == digest_points(rows.page)
        assert rows.page.shard_keys is not None
        keys = map(json.loads, rows.page.shard_keys)
        found |= {one.number: key for one, key in zip(rows.page.ids, keys, strict=True)}
    return found


def wanted(source: MemorySource) -> dict[int, object]:
    assert source.keys is not None
    return {
        number: key for key, ids in source.keys.items() for number in ids & source.points.keys()
    }


def test_the_manifest_counts_every_key_and_has_a_format_of_its_own(tmp_path: Path) -> None:
    source = keyed()
    snapshot = take(source, tmp_path)

    assert held(snapshot) == wanted(source)
    assert snapshot.manifest.format == 7
    written = json.loads((tmp_path / snapshot.folder.name / "manifest.json").read_text())
    assert written["shard_keys"] == [
        {"key": 7, "points": 8},
        {"key": "7", "points": 7},
        {"key": "east", "points": 8},
        {"key": "empty", "points": 0},
    ]
    file = tmp_path / snapshot.folder.name / "parts" / "part-00000.parquet"
    assert pq.read_table(file).column("shard_key").to_pylist() == ['"east"', "7", '"7"'] * 1 + [
        '"east"',
        "7",
    ]
    assert verify_points(snapshot, Silence()) > 0


def test_without_keys_nothing_of_them_is_written(tmp_path: Path) -> None:
    snapshot = take(MemorySource(chunk_payloads(POINTS)), tmp_path)
    folder = tmp_path / snapshot.folder.name
    assert "shard_key" not in (folder / "manifest.json").read_text()
    assert "shard_key" not in pq.read_schema(folder / "parts" / "part-00000.parquet").names
    assert snapshot.manifest.format == 1


def test_the_same_points_under_other_keys_have_another_root(tmp_path: Path) -> None:
    source = keyed()
    first = take(source, tmp_path / "a")
    put(source, 10, 7)
    second = take(source, tmp_path / "b")
    assert first.manifest.set_digest != second.manifest.set_digest
    assert first.manifest.content_root != second.manifest.content_root


def test_a_snapshot_of_no_points_knows_its_keys(tmp_path: Path) -> None:
    source = keyed(0)
    snapshot = take(source, tmp_path)
    assert [one.points for one in snapshot.manifest.shard_keys or ()] == [0] * len(KEYS)
    source.keys = {}
    assert take(source, tmp_path / "none").manifest.shard_keys == ()


@pytest.mark.fault("M26")
@pytest.mark.parametrize("at", range(1, 60, 4))
def test_after_a_kill_the_bytes_are_those_of_an_undisturbed_snapshot(
    tmp_path: Path, at: int
) -> None:
    source = keyed()
    undisturbed = take(source, tmp_path / "a").manifest.content_root
    source.reads.clear()

    def kill(number: int) -> None:
        if number == at:
            raise KilledError

    source.before_read = kill
    try:
        root = take(source, tmp_path / "b").manifest.content_root
    except KilledError:
        source.before_read = lambda number: None
        root = take(source, tmp_path / "b").manifest.content_root
    assert root == undisturbed


@pytest.mark.fault("M28")
@pytest.mark.parametrize("change", ["made", "removed"])
@pytest.mark.parametrize("way", ["snapshot", "catch-up"])
def test_a_key_that_is_made_or_removed_while_points_are_read_is_named(
    tmp_path: Path, change: str, way: str
) -> None:
    source = keyed()
    base = take(source, tmp_path)
    source.reads.clear()

    def write(number: int) -> None:
        assert source.keys is not None
        if number == 9 and change == "made":
            source.keys["late"] = set()
        elif number == 9:
            source.keys.pop("empty", None)

    source.before_read = write
    name = "'late' was made" if change == "made" else "'empty' was removed"
    with pytest.raises(PreconditionError, match=f"changed while it was read: {name}"):
        _ = take(source, tmp_path / "b") if way == "snapshot" else differ(source, base)


def test_with_moving_a_new_key_is_what_was_read_of_it(tmp_path: Path) -> None:
    source = keyed()

    def write(number: int) -> None:
        if number == 9:
            source.points[9_999] = {"file_id": "late", "chunk_index": 0}
            put(source, 9_999, "late")

    source.before_read = write
    first = take(source, tmp_path, MOVING)
    source.before_read = lambda number: None
    _, last = differ(source, first)
    assert held(last) == wanted(source)
    assert ShardKeyCount(key=encode_shard_key("late"), points=1) in (last.manifest.shard_keys or ())


class Miscounting(MemorySource):
    """A server that counts a point under another key than its pages do."""

    @override
    def _counted_keys(self) -> tuple[ShardKeyCount, ...] | None:
        counted = list(super()._counted_keys() or ())
        counted[0] = replace(counted[0], points=counted[0].points + 1)
        counted[1] = replace(counted[1], points=counted[1].points - 1)
        return tuple(counted)


@pytest.mark.fault("M28")
@pytest.mark.parametrize("options", [FROZEN, replace(FROZEN, second_reading="ids")])
def test_a_count_by_key_that_its_pages_do_not_hold_is_refused(
    tmp_path: Path, options: SnapshotOptions
) -> None:
    source = Miscounting(chunk_payloads(POINTS))
    source.keys = keyed().keys
    with pytest.raises(PreconditionError, match="9 points under shard key 7, and its pages hold 8"):
        take(source, tmp_path, options)


EDITS = st.dictionaries(
    st.sampled_from(range(10, 10 * POINTS + 40, 10)),
    st.none() | st.tuples(st.integers(0, 3), st.sampled_from([*KEYS, "new"])),
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None)
@given(
    chain=st.lists(EDITS, min_size=1, max_size=4),
    options=st.sampled_from([FROZEN, MOVING, PAYLOADS]),
)
def test_a_chain_holds_what_a_fresh_snapshot_of_the_same_points_holds(
    tmp_path_factory: pytest.TempPathFactory,
    chain: list[dict[int, tuple[int, int | str] | None]],
    options: SnapshotOptions,
) -> None:
    folder = tmp_path_factory.mktemp("chain")
    source = keyed()
    last = take(source, folder / "a", MOVING if options.moving else FROZEN)
    for step in chain:
        for number, edit in step.items():
            if edit is None:
                source.points.pop(number, None)
                continue
            payload = source.points.get(number, {"file_id": "new", "chunk_index": number})
            source.points[number] = {**payload, "shift": edit[0]}
            put(source, number, edit[1])
        _, last = differ(source, last, options)
    fresh = take(source, folder / "b")
    flat = take(SnapshotSource(last), folder / "c")  # type: ignore[arg-type]

    assert held(last) == held(fresh) == held(flat) == wanted(source)
    assert last.manifest.set_digest == fresh.manifest.set_digest
    assert last.manifest.shard_keys == fresh.manifest.shard_keys
    assert flat.manifest.content_root == fresh.manifest.content_root
    verify_chain(last, Silence())


@pytest.mark.parametrize("options", [FROZEN, PAYLOADS])
def test_a_point_that_moved_to_another_key_alone_is_a_change(
    tmp_path: Path, options: SnapshotOptions
) -> None:
    source = keyed()
    base = take(source, tmp_path)
    put(source, 20, "east")
    report, last = differ(source, base, options)
    assert (report.added, report.changed, report.deleted) == (0, 1, 0)
    assert held(last)[20] == "east"
    again = scan_source(source, base, page_points=5, progress=Silence())
    assert (again.changed, again.added, again.deleted) == (("20",), (), ())
    assert not scan_source(source, last, page_points=5, progress=Silence()).moved


@pytest.mark.fault("M26")
def test_a_collection_that_got_or_lost_its_keys_is_another_one(tmp_path: Path) -> None:
    source = keyed()
    with_keys = take(source, tmp_path / "a")
    keys, source.keys = source.keys, None
    without = take(source, tmp_path / "b")
    with pytest.raises(PreconditionError, match="has no shard keys, and had some"):
        differ(source, with_keys)
    part_of(with_keys).unlink()
    with pytest.raises(PreconditionError, match="has no shard keys"):
        repair_part(source, with_keys, 0, page_points=3, progress=Silence())
    source.keys = keys
    with pytest.raises(PreconditionError, match="has shard keys, and had none"):
        differ(source, without)


def part_of(snapshot: Snapshot) -> Path:
    return Path(str(part_file(snapshot.folder, snapshot.manifest.parts[0])))


def test_a_part_is_read_again_with_its_keys(tmp_path: Path) -> None:
    source = keyed()
    snapshot = take(source, tmp_path)
    part_of(snapshot).unlink()
    assert repair_part(source, snapshot, 0, page_points=2, progress=Silence()).repaired
    assert held(snapshot) == wanted(source)
    part_of(snapshot).unlink()
    put(source, 10, 7)
    with pytest.raises(PreconditionError, match="with sha256"):
        repair_part(source, snapshot, 0, page_points=2, progress=Silence())


class Broken(MemorySource):
    """A source that cannot give point 30, and knows its key."""

    @override
    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        page = super().read_points(start, limit=limit)
        if PointId(0, 30) not in page.ids:
            return page
        if page.ids[0] != PointId(0, 30):
            return super().read_points(start, limit=page.ids.index(PointId(0, 30)))
        error = UnreadablePointError("x", remedy="y", point_id="30", point_id_type="uint64")
        error.shard_key = '"7"'
        raise error


def test_a_point_that_is_left_out_keeps_its_key(tmp_path: Path) -> None:
    source = Broken(chunk_payloads(POINTS))
    source.keys = keyed().keys
    snapshot = take(source, tmp_path, replace(FROZEN, leave_unreadable=True))
    assert snapshot.manifest.unreadable == ("30",)
    assert held(snapshot) == wanted(source)


@pytest.mark.fault("M26")
@pytest.mark.parametrize(
    "change",
    [
        lambda keys: keys[::-1],
        lambda keys: [*keys, keys[-1]],
        lambda keys: [{**keys[0], "points": 9}, *keys[1:]],
        lambda keys: [{**keys[0], "key": True}, *keys[1:]],
        lambda keys: None,
    ],
)
def test_a_manifest_with_other_keys_is_refused(tmp_path: Path, change: object) -> None:
    manifest = take(keyed(), tmp_path).manifest
    assert callable(change)
    fields = json.loads(encode_manifest(manifest))
    fields["shard_keys"] = change(fields["shard_keys"])
    with pytest.raises(ArtefactDamagedError):
        decode_manifest(json.dumps(fields).encode(), where="manifest")


@pytest.mark.fault("M26")
def test_counts_that_are_not_those_of_the_rows_are_found_by_verify(tmp_path: Path) -> None:
    snapshot = take(keyed(), tmp_path)
    keys = list(snapshot.manifest.shard_keys or ())
    keys[0], keys[1] = replace(keys[0], points=7), replace(keys[1], points=8)
    snapshot.manifest = replace(snapshot.manifest, shard_keys=tuple(keys))
    with pytest.raises(ArtefactDamagedError, match="8 points are under shard key 7, the manifest"):
        verify_points(snapshot, Silence())
    snapshot.manifest = replace(snapshot.manifest, shard_keys=None)
    with pytest.raises(ArtefactDamagedError, match="only one of part and manifest has shard keys"):
        verify_points(snapshot, Silence())
