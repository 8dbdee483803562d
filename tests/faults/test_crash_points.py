"""Whatever strikes at any kind of step: the same command again loses nothing."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.faults.sweep import (
    STAGES,
    StageTemplate,
    build_template,
    check_case,
    check_pair,
    pairs_of,
    share_of,
)
from tests.harness.fakes.steps import Fault, Kind, Step

SLICES = 2  # of each stage, for the workers to share
# The tests of a stage run one after the other, so that one process builds its template once.
OF_EACH_STAGE = pytest.mark.parametrize("name", sorted(STAGES), scope="module")
PAIRS = 1  # of each stage; `make faults` takes 500


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], StageTemplate]:
    """The template of a stage, built once for all its parts that one process runs."""
    return cache(lambda name: build_template(STAGES[name], tmp_path_factory.mktemp("template")))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault(
    *("G01", "G02", "G03", "G04", "G05", "S06", "U01", "R10", "B01", "B02", "A02"),
    *("J06", "W07", "Z03"),
    *("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "X02"),
)
@pytest.mark.parametrize("part", range(SLICES))
@OF_EACH_STAGE
def test_whatever_strikes_at_any_step_the_next_run_ends_as_if_nothing_had_happened(
    name: str,
    part: int,
    templates: Callable[[str], StageTemplate],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    template = templates(name)
    steps = template.truth.steps
    cases = list(share_of(template))
    requests = sum(step.kind is Kind.SEND for step in steps)
    record_property(
        "told",
        f"crash points of {name}: N = {len(steps)} ({requests} requests), {len(cases)} cases",
    )

    # Neighbours together: what they leave is often the same.
    for fault, at in cases[len(cases) * part // SLICES : len(cases) * (part + 1) // SLICES]:
        check_case(template, fault, at, tmp_path / "life")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", sorted(name for name, stage in STAGES.items() if stage.every == 1), scope="module"
)
def test_every_kind_of_step_of_every_command_is_struck_and_with_every_fault(
    name: str, templates: Callable[[str], StageTemplate]
) -> None:
    """The kinds by this stage, or by another one of the same command."""
    steps = templates(name).truth.steps
    alike = [other for other, stage in STAGES.items() if stage.act is STAGES[name].act]
    struck = {steps[at - 1] for other in alike for _, at in share_of(templates(other))}
    faults = {fault for fault, _ in share_of(templates(name))}

    assert _kinds(struck) == _kinds(steps)
    assert len(_kinds(steps)) < len(steps), "a kind for each step: places are not told apart"
    assert faults == {fault for step in steps for fault in Fault if step.takes(fault)}


def _kinds(steps: Iterable[Step]) -> set[tuple[Kind, str]]:
    return {(step.kind, step.place) for step in steps}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("G01", "G02", "G17", "B02", "I2", "I3", "I5", "I7", "I10")
@OF_EACH_STAGE
def test_a_second_strike_in_the_life_that_mends_the_first_loses_nothing(
    name: str, templates: Callable[[str], StageTemplate], tmp_path: Path
) -> None:
    template = templates(name)
    for first, second in pairs_of(template, PAIRS, seed=0):
        check_pair(template, first, second, tmp_path / "life")
