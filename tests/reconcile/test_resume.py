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
from tests.paths import path_of
from tests.reconcile.bench import RECONCILE_RULES, Bench, moved_bench
from tests.servers.memory_source import SourceFailedError

POINTS = 95  # five fetches, the last one of fifteen
LATER = {"ordinal", "at", "started_at", "resumed", "report", "html", "files", "differs_file"}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A finished move; reconcile writes an entry after every second fetch, not every 50th."""
    monkeypatch.setattr(vectors, "REQUESTS_PER_NOTE", 2)
    return moved_bench(tmp_path, POINTS)


def kill_at(bench: Bench, number: int) -> None:
    """Reconcile and raise in place of this call to the target, as a kill would."""

    def cut(call: int, _: str) -> None:
        if call == number:
            raise SourceFailedError

    bench.calls.made.clear()
    bench.calls.before = cut
    with suppress(SourceFailedError):
        bench.reconcile()
    bench.calls.before = lambda call, what: None


def folders(bench: Bench) -> dict[str, bool]:
    """Number of each reconcile -> whether it holds a report."""
    assert bench.run_folder is not None
    found = sorted((path_of(bench.run_folder) / "reconcile").iterdir())
    return {path.name: (path / "report.json").exists() for path in found}


def journal(bench: Bench, name: str = "001") -> Path:
    assert bench.run_folder is not None
    return path_of(bench.run_folder) / "reconcile" / name / "journal.jsonl"


def plant(bench: Bench) -> None:
    """Plant one difference of each kind that several passes must find."""
    del bench.vectors.stored[VectorId("file-0_0")]
    bent = bench.vector("file-1_3")
    bench.put(replace(bent, values=bent.values + np.float32(1)))
    late = bench.vector("file-4_18")
    bench.put(replace(late, metadata={**(late.metadata or {}), "chunk_index": "18"}))
    del bench.kv.stored["file:file-2"]


@pytest.mark.slow
@pytest.mark.fault("R10", "G01", "I6")
@pytest.mark.parametrize("change", [lambda bench: None, plant], ids=["equal", "drifted"])
def test_killed_at_any_call_it_goes_on_and_says_what_an_undisturbed_one_says(
    bench: Bench, change: Callable[[Bench], None]
) -> None:
    change(bench)
    before = bench.held()
    undisturbed = bench.reconcile()
    told, found = undisturbed.document(), bench.ids_of(undisturbed)
    calls = len(bench.calls.made)
    for number in range(calls):
        kill_at(bench, number)
        read_before = len(bench.calls.made)
        bench.calls.made.clear()

        report = bench.reconcile()

        document = report.document()
        assert {key: document[key] for key in told.keys() - LATER} == {
            key: told[key] for key in told.keys() - LATER
        }
        assert bench.ids_of(report) == found
        assert (report.resumed, report.started_at <= report.at) == (1, True)
        # An interrupted step begins again (both walks of a listing, each with a read of what is
        # not listed), contents after the last entry.
        assert read_before + len(bench.calls.made) <= calls + 2 * 15
    assert bench.calls.writes == []
    assert bench.held() == before
    assert set(folders(bench).values()) == {True}


@pytest.mark.fault("R10")
def test_contents_are_read_again_from_the_last_note_only(bench: Bench) -> None:
    kill_at(bench, 14 + 3)
    bench.calls.made.clear()

    report = bench.reconcile()

    assert bench.calls.made == ["fetch"] * 3 + ["kv list", "kv read", "kv read", "kv list"]
    assert (report.verdict, report.coverage.checked) == ("equal", POINTS)


@pytest.mark.fault("R10")
def test_the_verdict_stands_on_one_listing(bench: Bench) -> None:
    """A vector that appears after the listing is reported by the next reconcile only."""
    kill_at(bench, 14 + 1)
    bench.put(replace(bench.vector("file-0_0"), id=VectorId("late")))

    resumed, next_one = bench.reconcile(), bench.reconcile()

    assert (resumed.verdict, resumed.counts["vector_index"]) == ("equal", POINTS)
    assert (next_one.verdict, bench.ids_of(next_one)) == ("drift", {"extra": ["late"]})


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
    bench: Bench, monkeypatch: pytest.MonkeyPatch, wall_s: float, monotonic_s: float, resumed: int
) -> None:
    bench.clock.wait(10_000)
    kill_at(bench, 17)
    now = bench.clock.wall_s(), bench.clock.monotonic_s()
    monkeypatch.setattr(bench.clock, "wall_s", lambda: now[0] + wall_s)
    monkeypatch.setattr(bench.clock, "monotonic_s", lambda: now[1] + monotonic_s)

    report = bench.reconcile()

    assert (report.resumed, report.ordinal) == (resumed, 1 if resumed else 2)
    assert report.abandoned == (() if resumed else ("001",))
    assert folders(bench) == ({"001": True} if resumed else {"001": False, "002": True})


@pytest.mark.fault("R10")
def test_many_short_interruptions_do_not_add_up_to_a_long_one(bench: Bench) -> None:
    for number in (15, 2, 3):
        kill_at(bench, number)
        bench.clock.wait(IDLE_S_MAX / 2 - 10)
    report = bench.reconcile()

    assert (report.resumed, report.abandoned) == (0, ("001",))


@pytest.mark.fault("R10")
def test_an_attempt_that_compares_something_else_is_left_and_named(bench: Bench) -> None:
    sampled = replace(RECONCILE_RULES, content_full_max=0)
    kill_at(bench, 17)

    reports = [
        bench.reconcile(sampled),
        bench.reconcile(replace(sampled, seed=2)),
        bench.reconcile(with_source=False),
    ]

    assert [report.resumed for report in reports] == [0, 0, 0]
    assert {report.abandoned for report in reports} == {("001",)}
    assert folders(bench) == {"001": False, "002": True, "003": True, "004": True}
    assert any("001 was not finished" in line for line in bench.progress.said)


@pytest.mark.fault("R10")
def test_a_repair_in_between_begins_a_new_attempt(bench: Bench) -> None:
    del bench.vectors.stored[VectorId("file-0_0")]
    assert bench.reconcile().verdict == "drift"
    kill_at(bench, 17)
    bench.apply()

    report = bench.reconcile()

    assert (report.verdict, report.resumed, report.ordinal) == ("equal", 0, 3)


@pytest.mark.fault("R10")
def test_fresh_looks_at_no_former_attempt(bench: Bench) -> None:
    kill_at(bench, 17)
    journal(bench).write_bytes(b"garbage\n")

    report = bench.reconcile(fresh=True)

    assert (report.verdict, report.resumed, report.ordinal) == ("equal", 0, 2)


@pytest.mark.fault("R10")
def test_a_finished_reconcile_is_never_gone_on_with(bench: Bench) -> None:
    first, second = bench.reconcile(), bench.reconcile()

    assert (first.ordinal, second.ordinal, second.resumed) == (1, 2, 0)
    last = json.loads(journal(bench).read_bytes().splitlines()[-1])
    assert (last["type"], last["verdict"]) == ("reconcile_concluded", "equal")


@pytest.mark.fault("R10", "G03")
def test_a_torn_last_entry_is_dropped_in_words_and_costs_one_step(bench: Bench) -> None:
    kill_at(bench, 18)
    whole = journal(bench).read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    for kept in (1, len(last) // 2, len(last) - 1):
        journal(bench).write_bytes(whole[: -len(last)] + last[:kept])
        bench.calls.made.clear()

        report = bench.reconcile()

        assert (report.verdict, report.resumed) == ("equal", 1)
        assert any("its last journal entry is incomplete" in line for line in bench.progress.said)
        (journal(bench).with_name("report.json")).unlink()


@pytest.mark.fault("R10", "G15")
def test_one_flipped_bit_in_the_journal_is_never_believed(bench: Bench) -> None:
    """Exit 10; in the last newline it is an incomplete entry. The verdict is never wrong."""
    plant(bench)
    expected = bench.ids_of(bench.reconcile())
    kill_at(bench, 31)
    whole = journal(bench, "002").read_bytes()
    damaged = 0
    for position in range(0, len(whole) - 1, 7):
        bent = bytearray(whole)
        bent[position] ^= 0x10
        journal(bench, "002").write_bytes(bytes(bent))
        with pytest.raises(ArtefactDamagedError, match=r"002.journal\.jsonl") as caught:
            bench.reconcile()
        assert "--fresh" in caught.value.remedy
        damaged += 1
    journal(bench, "002").write_bytes(whole[:-1] + b"\x1a")

    assert bench.ids_of(bench.reconcile()) == expected
    assert damaged > 100


@pytest.mark.fault("R10", "G15", "G16")
@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_text("x\n")])
def test_id_files_that_are_not_what_the_journal_names_are_not_used(
    bench: Bench, spoil: Callable[[Path], None]
) -> None:
    plant(bench)
    kill_at(bench, 32)
    spoil(journal(bench).with_name("missing.ids"))

    with pytest.raises(ArtefactDamagedError) as caught:
        bench.reconcile()
    assert caught.value.exit_code == ExitCode.DAMAGED


@pytest.mark.fault("G14")
def test_the_journal_of_another_version_is_refused(bench: Bench) -> None:
    kill_at(bench, 17)
    entry = {"type": "reconcile_opened", "format": 99, "wall_s": 1.0, "monotonic_s": 1.0}
    journal(bench).write_bytes(encode_line(entry, CHAIN_START)[0])

    with pytest.raises(ForeignStateError, match="99"):
        bench.reconcile()


@pytest.mark.fault("R10", "G01")
@pytest.mark.parametrize("failing", [0, 1, 4, 9])
def test_with_several_reads_under_way_a_note_stands_for_every_row_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Answers may come in any order; the journal is as if they had come in row order."""
    monkeypatch.setattr(vectors, "REQUESTS_PER_NOTE", 2)
    bench = moved_bench(tmp_path, 200)  # ten fetches
    plant(bench)
    bench.reads_in_flight = 4
    undisturbed = bench.reconcile()
    told, found = undisturbed.document(), bench.ids_of(undisturbed)
    whole, fetched, lock = bench.vectors.fetch, [], threading.Lock()
    of_fetch = [VectorId(f"file-{row % 5}_{row // 5}") for row in range(1, 200, 20)]

    def fetch(ids: Sequence[VectorId]) -> dict[VectorId, Vector]:
        with lock:
            fetched.append(ids[0])
        if of_fetch[failing] in ids:
            raise SourceFailedError
        return whole(ids)

    threads = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(bench.vectors, "fetch", fetch)
        with pytest.raises(SourceFailedError):
            bench.reconcile()
    assert threading.active_count() == threads
    assert len(fetched) <= failing + 4
    noted = [
        entry["end_row"]
        for entry in map(json.loads, journal(bench, "002").read_bytes().splitlines())
        if entry["type"] == "contents_read"
    ]
    assert noted == sorted(noted)
    assert all(end <= 20 * failing + 20 for end in noted)

    report = bench.reconcile()

    document = report.document()
    assert report.resumed == 1
    assert bench.ids_of(report) == found
    assert {key: document[key] for key in told.keys() - LATER - {"ordinal"}} == {
        key: told[key] for key in told.keys() - LATER - {"ordinal"}
    }
