"""Every reason for leaving a point out is counted at one limit, with examples."""

from migrate.mapping.payload import Quarantined, Reason
from migrate.model.records import PointId
from migrate.plan.census.limits_met import EXAMPLES_MAX, Found, limits_met
from migrate.plan.quarantine import QuarantinedPoint


def found(**more: object) -> Found:
    known: dict[str, object] = {
        "quarantined": {},
        "listed": (),
        "dimensions": 64,
        "vectors": 5,
        "namespaces": None,
        "id_bytes": 12,
        "metadata_bytes": 900,
        "body_bytes": 40_000_000,
        **more,
    }
    return Found(**known)  # type: ignore[arg-type]


def test_every_reason_of_a_plan_belongs_to_exactly_one_limit() -> None:
    reasons = [reason for reason in Reason if reason is not Reason.REFUSED]
    for reason in reasons:
        rows = limits_met(found(quarantined={reason.value: 7}))
        assert [row.broken for row in rows if row.broken] == [7], reason


def test_examples_are_the_first_points_that_break_it() -> None:
    outcome = Quarantined(reason=Reason.ID_TOO_LONG, field="id", detail="70 bytes")
    points = [
        QuarantinedPoint(row=row, point_id=PointId.parse(row), outcome=outcome) for row in range(9)
    ]
    rows = {
        row.name: row
        for row in limits_met(found(quarantined={"id_too_long": 9}, listed=points, namespaces=3))
    }

    row = rows["id of a vector"]
    assert (row.limit, row.highest, row.broken) == (64, 12, 9)
    assert row.examples == tuple(map(str, range(EXAMPLES_MAX)))
    assert rows["namespaces"].highest == 3
