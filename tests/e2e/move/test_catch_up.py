"""The evening with a writer: a first snapshot, catch-ups, the freeze, and the way back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from migrate.archive.open import read_record
from migrate.archive.record import decode_record
from migrate.errors import ExitCode
from migrate.storage.local_folder import local_file
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import (
    Workbench,
    changed_point,
    chunk,
    points,
    unit_vectors,
    workbench,
)
from tests.servers.qdrant_points import StoredCollection, StoredPoint

POINTS = 60
LATER = "2036-01-01T00:00+00:00"


class Writer:
    """Adds, changes and deletes points while pages are listed, until it is stopped."""

    def __init__(self) -> None:
        self.is_stopped = False
        self._turns = 0
        self._vectors = unit_vectors(400)

    def __call__(self, collection: StoredCollection) -> None:
        if self.is_stopped:
            return
        self._turns += 1
        number = 100_000 - self._turns  # behind the reader: it comes to an end
        held = [one for one in collection.points if one.key.number != self._turns * 3]
        changed = held[self._turns % len(held)]
        held[self._turns % len(held)] = replace(
            changed, vectors={"": self._vectors[self._turns % 400].tolist()}
        )
        collection.points = [
            *held,
            StoredPoint(
                id=number,
                vectors={"": self._vectors[self._turns % 400].tolist()},
                payload=chunk(f"later-{number // 4}", number % 4),
            ),
        ]


@pytest.fixture
def evening(tmp_path: Path) -> Iterator[tuple[Workbench, Writer]]:
    """A collection that others write to."""
    writer = Writer()
    with workbench(tmp_path, points(POINTS)) as bench:
        bench.collection.before_page = writer
        yield bench, writer


def _expected(bench: Workbench) -> dict[str, int]:
    """Id in the target -> point, read straight from the source."""
    found = {}
    for point in bench.collection.points:
        assert point.payload is not None
        found[f"{point.payload['file_id']}_{point.payload['chunk_index']}"] = point.key.number
    return found


@pytest.mark.slow
@pytest.mark.fault("C01")
def test_a_writer_goes_on_until_the_freeze_and_nothing_is_lost(
    evening: tuple[Workbench, Writer],
) -> None:
    bench, writer = evening
    before = bench.state()

    refused = bench.run("snapshot")
    first = bench.run("snapshot", "--moving")
    moved = bench.run("migrate")
    caught = [bench.run("catch-up"), bench.run("catch-up")]
    still = bench.run("reconcile", "--no-source", "--full")
    early = bench.run("catch-up", "--frozen")
    writer.is_stopped = True
    last = bench.run("catch-up", "--frozen", "--max-delete", "1")
    compared = bench.run("reconcile", "--full")

    assert refused.exit_code == 5
    assert "--moving" in refused.stderr
    assert first.exit_code == 0, first.stderr
    assert moved.exit_code == 0, moved.stderr
    assert "catch-up" in moved.document["next"]
    for one in caught:
        assert one.exit_code == 0, one.stderr
        assert one.document["changed"]
        assert one.document["frozen"] is False
    assert (still.exit_code, still.document["verdict"]) == (13, "indeterminate")
    assert early.exit_code == 5, "the writer is not stopped"
    assert last.exit_code == 0, last.stderr
    assert last.document["frozen"] is True
    assert (compared.exit_code, compared.document["verdict"]) == (0, "equal")
    held = bench.stored()
    assert held.keys() == _expected(bench).keys()
    by_id = {point.key.number: point for point in bench.collection.points}
    for vector_id, number in _expected(bench).items():
        values = np.asarray(by_id[number].vectors[""])
        assert held[vector_id][0].tolist() == pytest.approx(values.tolist())

    preview = bench.run("rollback")
    in_words = bench.run("rollback", as_json=False).stdout
    undone = bench.run("rollback", "--execute")

    runs = len(preview.document["runs"])
    assert f"the figures are sums over these {runs} runs" in in_words
    assert "longer when others have changed what it undoes" in in_words
    assert preview.document["conflict_waits_minutes_max"] > 0
    for count in ("vectors_deleted", "vectors_restored"):
        assert preview.document[count] == undone.document[count]
    assert undone.exit_code == 0, undone.stderr
    assert len(undone.document["runs"]) >= 4
    assert bench.state() == before


def test_a_chain_is_verified_flattened_and_shown_by_status(
    evening: tuple[Workbench, Writer],
) -> None:
    bench, writer = evening
    bench.run("snapshot", "--moving")
    bench.run("migrate")
    writer.is_stopped = True
    bench.run("catch-up", "--frozen")

    verified = bench.run("verify")
    status = bench.run("status")
    flat = bench.run("snapshot", "--flatten")
    fresh = bench.run("snapshot")

    assert verified.exit_code == 0, verified.stderr
    newest = verified.document["snapshot_id"]
    found = bench.directory.glob("*/parts/*")
    parts = [one.stat().st_size for one in found if one.parent.parent.name <= newest]
    assert (verified.document["parts"], verified.document["bytes"]) == (len(parts), sum(parts))
    assert "reconcile" in status.document["next"]
    done, points_ = status.document["acknowledged"], status.document["points"]
    assert (status.document["pending"], status.document["unchanged"]) == (0, points_ - done)
    assert flat.exit_code == 0, flat.stderr
    assert flat.document["content_root"] == fresh.document["content_root"]


@pytest.mark.slow
def test_a_catch_up_is_sent_by_this_process_whatever_its_size(
    evening: tuple[Workbench, Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes that send uploads take all rows of a run, and a catch-up sends some."""
    bench, writer = evening
    writer.is_stopped = True
    bench.move()
    bench.collection.points.pop()
    sizes: list[int] = []

    def count_bytes(bytes_: int, _wanted: int) -> int:
        sizes.append(bytes_)
        return 0

    monkeypatch.setattr("q2v.workers.workers_for", count_bytes)
    assert bench.run("catch-up").exit_code == 0

    assert sizes[-1] == 0


@pytest.mark.slow
@pytest.mark.fault("C07")
def test_payloads_alone_are_no_proof_until_a_reconcile_has_read_the_source(
    evening: tuple[Workbench, Writer],
) -> None:
    bench, writer = evening
    writer.is_stopped = True
    bench.run("snapshot", "--moving")
    bench.run("migrate")
    first, second, *rest = bench.collection.points
    bench.collection.points = [changed_point(first, text="another text"), second, *rest]

    last = bench.run("catch-up", "--frozen", "--payload-only")
    shown = bench.run("verify", as_json=False)
    status = bench.run("status")
    left_out = bench.run("reconcile", "--full", "--no-source")
    no_go = bench.run("gate", "--until", LATER, "--recorded")
    compared = bench.run("reconcile", "--full")
    gate = bench.run("gate", "--until", LATER)
    archived = bench.run("archive")
    flat = bench.run("snapshot", "--flatten")

    assert archived.exit_code == 0, archived.stderr
    record = read_record(local_file(Path(archived.document["path"])), None)
    chain = decode_record(record, where="archive.json", key=None).chain
    assert [(one.moving, one.payload_only) for one in chain] == [(True, False), (False, True)]
    assert b'"payload_only":false' not in record
    assert last.exit_code == 0, last.stderr
    assert (last.document["payload_only"], last.document["read_whole"]) == (True, 1)
    assert (last.document["changed"], last.document["frozen"]) == (1, True)
    assert "those of unchanged payloads were not read again" in shown.stdout
    assert status.document["payload_only"] is True
    assert (left_out.exit_code, left_out.document["verdict"]) == (13, "indeterminate")
    assert "--payload-only" in left_out.document["why"]
    assert no_go.document["rows"][0]["verdict"] == "unknown"
    assert (compared.exit_code, compared.document["verdict"]) == (0, "equal"), compared.stdout
    assert "read the source in full" in compared.document["why"]
    assert gate.document["rows"][0]["verdict"] == "pass"
    assert "--payload-only" in gate.document["rows"][0]["found"]
    assert flat.exit_code == 5
    assert "--payload-only" in flat.stderr


@pytest.mark.slow
@pytest.mark.fault("C07")
def test_a_vector_that_changed_alone_is_drift_until_a_whole_catch_up_moves_it(
    evening: tuple[Workbench, Writer],
) -> None:
    bench, writer = evening
    writer.is_stopped = True
    bench.move()
    first, second, *rest = bench.collection.points
    tuned = replace(first, vectors={"": unit_vectors(2)[1].tolist()})
    bench.collection.points = [tuned, changed_point(second, text="another text"), *rest]

    unaware = bench.run("catch-up", "--frozen", "--payload-only")
    drift = bench.run("reconcile", "--full")
    whole = bench.run("catch-up", "--frozen")
    equal = bench.run("reconcile", "--full")

    assert (unaware.exit_code, unaware.document["changed"]) == (0, 1)
    assert (drift.exit_code, drift.document["source_drift"]["changed"]) == (4, 1)
    assert "`q2v catch-up --frozen` without it" in drift.document["why"]
    assert (whole.exit_code, whole.document["changed"]) == (0, 1), whole.stderr
    assert (equal.exit_code, equal.document["verdict"]) == (0, "equal")
    assert "--payload-only" not in equal.document["why"]


def test_a_moving_chain_is_not_flattened(evening: tuple[Workbench, Writer]) -> None:
    bench, _ = evening
    bench.run("snapshot", "--moving")

    flat = bench.run("snapshot", "--flatten")

    assert flat.exit_code == 5
    assert "catch-up --frozen" in flat.stderr


@pytest.mark.slow
def test_without_a_change_a_catch_up_says_so_and_writes_nothing(
    evening: tuple[Workbench, Writer],
) -> None:
    bench, writer = evening
    writer.is_stopped = True
    bench.move()
    uploads = bench.uploads()

    again = bench.run("catch-up", "--frozen")

    assert again.exit_code == 0, again.stderr
    assert again.document["sealed"] is False
    assert again.document["run_id"] is None
    assert bench.uploads() == uploads


@pytest.mark.slow
@pytest.mark.fault("C13")
@pytest.mark.parametrize(
    "changed",
    [
        {"Q2V_MAPPING_GROUP_KEY": "file_name", "Q2V_KV_KEY_TEMPLATE": "file:{file_name}"},
        {"Q2V_MAPPING_TRANSFORM": '[{"drop": ["text"]}]'},
        {"Q2V_MAPPING_LONG_IDS": "hash:vector_id"},
        {"Q2V_KV_TTL_S": "3600"},
    ],
    ids=["group_key", "transform", "long_ids", "ttl"],
)
def test_other_settings_are_refused_also_when_the_source_has_not_changed(
    tmp_path: Path, changed: dict[str, str]
) -> None:
    """The target is of the former settings: exit 0 would say that it is of these."""
    with workbench(tmp_path, points(14)) as bench:
        assert bench.move().exit_code == 0
        state, former = bench.state(), dict(bench.environment)
        bench.environment |= changed

        refused = bench.run("catch-up", "--frozen")
        bench.environment = former
        again = bench.run("catch-up", "--frozen")

        assert refused.exit_code == ExitCode.FOREIGN, refused.stdout
        assert "has other decisions" in refused.document["error"]["what"]
        assert (again.exit_code, again.document["sealed"]) == (0, False)
        assert bench.state() == state


@pytest.mark.slow
@pytest.mark.fault("C04")
def test_a_vector_that_another_writer_changed_is_kept_and_named(tmp_path: Path) -> None:
    with workbench(tmp_path, points(20)) as bench:
        assert bench.move().exit_code == 0
        bench.sandbox.store.put_vector(bench.index, "file-0000_3", [1.0] * DIMENSIONS, {"by": "x"})
        bench.collection.points = [one for one in bench.collection.points if one.key.number != 3]

        caught = bench.run("catch-up", "--frozen")

        assert caught.exit_code == 0, caught.stderr
        assert "file-0000_3" in bench.stored()
    assert any("'file-0000_3'" in note for note in caught.document["notes"])
