"""An export of later writes holds exactly what others wrote, whatever happens on the way."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import ArtefactDamagedError, IndeterminateError, PreconditionError
from migrate.model.canonical import decode_json
from migrate.model.records import DenseColumn, KvEntry, Vector, VectorId
from migrate.snapshot.folder import Snapshot
from migrate.storage.local_folder import LocalFolder
from reconcile.rollback.later.export import LaterReport
from reconcile.rollback.later.index_file import LaterVector, read_index
from reconcile.rollback.later.journal import fold_export
from reconcile.rollback.later.points import normalised
from reconcile.rollback.report import PASSES_MAX
from tests.harness.fakes.memory_source import DIMENSIONS, UnexpectedError
from tests.harness.fakes.memory_target import some_calls
from tests.harness.move import COUNTER, Move, all_ids, finished_move, new_move
from tests.harness.tiers import examples, struck_at, three_of_each
from tests.reconcile.rollback.test_way_back import vectors

POINTS = 45
OURS = all_ids(POINTS)
CHANGED, DELETED = OURS[4], OURS[7:9]
OPENED = {"type": "export_opened", "format": 1, "journals": []}


def new_vector(vector_id: str, **metadata: object) -> Vector:
    """A vector that the new side writes."""
    return Vector(
        id=VectorId(vector_id),
        values=np.full(DIMENSIONS, 0.5, np.float32),
        namespace=None,
        metadata={"file_id": "new", "chunk_index": 0, **metadata},
    )


def work(move: Move) -> None:
    """Others add two files, change a vector and an entry, and delete two vectors and a key."""
    for number in range(30):
        move.put(new_vector(f"new_{number}", chunk_index=number))
    move.put(new_vector("stray", file_id=3))
    move.put(replace(move.vector(CHANGED), metadata={"file_id": "file-4", "text": "theirs"}))
    for vector_id in DELETED:
        del move.vectors.stored[vector_id]
    entries = {"file:new": b'["new_0"]', "file:file-1": b"[]", "file:strays": b'["stray"]'}
    move.kv.stored |= {key: KvEntry(key=key, value=value) for key, value in entries.items()}
    del move.kv.stored["file:file-3"]
    move.kv.stored[COUNTER] = KvEntry(key=COUNTER, value=b"74")


@pytest.fixture
def worked(tmp_path: Path) -> Move:
    """A move, and what others wrote after it."""
    move = finished_move(tmp_path, POINTS)
    work(move)
    return move


def opened(report: LaterReport) -> Snapshot:
    """The sealed export."""
    assert report.path is not None
    return Snapshot(LocalFolder(Path(report.path)))


def by_change(report: LaterReport) -> dict[str, list[LaterVector]]:
    """Kind of change -> vectors."""
    found: dict[str, list[LaterVector]] = {}
    for one in read_index(opened(report)):
        found.setdefault(one.change, []).append(one)
    return found


def no_cut(_: int, __: str) -> None:
    """Nothing happens."""


def kill_before(wanted: int) -> Callable[[int, str], None]:
    def cut(number: int, _: str) -> None:
        if number == wanted:
            raise UnexpectedError

    return cut


@pytest.mark.fault("L01")
def test_an_export_holds_what_others_added_changed_and_deleted(worked: Move) -> None:
    held = worked.held()

    report = worked.export_later()

    found = by_change(report)
    assert {one.vector_id for one in found["added"]} == {
        "stray",
        *(f"new_{number}" for number in range(30)),
    }
    assert [one.vector_id for one in found["changed"]] == [CHANGED]
    assert [one.vector_id for one in found["deleted"]] == list(DELETED)
    assert [one.point_id.number for one in found["changed"]] == [50], "the point of row 4"
    assert {one.file for one in found["added"]} == {"new", "strays"}, "one by its KV entry"
    assert report.manifest is not None
    assert report.manifest.later is not None
    assert report.manifest.later.kv_entries == 4
    assert (worked.calls.writes, worked.held()) == ([], held)


@pytest.mark.slow
@pytest.mark.fault("L05", "G17")
@struck_at(three_of_each)
def test_killed_before_any_call_a_second_export_seals_what_an_undisturbed_one_does(
    tmp_path: Path, chosen: Callable[[Sequence[str]], list[int]]
) -> None:
    move = finished_move(tmp_path / "undisturbed", POINTS)
    work(move)
    whole = opened(move.export_later()).manifest
    kinds = list(move.calls.made)
    assert len(kinds) > 15
    for at in chosen(kinds):
        killed = finished_move(tmp_path / str(at), POINTS)
        work(killed)
        killed.calls.before = kill_before(at - 1)
        with suppress(UnexpectedError):
            killed.export_later()
        killed.calls.before = no_cut

        manifest = opened(killed.export_later()).manifest

        assert manifest.set_digest == whole.set_digest
        assert manifest.later == whole.later
        shutil.rmtree(killed.folder)


@pytest.mark.slow
@pytest.mark.fault("L03", "L05", "B02")
@struck_at(some_calls)
def test_a_rollback_that_an_export_allows_is_allowed_again_after_a_kill(
    tmp_path: Path, chosen: Callable[[Sequence[str]], list[int]]
) -> None:
    move = finished_move(tmp_path / "undisturbed", POINTS)
    work(move)
    move.export_later()
    move.calls.made.clear()
    whole = move.roll_back()
    assert (whole.later_writes, whole.not_exported) == (33, ())
    assert sorted(whole.conflicts) == sorted([CHANGED, "file:file-1"])
    assert whole.counter_kept == COUNTER
    for at in chosen(list(move.calls.made)):
        killed = finished_move(tmp_path / str(at), POINTS)
        work(killed)
        killed.export_later()
        killed.calls.made.clear()
        killed.calls.before = kill_before(at - 1)
        with suppress(UnexpectedError):
            killed.roll_back()
        killed.calls.before = no_cut

        again = killed.roll_back()

        assert killed.held() == move.held()
        assert sorted(again.conflicts) == sorted(whole.conflicts)
        assert again.counter_kept == COUNTER
        assert again.later_export
        shutil.rmtree(killed.folder)


@pytest.fixture
def often_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal of an export gets an entry after every request for vectors."""
    monkeypatch.setattr("reconcile.rollback.later.reading.REQUESTS_PER_NOTE", 1)


def kill_at_fetch(move: Move, number: int) -> None:
    """End an export before this request for vectors: three for the run, then two for the added."""
    fetches = 0

    def cut(_: int, what: str) -> None:
        nonlocal fetches
        fetches += what == "fetch"
        if fetches == number:
            raise UnexpectedError

    move.calls.before = cut
    with pytest.raises(UnexpectedError):
        move.export_later()
    move.calls.before = no_cut
    move.vectors.fetched.clear()


@pytest.mark.fault("L05")
@pytest.mark.usefixtures("often_noted")
def test_an_interrupted_export_reads_no_vector_of_the_run_twice(worked: Move) -> None:
    kill_at_fetch(worked, 3)

    report = worked.export_later()

    assert report.resumed
    # What differs is read again before it counts, and only that.
    twice = worked.vectors.fetched & set(OURS[:40])
    assert twice == {CHANGED, *DELETED}
    assert len(by_change(report)["added"]) == 31


@pytest.mark.fault("L05")
@pytest.mark.usefixtures("often_noted")
def test_an_export_interrupted_for_longer_than_an_hour_starts_over(worked: Move) -> None:
    kill_at_fetch(worked, 3)
    worked.clock.wait(3_700)

    report = worked.export_later()

    assert not report.resumed
    assert set(OURS) <= worked.vectors.fetched
    assert report.path is not None
    assert report.path.endswith("-later-01")


@pytest.mark.fault("L03", "L05")
@pytest.mark.usefixtures("often_noted")
def test_what_is_added_between_two_lives_of_an_export_is_in_it(worked: Move) -> None:
    """Each life lists again; what an earlier one has read is not read again."""
    kill_at_fetch(worked, 5)
    worked.put(new_vector("newer"))
    del worked.vectors.stored[VectorId("new_3")]

    report = worked.export_later()

    names = {one.vector_id for one in by_change(report)["added"]}
    assert report.resumed
    assert names == {"newer", "stray", *(f"new_{n}" for n in range(30) if n != 3)}
    ids = [point_id for rows in opened(report).read(with_vectors=[]) for point_id in rows.page.ids]
    assert ids == sorted(ids)


@pytest.mark.fault("L07", "K04")
def test_a_stale_read_is_no_later_write(tmp_path: Path) -> None:
    move = finished_move(tmp_path, POINTS)
    one, key = move.vector(OURS[4]), "file:file-2"
    stale = replace(one, metadata={"at": "a trial"})
    move.vectors.stale[one.id] = [stale] * (PASSES_MAX - 1)
    move.kv.stale[key] = [replace(move.kv.stored[key], value=b"a trial's")]

    report = move.export_later()

    assert (report.path, report.manifest) == (None, None)
    assert not list(move.run_path.glob("rollback/later/*"))


@pytest.mark.fault("L07")
def test_what_is_read_again_is_counted_again(tmp_path: Path) -> None:
    move = finished_move(tmp_path, POINTS)
    move.put(new_vector("new_0"))
    move.put(replace(move.vector(CHANGED), metadata={"file_id": "file-4", "text": "theirs"}))
    move.kv.stored["file:new"] = KvEntry(key="file:new", value=b'["new_0"]')

    report = move.export_later()

    assert {kind: len(some) for kind, some in by_change(report).items()} == {
        "added": 1,
        "changed": 1,
    }
    assert sum("reading again" in one for one in move.progress.said) >= 2


@pytest.mark.fault("L07", "R07")
@pytest.mark.parametrize("what", ["vector", "key"])
def test_what_is_listed_and_stays_unreadable_is_indeterminate(worked: Move, what: str) -> None:
    if what == "vector":
        worked.vectors.withheld = frozenset({"new_5"})
    else:
        worked.kv.withheld = frozenset({"file:new"})

    with pytest.raises(IndeterminateError, match="listed"):
        worked.export_later()

    worked.vectors.withheld = worked.kv.withheld = frozenset()
    report = worked.export_later()
    assert len(by_change(report)["added"]) == 31


@pytest.mark.fault("L03")
def test_a_vector_that_goes_while_it_is_read_stops_nothing(worked: Move) -> None:
    """Writers of the new side are still at work."""

    def cut(_: int, what: str) -> None:
        if what == "kv list":
            worked.vectors.stored.pop(VectorId("new_5"), None)

    worked.calls.before = cut
    report = worked.export_later()

    assert "new_5" not in {one.vector_id for one in by_change(report)["added"]}


@pytest.mark.fault("L01")
def test_more_changes_than_stale_reads_can_make_count_at_once(
    worked: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconcile.rollback.later.reading.FEW_CANDIDATES", 2)
    worked.vectors.fetched.clear()

    report = worked.export_later()

    found = by_change(report)
    assert [one.vector_id for one in found["changed"]] == [CHANGED]
    assert [one.vector_id for one in found["deleted"]] == list(DELETED)


@pytest.mark.fault("L01", "B03")
def test_what_was_there_before_the_run_is_no_later_write(tmp_path: Path) -> None:
    """Also while the run is half undone, and its former contents are back."""
    move = new_move(tmp_path, POINTS)
    old = replace(new_vector(OURS[1]), metadata={"old": True})
    move.put(old)
    move.put(new_vector("before"))
    move.kv.stored["file:file-1"] = KvEntry(key="file:file-1", value=b"old")
    move.kv.stored["file:before"] = KvEntry(key="file:before", value=b"[]")
    move.plan(into_non_empty=True)
    move.migrate()
    move.put(old)  # as a rollback that was killed leaves it

    assert move.export_later().path is None

    move.put(new_vector("since"))
    report = move.export_later()
    found = by_change(report)
    assert [one.vector_id for one in found["added"]] == ["since"]
    assert set(found) == {"added"}


@pytest.mark.slow
@pytest.mark.fault("L04")
def test_deletions_are_not_known_once_a_rollback_has_begun_without_looking(worked: Move) -> None:
    """A rollback notes what is gone before it removes the rest; without that note it is unknown."""
    worked.roll_back(leave_later_writes=True)
    noted = worked.export_later().manifest
    (worked.run_path / "rollback" / "later-deletions.ids").unlink()
    worked.put(new_vector("newer"))

    later = worked.export_later().manifest

    assert noted is not None
    assert later is not None
    assert noted.later is not None
    assert later.later is not None
    assert (noted.later.deleted, later.later.deleted) == (2, None)
    assert (later.later.added, later.later.changed) == (32, 1)


@pytest.mark.slow
@pytest.mark.fault("L03")
def test_an_export_that_nothing_is_left_of_is_followed_by_an_empty_one(tmp_path: Path) -> None:
    """Else the rollback would miss for ever what the first export holds."""
    move = finished_move(tmp_path, POINTS)
    move.put(new_vector("since"))
    move.export_later()
    del move.vectors.stored[VectorId("since")]

    with pytest.raises(PreconditionError, match="'since'"):
        move.roll_back()
    report = move.export_later()
    done = move.roll_back()

    assert report.manifest is not None
    assert report.manifest.points == 0
    assert done.conflicts == []


@pytest.mark.fault("L06", "G15")
@pytest.mark.usefixtures("often_noted")
def test_a_changed_file_of_an_unfinished_export_is_found(worked: Move) -> None:
    kill_at_fetch(worked, 3)
    (read,) = worked.run_path.glob("rollback/later/*/read/part-00000.parquet")
    content = bytearray(read.read_bytes())
    content[len(content) // 2] ^= 1
    read.write_bytes(bytes(content))

    with pytest.raises(ArtefactDamagedError, match=read.name):
        worked.export_later()


@pytest.mark.fault("L05")
def test_what_a_kill_after_the_seal_leaves_is_removed(worked: Move) -> None:
    path = Path(str(worked.export_later().path))
    (path / "read").mkdir()
    (path / "read" / "part-00000.parquet").write_bytes(b"")
    (path / "listed-0.ids").write_text("new_0\n")

    worked.export_later()

    assert sorted(one.name for one in path.iterdir()) == [
        "journal.jsonl",
        "kv.parquet",
        "later.parquet",
        "manifest.json",
        "parts",
    ]


@pytest.mark.fault("L05")
def test_an_export_belongs_to_the_state_of_the_run(worked: Move) -> None:
    """A repair of the run writes: what an unfinished export has read may be the run's own now."""
    kill_at_fetch(worked, 3)
    with worked.opened() as run:
        run.waive(["refused"])

    assert not worked.export_later().resumed


@pytest.mark.slow
@pytest.mark.fault("L06", "F19")
def test_an_export_of_another_run_is_no_consent(worked: Move, tmp_path: Path) -> None:
    path = Path(str(worked.export_later().path))
    with worked.opened() as run:
        run_id = run.plan.run_id
    other = finished_move(tmp_path / "other", POINTS + 1)
    work(other)
    with other.opened() as run:
        name = f"{run.plan.run_id}-later-01"
    shutil.copytree(path, other.run_path / "rollback" / "later" / name)

    assert run_id
    with pytest.raises(ArtefactDamagedError):
        other.roll_back()
    assert other.calls.writes == []


@pytest.mark.parametrize(
    "entries",
    [
        [{"type": "rows_read", "end_row": 1, "differing": 0}],
        [{"type": "unknown"}],
        [{"type": "export_opened", "format": 1, "journals": "x"}],
        [OPENED, OPENED],
        [OPENED, {"type": "vectors_read", "listing": 0, "end": 1, "absent": 0, "rows": 1}],
        [OPENED, {"type": "rows_read", "end_row": True, "differing": 0}],
        [OPENED, {"type": "rows_read", "end_row": 5, "differing": 1}],
    ],
)
def test_a_journal_that_no_export_wrote_is_refused(entries: list[dict[str, object]]) -> None:
    times = {"wall_s": 1.0, "monotonic_s": 1.0}

    with pytest.raises(ValueError, match=r"export|integer|lacks|Kind"):
        fold_export([{**entry, **times} for entry in entries])


@pytest.mark.slow
@pytest.mark.fault("L01", "I6")
@settings(max_examples=examples(15))
@given(
    vectors(["since-1", "since-2", "since-3"]),
    vectors(OURS[:12]),
    st.sets(st.sampled_from(OURS[12:]), max_size=5),
)
def test_an_export_is_exactly_what_others_did(
    added: dict[VectorId, Vector], changed: dict[VectorId, Vector], deleted: set[VectorId]
) -> None:
    """Every value, every metadata, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        move = finished_move(Path(folder), POINTS)
        theirs = {
            one: replace(vector, metadata={**(vector.metadata or {}), "whose": "theirs"})
            for one, vector in changed.items()
        }
        move.vectors.stored |= added | theirs
        for one in deleted:
            del move.vectors.stored[one]

        report = move.export_later()

        found = {} if report.path is None else by_change(report)
        names = {change: {one.vector_id for one in them} for change, them in found.items()}
        wanted = {"added": set(added), "changed": set(theirs), "deleted": deleted}
        assert names == {change: them for change, them in wanted.items() if them}
        if report.path is None:
            return
        points = {
            point_id: (values, decode_json(payload))
            for rows in opened(report).read(with_vectors=[""])
            if isinstance(column := rows.page.vectors[""], DenseColumn)
            for point_id, values, payload in zip(
                rows.page.ids, column.values, rows.page.payloads, strict=True
            )
        }
        for change, given_vectors in (("added", added), ("changed", theirs)):
            for entry in found.get(change, ()):
                values, payload = points[entry.point_id]
                vector = given_vectors[entry.vector_id]
                assert values.tobytes() == normalised(vector.values)[0].tobytes()
                assert payload == (vector.metadata or {})
