"""Runs just below and above every batch size, and one very long file: move, compare, roll back."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from migrate.mapping.kv_entries import encode_file_value
from migrate.model.limits import DELETE_IDS_MAX, FETCH_IDS_MAX, KV_VALUE_BYTES_MAX
from migrate.model.records import VectorId
from tests.harness.fakes.memory_source import chunk_payloads
from tests.harness.move import RECONCILE_RULES, new_move

PER_UPLOAD = 10


@pytest.mark.fault("P05", "P06", "I5", "I7")
@pytest.mark.parametrize(
    "points",
    [
        0,
        1,
        PER_UPLOAD,
        PER_UPLOAD + 1,
        FETCH_IDS_MAX,
        FETCH_IDS_MAX + 1,
        DELETE_IDS_MAX,
        DELETE_IDS_MAX + 1,
    ],
)
def test_the_same_path_whatever_the_number_of_points(tmp_path: Path, points: int) -> None:
    move = new_move(tmp_path, points)
    move.plan(vectors_per_upload=PER_UPLOAD)
    move.migrate()

    report = move.reconcile(replace(RECONCILE_RULES, page_points=PER_UPLOAD))

    assert (report.verdict, report.coverage.checked) == ("equal", points)
    assert set(report.counts.values()) == {points}
    assert move.calls.made.count("upsert") == -(-points // PER_UPLOAD)
    done = move.roll_back()
    assert (done.vectors_deleted, move.held()) == (points, ({}, {}))


@pytest.mark.fault("D12", "K06")
def test_fifty_thousand_chunks_with_the_longest_ids_fit_one_value() -> None:
    """There is no second level of keys: one read gives all vectors of a file."""
    ids = [VectorId(f"{number:064d}") for number in range(50_000)]

    assert len(encode_file_value(ids)) < KV_VALUE_BYTES_MAX / 7


@pytest.mark.slow
@pytest.mark.fault("D12")
def test_one_file_with_all_the_chunks_is_one_entry_in_their_order(tmp_path: Path) -> None:
    move = new_move(tmp_path)
    move.source.points = chunk_payloads(1_500, files=1)
    move.plan(vectors_per_upload=700)
    move.migrate()

    assert move.reconcile().verdict == "equal"
    ids = orjson.loads(move.kv.stored["file:file-0"].value)
    assert ids == [f"file-0_{number}" for number in range(1_500)]
    ids[700], ids[701] = ids[701], ids[700]
    key = "file:file-0"
    move.kv.stored[key] = replace(move.kv.stored[key], value=orjson.dumps(ids))
    assert move.ids_of(move.reconcile()) == {"kv_mismatched": [key]}
