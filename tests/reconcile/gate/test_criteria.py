"""The rule from evidence to go or no-go: nothing but thirteen fresh proofs is a go."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import ExitCode
from migrate.model.stamps import iso_stamp
from reconcile.gate.criteria import Criterion, Evidence, exit_code, is_go, judge

NOW_S = 1_800_000_000.0
AGE_MAX_S = 3_600.0


def evidence(criterion: Criterion, **more: Any) -> Evidence:
    known = Evidence(
        criterion=criterion, holds=True, found="seen", place="file", at=iso_stamp(NOW_S - 60)
    )
    return replace(known, **more)


def verdicts(found: list[Evidence]) -> dict[Criterion, str]:
    rows = judge(found, now_s=NOW_S, age_max_s=AGE_MAX_S)
    return {row.criterion: row.verdict for row in rows}


ALL = [evidence(criterion) for criterion in Criterion]
BAD: dict[str, dict[str, Any]] = {
    "fail": {"holds": False},
    "unknown": {"holds": None},
    "stale": {"at": iso_stamp(NOW_S - AGE_MAX_S - 1)},
}


def test_fresh_evidence_for_every_criterion_is_a_go() -> None:
    rows = judge(ALL, now_s=NOW_S, age_max_s=AGE_MAX_S)

    assert is_go(rows)
    assert exit_code(rows) == ExitCode.DONE
    assert all(row.do == "" for row in rows)


def test_no_evidence_is_never_a_go() -> None:
    rows = judge([], now_s=NOW_S, age_max_s=AGE_MAX_S)

    assert [row.verdict for row in rows] == ["unknown"] * len(Criterion)
    assert not is_go(rows)
    assert exit_code(rows) == ExitCode.INDETERMINATE
    assert not is_go([])


@pytest.mark.parametrize("criterion", Criterion)
@pytest.mark.parametrize("kind", BAD)
def test_one_bad_row_alone_is_a_no_go(criterion: Criterion, kind: str) -> None:
    found = [replace(one, **BAD[kind]) if one.criterion is criterion else one for one in ALL]
    rows = judge(found, now_s=NOW_S, age_max_s=AGE_MAX_S)

    assert {row.criterion: row.verdict for row in rows if row.verdict != "pass"} == {
        criterion: kind
    }
    assert not is_go(rows)
    code = criterion.code if kind == "fail" else ExitCode.INDETERMINATE
    assert exit_code(rows) == code
    assert [row.do for row in rows if row.do] == [criterion.do]


@pytest.mark.parametrize("criterion", Criterion)
def test_evidence_about_an_earlier_state_is_stale_whatever_it_says(criterion: Criterion) -> None:
    for holds in (True, False, None):
        old = evidence(criterion, holds=holds, outdated="the run has written since")
        row = judge([old], now_s=NOW_S, age_max_s=AGE_MAX_S)[list(Criterion).index(criterion)]
        assert row.verdict == "stale"
        assert row.found == "the run has written since: seen"


@pytest.mark.parametrize(
    ("age_s", "verdict"),
    [(0, "pass"), (AGE_MAX_S, "pass"), (AGE_MAX_S + 1, "stale"), (-200, "pass"), (-400, "stale")],
)
def test_evidence_ages_and_does_not_come_from_the_future(age_s: float, verdict: str) -> None:
    one = evidence(Criterion.IDS, at=iso_stamp(NOW_S - age_s))

    assert verdicts([one])[Criterion.IDS] == verdict


@pytest.mark.parametrize("criterion", Criterion)
def test_no_row_fails_with_a_code_after_which_the_same_command_is_tried_again(
    criterion: Criterion,
) -> None:
    """A gate finds the same again: something has to be done first."""
    assert "resume" not in criterion.code.run_again


def test_what_the_files_say_now_has_no_age() -> None:
    assert verdicts([evidence(Criterion.POINTS, at=None)])[Criterion.POINTS] == "pass"


@given(
    st.lists(
        st.builds(
            Evidence,
            criterion=st.sampled_from(Criterion),
            holds=st.sampled_from([True, False, None]),
            found=st.just("seen"),
            place=st.just("file"),
            at=st.none() | st.integers(-20_000, 20_000).map(lambda s: iso_stamp(NOW_S + s)),
            outdated=st.sampled_from(["", "older"]),
        )
    )
)
def test_go_means_that_every_criterion_has_fresh_evidence_that_holds(found: list[Evidence]) -> None:
    rows = judge(found, now_s=NOW_S, age_max_s=AGE_MAX_S)

    assert [row.criterion for row in rows] == list(Criterion)
    assert is_go(rows) == (exit_code(rows) == ExitCode.DONE)
    if is_go(rows):
        assert {one.criterion for one in found if one.holds and not one.outdated} == set(Criterion)
