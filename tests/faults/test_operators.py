"""An operator who types any command at any time, while the machine fails and others write."""

import pytest

from tests.faults.operators import run_operators


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("G01", "G02", "R05", "U03", "U05", "I3", "I5", "I6", "I7", "I9", "I10")
def test_whatever_an_operator_types_nothing_is_lost_and_every_report_is_true() -> None:
    run_operators(examples=10, steps=12)
