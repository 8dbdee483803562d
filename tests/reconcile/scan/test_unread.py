"""A store that cannot be read completely gives the verdict "indeterminate", never "equal"."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from migrate.errors import (
    AccessError,
    BudgetExhaustedError,
    ExitCode,
    IndeterminateError,
    MigrationError,
    PreconditionError,
    RemoteUnavailableError,
)
from migrate.model.records import VectorId
from reconcile.report.report import ReconcileReport
from tests.harness.move import RECONCILE_RULES, Move, finished_move
from tests.harness.paths import path_of

POINTS = 45  # three fetches; a listing of seven pages
STORES = {"list": "ids", "fetch": "contents", "kv list": "kv", "kv read": "kv"}
ORDER = ("source", "ids", "contents", "metadata", "kv")


@pytest.fixture
def move(tmp_path: Path) -> Move:
    return finished_move(tmp_path, POINTS)


def failing_at(wanted: int, *, times: int = 1) -> Callable[[int, str], None]:
    """A hook that raises in place of `times` calls, from call `wanted` on."""

    def before(number: int, what: str) -> None:
        if wanted <= number < wanted + times:
            raise RemoteUnavailableError(f"{what} failed", remedy="try again")

    return before


def document(report: ReconcileReport) -> dict[str, object]:
    """The document of report.json."""
    found = orjson.loads((path_of(report.folder) / "report.json").read_bytes())
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
@pytest.mark.fault("R07", "I6")
@pytest.mark.parametrize("drifted", [False, True])
def test_a_target_that_fails_at_any_call_is_indeterminate_and_the_report_says_what_is_unread(
    move: Move, *, drifted: bool
) -> None:
    if drifted:
        del move.vectors.stored[VectorId("file-0_0")]
        del move.kv.stored["file:file-1"]
    move.reconcile()
    calls = list(move.calls.made)
    assert set(calls) == set(STORES)
    # Ids that are not listed are read after each listing.
    listed = len(calls) - calls[::-1].index("list") + drifted
    for number, what in enumerate(calls):
        store = "ids" if number < listed else STORES[what]
        move.calls.made.clear()
        move.calls.before = failing_at(number)

        report = move.reconcile()

        told = document(report)
        assert (report.verdict, report.exit_code) == ("indeterminate", ExitCode.INDETERMINATE)
        assert (told["verdict"], told["exit_code"]) == ("indeterminate", 13)
        assert told["unread"] == list(ORDER[ORDER.index(store) :]), what
        assert f"{what} failed" in str(told["why"])
        unread = {"kv_missing", "kv_extra", "kv_mismatched", "counter"}
        unread |= {"mismatched", "unreadable", "metadata_indexes"} if store != "kv" else set()
        unread |= {"missing", "extra"} if store == "ids" else set()
        assert {name for name, count in report.drift.items() if count is None} == unread
        assert unread.isdisjoint(report.files)
        combined = path_of(report.folder) / "combined.ids"
        assert combined.exists() == ("mismatched" not in unread), (
            "no file is better than an incomplete one"
        )
    assert move.calls.writes == []


@pytest.mark.slow
@pytest.mark.fault("R07", "I6")
def test_a_source_that_fails_at_any_read_is_indeterminate(move: Move) -> None:
    small = replace(RECONCILE_RULES, page_points=7)
    read = len(move.source.reads)
    move.reconcile(small)
    reads = len(move.source.reads) - read
    assert reads == 10  # the description, seven pages, the empty one, and the count
    for wanted in range(reads):
        start = len(move.source.reads)

        def fail(number: int, at: int = start + wanted) -> None:
            if number == at:
                raise RemoteUnavailableError("the source is gone", remedy="try again")

        move.source.before_read = fail
        report = move.reconcile(small)

        assert (report.verdict, report.exit_code) == ("indeterminate", ExitCode.INDETERMINATE)
        assert (report.unread, report.source_drift) == (ORDER, None)
        assert report.files == {}


@pytest.mark.fault("R07")
@pytest.mark.parametrize(
    "error", [RemoteUnavailableError, IndeterminateError, BudgetExhaustedError]
)
def test_every_way_of_not_being_able_to_read_is_indeterminate(
    move: Move, error: type[MigrationError]
) -> None:
    def fail(_: int, what: str) -> None:
        if what == "fetch":
            raise error("no answer", remedy="try again")

    move.calls.before = fail

    assert move.reconcile().verdict == "indeterminate"


@pytest.mark.fault("R07", "N11")
@pytest.mark.parametrize("error", [AccessError, PreconditionError])
def test_what_a_human_has_to_mend_ends_with_its_own_code_and_leaves_no_report(
    move: Move, error: type[MigrationError]
) -> None:
    """An expired token: with a new one the same command resumes."""

    def fail(number: int, what: str) -> None:
        if what == "fetch" and number == 8:
            raise error("not allowed", remedy="mend it")

    move.calls.before = fail
    with pytest.raises(error):
        move.reconcile()
    move.calls.before = lambda number, what: None

    report = move.reconcile()

    assert (report.verdict, report.resumed) == ("equal", 1)


@pytest.mark.fault("R04", "R07")
@pytest.mark.parametrize(
    ("broken_walks", "verdict"), [(1, "equal"), (2, "equal"), (3, "indeterminate")]
)
def test_a_walk_that_breaks_is_dropped_as_a_whole_and_begun_anew_three_times(
    move: Move, broken_walks: int, verdict: str
) -> None:
    """The fourth page fails: the ids of the first three are dropped."""
    left = [broken_walks]

    def fail(number: int, what: str) -> None:
        if what == "list" and left[0] and move.calls.made[-3:] == ["list"] * 3:
            left[0] -= 1
            move.calls.made.append("broken")
            raise IndeterminateError("cursor expired", remedy="try again")

    move.calls.before = fail
    report = move.reconcile()

    assert report.verdict == verdict
    assert report.counts["vector_index"] == (POINTS if verdict == "equal" else None)


@pytest.mark.fault("R08", "R07", "I6")
def test_a_vector_that_is_listed_and_never_given_out_is_unreadable(move: Move) -> None:
    move.vectors.withheld = frozenset(["file-0_0", "file-3_1"])

    report = move.reconcile()

    assert (report.verdict, report.exit_code) == ("indeterminate", ExitCode.INDETERMINATE)
    assert move.ids_of(report) == {"unreadable": ["file-0_0", "file-3_1"]}
    assert report.drift["unreadable"] == 2


@pytest.mark.fault("R05", "K04", "U04")
@pytest.mark.parametrize(("stale_reads", "verdict"), [(1, "equal"), (2, "equal"), (3, "drift")])
def test_a_kv_difference_counts_only_when_it_outlives_the_settling_time(
    move: Move, stale_reads: int, verdict: str
) -> None:
    """The first reads of one key are stale, and differ from each other."""
    key = "file:file-1"
    late = move.kv.stored.pop(key)
    old = replace(late, value=b'["former"]')
    reads = [0]

    def appear(_: int, what: str) -> None:
        if what != "kv list":
            return
        if move.calls.made[-1] != "kv read":  # the first listing of a pass
            reads[0] += 1
            move.kv.stored.pop(key, None)
            if reads[0] > stale_reads:
                move.kv.stored[key] = late
            elif reads[0] == 2:
                move.kv.stored[key] = old

    move.calls.before = appear
    report = move.reconcile()

    assert report.verdict == verdict
    assert sum(move.clock.waits[-2:]) >= 1


@pytest.mark.fault("R05", "U04")
def test_a_vector_that_shows_its_former_content_at_first_is_no_drift(move: Move) -> None:
    held = move.vector("file-2_3")
    move.put(replace(held, metadata={"version": "former"}))
    start = len(move.clock.waits)

    def settle(_: int, what: str) -> None:
        if what == "fetch" and len(move.clock.waits) > start:  # the second pass
            move.put(held)

    move.calls.before = settle

    assert move.reconcile().verdict == "equal"
    assert move.clock.waits[start:] == [RECONCILE_RULES.pause_s]


@pytest.mark.fault("R06")
def test_a_sample_never_calls_itself_full(move: Move) -> None:
    sampled = replace(RECONCILE_RULES, content_full_max=POINTS - 1, content_sample=20)

    report, full = move.reconcile(sampled), move.reconcile()

    told = document(report)["coverage"]
    assert told == {
        "ids": "full",
        "contents": "sampled",
        "checked": 20,
        "bound": 0.15,
        "seed": 1,
        "read_by": {"rest": 20, "verifier": 0},
        "verifier": None,
        "fell_back": None,
    }
    assert document(full)["coverage"] == {
        "ids": "full",
        "contents": "full",
        "checked": POINTS,
        "bound": 0.0,
        "seed": None,
        "read_by": {"rest": POINTS, "verifier": 0},
        "verifier": None,
        "fell_back": None,
    }
    page = (path_of(report.folder) / "report.html").read_text(encoding="utf-8")
    assert "a sample of 20 of 45 vectors (seed 1)" in page
    assert "identical" not in page
