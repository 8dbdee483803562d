"""A file that a write depends on is checked before the first write."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random

import orjson
import pytest

from migrate.errors import ArtefactDamagedError, MigrationError, PreconditionError
from migrate.model.records import KvEntry, VectorId
from tests.harness.fakes.memory_source import UnexpectedError
from tests.harness.move import COUNTER, Held, Move, new_move

pytestmark = pytest.mark.fault("F19", "G15")
POINTS = 45
PART = 16  # three parts
# Files for people or for other tools. q2v does not read them.
FOR_PEOPLE = {
    *("report.html", "statement.json", "combined.ids", "differs.jsonl", "later-writes.ids"),
    *("extra.ids", "unreadable.ids", "kv_extra.ids"),
    *("source_added.ids", "source_changed.ids", "source_deleted.ids"),
}
# Written by every rollback from the plan, the journal and the pre-images; never read.
WRITTEN_ANEW = {"rollback/manifest.json", "rollback/conflicts.ids"}
FLIPS, FLIPS_OF_SEARCH = 2, 8  # per file: in its last byte, and at places of a seeded choice
Action = Callable[[Move], object]


def drifted(folder: Path) -> Move:
    """A finished move with drift of every class that a repair writes, in the newest report."""
    move = new_move(folder, POINTS)
    move.plan(part_points=PART)
    move.migrate()
    del move.vectors.stored[VectorId("file-0_0")]
    held = move.vector("file-1_1")
    move.put(replace(held, metadata={**(held.metadata or {}), "text": "bent"}))
    move.put(replace(held, id=VectorId("stray")))
    del move.kv.stored["file:file-2"]
    move.kv.stored["file:file-3"] = KvEntry(key="file:file-3", value=b"[]")
    move.kv.stored[COUNTER] = KvEntry(key=COUNTER, value=b"17")
    assert move.reconcile().verdict == "drift"
    move.calls.made.clear()
    return move


def half_written(folder: Path) -> Move:
    """A move with two uploads done and the third in doubt; the last part is unread."""
    move = new_move(folder, POINTS)
    move.plan(part_points=PART, vectors_per_upload=10)
    cut_at_write(move, 2, move.migrate)
    return move


def cut_at_write(move: Move, wanted: int, action: Callable[[], object]) -> None:
    """Raise in place of this write, as a kill would."""

    def cut(_: int, what: str) -> None:
        if what in {"upsert", "delete", "kv write", "kv delete"} and (
            len(move.calls.writes) == wanted
        ):
            raise UnexpectedError

    move.calls.before = cut
    with suppress(UnexpectedError):
        action()
    move.calls.before = lambda number, what: None
    move.calls.made.clear()


def files_below(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and ".spill" not in str(path)
    )


def flips(path: Path, random: Random, count: int) -> list[int]:
    """The bits to flip, each in a trial of its own."""
    bits = 8 * path.stat().st_size
    chosen = {bits - 6, *(random.randrange(bits) for _ in range(count - 1))} if bits else set()
    return sorted(chosen)


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(content))


def decide_nothing(folder: Path, action: Action) -> set[str]:
    """The files that this action does not read."""
    found = set()
    for path in files_below(folder):
        place = path.relative_to(folder)
        of_reconcile, of_run = "reconcile" in place.parts, "runs" in place.parts
        if (
            path.name in FOR_PEOPLE
            or "/".join(place.parts[-2:]) in WRITTEN_ANEW
            or (of_reconcile and action is undo)
            or (path.parent.name == "parts" and action is undo)
            or (path.name == "journal.jsonl" and not of_run)  # of the snapshot, which is sealed
        ):
            found.add(place.as_posix())
    return found


def outcome(move: Move, action: Action) -> tuple[str, list[str], Held]:
    """How the action ended, what it wrote, and what the target holds after it."""
    move.calls.made.clear()
    try:
        action(move)
        ended = "done"
    except MigrationError as error:
        ended = str(int(error.exit_code))
    return ended, move.calls.writes, move.held()


def repair(move: Move) -> None:
    move.migrate()


def undo(move: Move) -> object:
    return move.roll_back(leave_later_writes=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepared", "action"),
    [(drifted, repair), (half_written, repair), (drifted, undo), (half_written, undo)],
    ids=["repair", "resume", "rollback", "rollback of half a run"],
)
@pytest.mark.parametrize("count", [FLIPS, pytest.param(FLIPS_OF_SEARCH, marks=pytest.mark.search)])
def test_a_flipped_bit_in_any_file_stops_before_the_first_write_or_changes_nothing(
    tmp_path: Path, prepared: Callable[[Path], Move], action: Action, count: int
) -> None:
    random = Random(19)
    move = prepared(tmp_path / "snapshots")
    kept_target = dict(move.vectors.stored), dict(move.kv.stored)
    kept_files = tmp_path / "kept"
    shutil.copytree(move.folder, kept_files)

    def put_back() -> None:
        shutil.rmtree(move.folder)
        shutil.copytree(kept_files, move.folder)
        move.vectors.stored, move.kv.stored = dict(kept_target[0]), dict(kept_target[1])

    whole = outcome(move, action)
    assert whole[0] == "done"
    refused: set[str] = set()
    unread = decide_nothing(kept_files, action)
    if prepared is half_written:  # the first part was sent whole before the kill
        sent = kept_files.glob("*/parts/part-00000.parquet")
        unread |= {path.relative_to(kept_files).as_posix() for path in sent}
    for path in files_below(kept_files):
        relative = path.relative_to(kept_files)
        for bit in flips(path, random, count):
            put_back()
            flip(move.folder / relative, bit)

            ended, writes, held = outcome(move, action)

            torn = path.name == "journal.jsonl" and bit // 8 == path.stat().st_size - 1
            if ended == "done":
                assert torn or relative.as_posix() in unread, f"{relative}, bit {bit}"
                if not torn:
                    assert (writes, held) == whole[1:], f"{relative}, bit {bit}"
            else:
                # A reconcile's journal without its last line is that of an interrupted one.
                assert ended in ({"5", "10", "12"} if torn else {"10", "12"}), f"{relative}, {bit}"
                assert writes == [], f"{relative}, bit {bit}"
                refused.add(path.name)
    assert refused >= {"manifest.json", "plan.json", "journal.jsonl", "targets.parquet"}


def report_of(move: Move) -> Path:
    return move.run_path / "reconcile" / "001" / "report.json"


def say_equal(path: Path) -> None:
    fields = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps({**fields, "verdict": "equal"}, option=orjson.OPT_SORT_KEYS))


def name_nothing(path: Path) -> None:
    fields = orjson.loads(path.read_bytes())
    drift = dict.fromkeys(fields["drift"], 0)
    path.write_bytes(orjson.dumps({**fields, "drift": drift}, option=orjson.OPT_SORT_KEYS))


def name_another(path: Path) -> None:
    (path.parent / "missing.ids").write_bytes(b"file-4_4\n")


def name_none(path: Path) -> None:
    (path.parent / "mismatched.ids").write_bytes(b"")


def lose(name: str) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        (path.parent / name).unlink()

    return do


@pytest.mark.slow
@pytest.mark.parametrize(
    "tamper",
    [
        say_equal,
        name_nothing,
        name_another,
        name_none,
        *map(lose, ["missing.ids", "kv_missing.ids", "report.json", "journal.jsonl"]),
    ],
)
def test_a_report_that_was_edited_repairs_nothing_and_says_what_was_found(
    tmp_path: Path, tamper: Callable[[Path], None]
) -> None:
    move = drifted(tmp_path)
    tamper(report_of(move))

    with pytest.raises(ArtefactDamagedError, match=r"reconcile.001") as caught:
        move.migrate()

    assert move.calls.writes == []
    assert "q2v reconcile" in caught.value.remedy
    move.reconcile()  # the advice
    move.migrate()
    assert move.reconcile().drift == {**move.reconcile().drift, "missing": 0, "mismatched": 0}


def test_a_whole_report_of_an_earlier_reconcile_does_not_pass_for_a_newer_one(
    tmp_path: Path,
) -> None:
    move = drifted(tmp_path)
    move.migrate()
    folder = report_of(move).parent
    shutil.copytree(folder, folder.with_name("002"))
    move.calls.made.clear()

    with pytest.raises(
        ArtefactDamagedError, match=f"it is reconcile 1 of run {move.run_path.name}"
    ):
        move.migrate()

    assert move.calls.writes == []


@pytest.mark.slow
def test_an_interrupted_reconcile_orders_no_repair(tmp_path: Path) -> None:
    """After a kill between the report and the journal's last entry, a new reconcile is needed."""
    move = drifted(tmp_path)
    journal = report_of(move).with_name("journal.jsonl")
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))

    with pytest.raises(PreconditionError, match="interrupted before it was concluded") as caught:
        move.migrate()

    assert move.calls.writes == []
    assert "q2v reconcile" in caught.value.remedy
    move.reconcile()
    move.migrate()
    assert "file-0_0" in move.vectors.stored


def test_a_repair_that_was_killed_goes_by_the_report_that_it_was_begun_with(
    tmp_path: Path,
) -> None:
    move = drifted(tmp_path)
    cut_at_write(move, 1, move.migrate)
    name_another(report_of(move))

    with pytest.raises(ArtefactDamagedError, match=r"missing\.ids"):
        move.migrate()

    assert move.calls.writes == []


def test_a_damaged_part_is_found_before_the_parts_in_front_of_it_are_sent(tmp_path: Path) -> None:
    """The last of three parts, in a run that has sent nothing yet and in one that has."""
    for written in (0, 2):
        move = new_move(tmp_path / str(written), POINTS)
        move.plan(part_points=PART, vectors_per_upload=10)
        cut_at_write(move, written, move.migrate)
        (part,) = move.folder.glob("*/parts/part-00002.parquet")
        flip(part, 8 * 1_000)
        held = move.held()

        with pytest.raises(ArtefactDamagedError, match="part-00002"):
            move.migrate()

        assert (move.calls.writes, move.held()) == ([], held)


@pytest.mark.slow
def test_a_quarantine_list_that_was_changed_stops_before_the_first_write(tmp_path: Path) -> None:
    for prepared, action in ((drifted, repair), (half_written, repair), (drifted, undo)):
        move = prepared(tmp_path / f"{prepared.__name__}-{action.__name__}")
        (move.run_path / "quarantine.jsonl").write_bytes(b'{"row":1}\n')

        with pytest.raises(ArtefactDamagedError, match="quarantine"):
            action(move)

        assert move.calls.writes == []


@pytest.mark.slow
def test_conflicts_that_a_rollback_kept_are_read_only_as_they_were_written(tmp_path: Path) -> None:
    move = drifted(tmp_path)
    kept = move.roll_back(leave_later_writes=True).conflicts
    path = move.run_path / "rollback" / "conflicts.ids"
    path.write_bytes(path.read_bytes() + b"another\n")

    with pytest.raises(ArtefactDamagedError, match=r"conflicts\.ids"):
        move.roll_back()

    path.write_bytes(path.read_bytes().removesuffix(b"another\n"))
    assert move.roll_back().conflicts == kept


@pytest.mark.slow
def test_a_run_without_its_journal_is_no_new_run(tmp_path: Path) -> None:
    """Otherwise the pre-images would be taken again, from vectors that the run wrote."""
    for prepared, action in ((drifted, repair), (half_written, repair), (half_written, undo)):
        move = prepared(tmp_path / f"{prepared.__name__}-{action.__name__}")
        (move.run_path / "journal.jsonl").unlink()

        with pytest.raises(ArtefactDamagedError, match="the run has pre-images"):
            action(move)

        assert move.calls.writes == []
