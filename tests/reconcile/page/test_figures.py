"""What the page draws and says follows from the documents."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.model.limits import REQUEST_WINDOW_S
from migrate.model.stamps import iso_stamp
from migrate.run.drift_report import FOREIGN_CLASSES
from reconcile.page.accepted import is_parity, is_preflight
from reconcile.page.curve import curve_of
from reconcile.page.documents import Document, Documents, shared_fairly
from reconcile.page.drift import CLASSES, encode_data, in_order, what_differs
from reconcile.page.flow import draw, stations_of
from reconcile.page.render import render_page
from reconcile.page.timeline import timeline_of
from reconcile.page.words import facts_of, period, verdict_of
from reconcile.report.report import (
    content_classes,
    id_classes,
    kv_classes,
    metadata_classes,
    source_classes,
)
from tests.reconcile.page.documents import KEPT, documents_with, report_with


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 120))
def test_room_is_shared_fairly(totals: list[int], most: int) -> None:
    taken = shared_fairly(totals, most)

    assert sum(taken) == min(most, sum(totals)) or sum(taken) > most - len(totals)
    assert sum(taken) <= most
    assert all(0 <= one <= total for one, total in zip(taken, totals, strict=True))
    cut = [one for one, total in zip(taken, totals, strict=True) if one < total]
    assert not cut or max(cut) - min(cut) <= 1, "those that are cut get alike"


@given(st.recursive(st.text() | st.integers(), st.lists))
def test_data_in_a_page_has_no_character_of_markup(value: object) -> None:
    text = encode_data(value)

    assert text.isascii()
    assert not set("<>&\n") & set(text)


def test_every_class_of_a_report_has_words() -> None:
    written = [
        *id_classes(_EMPTY),
        *content_classes(_EMPTY),
        *metadata_classes(()),
        *kv_classes(_EMPTY),
        *source_classes(_EMPTY),
    ]

    assert set(written) - set(CLASSES) == set(FOREIGN_CLASSES)


class _Empty:
    """Stands for a scan of each kind; each of its members is empty."""

    def __getattr__(self, name: str) -> Sequence[str]:
        return ()


_EMPTY: Any = _Empty()


def test_classes_stand_in_the_order_in_which_a_reader_asks() -> None:
    assert in_order(["kv_extra", "new", "extra", "missing"]) == [
        "missing",
        "extra",
        "kv_extra",
        "new",
    ]


def test_what_differs_is_counted_over_all_named_records() -> None:
    documents = Documents(differs={"a": ("values", "metadata.x"), "b": ("values",), "c": ()})

    assert what_differs(documents) == [("values", 2), ("metadata.x", 1)]


def test_the_flow_names_every_count_and_the_points_that_were_left_out() -> None:
    stations, branch = stations_of(documents_with(["t"]))

    assert [(one.name, one.count, one.tone) for one in stations] == [
        ("source", 10, "bad"),
        ("snapshot", 10, "ok"),
        ("moved", 6, "ok"),
        ("vector index", 6, "bad"),
        ("KV index", None, "none"),
        ("KV counter", 7, "ok"),
    ]
    assert [one.note for one in stations[3:]] == ["1 missing", "not read", "right"]
    assert branch is not None
    assert (branch.name, branch.count, branch.note) == ("left out", 4, "t 4")


def test_what_was_not_read_is_not_called_right_or_compared() -> None:
    report = {
        **report_with("t", "indeterminate"),
        "unread": ["ids", "contents", "kv"],
        "counts": {"source": 10, "snapshot": 10, "expected": None, "vector_index": None},
        "drift": {"missing": None, "kv_missing": None, "counter": None},
        "source_drift": {"added": 0},
    }
    documents = replace(documents_with(["t"]), report=report)

    stations, _ = stations_of(documents)
    page = render_page(documents)

    assert [(one.note, one.tone) for one in stations[3:]] == [("not read", "none")] * 3
    assert "compared in full" not in page
    assert "Contents: " not in page
    assert "the ids of the vector index, the contents of the vector index and the KV index." in page


def test_contents_that_were_not_read_are_not_called_equal() -> None:
    report = {
        **report_with("t", "indeterminate"),
        "drift": {"missing": 0, "extra": 0, "mismatched": None, "unreadable": None},
    }

    stations, _ = stations_of(replace(documents_with(["t"]), report=report))

    assert (stations[3].note, stations[3].count) == ("contents not read", 6)


@pytest.mark.parametrize(
    ("count", "drift", "note", "tone"),
    [(7, 0, "right", "ok"), (7, 1, "wrong", "bad"), (None, 1, "absent, or not a number", "bad")],
)
def test_the_counter_is_right_or_wrong(count: int | None, drift: int, note: str, tone: str) -> None:
    report = {**report_with("t"), "counts": {"kv_counter": count}, "drift": {"counter": drift}}

    stations, _ = stations_of(Documents(report=report))

    assert (stations[-1].note, stations[-1].tone) == (note, tone)


@pytest.mark.parametrize("where", [None, "20261129T201500Z-7f4c3d-00"])
def test_a_plan_flows_from_where_its_points_were_read(where: str | None) -> None:
    plan = {
        "points": 10,
        "vectors": 8,
        "quarantined": {"kv_key": 2},
        "route": {"snapshot_id": where},
    }

    stations, branch = stations_of(Documents(preflight=plan))
    flow = draw(stations, branch, tall=False)

    assert [(one.name, one.count) for one in stations] == [
        ("source" if where is None else "snapshot", 10),
        ("would move", 8),
    ]
    assert branch is not None
    assert branch.count == 2
    assert flow.width == draw(*stations_of(documents_with(["t"])), tall=False).width


@pytest.mark.parametrize("tall", [False, True])
@pytest.mark.parametrize("left_out", [{}, {"kv_key": 3}])
def test_the_boxes_of_a_flow_lie_apart_and_inside(tall: bool, left_out: dict[str, int]) -> None:
    documents = replace(documents_with(["t"]), quarantined=left_out)
    flow = draw(*stations_of(documents), tall=tall)

    assert len(flow.boxes) == 6 + bool(left_out)
    assert len(flow.bands) == len(flow.boxes) - 1
    for box in flow.boxes:
        assert box.x + box.width <= flow.width
        assert box.y + box.height <= flow.height
        for other in flow.boxes:
            apart_x = box.x + box.width < other.x or other.x + other.width < box.x
            apart_y = box.y + box.height < other.y or other.y + other.height < box.y
            assert box is other or apart_x or apart_y
    assert all(band.width > 0 for band in flow.bands)


def test_the_curve_rises_with_the_overlap_and_is_in_order_of_the_dimensions() -> None:
    overlaps = {"768": 0.9, "96": 0.6, "384": 0.8}
    curve = curve_of(
        {
            "curve": {
                width: {**KEPT, "overlap": {"mean": at, "low": at, "high": at, "tenth": at}}
                for width, at in overlaps.items()
            }
        }
    )

    assert curve is not None
    assert [dot.width for dot in curve.dots] == [96, 384, 768]
    assert all(a.x < b.x and a.y > b.y for a, b in pairwise(curve.dots))
    assert all(0 < dot.x < curve.width and 0 < dot.y <= curve.base for dot in curve.dots)


def test_without_a_measured_width_there_is_no_curve() -> None:
    assert curve_of({"curve": {}}) is None


def _acks(seconds: Sequence[int]) -> Documents:
    """A journal with an upload at each of these seconds after ten o'clock."""
    entries: list[Document] = []
    for batch, at in enumerate(seconds):
        common = {"round": 0, "store": "vectors", "batch": batch}
        date = f"Mon, 23 Nov 2026 {10 + at // 3600}:{at // 60 % 60:02d}:{at % 60:02d} GMT"
        entries += [
            {"type": "intent", "count": 5, "bytes": 10, **common},
            {"type": "ack", "server_date": date, **common},
        ]
    return Documents(entries=entries)


@given(st.lists(st.integers(0, 1500), min_size=2, max_size=30))
def test_the_busiest_five_minutes_are_counted(seconds: list[int]) -> None:
    timeline = timeline_of(_acks(seconds))

    assert timeline is not None
    assert timeline.uploads == max(
        sum(at <= other < at + REQUEST_WINDOW_S for other in seconds) for at in seconds
    )
    assert all(timeline.left <= bar.x <= timeline.right for bar in timeline.bars)


def test_the_journal_dates_what_the_run_waited_for() -> None:
    """The wait ends by this machine's clock, and begins with the target's last answer before."""
    entries: list[Document] = [
        {"type": "pre_images_sealed", "at": "2026-11-23T09:59:00+00:00"},
        *_acks([0, 60]).entries,
        {
            "type": "vectors_processed",
            "round": 0,
            "evidence": "read back",
            "at": "2026-11-23T10:03:00+00:00",
        },
        {"type": "round_completed", "round": 0, "at": "2026-11-23T10:04:00+00:00"},
    ]
    plan = {"created_at": "2026-11-23T09:58:00+00:00"}

    timeline = timeline_of(Documents(entries=entries, plan=plan))
    undated = timeline_of(Documents(entries=[{**one, "at": None} for one in entries], plan=plan))

    assert timeline is not None
    assert undated is not None
    found = {bar.span.lane: (bar.begins[11:19], bar.ends[11:19]) for bar in timeline.bars}
    assert found == {
        "plan": ("09:58:00", "09:58:00"),
        "pre-images": ("09:58:00", "09:59:00"),
        "upload": ("10:01:00", "10:01:00"),
        "wait": ("10:01:00", "10:03:00"),
        "KV index": ("10:03:00", "10:04:00"),
    }
    assert [name for name, _ in timeline.lanes] == [
        *("plan", "pre-images", "upload", "wait", "KV index"),
    ]
    assert [name for name, _ in undated.lanes] == ["plan", "upload"]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 5_000)), min_size=2, max_size=40))
def test_a_timeline_keeps_the_order_of_time_and_stays_inside(times: list[tuple[int, int]]) -> None:
    start = 1_795_000_000
    reports = tuple(
        {"started_at": iso_stamp(start + at), "at": iso_stamp(start + at + length)}
        for at, length in times
    )

    timeline = timeline_of(Documents(reconciles=reports))

    assert timeline is not None
    assert [bar.x for bar in timeline.bars] == sorted(bar.x for bar in timeline.bars)
    assert all(bar.x >= timeline.left for bar in timeline.bars)
    assert all(bar.x + bar.width <= timeline.right + 4 for bar in timeline.bars)


def test_a_long_pause_is_drawn_short_and_named() -> None:
    evening = ("2026-11-23T20:00:00+00:00", "2026-11-23T21:00:00+00:00")
    later = ("2026-11-26T21:00:00+00:00", "2026-11-26T22:00:00+00:00")
    reports = [{"started_at": start, "at": end} for start, end in (evening, later)]

    timeline = timeline_of(Documents(reconciles=tuple(reports)))

    assert timeline is not None
    assert [words for _, words in timeline.breaks] == ["3 d"]
    first, second = timeline.bars
    assert first.width == pytest.approx(second.width, abs=0.2)
    assert first.width > 200


def test_a_wait_is_never_negative_when_the_clocks_differ() -> None:
    entries: list[Document] = [
        *_acks([0, 600]).entries,
        {"type": "vectors_processed", "round": 0, "at": "2026-11-23T09:59:00+00:00"},
    ]

    timeline = timeline_of(Documents(entries=entries))

    assert timeline is not None
    assert all(bar.begins <= bar.ends for bar in timeline.bars)


def test_the_timeline_has_a_lane_for_each_stage_in_order_of_time() -> None:
    timeline = timeline_of(documents_with(["t"]))

    assert timeline is not None
    assert [name for name, _ in timeline.lanes] == [
        "snapshot",
        "plan",
        "upload",
        "reconcile",
        "gate",
    ]


@pytest.mark.parametrize(
    ("report", "word", "tone", "sentence"),
    [
        (report_with("t", "equal"), "equal", "ok", "at most 50.00% of all contents do."),
        (
            {**report_with("t"), "drift": {"extra": 1, "missing": 2, "counter": 1}},
            "drift",
            "bad",
            "Found 2 missing vectors, 1 extra vector, 1 wrong counter and 2 points added in the "
            "source.",
        ),
        (report_with("t", "indeterminate"), "indeterminate", "warn", "it proves nothing."),
    ],
)
def test_a_verdict_is_said_in_words(
    report: dict[str, object], word: str, tone: str, sentence: str
) -> None:
    verdict = verdict_of(Documents(report=report))

    assert (verdict.word, verdict.tone) == (word, tone)
    assert verdict.sentence.endswith(sentence)


def test_the_verdict_of_a_plan_is_said_in_its_own_words() -> None:
    plan = {"points": 10, "vectors": 8}
    one = {"word": "fits", "reasons": ["8 points of 10 move"]}
    two = {"word": "needs a decision", "reasons": ["first", "second"]}

    fits = verdict_of(Documents(preflight={**plan, "verdict": one}))
    decides = verdict_of(Documents(preflight={**plan, "verdict": two}))
    page = render_page(Documents(preflight={**plan, "verdict": two}))

    assert (fits.word, fits.tone, fits.why) == ("fits", "ok", "8 points of 10 move")
    assert (decides.word, decides.tone) == ("needs a decision", "warn")
    assert decides.reasons == ("first", "second")
    assert "<li>first</li>" in page


@pytest.mark.fault("J07")
def test_a_verdict_about_an_earlier_state_is_no_verdict() -> None:
    report = report_with("t", "equal")

    verdict = verdict_of(Documents(report=report, outdated="the run was rolled back"))

    assert (verdict.word, verdict.tone) == ("outdated", "warn")
    assert "found: equal. After it, the run was rolled back" in verdict.sentence


def test_a_verdict_equal_says_what_was_left_out() -> None:
    whole = {**report_with("t", "equal"), "why": "no drift at the stated coverage"}
    partly = {**whole, "why": f"{whole['why']}; the source was left out"}

    assert verdict_of(Documents(report=whole)).why == ""
    assert verdict_of(Documents(report=partly)).why == "the source was left out"


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("2026-11-23T12:00:00+00:00", "2026-11-23 11:00:00 to 12:00:00 UTC"),
        ("2026-11-24T01:00:00+00:00", "2026-11-23 11:00:00 UTC to 2026-11-24 01:00:00 UTC"),
        ("2026-11-23T11:00:00+00:00", "2026-11-23 11:00:00 UTC"),
        (None, "2026-11-23 11:00:00 UTC"),
    ],
)
def test_a_period_names_its_day_once(end: str | None, said: str) -> None:
    assert period("2026-11-23T11:00:00+00:00", end) == said


def test_the_identity_names_both_sides_and_who_compared_them() -> None:
    facts = {fact.label: fact.value for fact in facts_of(documents_with(["t"]))}

    assert facts == {
        "collection": "t",
        "source": "t",
        "read with": "t",
        "snapshot": "t",
        "content root": "t",
        "vector index": "t",
        "KV namespace": "t",
        "account": "t at t",
        "run": "t",
        "made with": "t, commit t",
        "made by": "t",
        "compared": "2026-11-23 11:00:00 to 12:00:00 UTC",
    }


@pytest.mark.parametrize("left_out", ["verdict", "why", "rules", "curve"])
def test_a_document_of_parity_has_all_that_is_shown(left_out: str) -> None:
    (whole,) = documents_with(["t"]).parity

    assert is_parity(whole)
    assert not is_parity({name: value for name, value in whole.items() if name != left_out})
    assert not is_parity({**whole, "curve": {"wide": whole["curve"]["16"]}})
    assert not is_parity({**whole, "curve": {"16": {**whole["curve"]["16"], "overlap": {}}}})
    assert not is_parity({**whole, "strangers": "two"})


def test_a_document_of_a_plan_has_all_that_is_shown() -> None:
    whole = dict(documents_with(["t"]).preflight or {})
    planned = {"points": 1, "vectors": 1, **whole}
    del planned["error"]

    assert is_preflight(whole)
    assert is_preflight(planned)
    assert is_preflight({**planned, "verdict": {"word": "fits", "reasons": ["a"]}})
    assert not is_preflight({**planned, "verdict": {"word": "fits", "reasons": "a"}})
    for name in planned["estimate"]:
        cut = {one: number for one, number in planned["estimate"].items() if one != name}
        assert not is_preflight({**planned, "estimate": cut})
