"""Reconcile asks filters whose answers are known; a repair makes them find the vectors."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from migrate.errors import ExitCode, RemoteUnavailableError, TargetRefusedError
from migrate.model.limits import QUERY_IDS_MAX
from migrate.model.records import Vector, VectorId
from migrate.run.next_step import read_finding
from reconcile.report.report import ReconcileReport
from reconcile.scan.metadata import State
from tests.harness.fakes.memory_source import UnexpectedError
from tests.harness.move import RECONCILE_RULES, Move, all_ids, new_move

INDEXES = {"file_id": "string", "chunk_index": "number", "odd": "boolean"}
RULES = replace(RECONCILE_RULES, metadata_indexes=INDEXES)
POINTS = 45


def _moved(folder: Path, points: int = POINTS, *, late: tuple[str, ...] = ()) -> Move:
    """A finished move; the `late` metadata indexes were created after it."""
    move = new_move(folder, points)
    for payload in move.source.points.values():
        number = payload["chunk_index"]
        assert isinstance(number, int)
        payload["odd"] = number % 2 == 1
    for name, kind in INDEXES.items():
        if name not in late:
            move.vectors.create_metadata_index(name, kind)
    move.plan()
    move.migrate()
    for name in late:
        move.vectors.create_metadata_index(name, INDEXES[name])
    move.calls.made.clear()
    return move


def _states(report: ReconcileReport) -> dict[str, State]:
    assert report.metadata_indexes is not None
    return {one.name: one.state for one in report.metadata_indexes}


def _drop(move: Move) -> None:
    del move.vectors.metadata_indexes["chunk_index"]


def _other_type(move: Move) -> None:
    move.vectors.metadata_indexes["chunk_index"] = "string"


def _created_again(move: Move) -> None:
    move.vectors.create_metadata_index("chunk_index", "number")


@pytest.mark.fault("F03", "R03")
@pytest.mark.parametrize("points", [1, 2, POINTS, 700])
def test_filters_that_find_their_vectors_are_no_drift(tmp_path: Path, points: int) -> None:
    report = _moved(tmp_path, points).reconcile(RULES)

    assert report.verdict == "equal"
    assert set(_states(report).values()) == {"found"}
    assert report.drift["metadata_indexes"] == 0


@pytest.mark.slow
@pytest.mark.fault("F03", "R01")
@pytest.mark.parametrize(
    ("plant", "state"),
    [(_drop, "missing"), (_other_type, "other type"), (_created_again, "not found")],
)
def test_an_index_that_filters_cannot_use_is_drift_until_the_vectors_are_written_again(
    tmp_path: Path, plant: Callable[[Move], None], state: State
) -> None:
    move = _moved(tmp_path)
    plant(move)
    found = move.reconcile(RULES)
    ids = move.ids_of(found)
    if state != "not found":
        _created_again(move)
    move.migrate()
    repaired = move.reconcile(RULES)

    assert (found.verdict, found.exit_code) == ("drift", ExitCode.DRIFT)
    assert found.why == "metadata_indexes 1"
    assert _states(found) == {"file_id": "found", "chunk_index": state, "odd": "found"}
    assert ids == {"unfiltered": sorted(ids["unfiltered"], key=ids["unfiltered"].index)}
    assert set(ids["unfiltered"]) == set(move.vectors.stored)
    assert repaired.verdict == "equal"


@pytest.mark.fault("F03")
@pytest.mark.parametrize("written", ["first", "middle", "last"])
def test_an_index_that_came_in_the_middle_of_the_upload_is_found_wherever_that_was(
    tmp_path: Path, written: str
) -> None:
    """Values are taken from the start, the middle and the end of the snapshot."""
    move = _moved(tmp_path)
    ids = all_ids(POINTS)
    thirds = {"first": ids[:15], "middle": ids[15:30], "last": ids[30:]}
    move.vectors.unfiltered["chunk_index"] = set(thirds[written])
    report = move.reconcile(RULES)

    assert _states(report)["chunk_index"] == "not found"
    assert report.verdict == "drift"


@pytest.mark.fault("F03", "R05")
def test_stale_lists_and_answers_are_no_drift(tmp_path: Path) -> None:
    move = _moved(tmp_path)
    move.vectors.stale_lists = [{}, {"file_id": "string"}, {}]
    move.vectors.stale_answers = [[], [], []]
    report = move.reconcile(RULES)

    assert report.verdict == "equal"
    assert move.calls.made.count("list metadata indexes") == 4


@pytest.mark.fault("F03")
def test_a_value_that_more_vectors_hold_than_one_answer_has_room_for_is_no_drift(
    tmp_path: Path,
) -> None:
    """Vectors of other writers may hold the value too and fill the answer."""
    move = _moved(tmp_path)
    mine = move.vector("file-0_0")
    for number in range(QUERY_IDS_MAX + 20):
        for name, wanted in (("file_id", "file-0"), ("chunk_index", 0), ("odd", False)):
            vector_id = VectorId(f"their-{name}-{number}")
            metadata: dict[str, object] = {name: wanted}
            values = mine.values * 2
            move.put(Vector(id=vector_id, values=values, namespace=None, metadata=metadata))
    report = move.reconcile(RULES)

    assert set(_states(report).values()) == {"found"}
    assert report.drift["metadata_indexes"] == 0
    assert report.drift["extra"] == 3 * (QUERY_IDS_MAX + 20)


@pytest.mark.fault("F03")
def test_missing_and_changed_vectors_are_drift_of_their_own_and_not_asked_for(
    tmp_path: Path,
) -> None:
    move = _moved(tmp_path)
    del move.vectors.stored[VectorId("file-0_0")]
    changed = move.vector("file-1_0")
    move.put(replace(changed, metadata={**(changed.metadata or {}), "chunk_index": "0"}))
    report = move.reconcile(RULES)

    assert report.why == "missing 1, mismatched 1"
    assert set(_states(report).values()) == {"found"}


@pytest.mark.fault("F03")
def test_a_property_that_few_vectors_hold_is_looked_for_in_the_whole_snapshot(
    tmp_path: Path,
) -> None:
    move = new_move(tmp_path, POINTS)
    move.source.points[min(move.source.points)]["rare"] = "x" * 70
    move.vectors.create_metadata_index("rare", "string")
    move.vectors.create_metadata_index("never", "string")
    move.plan()
    move.migrate()
    rules = replace(RECONCILE_RULES, metadata_indexes={"rare": "string", "never": "string"})
    report = move.reconcile(rules)

    assert _states(report) == {"rare": "found", "never": "not asked"}
    assert report.verdict == "equal"


@pytest.mark.fault("F03")
def test_a_filter_that_finds_a_vector_with_another_value_is_drift(tmp_path: Path) -> None:
    move = _moved(tmp_path)
    move.vectors.also_found["chunk_index"] = {VectorId("file-0_3")}
    report = move.reconcile(RULES)
    ids = move.ids_of(report)

    assert report.metadata_indexes is not None
    found = {one.name: one for one in report.metadata_indexes}
    assert (found["chunk_index"].state, found["file_id"].state) == ("finds others", "found")
    assert found["chunk_index"].wrong > 0
    assert "hold another value" in found["chunk_index"].in_words()
    assert (report.verdict, report.why) == ("drift", "metadata_indexes 1")
    assert set(ids["unfiltered"]) == set(move.vectors.stored)


@pytest.mark.fault("F03", "R05")
def test_a_wrong_vector_in_a_stale_answer_is_no_drift(tmp_path: Path) -> None:
    move = _moved(tmp_path)
    move.vectors.stale_answers = [[VectorId("file-0_3"), VectorId("file-1_2")]]

    assert move.reconcile(RULES).verdict == "equal"


@pytest.mark.fault("F03")
def test_a_vector_of_another_writer_with_the_same_value_is_not_wrong(tmp_path: Path) -> None:
    move = _moved(tmp_path)
    theirs = replace(move.vector("file-0_0"), id=VectorId("theirs"))
    move.put(theirs)
    report = move.reconcile(RULES)

    assert set(_states(report).values()) == {"found"}
    assert report.why == "extra 1"


@pytest.mark.fault("F03", "R07")
def test_a_filter_without_an_answer_leaves_the_verdict_open_and_a_refused_one_is_named(
    tmp_path: Path,
) -> None:
    move = _moved(tmp_path)
    lost = RemoteUnavailableError("no answer", remedy="again")
    refused = TargetRefusedError("no such filter", remedy="none")

    def fail_with(error: Exception) -> Callable[[int, str], None]:
        def before(_: int, what: str) -> None:
            if what == "query":
                raise error

        return before

    move.calls.before = fail_with(lost)
    unread = move.reconcile(RULES)
    move.calls.before = fail_with(refused)
    answered = move.reconcile(RULES)

    assert (unread.verdict, unread.unread) == ("indeterminate", ("metadata", "kv"))
    assert unread.metadata_indexes is None
    assert set(_states(answered).values()) == {"refused"}
    assert answered.metadata_indexes is not None
    assert "no such filter" in answered.metadata_indexes[0].in_words()


@pytest.mark.slow
@pytest.mark.fault("F03", "F11", "R06")
def test_after_a_sample_every_content_is_compared_before_a_repair_writes_all_vectors(
    tmp_path: Path,
) -> None:
    """A repair must not overwrite changes of other writers, so it needs a full comparison."""
    move = _moved(tmp_path, late=("odd",))
    sampled = move.reconcile(replace(RULES, content_full_max=0))
    found = read_finding(sampled.document())
    move.calls.made.clear()
    move.migrate()
    written = list(move.calls.writes)
    full = move.reconcile(RULES)
    repairable = read_finding(full.document())

    assert (sampled.verdict, sampled.drift["metadata_indexes"]) == ("drift", 1)
    assert move.ids_of(sampled) == {}
    assert found is not None
    assert found.filters_need_full
    assert written == []
    assert len(move.ids_of(full)["unfiltered"]) == POINTS
    assert repairable is not None
    assert (repairable.repairable, repairable.filters_need_full) == (True, False)


@pytest.mark.fault("F03", "F02")
def test_a_repair_for_filters_keeps_what_another_writer_has_changed(tmp_path: Path) -> None:
    move = _moved(tmp_path, late=("odd",))
    theirs = replace(move.vector("file-0_0"), namespace="theirs")
    move.put(theirs)
    move.reconcile(RULES)
    move.migrate()

    assert move.vector("file-0_0") == theirs
    assert move.vectors.unfiltered["odd"] == {"file-0_0"}


@pytest.mark.fault("F03", "R10")
def test_what_filters_found_is_kept_over_a_kill(tmp_path: Path) -> None:
    move = _moved(tmp_path, late=("odd",))

    def kill(_: int, what: str) -> None:
        if what == "kv list":
            raise UnexpectedError

    move.calls.before = kill
    with pytest.raises(UnexpectedError):
        move.reconcile(RULES)
    asked = move.calls.made.count("query")
    move.calls.before = lambda _, __: None
    report = move.reconcile(RULES)

    assert move.calls.made.count("query") == asked > 0
    assert (report.resumed, report.why) == (1, "metadata_indexes 1")
    assert len(move.ids_of(report)["unfiltered"]) == POINTS
