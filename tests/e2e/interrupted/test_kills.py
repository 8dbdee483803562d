"""Killed again and again, migrate and rollback alike: the end is that of an undisturbed run."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from tests.e2e.interrupted.kills import SEED_OF_FIFTY, draw_lives, run
from tests.e2e.interrupted.ledger import Ledger
from tests.e2e.interrupted.watch import Phase
from tests.harness.journal_files import Entry, GrowingLines

# Of a seed whose first life is whole. `make faults` kills fifty times, over 20,000 points.
KILLS, POINTS, SEED = 8, 4_000, 22


@pytest.mark.slow
@pytest.mark.fault("G01", "G09", "U01", "I2", "I3", "I5", "I7")
def test_killed_at_random_moments_it_ends_byte_for_byte_as_if_nothing_had_happened(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    report = run(tmp_path, kills=KILLS, points=POINTS, seed=SEED)

    record_property("told", report.summary())
    assert report.kills == KILLS
    assert report.of("migrate") > 0
    assert report.of("rollback") > 0
    assert report.records > POINTS


def test_the_fifty_moments_lie_in_every_phase_and_repeat_with_their_seed() -> None:
    lives = list(islice(draw_lives(SEED_OF_FIFTY), 5))

    assert lives == list(islice(draw_lives(SEED_OF_FIFTY), 5))
    fifty = [moment.phase for life in lives for moment in life][:50]
    assert set(Phase) - {Phase.ENDING, Phase.ROLLBACK_ENDING} == set(fifty)
    assert all(life == sorted(life, key=lambda moment: moment.phase) for life in lives)


# What the harness itself would notice: a check that cannot fail proves nothing.

RUN = Path("runs/000-x")


def _journal(*entries: tuple[str, int]) -> bytes:
    """Lines of one round; the digest of upload n is "sha-n"."""
    stored = [
        {"type": kind, "round": 0, "store": "vectors", "batch": batch, "sha256": f"sha-{batch}"}
        for kind, batch in entries
    ]
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in stored)


def _uploads(*batches: int) -> list[Entry]:
    """Uploads as the sandbox's log has them."""
    return [
        {"method": "POST", "path": "/docs/upsert", "status": 200, "body_sha256": f"sha-{batch}"}
        for batch in batches
    ]


def _ledger(journal: bytes, requests: list[Entry]) -> Ledger:
    """A ledger that has looked once, after a kill."""
    ledger = Ledger()
    ledger.kills[RUN] += 1
    ledger.look(RUN, journal, requests, migrating=True)
    return ledger


def test_what_was_in_doubt_may_come_again_and_is_counted() -> None:
    before = _journal(("intent", 0), ("ack", 0), ("intent", 1))
    ledger = _ledger(before, _uploads(0, 1))

    ledger.look(RUN, before + _journal(("ack", 1)), _uploads(0, 1, 1), migrating=True)

    assert (ledger.uploads, ledger.repeats, ledger.acknowledged) == (3, 1, 2)


def test_what_was_acknowledged_may_not() -> None:
    before = _journal(("intent", 0), ("ack", 0), ("intent", 1))
    ledger = _ledger(before, _uploads(0, 1))

    with pytest.raises(AssertionError, match="I3"):
        ledger.look(RUN, before, _uploads(0, 1, 0), migrating=True)


def test_nor_may_more_come_again_than_there_were_kills() -> None:
    before = _journal(("intent", 0))
    ledger = _ledger(before, _uploads(0))

    with pytest.raises(AssertionError, match="2 repeats, 1 kills"):
        ledger.look(RUN, before, _uploads(0, 0, 0), migrating=True)


def test_nor_a_kv_write_once_it_was_acknowledged() -> None:
    counter = [
        {"type": "ack", "round": 0, "store": store, "batch": 0} for store in ("kv", "counter")
    ]
    journal = b"".join(json.dumps(entry).encode() + b"\n" for entry in counter)
    written: Entry = {"method": "PUT", "path": "/kv/bulk", "status": 200, "body_sha256": ""}
    ledger = _ledger(journal, [written, written])

    with pytest.raises(AssertionError, match="KV"):
        ledger.look(RUN, journal, [written, written, written], migrating=True)


def test_a_kv_write_in_doubt_may_arrive_late_and_again() -> None:
    intent = json.dumps({"type": "intent", "round": 0, "store": "kv", "batch": 0}).encode() + b"\n"
    written: Entry = {"method": "PUT", "path": "/kv/bulk", "status": 200, "body_sha256": ""}
    ledger = _ledger(intent, [])

    ledger.look(RUN, intent, [written] * 3, migrating=True)
    with pytest.raises(AssertionError, match="KV"):
        ledger.look(RUN, intent, [written] * 7, migrating=True)


@pytest.mark.parametrize(
    "after",
    [
        _journal(("intent", 0)),
        _journal(("intent", 0), ("ack", 1)),
        _journal(("ack", 0), ("intent", 0), ("ack", 0)),
    ],
    ids=["shorter", "changed", "longer at its beginning"],
)
def test_a_journal_that_did_not_grow_from_what_it_was_is_noticed(after: bytes) -> None:
    ledger = _ledger(_journal(("intent", 0), ("ack", 0)), [])

    with pytest.raises(AssertionError, match="I2"):
        ledger.look(RUN, after, [], migrating=True)


def test_a_torn_last_line_is_not_there_yet(tmp_path: Path) -> None:
    lines = GrowingLines(tmp_path / "journal.jsonl")
    assert lines.refreshed() == []

    lines.path.write_bytes(b"one\ntw")
    assert lines.refreshed() == [b"one"]
    lines.path.write_bytes(b"one\ntwo\n\nth")
    assert lines.refreshed() == [b"one", b"two", b""]
