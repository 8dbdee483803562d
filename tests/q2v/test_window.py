"""The window check counts the reconcile that the settings ask for, and its advice helps."""

import re
from dataclasses import replace
from typing import Any

import pytest

from migrate.errors import PreconditionError
from migrate.mapping.values import ValueRules
from migrate.plan.estimate import Estimate
from migrate.plan.make import PlanFindings
from q2v.rules.stages import window_rules, write_rules
from q2v.settings import Settings
from q2v.settings.sections import LimitSettings

VECTORS = 100_000
SOURCE = ValueRules(
    vector_name="", source_dimensions=1_536, dimensions=1_536, reduce="none", metric="cosine"
)
FINDINGS = PlanFindings(
    points=VECTORS,
    vectors=VECTORS,
    files=5_000,
    metadata_bytes=VECTORS * 1_300,
    quarantined={},
    quarantined_points=(),
    quarantine_cap=100,
    changes={},
    gaps=(),
    files_with_gaps=0,
    long_indexed={},
    hash_mismatches=0,
)


def settings_with(**limits: Any) -> Settings:
    """Settings at their defaults but for these limits."""
    return Settings(limits=replace(LimitSettings(), **limits))


def figure(settings: Settings) -> Estimate:
    """What the plan figures out for the findings."""
    return window_rules(settings).estimate(FINDINGS.load(SOURCE, write_rules(settings)))


def check_window(settings: Settings) -> None:
    """As before a run's first write."""
    window_rules(settings).check(figure(settings))


def window_minutes(settings: Settings) -> float:
    """What the window check compares with the deadline."""
    return figure(settings).window_minutes


@pytest.mark.fault("F09", "P04")
def test_the_window_check_reads_how_much_reconcile_reads() -> None:
    sampled, full = settings_with(), settings_with(content_full_max=VECTORS)

    assert window_minutes(sampled) < window_minutes(full)
    assert figure(sampled).contents_read == LimitSettings().content_sample
    assert figure(full).contents_read == VECTORS


@pytest.mark.fault("F09", "P04")
def test_the_advice_of_the_window_check_works_when_it_is_followed() -> None:
    between = (
        window_minutes(settings_with()) + window_minutes(settings_with(content_full_max=VECTORS))
    ) * 30  # seconds: more than the sample takes, less than reading everything
    tight = settings_with(content_full_max=VECTORS, deadline_s=between)

    with pytest.raises(PreconditionError, match=r"limits\.deadline_s") as caught:
        check_window(tight)

    advised = re.search(r"limits\.content_full_max below (\d+)", caught.value.remedy)
    assert advised is not None, caught.value.remedy
    followed = settings_with(content_full_max=int(advised[1]) - 1, deadline_s=between)
    check_window(followed)


@pytest.mark.fault("F09", "P04")
def test_a_sample_is_not_advised_where_it_would_not_help() -> None:
    for settings in (
        settings_with(deadline_s=60),  # a sample is read already
        settings_with(content_full_max=VECTORS, deadline_s=60),  # the upload alone is too long
    ):
        with pytest.raises(PreconditionError) as caught:
            check_window(settings)

        assert "content_full_max" not in caught.value.remedy
        assert "--deadline-s" in caught.value.remedy
