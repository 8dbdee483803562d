"""A killed reconcile is resumed; what it has read is used for an hour."""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from migrate.errors import ArtefactDamagedError, ExitCode, ForeignStateError
from migrate.model.records import Vector, VectorId
from migrate.storage.journal_lines import CHAIN_START, encode_line
from reconcile.scan import vectors
from reconcile.session import IDLE_S_MAX
from tests.harness.fakes.memory_source import UnexpectedError
from tests.harness.move import RECONCILE_RULES, Move, all_ids, finished_move
from tests.harness.tiers import struck_at, three_of_each

POINTS = 95  # five fetches, the last one of fifteen
LATER = {"ordinal", "at", "started_at", "resumed", "report", "html", "files", "differs_file"}


@pytest.fixture
def move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Move:
    """A finished move; reconcile writes an entry after every second fetch, not every 50th."""
    monkeypatch.setattr(vectors, "REQUESTS_PER_NOTE", 2)
    return finished_move(tmp_path, POINTS)


def kill_at(move: Move, number: int) -> None:
    """Reconcile and raise in place of this call to the target, as a kill would."""

    def cut(call: int, _: str) -> None:
        if call == number:
            raise UnexpectedError

    move.calls.made.clear()
    move.calls.before = cut
    with suppress(UnexpectedError):
        move.reconcile()
    move.calls.before = lambda call, what: None


def folders(move: Move) -> dict[str, bool]:
    """Number of each reconcile -> whether it holds a report."""
    found = sorted((move.run_path / "reconcile").iterdir())
    return {path.name: (path / "report.json").exists() for path in found}


def journal(move: Move, name: str = "001") -> Path:
    return move.run_path / "reconcile" / name / "journal.jsonl"


def plant(move: Move) -> None:
    """Plant one difference of each kind that several passes must find."""
    del move.vectors.stored[VectorId("file-0_0")]
    bent = move.vector("file-1_3")
    move.put(replace(bent, values=bent.values + np.float32(1)))
    late = move.vector("file-4_18")
    move.put(replace(late, metadata={**(late.metadata or {}), "chunk_index": "18"}))
    del move.kv.stored["file:file-2"]


@pytest.mark.slow
@pytest.mark.fault("R10", "G01", "I6")
@pytest.mark.parametrize("change", [lambda move: None, plant], ids=["equal", "drifted"])
@struck_at(three_of_each)
def test_killed_at_any_call_it_goes_on_and_says_what_an_undisturbed_one_says(
    move: Move,
    change: Callable[[Move], None],
    chosen: Callable[[Sequence[str]], list[int]],
) -> None:
    change(move)
    before = move.held()
    undisturbed = move.reconcile()
    told, found = undisturbed.document(), move.ids_of(undisturbed)
    kinds = list(move.calls.made)
    for at in chosen(kinds):
        kill_at(move, at - 1)
        read_before = len(move.calls.made)
        move.calls.made.clear()

        report = move.reconcile()

        document = report.document()
        assert {key: document[key] for key in told.keys() - LATER} == {
            key: told[key] for key in told.keys() - LATER
        }
        assert move.ids_of(report) == found
        assert (report.resumed, report.started_at <= report.at) == (1, True)
        # An interrupted step begins again (both walks of a listing, each with a read of what is
        # not listed), contents after the last entry.
        assert read_before + len(move.calls.made) <= len(kinds) + 2 * 15
    assert move.calls.writes == []
    assert move.held() == before
    assert set(folders(move).values()) == {True}


@pytest.mark.fault("R10")
def test_contents_are_read_again_from_the_last_note_only(move: Move) -> None:
    kill_at(move, 14 + 3)
    move.calls.made.clear()

    report = move.reconcile()

    assert move.calls.made == ["fetch"] * 3 + ["kv list", "kv read", "kv read", "kv list"]
    assert (report.verdict, report.coverage.checked) == ("equal", POINTS)


@pytest.mark.fault("R10")
def test_the_verdict_stands_on_one_listing(move: Move) -> None:
    """A vector that appears after the listing is reported by the next reconcile only."""
    kill_at(move, 14 + 1)
    move.put(replace(move.vector("file-0_0"), id=VectorId("late")))

    resumed, next_one = move.reconcile(), move.reconcile()

    assert (resumed.verdict, resumed.counts["vector_index"]) == ("equal", POINTS)
    assert (next_one.verdict, move.ids_of(next_one)) == ("drift", {"extra": ["late"]})


@pytest.mark.fault("R10", "G11")
@pytest.mark.parametrize(
    ("wall_s", "monotonic_s", "resumed"),
    [
        (IDLE_S_MAX - 1, IDLE_S_MAX - 1, 1),
        (IDLE_S_MAX + 1, IDLE_S_MAX + 1, 0),
        (60, -5000, 1),  # the machine was restarted: its monotonic clock began at zero
        (60, IDLE_S_MAX + 1, 0),  # a wall clock that was set back a little
        (-86_400, 60, 0),  # or a lot: the age of what was read is unknown
        (86_400, 60, 0),
        (-1, 1, 1),
    ],
)
def test_what_was_read_too_long_ago_is_no_evidence(
    move: Move, monkeypatch: pytest.MonkeyPatch, wall_s: float, monotonic_s: float, resumed: int
) -> None:
    move.clock.wait(10_000)
    kill_at(move, 17)
    now = move.clock.wall_s(), move.clock.monotonic_s()
    monkeypatch.setattr(move.clock, "wall_s", lambda: now[0] + wall_s)
    monkeypatch.setattr(move.clock, "monotonic_s", lambda: now[1] + monotonic_s)

    report = move.reconcile()

    assert (report.resumed, report.ordinal) == (resumed, 1 if resumed else 2)
    assert report.abandoned == (() if resumed else ("001",))
    assert folders(move) == ({"001": True} if resumed else {"001": False, "002": True})


@pytest.mark.fault("R10")
def test_many_short_interruptions_do_not_add_up_to_a_long_one(move: Move) -> None:
    for number in (15, 2, 3):
        kill_at(move, number)
        move.clock.wait(IDLE_S_MAX / 2 - 10)
    report = move.reconcile()

    assert (report.resumed, report.abandoned) == (0, ("001",))


@pytest.mark.slow
@pytest.mark.fault("R10")
def test_an_attempt_that_compares_something_else_is_left_and_named(move: Move) -> None:
    sampled = replace(RECONCILE_RULES, content_full_max=0)
    kill_at(move, 17)

    reports = [
        move.reconcile(sampled),
        move.reconcile(replace(sampled, seed=2)),
        move.reconcile(with_source=False),
    ]

    assert [report.resumed for report in reports] == [0, 0, 0]
    assert {report.abandoned for report in reports} == {("001",)}
    assert folders(move) == {"001": False, "002": True, "003": True, "004": True}
    assert any("001 was not finished" in line for line in move.progress.said)


@pytest.mark.slow
@pytest.mark.fault("R10")
def test_a_repair_in_between_begins_a_new_attempt(move: Move) -> None:
    del move.vectors.stored[VectorId("file-0_0")]
    assert move.reconcile().verdict == "drift"
    kill_at(move, 17)
    move.migrate()

    report = move.reconcile()

    assert (report.verdict, report.resumed, report.ordinal) == ("equal", 0, 3)


@pytest.mark.fault("R10")
def test_fresh_looks_at_no_former_attempt(move: Move) -> None:
    kill_at(move, 17)
    journal(move).write_bytes(b"garbage\n")

    report = move.reconcile(fresh=True)

    assert (report.verdict, report.resumed, report.ordinal) == ("equal", 0, 2)


@pytest.mark.slow
@pytest.mark.fault("R10")
def test_a_finished_reconcile_is_never_gone_on_with(move: Move) -> None:
    first, second = move.reconcile(), move.reconcile()

    assert (first.ordinal, second.ordinal, second.resumed) == (1, 2, 0)
    last = json.loads(journal(move).read_bytes().splitlines()[-1])
    assert (last["type"], last["verdict"]) == ("reconcile_concluded", "equal")


@pytest.mark.slow
@pytest.mark.fault("R10", "G03")
def test_a_torn_last_entry_is_dropped_in_words_and_costs_one_step(move: Move) -> None:
    kill_at(move, 18)
    whole = journal(move).read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for kept in (1, len(last) // 2, len(last) - 1):
        journal(move).write_bytes(whole[: -len(last)] + last[:kept])
        move.calls.made.clear()

        report = move.reconcile()

        assert (report.verdict, report.resumed) == ("equal", 1)
        assert any("its last journal entry is incomplete" in line for line in move.progress.said)
        (journal(move).with_name("report.json")).unlink()


@pytest.mark.slow
@pytest.mark.fault("R10", "G15")
def test_one_flipped_bit_in_the_journal_is_never_believed(move: Move) -> None:
    """Exit 10; in the last newline it is an incomplete entry. The verdict is never wrong."""
    plant(move)
    expected = move.ids_of(move.reconcile())
    kill_at(move, 31)
    whole = journal(move, "002").read_bytes()
    damaged = 0
    for position in range(0, len(whole) - 1, 7):
        bent = bytearray(whole)
        bent[position] ^= 0x10
        journal(move, "002").write_bytes(bytes(bent))
        with pytest.raises(ArtefactDamagedError, match=r"002.journal\.jsonl") as caught:
            move.reconcile()
        assert "--fresh" in caught.value.remedy
        damaged += 1
    journal(move, "002").write_bytes(whole[:-1] + b"\x1a")

    assert move.ids_of(move.reconcile()) == expected
    assert damaged > 100


@pytest.mark.fault("R10", "G15", "G16")
@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_text("x\n")])
def test_id_files_that_are_not_what_the_journal_names_are_not_used(
    move: Move, spoil: Callable[[Path], None]
) -> None:
    plant(move)
    kill_at(move, 32)
    spoil(journal(move).with_name("missing.ids"))

    with pytest.raises(ArtefactDamagedError) as caught:
        move.reconcile()
    assert caught.value.exit_code == ExitCode.DAMAGED


@pytest.mark.fault("G14")
def test_the_journal_of_another_version_is_refused(move: Move) -> None:
    kill_at(move, 17)
    entry = {"type": "reconcile_opened", "format": 99, "wall_s": 1.0, "monotonic_s": 1.0}
    journal(move).write_bytes(encode_line(entry, CHAIN_START)[0])

    with pytest.raises(ForeignStateError, match="99"):
        move.reconcile()


@pytest.mark.slow
@pytest.mark.fault("R10", "G01")
@pytest.mark.parametrize("failing", [0, 1, 4, 9])
def test_with_several_reads_under_way_a_note_stands_for_every_row_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Answers may come in any order; the journal is as if they had come in row order."""
    monkeypatch.setattr(vectors, "REQUESTS_PER_NOTE", 2)
    move = finished_move(tmp_path, 200)  # ten fetches
    plant(move)
    move.reads_in_flight = 4
    undisturbed = move.reconcile()
    told, found = undisturbed.document(), move.ids_of(undisturbed)
    whole, fetched, lock = move.vectors.fetch, [], threading.Lock()
    of_fetch = all_ids(200)[1::20]

    def fetch(ids: Sequence[VectorId]) -> dict[VectorId, Vector]:
        with lock:
            fetched.append(ids[0])
        if of_fetch[failing] in ids:
            raise UnexpectedError
        return whole(ids)

    threads = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(move.vectors, "fetch", fetch)
        with pytest.raises(UnexpectedError):
            move.reconcile()
    assert threading.active_count() == threads
    assert len(fetched) <= failing + 4
    noted = [
        entry["end_row"]
        for entry in map(json.loads, journal(move, "002").read_bytes().splitlines())
        if entry["type"] == "contents_read"
    ]
    assert noted == sorted(noted)
    assert all(end <= 20 * failing + 20 for end in noted)

    report = move.reconcile()

    document = report.document()
    assert report.resumed == 1
    assert move.ids_of(report) == found
    assert {key: document[key] for key in told.keys() - LATER - {"ordinal"}} == {
        key: told[key] for key in told.keys() - LATER - {"ordinal"}
    }
