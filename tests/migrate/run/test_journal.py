"""The journal: a chain nobody can mend, and a state that is nothing but the sum of its entries."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import ForeignStateError
from migrate.model.canonical import encode_canonical_json
from migrate.run.journal import BatchRecord, Kind, RunState, Store, fold_run
from migrate.run.pending import RowRange
from migrate.run.refusal_evidence import Refusals
from migrate.storage.journal_lines import (
    CHAIN_START,
    JOURNAL_FORMAT,
    Entry,
    check_format,
    decode_line,
    encode_line,
)
from tests.harness.strategies import json_objects

OPENED: Entry = {
    "type": "run_opened",
    "format": JOURNAL_FORMAT,
    "run_id": "000-x",
    "plan_sha256": "p" * 64,
}
SEALED: Entry = {"type": "pre_images_sealed", "vectors_present": 0, "kv_present": 0}


def round_opened(ordinal: int = 0) -> Entry:
    return {"type": "round_opened", "ordinal": ordinal, "kind": "repair" if ordinal else "full"}


def intent(batch: int, *, store: str = "vectors", round_: int = 0) -> Entry:
    return {
        "type": "intent",
        "round": round_,
        "store": store,
        "batch": batch,
        "start": 10 * batch,
        "first": 10 * batch,
        "end": 10 * batch + 10,
        "count": 10 - batch % 2,
        "bytes": 99,
        "sha256": f"{batch:064x}",
    }


def ack(batch: int, *, store: str = "vectors", round_: int = 0) -> Entry:
    return {
        "type": "ack",
        "round": round_,
        "store": store,
        "batch": batch,
        "mutation_id": f"m{batch}" if store == "vectors" else None,
        "server_date": None,
    }


def refused(batch: int, *, round_: int = 0, **more: object) -> Entry:
    """A refusal of ten vectors, unless told otherwise."""
    return {
        "type": "refused",
        "round": round_,
        "store": "vectors",
        "batch": batch,
        "status": 400,
        "code": 40023,
        "text": "no",
        "middle": 10 * batch + 5,
        **more,
    }


def single(batch: int, row: int, *, round_: int = 0) -> Entry:
    """The intent of one vector."""
    return {**intent(batch, round_=round_), "start": row, "first": row, "end": row + 1, "count": 1}


def of_round(kind: str, round_: int = 0) -> Entry:
    return {"type": kind, "round": round_}


FULL: list[Entry] = [
    OPENED,
    {"type": "pre_image_part", "name": "part-00000.parquet", "rows": 20, "sha256": "a" * 64},
    SEALED,
    round_opened(),
    intent(0),
    ack(0),
    intent(1),
    ack(1),
    of_round("vectors_processed"),
    intent(0, store="kv"),
    ack(0, store="kv"),
    intent(0, store="counter"),
    ack(0, store="counter"),
    of_round("round_completed"),
    {"type": "rollback_opened", "manifest_sha256": "b" * 64},
    {"type": "rollback_completed", "conflicts": 2},
]


def encoded(entries: list[Entry]) -> list[bytes]:
    lines, chain = [], CHAIN_START
    for entry in entries:
        line, chain = encode_line(entry, chain)
        lines.append(line)
    return lines


def decoded(lines: list[bytes]) -> list[Entry]:
    entries, chain = [], CHAIN_START
    for line in lines:
        entry, chain = decode_line(line, chain)
        entries.append(entry)
    return entries


@given(st.lists(json_objects(), max_size=4))
def test_entries_come_back_from_their_lines(fields: list[dict[str, object]]) -> None:
    """Whatever they hold: a journal can read what it wrote."""
    entries: list[Entry] = [{**some, "type": "x"} for some in fields]
    lines = encoded(entries)

    assert list(map(encode_canonical_json, entries)) == list(
        map(encode_canonical_json, decoded([line[:-1] for line in lines]))
    )
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in lines)


LINES = [line[:-1] for line in encoded(FULL[:5])]


@pytest.mark.fault("G15")
@pytest.mark.parametrize("number", range(len(LINES)))
def test_any_changed_byte_of_any_line_breaks_the_chain(number: int) -> None:
    line = LINES[number]
    for position in range(len(line)):
        for bit in range(8):
            flipped = bytearray(line)
            flipped[position] ^= 1 << bit
            lines = [*LINES[:number], bytes(flipped), *LINES[number + 1 :]]
            with pytest.raises(ValueError, match="chain"):
                decoded(lines)


@pytest.mark.fault("G15", "X09")
@given(st.data())
def test_dropping_swapping_and_repeating_lines_breaks_the_chain(data: st.DataObject) -> None:
    """A journal cut at its end is a shorter journal: only what comes after can tell."""
    last = len(LINES) - 1
    at = data.draw(st.integers(0, last - 1))
    other = data.draw(st.integers(at + 1, last))
    swapped = LINES.copy()
    swapped[at], swapped[other] = LINES[other], LINES[at]
    for lines in (
        LINES[:at] + LINES[at + 1 :],
        LINES[: at + 1] + LINES[at:],
        [*LINES, LINES[at]],
        swapped,
    ):
        with pytest.raises(ValueError, match="chain"):
            decoded(lines)


@pytest.mark.parametrize("line", [b"", b"{}", b"x", LINES[0][:-1], LINES[0] + b" ", b"\xff" * 200])
def test_lines_that_are_none(line: bytes) -> None:
    with pytest.raises(ValueError, match="chain"):
        decode_line(line, CHAIN_START)


@pytest.mark.parametrize("entry", [{"a": 1}, {"type": 1}, {"type": None}])
def test_an_entry_without_a_type_is_none(entry: Entry) -> None:
    line, _ = encode_line(entry, CHAIN_START)

    with pytest.raises(ValueError, match="no journal entry"):
        decode_line(line[:-1], CHAIN_START)


PHASES = (
    ["capturing pre-images"] * 3
    + ["uploading"] * 6
    + ["writing the KV index"] * 5
    + ["completed", "rolling back", "rolled back"]
)


@pytest.mark.fault("I2")
def test_every_prefix_of_a_run_folds_to_its_phase() -> None:
    states = [fold_run(FULL[:count]) for count in range(len(FULL) + 1)]

    assert [state.phase for state in states] == PHASES
    assert [state.completed for state in states] == [False] * 14 + [True] * 3
    assert [state.kv_written() for state in states] == [False] * 10 + [True] * 7


def test_the_state_after_a_whole_run() -> None:
    state = fold_run(FULL)

    assert (state.run_id, state.plan_sha256) == ("000-x", "p" * 64)
    assert state.pre_image_parts == {"part-00000.parquet": (20, "a" * 64)}
    assert state.pre_images == SEALED
    assert state.rounds[0].acknowledged(Store.VECTORS) == 19
    assert state.rounds[0].acknowledged(Store.KV) == 10
    assert state.rollback_conflicts == 2
    first = BatchRecord(
        ordinal=0,
        first=0,
        end=10,
        count=10,
        body_bytes=99,
        sha256="0" * 64,
        acknowledged=True,
        mutation_id="m0",
    )
    assert first == state.vectors_written()[0]
    assert len(state.vectors_written()) == 2


def test_a_batch_in_doubt_counts_as_written_and_not_as_acknowledged() -> None:
    state = fold_run([*FULL[:4], intent(0), ack(0), intent(1)])

    assert len(state.vectors_written()) == 2
    assert state.rounds[0].acknowledged(Store.VECTORS) == 10
    assert not state.kv_written()


@pytest.mark.fault("N16", "I1")
def test_a_refused_batch_is_pending_again_and_a_single_vector_stays_behind() -> None:
    """Neither counts as written, or as in doubt."""
    entries = [
        *HEAD,
        intent(0),
        refused(0),
        single(1, 2),
        refused(1, vector_id="f_2"),
        {**intent(2), "start": 5, "first": 5, "end": 10, "count": 5},
        ack(2),
    ]
    states = [fold_run(entries[:count]) for count in range(len(entries) + 1)]
    last = states[-1]

    assert [(one.first, one.end) for one in states[6].rounds[0].pending.ranges][:2] == [
        (0, 5),
        (5, 10),
    ]
    assert [(row, one.vector_id, one.round) for row, one in last.refused.items()] == [(2, "f_2", 0)]
    assert [batch.ordinal for batch in last.vectors_written()] == [2]
    assert not any(batch.in_doubt for batch in last.rounds[0].batches[Store.VECTORS])
    assert (last.vectors_refused(), last.vectors_acknowledged()) == (2, 5)
    assert last.refusals(until_round=0) == Refusals(frozenset({2}), frozenset({2}))
    assert last.upload_sizes.wanted is None


@pytest.mark.fault("N17")
def test_a_413_is_remembered_for_the_rest_of_the_run() -> None:
    state = fold_run([*HEAD, intent(0), refused(0, status=413, code=None)])

    assert state.upload_sizes.wanted == 99 // 2


@pytest.mark.fault("I1")
def test_a_vector_that_a_repair_was_refused_counts_as_refused_only() -> None:
    """It was acknowledged before; the sums must not hold it twice."""
    state = fold_run(
        [*SECOND_AFTER_TEN, single(0, 3, round_=1), refused(0, round_=1, vector_id="f_3")]
    )

    assert (state.vectors_acknowledged(), len(state.refused)) == (9, 1)
    assert [sorted(state.refusals(until_round=last).rows) for last in (0, 1)] == [[], [3]]


def test_a_rollback_that_is_opened_again_is_not_completed() -> None:
    state = fold_run([*FULL, FULL[-2]])

    assert state.phase == "rolling back"


HEAD = FULL[:4]
SECOND_AFTER_TEN = [
    *HEAD,
    intent(0),
    ack(0),
    of_round("round_completed"),
    round_opened(1),
]
SECOND = [*HEAD, of_round("round_completed"), round_opened(1)]
ILLEGAL: list[tuple[str, list[Entry]]] = [
    ("opened twice", [OPENED, OPENED]),
    ("unknown type", [OPENED, {"type": "later_version"}]),
    ("no run id", [{key: value for key, value in OPENED.items() if key != "run_id"}]),
    ("rows as text", [OPENED, {**FULL[1], "rows": "20"}]),
    ("rows as truth", [OPENED, {**FULL[1], "rows": True}]),
    ("gap in rounds", [OPENED, round_opened(1)]),
    ("negative round", [OPENED, round_opened(-1)]),
    ("round before the last is complete", [*HEAD, round_opened(1)]),
    ("intent without a round", [OPENED, intent(0)]),
    ("intent for round -1 of none", [OPENED, intent(0, round_=-1)]),
    ("intent for an old round", [*SECOND, intent(0, round_=0)]),
    ("intent for a coming round", [*HEAD, intent(0, round_=1)]),
    ("gap in batches", [*HEAD, intent(1)]),
    ("negative batch", [*HEAD, intent(-1)]),
    ("batch intended twice", [*HEAD, intent(0), intent(0)]),
    ("unknown store", [*HEAD, intent(0, store="r2")]),
    ("ack without intent", [*HEAD, ack(0)]),
    ("ack of the last by -1", [*HEAD, intent(0), ack(-1)]),
    ("ack in another store", [*HEAD, intent(0), ack(0, store="kv")]),
    ("two acks", [*HEAD, intent(0), ack(0), ack(0)]),
    ("mutation id is no text", [*HEAD, intent(0), {**ack(0), "mutation_id": 5}]),
    ("rows sent twice", [*HEAD, intent(0), {**intent(0), "batch": 1}]),
    ("refused without intent", [*HEAD, refused(0)]),
    ("refused after its ack", [*HEAD, intent(0), ack(0), refused(0)]),
    ("ack after its refusal", [*HEAD, intent(0), refused(0), ack(0)]),
    ("refused twice", [*HEAD, intent(0), refused(0), refused(0)]),
    ("refused in the KV store", [*HEAD, intent(0, store="kv"), refused(0, store="kv")]),
    ("refused without a text", [*HEAD, intent(0), refused(0, text=None)]),
    ("refused without a middle", [*HEAD, intent(0), refused(0, middle=None)]),
    ("a middle outside", [*HEAD, intent(0), refused(0, middle=10)]),
    ("a batch across two halves", [*HEAD, intent(0), refused(0), {**intent(0), "batch": 1}]),
    ("one vector without its id", [*HEAD, single(0, 3), refused(0)]),
    (
        "a vector refused twice",
        [
            *HEAD,
            single(0, 3),
            refused(0, vector_id="f_3"),
            of_round("round_completed"),
            round_opened(1),
            single(0, 3, round_=1),
            refused(0, round_=1, vector_id="f_3"),
        ],
    ),
    ("reasons that are no list", [*HEAD, {"type": "waived", "reasons": "refused"}]),
    ("reasons that are no texts", [*HEAD, {"type": "waived", "reasons": [1]}]),
    ("completed without a round", [OPENED, of_round("round_completed")]),
    ("processed for an old round", [*SECOND, of_round("vectors_processed", 0)]),
]


@pytest.mark.fault("I3", "G14")
@pytest.mark.parametrize(("name", "entries"), ILLEGAL, ids=[name for name, _ in ILLEGAL])
def test_entries_that_cannot_follow_are_refused(name: str, entries: list[Entry]) -> None:
    fold_run(entries[:-1])

    with pytest.raises(ValueError, match=r"\w"):
        fold_run(entries)


@pytest.mark.fault("G14")
@pytest.mark.parametrize("version", [None, 0, JOURNAL_FORMAT + 1, "1"])
def test_a_journal_of_another_format_is_foreign(version: object) -> None:
    with pytest.raises(ForeignStateError, match="format version"):
        fold_run([{**OPENED, "format": version}])
    check_format(OPENED)


@st.composite
def journals(draw: st.DrawFn) -> list[Entry]:
    """Any legal run: rounds of batches in three stores, acknowledged in any order, or not."""
    entries = [OPENED, SEALED]
    for ordinal in range(draw(st.integers(0, 3))):
        if ordinal:
            entries.append(of_round("round_completed", ordinal - 1))
        entries.append(round_opened(ordinal))
        for store in Store:
            count = draw(st.integers(0, 3))
            entries += [intent(batch, store=store.value, round_=ordinal) for batch in range(count)]
            acked = draw(st.permutations(range(count)))[: draw(st.integers(0, count))]
            entries += [ack(batch, store=store.value, round_=ordinal) for batch in acked]
    return entries


def acknowledged(state: RunState) -> set[tuple[int, Store, int]]:
    return {
        (round_.ordinal, store, batch.ordinal)
        for round_ in state.rounds
        for store, batches in round_.batches.items()
        for batch in batches
        if batch.acknowledged
    }


@pytest.mark.fault("I2", "I3")
@given(journals())
def test_any_prefix_folds_and_what_is_acknowledged_stays_so(entries: list[Entry]) -> None:
    states = [fold_run(entries[:count]) for count in range(len(entries) + 1)]

    for earlier, later in itertools.pairwise(states):
        assert acknowledged(earlier) <= acknowledged(later)
    acks = [entry for entry in entries if entry["type"] == Kind.ACK.value]
    assert len(acks) == len(acknowledged(states[-1]))


@pytest.mark.fault("I3")
@given(journals(), st.data())
def test_no_ack_and_no_intent_counts_twice(entries: list[Entry], data: st.DataObject) -> None:
    written = [entry for entry in entries if entry["type"] in {"ack", "intent"}]
    if written:
        with pytest.raises(ValueError, match=r"\w"):
            fold_run([*entries, data.draw(st.sampled_from(written))])


def retried(*rows: int, round_: int = 0) -> Entry:
    return {"type": "retried", "round": round_, "rows": list(rows)}


def processed(round_: int = 0) -> list[Entry]:
    return [
        {"type": "vectors_processed", "round": round_, "evidence": "read back"},
        {"type": "round_completed", "round": round_},
    ]


def retry_round(ordinal: int, *rows: int) -> Entry:
    return {"type": "round_opened", "ordinal": ordinal, "kind": "retry", "rows": list(rows)}


REFUSED_ALONE = [*HEAD, single(0, 2), refused(0, vector_id="f_2")]


@pytest.mark.fault("F05", "I1")
def test_a_vector_retried_in_its_round_is_pending_again() -> None:
    before, state = fold_run(REFUSED_ALONE), fold_run([*REFUSED_ALONE, retried(2)])

    assert (len(before.refused), state.refused) == (1, {})
    assert RowRange(2, 3, whole=True) in state.rounds[0].pending.ranges
    taken = fold_run([*REFUSED_ALONE, retried(2), single(1, 2), ack(1)])
    assert taken.vectors_acknowledged() == 1
    assert taken.refusals() == Refusals(frozenset(), frozenset())


@pytest.mark.fault("F05", "I1")
def test_a_round_of_retries_counts_what_it_takes_and_what_is_refused_again() -> None:
    ended = [*REFUSED_ALONE, *processed(), retry_round(1, 2)]
    again = {**single(0, 2), "round": 1}
    taken = fold_run([*ended, again, ack(0, round_=1)])
    refused_again = fold_run([*ended, again, {**refused(0, vector_id="f_2"), "round": 1}])

    assert (taken.vectors_acknowledged(), taken.refused) == (1, {})
    assert refused_again.vectors_acknowledged() == 0
    assert refused_again.refusals().unwritten == {2}
    for state in (taken, refused_again):
        assert state.refusals(until_round=0).unwritten == {2}


@pytest.mark.fault("F05", "G15")
@pytest.mark.parametrize(
    "entries",
    [
        [retried(3)],
        [retried(2), retried(2)],
        [{"type": "retried", "round": 0}],
        [{"type": "retried", "round": 0, "rows": ["2"]}],
        [*processed()[:1], retried(2)],
        [*processed(), retry_round(1, 3)],
        [*processed(), {"type": "round_opened", "ordinal": 1, "kind": "retry"}],
        [*processed(), round_opened(1), retried(2, round_=1)],
    ],
)
def test_a_retry_of_what_is_not_refused_there_is_damage(entries: list[Entry]) -> None:
    with pytest.raises(ValueError, match=r"refused|rows|processed"):
        fold_run([*REFUSED_ALONE, *entries])


def undone(end: int, *rows: int) -> Entry:
    return {
        "type": "undone",
        "end": end,
        "seem_foreign": list(rows),
        "vectors_deleted": end,
        "vectors_restored": 0,
        "mutation_id": f"m{end}",
        "server_date": None,
    }


BACK: Entry = {"type": "rollback_opened", "manifest_sha256": "b" * 64}


@pytest.mark.fault("B02")
def test_a_rollback_that_continues_keeps_what_is_undone_and_one_that_does_not_begins_again() -> (
    None
):
    entries = [*FULL[:-1], undone(10, 3), undone(20, 14)]

    state = fold_run([*entries, {**BACK, "continues": True}])

    assert state.undone is not None
    assert (state.undone.end, state.undone.seem_foreign) == (20, frozenset({3, 14}))
    assert (state.undone.vectors_deleted, state.undone.mutation_id) == (20, "m20")
    assert fold_run([*entries, BACK]).undone is None
    assert fold_run([*entries, FULL[-1]]).undone is None, "it is complete"


@pytest.mark.fault("G15")
@pytest.mark.parametrize(
    "entries",
    [
        [*FULL[:-2], undone(10)],
        [*FULL, undone(10)],
        [*FULL[:-1], undone(10), undone(10)],
        [*FULL[:-1], {**undone(10), "seem_foreign": ["3"]}],
        [*FULL[:-1], {**undone(10), "end": None}],
    ],
    ids=["before-a-rollback", "after-it", "not-further", "no-rows", "no-end"],
)
def test_what_is_undone_follows_the_opening_of_a_rollback_row_by_row(entries: list[Entry]) -> None:
    with pytest.raises(ValueError, match=r"undone|integer"):
        fold_run(entries)
