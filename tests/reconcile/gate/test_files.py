"""What a report does not say is not known."""

from dataclasses import replace
from pathlib import Path

import pytest

from migrate.run.folder import RunFolder
from reconcile.gate.criteria import Criterion
from reconcile.gate.files import Compared, of_the_comparison, read_compared
from tests.harness.move import finished_move

pytestmark = pytest.mark.fault("J02")


def holds(run: RunFolder, compared: Compared, criterion: Criterion) -> bool | None:
    found = {one.criterion: one.holds for one in of_the_comparison(run, compared, {})}
    return found[criterion]


def changed(compared: Compared, name: str, **members: object) -> Compared:
    """The same reconcile with other members in one part of its report."""
    assert compared.report is not None
    part = {**compared.member(name), **members}
    document = {**compared.report.document, name: part}
    return replace(compared, report=replace(compared.report, document=document))


def test_contents_of_which_nothing_was_read_are_unknown(tmp_path: Path) -> None:
    move = finished_move(tmp_path)
    move.reconcile()
    with move.opened() as run:
        compared = read_compared(run)
        nothing = changed(compared, "coverage", checked=0)

        assert holds(run, compared, Criterion.CONTENTS) is True
        assert holds(run, nothing, Criterion.CONTENTS) is None


@pytest.mark.parametrize(
    ("criterion", "part", "name"),
    [
        (Criterion.IDS, "drift", "extra"),
        (Criterion.CONTENTS, "drift", "mismatched"),
        (Criterion.KV_INDEX, "drift", "kv_missing"),
        (Criterion.COUNTER, "drift", "counter"),
    ],
)
def test_a_number_that_is_not_known_is_no_zero(
    tmp_path: Path, criterion: Criterion, part: str, name: str
) -> None:
    move = finished_move(tmp_path)
    move.reconcile()
    with move.opened() as run:
        compared = read_compared(run)

        assert holds(run, compared, criterion) is True
        assert holds(run, changed(compared, part, **{name: None}), criterion) is None
