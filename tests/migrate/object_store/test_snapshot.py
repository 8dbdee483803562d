"""A snapshot in an object store: created once, the same as a local one, whoever works on it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from obstore.store import MemoryStore
from typing_extensions import override

from migrate.errors import PreconditionError
from migrate.model.digest import digest_points
from migrate.object_store.address import Bucket, ObjectAddress
from migrate.object_store.client import use_store
from migrate.object_store.folder import ObjectFolder, object_folder
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import DifferenceReport, take_difference
from migrate.snapshot.folder import Snapshot, part_file, sealed_folders, unsealed_folders
from migrate.snapshot.sealed.verify import verify_chain
from migrate.snapshot.take import SnapshotOptions, SnapshotReport, take_snapshot
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import OPENED_RECORD, PARTS, RECORDS, find_place
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads
from tests.harness.fakes.object_stores import CountedStore, ReplacingStore
from tests.harness.fakes.silence import Silence
from tests.harness.fakes.steps import KilledError
from tests.harness.tiers import alike, some_of_each, struck_at

BUCKET = "snapshots-of-a-test"
POINTS = 23
FROZEN = SnapshotOptions(page_points=3, part_points=5)
MOVING = replace(FROZEN, moving=True)


@contextmanager
def bucket(store: CountedStore | None = None) -> Iterator[CountedStore]:
    store = store or CountedStore(MemoryStore())
    with use_store(BUCKET, store):  # type: ignore[arg-type]
        yield store


def directory(local: Path) -> ObjectFolder:
    """The --dir of one machine; each machine has a local folder of its own."""
    return object_folder(ObjectAddress(Bucket(BUCKET), "team/dir"), local)


def take(
    source: MemorySource, folder: WorkFolder, options: SnapshotOptions = FROZEN
) -> SnapshotReport:
    folder.make()
    return take_snapshot(source, folder, options, Runtime(clock=VirtualClock(), progress=Silence()))


def differ(
    source: MemorySource, parent: Snapshot, options: SnapshotOptions = FROZEN
) -> DifferenceReport:
    runtime = Runtime(clock=VirtualClock(wall_s=1_700_001_000.0), progress=Silence())
    return take_difference(source, parent, options, runtime)


def newest(folder: ObjectFolder) -> Snapshot:
    return Snapshot(sealed_folders(folder)[-1])


def held(snapshot: Snapshot) -> list[tuple[str, bytes]]:
    verify_chain(snapshot, Silence())
    return [
        (one.text, digest)
        for rows in snapshot.read(with_vectors=("",))
        for one, digest in zip(rows.page.ids, digest_points(rows.page), strict=True)
    ]


def parts_of(snapshot: Snapshot) -> list[bytes]:
    return [
        part_file(snapshot.folder, part).read(bytes_max=10**6) for part in snapshot.manifest.parts
    ]


@pytest.fixture
def undisturbed(tmp_path: Path) -> Snapshot:
    report = take(MemorySource(chunk_payloads(POINTS)), LocalFolder(tmp_path / "undisturbed"))
    return Snapshot(LocalFolder(Path(report.path)))


def test_the_bytes_and_the_root_are_those_of_a_local_snapshot(
    tmp_path: Path, undisturbed: Snapshot
) -> None:
    with bucket():
        report = take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path / "here"))
        found = newest(directory(tmp_path / "elsewhere"))

        assert report.path == f"s3://{BUCKET}/team/dir/{report.snapshot_id}"
        assert found.manifest == replace(undisturbed.manifest, sealed_at=found.manifest.sealed_at)
        assert parts_of(found) == parts_of(undisturbed)
        assert held(found) == held(undisturbed)


def test_every_object_has_its_place_and_a_run_lies_on_this_machine(tmp_path: Path) -> None:
    with bucket() as store:
        take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path))
        snapshot = newest(directory(tmp_path))
        keys = store.keys()
        places = [key.removeprefix("team/dir/") for key in keys if ".q2v-creates" not in key]

        assert [key for key in places if find_place(key) is None] == []
        assert {key.split("/")[1] for key in places} == {
            OPENED_RECORD,
            PARTS,
            RECORDS,
            "manifest.json",
        }
        run = snapshot.runs.child("000-run")
        run.make()
        assert str(run) == str(tmp_path / snapshot.folder.name / "runs" / "000-run")
        assert run.parent.parent == snapshot.folder
        assert snapshot.folder.has("runs")
        assert "runs" in snapshot.folder.names()


Kinds = Sequence[tuple[str, str]]  # of requests: what is done, and to which of like keys


def requests_of_a_snapshot(tmp_path: Path) -> Kinds:
    with bucket() as store:
        take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path / "counted"))
        return [(what, alike(str(key))) for what, key in store.requests]


def some_requests(kinds: Kinds) -> list[int]:
    return some_of_each(kinds, lambda kind: kind[0] == "put")


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@struck_at(some_requests)
def test_a_kill_at_any_request_is_resumed_on_another_machine(
    tmp_path: Path, undisturbed: Snapshot, when: str, chosen: Callable[[Kinds], list[int]]
) -> None:
    """The other machine has nothing of the first one's local folder."""
    for at in chosen(requests_of_a_snapshot(tmp_path)):
        with bucket() as store:

            def kill(number: int, what: str, key: object, at: int = at) -> None:
                if number + 1 == at:
                    raise KilledError

            setattr(store, when, kill)
            with pytest.raises(KilledError):
                take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path / f"{when}-{at}"))
            setattr(store, when, lambda *_: None)
            begun = len(unsealed_folders(directory(tmp_path)))
            other = tmp_path / f"other-{when}-{at}"
            take(MemorySource(chunk_payloads(POINTS)), directory(other))

            found = newest(directory(other))
            assert found.manifest.content_root == undisturbed.manifest.content_root
            assert held(found) == held(undisturbed)
            if begun:
                assert len(sealed_folders(directory(other))) == 1, "the begun one was resumed"


def test_a_resumed_snapshot_reads_no_part_again_that_has_a_record(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    with bucket() as store:

        def kill(number: int, what: str, key: object) -> None:
            if what == "put" and str(key).endswith("records/part-00002.json"):
                raise KilledError

        store.after = kill
        with pytest.raises(KilledError):
            take(source, directory(tmp_path / "first"))
        store.after = lambda *_: None
        source.reads.clear()
        take(source, directory(tmp_path / "second"))

        first_read = [start for what, start in source.reads if what == "points"]
        # Ids are 10, 20, ...: part 3 begins with the 16th. Then all is read a second time.
        assert first_read[0] is not None
        assert first_read[0].number == 160


@pytest.mark.slow
@struck_at(some_requests)
def test_two_machines_at_once_seal_one_snapshot(
    tmp_path: Path, undisturbed: Snapshot, chosen: Callable[[Kinds], list[int]]
) -> None:
    """The second one begins and ends while the first is between two requests, anywhere."""
    for at in chosen(requests_of_a_snapshot(tmp_path)):
        with bucket() as store:

            def other(number: int, what: str, key: object, at: int = at) -> None:
                if number + 1 == at:
                    store.before = lambda *_: None
                    take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path / f"two-{at}"))

            store.before = other
            try:
                take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path / f"one-{at}"))
            except PreconditionError as error:  # both began at the same second
                assert OPENED_RECORD in str(error)  # noqa: PT017 - it is rare among the requests
            for folder in sealed_folders(directory(tmp_path)):
                assert Snapshot(folder).manifest.content_root == undisturbed.manifest.content_root
                assert held(Snapshot(folder)) == held(undisturbed)
            assert sealed_folders(directory(tmp_path))


def changing(source: MemorySource, at: int) -> Callable[[int], None]:
    def change(number: int) -> None:
        if number == at:
            source.points[60] = {**source.points[60], "shift": 3}
            source.points[230] = {**source.points[230], "shift": 4}

    return change


def test_a_part_that_moved_gets_another_name_and_the_root_is_the_same(tmp_path: Path) -> None:
    after = MemorySource(chunk_payloads(POINTS))
    changing(after, 0)(0)
    expected = Snapshot(LocalFolder(Path(take(after, LocalFolder(tmp_path / "local")).path)))
    source = MemorySource(chunk_payloads(POINTS))
    source.before_read = changing(source, 20)
    with bucket():
        take(source, directory(tmp_path / "here"))
        found = newest(directory(tmp_path / "elsewhere"))

        assert {part.revision for part in found.manifest.parts} == {0, 1}
        assert found.manifest.content_root == expected.manifest.content_root
        assert held(found) == held(expected)
        # Each name was written once, and what was there before is still there.
        assert found.unknown_files() == ["parts/part-00001.parquet", "parts/part-00004.parquet"]


def plant(store: CountedStore, name: str, content: bytes) -> None:
    """Others write under this name just before the snapshot does."""

    def write(number: int, what: str, key: object) -> None:
        if what == "put" and str(key).endswith(name):
            store.before = lambda *_: None
            store.put(key, content)

    store.before = write


def test_other_bytes_under_a_part_end_the_snapshot_with_both_digests(tmp_path: Path) -> None:
    with bucket() as store:
        plant(store, "parts/part-00001.parquet", b"of others")
        with pytest.raises(PreconditionError) as caught:
            take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path))

        assert "a6ab4ce7" in str(caught.value) or "sha256" in str(caught.value)
        assert "no record names it" in str(caught.value)
        file = caught.value.remedy.partition("remove ")[2].partition(" ")[0]
        # The advice works: the object is removed, and the snapshot is sealed.
        store.delete([file.removeprefix(f"s3://{BUCKET}/")])
        assert take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path)).resumed


def test_another_record_of_a_part_ends_the_snapshot(tmp_path: Path) -> None:
    with bucket() as store:
        record = b'{"bytes":1,"first_id":"60","last_id":"100","ordinal":1,"rows":5,"sha256":"0"}\n'
        plant(store, "records/part-00001.json", record)
        with pytest.raises(PreconditionError, match="exists with other content"):
            take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path))


@pytest.mark.parametrize("name", ["parts/part-00001.parquet", "records/part-00001.json"])
def test_of_a_moving_source_the_reading_that_came_first_counts(tmp_path: Path, name: str) -> None:
    """A unit that was thought lost is read twice, with other points each time."""
    source = MemorySource(chunk_payloads(POINTS))
    with bucket() as store:

        def other(number: int, what: str, key: object) -> None:
            if what == "put" and str(key).endswith(name):
                store.before = lambda *_: None
                earlier = MemorySource(chunk_payloads(POINTS))
                changing(earlier, 0)(0)
                take(earlier, directory(tmp_path / "first"), MOVING)

        store.before = other
        take(source, directory(tmp_path / "second"), MOVING)

        snapshot = newest(directory(tmp_path / "second"))
        assert len(held(snapshot)) == POINTS
        assert snapshot.manifest.moving


def test_the_second_of_two_manifests_has_to_say_the_same(tmp_path: Path) -> None:
    with bucket() as store:

        def other(number: int, what: str, key: object) -> None:
            if what == "put" and str(key).endswith("manifest.json"):
                store.before = lambda *_: None
                source = MemorySource(chunk_payloads(POINTS))
                changing(source, 0)(0)
                take(source, directory(tmp_path / "other"))

        store.before = other
        with pytest.raises(PreconditionError, match="another q2v has sealed this snapshot"):
            take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path / "here"))


def test_a_store_that_replaces_what_it_was_told_to_keep_is_refused(tmp_path: Path) -> None:
    with bucket(ReplacingStore(MemoryStore())) as store:
        with pytest.raises(PreconditionError, match="If-None-Match"):
            take(MemorySource(chunk_payloads(POINTS)), directory(tmp_path))

        assert {key for what, key in store.requests if what == "put"} == set()


def test_a_catch_up_in_a_store_leaves_the_unfinished_one_of_others(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    with bucket() as store:
        take(source, directory(tmp_path))
        parent = newest(directory(tmp_path))
        changing(source, 0)(0)
        source.points.pop(100)

        def kill(number: int, what: str, key: object) -> None:
            if what == "put" and str(key).endswith("manifest.json"):
                raise KilledError

        store.before = kill
        with pytest.raises(KilledError):
            differ(source, parent)
        store.before = lambda *_: None
        report = differ(source, parent)

        found = newest(directory(tmp_path / "elsewhere"))
        assert (report.changed, report.deleted) == (2, 1)
        assert held(found) == held_by(source)


def held_by(source: MemorySource) -> list[tuple[str, bytes]]:
    page = source.read_points(None, limit=10**6)
    return [(one.text, digest) for one, digest in zip(page.ids, digest_points(page), strict=True)]


def test_a_catch_up_whose_points_move_between_its_readings_is_whole(tmp_path: Path) -> None:
    source = MemorySource(chunk_payloads(POINTS))
    with bucket():
        take(source, directory(tmp_path))
        parent = newest(directory(tmp_path))
        source.points[60] = {**source.points[60], "shift": 1}

        class Changing(Silence):
            @override
            def start(self, what: str, **more: object) -> None:
                if what == "reading again":
                    source.points[60] = {**source.points[60], "shift": 2}

        runtime = Runtime(clock=VirtualClock(wall_s=1_700_001_000.0), progress=Changing())
        take_difference(source, parent, FROZEN, runtime)

        assert held(newest(directory(tmp_path))) == held_by(source)
