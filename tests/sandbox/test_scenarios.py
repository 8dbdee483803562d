"""Fault scenarios by name: what they bring, and how names and single faults mix."""

from dataclasses import asdict
from pathlib import Path

import pytest

from sandbox.app import create_app
from sandbox.faults.faults import parse_faults
from sandbox.faults.scenarios import FAULT_SCENARIOS, expand_scenarios, profile_of
from sandbox.profile import INSTANT, STRICT


@pytest.mark.parametrize("name", list(FAULT_SCENARIOS))
def test_a_name_stands_for_its_faults_and_settings(name: str) -> None:
    orders, profile = expand_scenarios(name, STRICT)

    assert orders == FAULT_SCENARIOS[name].faults
    parse_faults(orders)
    assert profile == profile_of(FAULT_SCENARIOS[name], STRICT)
    assert (orders, profile) != ("", STRICT)


def test_a_scenario_stretches_delays_and_leaves_the_rest() -> None:
    profile = profile_of(FAULT_SCENARIOS["slow"], STRICT)

    changed = {
        name: value for name, value in asdict(profile).items() if value != asdict(STRICT)[name]
    }
    assert changed["commit_delay_s"] == STRICT.commit_delay_s * FAULT_SCENARIOS["slow"].delays
    assert all(name.endswith("_s") for name in changed)


def test_names_and_single_faults_stand_side_by_side() -> None:
    orders, _ = expand_scenarios("crashy, slow:ms=7", INSTANT)

    assert orders == f"{FAULT_SCENARIOS['crashy'].faults}, slow:ms=7"
    assert expand_scenarios(None, INSTANT) == (None, INSTANT)


@pytest.mark.parametrize("spec", ["sunny", "flaky,flaky", "flaky:every=2"])
def test_what_is_no_scenario_and_no_fault_is_refused(spec: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fault"):
        create_app(tmp_path, fault=spec)
