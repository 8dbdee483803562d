"""Each inconsistency of the target is found under its name, and normal change is none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from typing_extensions import override

from migrate.errors import ForeignStateError, IndeterminateError, PreconditionError
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.runtime import Runtime
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import CHAIN_START, encode_line
from reconcile.monitor.look import LookRules
from reconcile.monitor.monitor import CLASSES, MonitorReport, monitor
from tests.harness.fakes.clock import VirtualClock
from tests.harness.move import COUNTER, Move, finished_move, new_move
from tests.reconcile.plants import payloads

INDEXES = {"file_id": "string"}
RULES = LookRules(indexes=INDEXES, ttl_s=None, sample=1_000, seed=1, settle_s=60)


@pytest.fixture
def move(tmp_path: Path) -> Move:
    """A finished move: five files of six chunks."""
    moved = new_move(tmp_path)
    moved.source.points = payloads()
    moved.vectors.metadata_indexes = dict(INDEXES)
    moved.plan()
    moved.migrate()
    return moved


def look_at(move: Move, rules: LookRules = RULES, *, max_drop: float = 0.1) -> MonitorReport:
    with move.opened() as run:
        runtime = Runtime(clock=move.clock, progress=move.progress)
        return monitor(run, move.target(), rules, runtime, max_drop=max_drop)


def entry(move: Move, key: str, value: bytes, expiration: int | None = None) -> None:
    move.kv.stored[key] = KvEntry(key=key, value=value, expiration=expiration)


def ids_of(move: Move, file: str) -> list[str]:
    found = orjson.loads(move.kv.stored[f"file:{file}"].value)
    assert isinstance(found, list)
    return found


def remove_a_vector(move: Move) -> None:
    del move.vectors.stored[VectorId("file-2_3")]
    entry(move, COUNTER, b"29")


def add_a_vector(move: Move) -> None:
    held = move.vectors.stored[VectorId("file-2_3")]
    move.vectors.stored[VectorId("file-2_9")] = replace(held, id=VectorId("file-2_9"))
    entry(move, COUNTER, b"31")


def name_a_vector_twice(move: Move) -> None:
    entry(move, "file:file-2", orjson.dumps([*ids_of(move, "file-2"), "file-2_3"]))


def break_an_entry(move: Move) -> None:
    del move.vectors.stored[VectorId("file-2_0")]
    for number in range(1, 6):
        del move.vectors.stored[VectorId(f"file-2_{number}")]
    entry(move, "file:file-2", b"{}")
    entry(move, COUNTER, b"24")


def let_an_entry_expire(move: Move) -> None:
    entry(move, "file:file-2", move.kv.stored["file:file-2"].value, expiration=2_000_000_000)


def miscount(move: Move) -> None:
    entry(move, COUNTER, b"31")


def drop_an_index(move: Move) -> None:
    move.vectors.metadata_indexes = {"file_id": "number"}


def swap_a_file(move: Move) -> None:
    held = move.vectors.stored[VectorId("file-2_3")]
    changed = {**(held.metadata or {}), "file_id": "file-1"}
    move.vectors.stored[VectorId("file-2_3")] = replace(held, metadata=changed)


def spoil_values(move: Move) -> None:
    held = move.vectors.stored[VectorId("file-2_3")]
    move.vectors.stored[VectorId("file-2_3")] = replace(held, values=np.array([1], np.float32))


PLANTED: list[tuple[Callable[[Move], None], dict[str, list[str]]]] = [
    (remove_a_vector, {"dangling": ["file-2_3"]}),
    (add_a_vector, {"orphaned": ["file-2_9"]}),
    (name_a_vector_twice, {"repeated": ["file-2_3"]}),
    (break_an_entry, {"malformed": ["file:file-2"]}),
    (let_an_entry_expire, {"expiring": ["file:file-2"]}),
    (miscount, {"counter": ["31 for 30 vectors"]}),
    (drop_an_index, {"indexes": ["file_id:string"]}),
    (swap_a_file, {"contents": ["file-2_3"]}),
    (spoil_values, {"contents": ["file-2_3"]}),
]


@pytest.mark.fault("W01")
def test_a_finished_move_is_consistent(move: Move) -> None:
    before = len(move.calls.writes)
    report = look_at(move)

    assert report.looked.verdict == "consistent"
    assert report.exit_code == 0
    assert len(move.calls.writes) == before
    assert report.document()["counts"] == {
        "vectors": 30, "files": 5, "counter": 30, "sampled": 30, "as_moved": 30
    }  # fmt: skip


@pytest.mark.fault("W01")
@pytest.mark.parametrize(("plant", "expected"), PLANTED, ids=[one.__name__ for one, _ in PLANTED])
def test_one_inconsistency_is_found_and_named(
    move: Move, plant: Callable[[Move], None], expected: dict[str, list[str]]
) -> None:
    plant(move)

    report = look_at(move)

    assert {name: list(ids) for name, ids in report.first.items()} == expected
    assert report.exit_code == 4
    assert set(report.files) == set(expected) <= set(CLASSES)
    assert all(Path(file).read_text(encoding="utf-8").strip() for file in report.files.values())


@pytest.mark.fault("W01")
def test_the_files_of_an_earlier_look_are_not_left(move: Move) -> None:
    kept = dict(move.vectors.stored), dict(move.kv.stored)
    remove_a_vector(move)
    first = look_at(move)
    move.vectors.stored, move.kv.stored = kept
    second = look_at(move)

    assert [one.verdict for one in second.history] == ["inconsistent", "consistent"]
    assert not Path(first.files["dangling"]).exists()


@pytest.mark.fault("W01", "W04")
def test_a_look_that_reads_nothing_keeps_what_an_earlier_one_has_named(move: Move) -> None:
    remove_a_vector(move)
    first = look_at(move)
    named = Path(first.files["dangling"]).read_text()

    def fail(_: int, what: str) -> None:
        if what == "list":
            raise IndeterminateError("the walk broke", remedy="run again")

    move.calls.before = fail
    second = look_at(move)

    assert [one.verdict for one in second.history] == ["inconsistent", "indeterminate"]
    assert second.files == {}
    assert Path(first.files["dangling"]).read_text() == named == "file-2_3\n"


@pytest.mark.fault("W02")
def test_what_fits_again_after_a_pause_is_no_inconsistency(move: Move) -> None:
    """A Worker between two of its steps; KV that still shows an old value."""
    kept = dict(move.vectors.stored), dict(move.kv.stored)
    add_a_vector(move)
    name_a_vector_twice(move)
    remove_a_vector(move)
    miscount(move)

    def settle() -> None:
        move.vectors.stored, move.kv.stored = kept

    move.clock = HookedClock(settle)
    report = look_at(move)

    assert report.looked.verdict == "consistent", report.looked.why
    assert move.clock.waits[0] == 60


def name_a_vector_to_come(move: Move) -> None:
    entry(move, "file:file-2", orjson.dumps([*ids_of(move, "file-2"), "file-2_8"]))


def name_a_vector_no_more(move: Move) -> None:
    entry(move, "file:file-2", orjson.dumps(ids_of(move, "file-2")[:-1]))


def write_half_an_entry(move: Move) -> None:
    entry(move, "file:file-2", b"[")


@pytest.mark.fault("W02")
@pytest.mark.parametrize(
    "plant",
    [name_a_vector_to_come, name_a_vector_no_more, name_a_vector_twice, write_half_an_entry],
)
def test_a_few_differences_are_read_again_one_by_one(
    move: Move, plant: Callable[[Move], None]
) -> None:
    """The counter is right, so nothing else is read again."""
    kept = dict(move.kv.stored)
    plant(move)

    def settle() -> None:
        move.kv.stored = kept

    move.clock = HookedClock(settle)
    report = look_at(move)

    assert report.looked.verdict == "consistent", report.looked.why
    assert move.clock.waits == [60]


@pytest.mark.fault("W02")
def test_a_write_between_the_readings_explains_the_counter(move: Move) -> None:
    counters = [b"30", b"33"]

    def change(_: int, what: str) -> None:
        if what == "kv read" and counters:
            entry(move, COUNTER, counters.pop(0))

    entry(move, COUNTER, b"27")
    move.calls.before = change
    report = look_at(move)

    assert "counter" not in report.looked.findings


@pytest.mark.fault("W03")
def test_many_vectors_gone_at_once_are_an_alert_once(move: Move) -> None:
    look_at(move)
    for file in ("file-1", "file-2", "file-3"):
        for vector_id in ids_of(move, file):
            del move.vectors.stored[VectorId(vector_id)]
        del move.kv.stored[f"file:{file}"]
    entry(move, COUNTER, b"12")

    second, third = look_at(move), look_at(move)

    assert second.first == {"dropped": ("30 vectors before, 12 now",)}
    assert third.exit_code == 0
    assert second.document()["since_last"] == {"vectors": -18, "files": -3}


@pytest.mark.fault("W04")
def test_a_listing_that_breaks_is_indeterminate_and_kept_in_the_history(move: Move) -> None:
    def fail(_: int, what: str) -> None:
        if what == "list":
            raise IndeterminateError("the walk broke", remedy="run again")

    move.calls.before = fail
    report = look_at(move)
    move.calls.before = lambda number, what: None
    after = look_at(move)

    assert report.exit_code == 13
    assert "the walk broke" in report.looked.why
    assert [one.verdict for one in after.history] == ["indeterminate", "consistent"]
    assert after.document()["since_last"] == {"vectors": None, "files": None}


@pytest.mark.fault("W04")
def test_a_run_that_is_rolled_back_is_not_watched(move: Move) -> None:
    move.roll_back()

    with pytest.raises(PreconditionError, match="there is nothing to watch"):
        look_at(move)


@pytest.mark.fault("W01")
def test_what_was_there_before_the_run_is_no_orphan(tmp_path: Path) -> None:
    moved = new_move(tmp_path)
    moved.source.points = payloads()
    moved.vectors.metadata_indexes = dict(INDEXES)
    values = np.array([1, 0, 0, 0], np.float32)
    moved.put(Vector(id=VectorId("x"), values=values, metadata=None, namespace=None))
    moved.plan(into_non_empty=True)
    moved.migrate()

    assert look_at(moved).looked.verdict == "consistent"


@pytest.mark.slow
@pytest.mark.fault("G14", "W08")
def test_the_looks_of_another_run_are_not_those_of_this_one(move: Move, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = finished_move(tmp_path / "other")
    look_at(other, replace(RULES, indexes={}))
    look_at(move)
    history = Path("monitor", "journal.jsonl")
    rechained(other, move.run_path / history)

    with pytest.raises(ForeignStateError, match="a look of run 009-other in format 1"):
        look_at(move)


def rechained(move: Move, path: Path) -> None:
    """The looks of a move as those of another run, in a chain of their own."""
    with move.opened() as run:
        entries = JournalFile(run.folder.child("monitor")).entries
    lines, chain = b"", CHAIN_START
    for one in entries:
        line, chain = encode_line({**one, "run_id": "009-other"}, chain)
        lines += line
    path.write_bytes(lines)


class HookedClock(VirtualClock):
    """Something happens while code waits."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile = meanwhile

    @override
    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        self._meanwhile()
