"""The journal of a reconcile: entries that cannot follow one another are damage, not a state."""

from math import inf

import pytest

from migrate.errors import ForeignStateError
from migrate.storage.journal_lines import JOURNAL_FORMAT, Entry
from reconcile.session import Moment, fold_session, idle_s, why_not_resumed

NOW = {"wall_s": 1000.0, "monotonic_s": 10.0}
OPENED: Entry = {"type": "reconcile_opened", "format": JOURNAL_FORMAT, "inputs": "same", **NOW}
IDS: Entry = {"type": "ids_read", **NOW}
CONCLUDED: Entry = {"type": "reconcile_concluded", **NOW}
AT = Moment(1000.0, 10.0)


def contents(**changed: object) -> Entry:
    return {
        "type": "contents_read",
        "look": 0,
        "end_row": 10,
        "checked": 10,
        "mismatched": [3],
        "unreadable": [],
        "foreign": [],
        "completed": False,
        **NOW,
        **changed,
    }


def test_passes_add_up_until_each_is_completed() -> None:
    state = fold_session(
        [
            OPENED,
            IDS,
            contents(),
            contents(end_row=20, mismatched=[15], completed=True),
            contents(look=1, end_row=20, checked=2, mismatched=[]),
            CONCLUDED,
        ]
    )

    first, second = state.passes
    assert (first.end_row, first.checked, first.mismatched, first.completed) == (
        20,
        20,
        [3, 15],
        True,
    )
    assert (second.checked, second.mismatched, second.completed) == (2, [], False)
    assert state.concluded


@pytest.mark.fault("F19")
@pytest.mark.parametrize(
    "entries",
    [
        [IDS],
        [OPENED, OPENED],
        [OPENED, CONCLUDED, IDS],
        [OPENED, contents()],
        [OPENED, IDS, contents(look=1)],
        [OPENED, IDS, contents(), contents(look=1)],
        [OPENED, IDS, contents(completed=True), contents()],
        [OPENED, IDS, contents(), contents(end_row=9)],
        [OPENED, IDS, contents(end_row="10")],
        [OPENED, IDS, contents(end_row=True)],
        [OPENED, IDS, contents(mismatched="3")],
        [OPENED, IDS, contents(unreadable=[1.0])],
        [{**OPENED, "wall_s": "now"}],
        [{**OPENED, "monotonic_s": True}],
        [OPENED, {"type": "unknown", **NOW}],
    ],
)
def test_an_entry_that_cannot_follow_is_refused(entries: list[Entry]) -> None:
    with pytest.raises(ValueError, match=r"."):
        fold_session(entries)


def test_a_session_of_another_format_is_foreign() -> None:
    with pytest.raises(ForeignStateError, match="format version 9"):
        fold_session([{**OPENED, "format": 9}])


@pytest.mark.parametrize(
    ("entries", "inputs", "why"),
    [
        ([], "same", "it had read nothing"),
        ([OPENED, CONCLUDED], "same", "its report is missing"),
        ([OPENED], "other", "it compares something else"),
        ([OPENED], "same", None),
    ],
)
def test_why_a_session_is_not_resumed(entries: list[Entry], inputs: str, why: str | None) -> None:
    found = why_not_resumed(fold_session(entries), inputs, AT)

    assert (found is None) == (why is None)
    assert (why or "") in (found or "")


@pytest.mark.parametrize(
    ("now", "resumed"),
    [
        (Moment(1000.0 + 3600, 10.0 + 3600), True),
        (Moment(1000.0 + 3601, 10.0), False),  # the machine booted again
        (Moment(1000.0, 10.0 + 3601), False),  # the wall clock was set
    ],
)
def test_a_session_is_resumed_within_an_hour_by_both_clocks(now: Moment, resumed: bool) -> None:
    assert resumed == (why_not_resumed(fold_session([OPENED]), "same", now) is None)


def test_a_wall_clock_that_was_set_back_makes_a_session_stale() -> None:
    assert idle_s(AT, Moment(0.0, 11.0)) == inf
