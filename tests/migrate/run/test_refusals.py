"""Which refusals are worth a search, and how many are too many."""

import pytest

from migrate.run.refusals import OTHER_CODES, concerns_content, refusals_max


@pytest.mark.fault("N16")
@pytest.mark.parametrize("status", range(400, 512))
def test_only_three_statuses_concern_the_content(status: int) -> None:
    assert concerns_content(status, 40023) == (status in {400, 413, 422})
    assert concerns_content(status, None) == (status in {400, 413, 422})


@pytest.mark.fault("N16")
@pytest.mark.parametrize("code", [3000, 3005, 7003, 40041])
def test_a_lost_index_and_too_many_writes_do_not(code: int) -> None:
    assert code in OTHER_CODES
    assert not concerns_content(400, code)


@pytest.mark.fault("N16", "D04")
@pytest.mark.parametrize(
    ("points", "cap", "quarantined", "acknowledged", "allowed"),
    [
        (500_000, 500, 0, 1, 500),
        (500_000, 500, 0, 0, 10),  # nothing was taken yet
        (500_000, 500, 495, 0, 5),
        (500_000, 501, 0, 0, 501),  # the operator's own number
        (500_000, 3, 0, 0, 3),
        (500_000, 500, 500, 7, 0),
        (100, 10, 3, 0, 7),
    ],
)
def test_the_cap_holds_for_plan_and_target_together(
    points: int, cap: int, quarantined: int, acknowledged: int, allowed: int
) -> None:
    found = refusals_max(points=points, cap=cap, quarantined=quarantined, acknowledged=acknowledged)

    assert found == allowed
