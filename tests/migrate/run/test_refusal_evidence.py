"""How many refusals are too many."""

import pytest

from migrate.run.refusal_evidence import refusals_max


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
