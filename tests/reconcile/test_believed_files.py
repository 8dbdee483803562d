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
from tests.paths import path_of
from tests.reconcile.bench import COUNTER, Bench, Held, make_bench
from tests.servers.memory_source import SourceFailedError

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
FLIPS = 3  # per file: in its first and last byte, and at places of a seeded choice between
Action = Callable[[Bench], object]


def drifted(folder: Path) -> Bench:
    """A finished move with drift of every class that a repair writes, in the newest report."""
    bench = make_bench(folder, POINTS)
    bench.plan(part_points=PART)
    bench.apply()
    del bench.vectors.stored[VectorId("file-0_0")]
    held = bench.vector("file-1_1")
    bench.put(replace(held, metadata={**(held.metadata or {}), "text": "bent"}))
    bench.put(replace(held, id=VectorId("stray")))
    del bench.kv.stored["file:file-2"]
    bench.kv.stored["file:file-3"] = KvEntry(key="file:file-3", value=b"[]")
    bench.kv.stored[COUNTER] = KvEntry(key=COUNTER, value=b"17")
    assert bench.reconcile().verdict == "drift"
    bench.calls.made.clear()
    return bench


def half_written(folder: Path) -> Bench:
    """A move with two uploads done and the third in doubt; the last part is unread."""
    bench = make_bench(folder, POINTS)
    bench.plan(part_points=PART, vectors_per_upload=10)
    cut_at_write(bench, 2, bench.apply)
    return bench


def cut_at_write(bench: Bench, wanted: int, action: Callable[[], object]) -> None:
    """Raise in place of this write, as a kill would."""

    def cut(_: int, what: str) -> None:
        if what in {"upsert", "delete", "kv write", "kv delete"} and (
            len(bench.calls.writes) == wanted
        ):
            raise SourceFailedError

    bench.calls.before = cut
    with suppress(SourceFailedError):
        action()
    bench.calls.before = lambda number, what: None
    bench.calls.made.clear()


def files_below(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and ".spill" not in str(path)
    )


def flips(path: Path, random: Random) -> list[int]:
    """The bits to flip, each in a trial of its own."""
    bits = 8 * path.stat().st_size
    chosen = {3, bits - 6, *(random.randrange(bits) for _ in range(FLIPS - 2))} if bits else set()
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


def outcome(bench: Bench, action: Action) -> tuple[str, list[str], Held]:
    """How the action ended, what it wrote, and what the target holds after it."""
    bench.calls.made.clear()
    try:
        action(bench)
        ended = "done"
    except MigrationError as error:
        ended = str(int(error.exit_code))
    return ended, bench.calls.writes, bench.held()


def repair(bench: Bench) -> None:
    bench.apply()


def undo(bench: Bench) -> object:
    return bench.rollback(leave_later_writes=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepared", "action"),
    [(drifted, repair), (half_written, repair), (drifted, undo), (half_written, undo)],
    ids=["repair", "resume", "rollback", "rollback of half a run"],
)
def test_a_flipped_bit_in_any_file_stops_before_the_first_write_or_changes_nothing(
    tmp_path: Path, prepared: Callable[[Path], Bench], action: Action
) -> None:
    random = Random(19)  # noqa: S311 - a repeatable choice
    bench = prepared(tmp_path / "snapshots")
    kept_target = dict(bench.vectors.stored), dict(bench.kv.stored)
    kept_files = tmp_path / "kept"
    shutil.copytree(bench.folder, kept_files)

    def put_back() -> None:
        shutil.rmtree(bench.folder)
        shutil.copytree(kept_files, bench.folder)
        bench.vectors.stored, bench.kv.stored = dict(kept_target[0]), dict(kept_target[1])

    whole = outcome(bench, action)
    assert whole[0] == "done"
    refused: set[str] = set()
    unread = decide_nothing(kept_files, action)
    if prepared is half_written:  # the first part was sent whole before the kill
        sent = kept_files.glob("*/parts/part-00000.parquet")
        unread |= {path.relative_to(kept_files).as_posix() for path in sent}
    for path in files_below(kept_files):
        relative = path.relative_to(kept_files)
        for bit in flips(path, random):
            put_back()
            flip(bench.folder / relative, bit)

            ended, writes, held = outcome(bench, action)

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


def report_of(bench: Bench) -> Path:
    assert bench.run_folder is not None
    return path_of(bench.run_folder) / "reconcile" / "001" / "report.json"


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
    bench = drifted(tmp_path)
    tamper(report_of(bench))

    with pytest.raises(ArtefactDamagedError, match=r"reconcile.001") as caught:
        bench.apply()

    assert bench.calls.writes == []
    assert "q2v reconcile" in caught.value.remedy
    bench.reconcile()  # the advice
    bench.apply()
    assert bench.reconcile().drift == {**bench.reconcile().drift, "missing": 0, "mismatched": 0}


def test_a_whole_report_of_an_earlier_reconcile_does_not_pass_for_a_newer_one(
    tmp_path: Path,
) -> None:
    bench = drifted(tmp_path)
    bench.apply()
    folder = report_of(bench).parent
    shutil.copytree(folder, folder.with_name("002"))
    bench.calls.made.clear()

    with pytest.raises(ArtefactDamagedError, match="it is reconcile 1 of run 000-bench"):
        bench.apply()

    assert bench.calls.writes == []


def test_an_interrupted_reconcile_orders_no_repair(tmp_path: Path) -> None:
    """After a kill between the report and the journal's last entry, a new reconcile is needed."""
    bench = drifted(tmp_path)
    journal = report_of(bench).with_name("journal.jsonl")
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))

    with pytest.raises(PreconditionError, match="interrupted before it was concluded") as caught:
        bench.apply()

    assert bench.calls.writes == []
    assert "q2v reconcile" in caught.value.remedy
    bench.reconcile()
    bench.apply()
    assert "file-0_0" in bench.vectors.stored


def test_a_repair_that_was_killed_goes_by_the_report_that_it_was_begun_with(
    tmp_path: Path,
) -> None:
    bench = drifted(tmp_path)
    cut_at_write(bench, 1, bench.apply)
    name_another(report_of(bench))

    with pytest.raises(ArtefactDamagedError, match=r"missing\.ids"):
        bench.apply()

    assert bench.calls.writes == []


def test_a_damaged_part_is_found_before_the_parts_in_front_of_it_are_sent(tmp_path: Path) -> None:
    """The last of three parts, in a run that has sent nothing yet and in one that has."""
    for written in (0, 2):
        bench = make_bench(tmp_path / str(written), POINTS)
        bench.plan(part_points=PART, vectors_per_upload=10)
        cut_at_write(bench, written, bench.apply)
        (part,) = bench.folder.glob("*/parts/part-00002.parquet")
        flip(part, 8 * 1_000)
        held = bench.held()

        with pytest.raises(ArtefactDamagedError, match="part-00002"):
            bench.apply()

        assert (bench.calls.writes, bench.held()) == ([], held)


def test_a_quarantine_list_that_was_changed_stops_before_the_first_write(tmp_path: Path) -> None:
    for prepared, action in ((drifted, repair), (half_written, repair), (drifted, undo)):
        bench = prepared(tmp_path / f"{prepared.__name__}-{action.__name__}")
        assert bench.run_folder is not None
        (path_of(bench.run_folder) / "quarantine.jsonl").write_bytes(b'{"row":1}\n')

        with pytest.raises(ArtefactDamagedError, match="quarantine"):
            action(bench)

        assert bench.calls.writes == []


def test_conflicts_that_a_rollback_kept_are_read_only_as_they_were_written(tmp_path: Path) -> None:
    bench = drifted(tmp_path)
    kept = bench.rollback(leave_later_writes=True).conflicts
    assert bench.run_folder is not None
    path = path_of(bench.run_folder) / "rollback" / "conflicts.ids"
    path.write_bytes(path.read_bytes() + b"another\n")

    with pytest.raises(ArtefactDamagedError, match=r"conflicts\.ids"):
        bench.rollback()

    path.write_bytes(path.read_bytes().removesuffix(b"another\n"))
    assert bench.rollback().conflicts == kept


def test_a_run_without_its_journal_is_no_new_run(tmp_path: Path) -> None:
    """Otherwise the pre-images would be taken again, from vectors that the run wrote."""
    for prepared, action in ((drifted, repair), (half_written, repair), (half_written, undo)):
        bench = prepared(tmp_path / f"{prepared.__name__}-{action.__name__}")
        assert bench.run_folder is not None
        (path_of(bench.run_folder) / "journal.jsonl").unlink()

        with pytest.raises(ArtefactDamagedError, match="the run has pre-images"):
            action(bench)

        assert bench.calls.writes == []
