"""Waiting until writes are processed: effects decide, the watermark only says when to look."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from migrate.errors import IndeterminateError
from migrate.model.digest import digest_vector
from migrate.model.records import IndexProgress, MutationId, Vector, VectorId
from migrate.ports import VectorTarget
from migrate.runtime import Runtime
from migrate.upload.settle import LastWrite, SettleRules, spread, wait_until_processed
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.silence import Silence

RULES = SettleRules(timeout_s=100, poll_s=5)
LAST = LastWrite(mutation_id="m1", server_date="Mon, 23 Nov 2026 12:00:00 GMT", vectors=0)
WRITTEN = Vector(
    id=VectorId("a"), values=np.array([1, 0], np.float32), namespace=None, metadata={"n": 1}
)
NOTHING = IndexProgress(vector_count=None, processed_mutation=None, processed_at=None)
OURS = replace(NOTHING, processed_mutation=MutationId("m1"))


class SlowIndex:
    """Shows `progress` always, and the written vector from the n-th read on."""

    def __init__(self, progress: IndexProgress, *, visible_from: int, flapping: bool = False):
        self.progress = progress
        self.reads = 0
        self._visible_from = visible_from
        self._flapping = flapping

    def read_progress(self) -> IndexProgress:
        return self.progress

    def fetch(self, ids: Sequence[VectorId]) -> dict[VectorId, Vector]:
        self.reads += 1
        hidden = self._flapping and self.reads % 2 == 0
        visible = self.reads >= self._visible_from and not hidden
        return {one: WRITTEN for one in ids if visible and one == "a"}


def settle(
    index: SlowIndex, *, expected: dict[VectorId, bytes | None] | None = None
) -> tuple[str, VirtualClock]:
    clock = VirtualClock()
    wanted = {VectorId("a"): digest_vector(WRITTEN), VectorId("gone"): None}
    said = wait_until_processed(
        cast("VectorTarget", index),
        LAST,
        wanted if expected is None else expected,
        RULES,
        Runtime(clock=clock, progress=Silence()),
    )
    return said, clock


@pytest.mark.fault("U03", "U04")
def test_two_agreeing_reads_settle_after_the_watermark() -> None:
    said, clock = settle(SlowIndex(OURS, visible_from=3))

    assert said.startswith("the watermark passed and 2 vectors read back")
    assert clock.waits == [5] * 3


@pytest.mark.fault("U04")
@pytest.mark.parametrize(
    ("processed_at", "passed"),
    [
        ("2026-11-23T12:00:31.123456789Z", True),
        ("2026-11-23T12:00:31Z", True),
        ("2026-11-23T14:00:31.5+02:00", True),
        ("2026-11-23T12:00:30Z", False),
        ("2026-11-23T12:00:31", False),
        ("yesterday", False),
        (None, False),
    ],
)
def test_a_later_watermark_of_the_service_counts_and_no_other(
    processed_at: str | None, *, passed: bool
) -> None:
    progress = replace(NOTHING, processed_mutation=MutationId("other"), processed_at=processed_at)
    said, clock = settle(SlowIndex(progress, visible_from=1))

    assert said.startswith("the watermark passed" if passed else "the watermark did not advance")
    assert len(clock.waits) == (1 if passed else 5)


@pytest.mark.fault("U04", "N01")
@pytest.mark.parametrize("date", [None, "", "soon", "Mon, 23 Nov 99999 12:00:00 GMT"])
def test_an_answer_without_a_usable_date_settles_by_effect(date: str | None) -> None:
    index = SlowIndex(replace(NOTHING, processed_at="2026-11-23T12:30:00Z"), visible_from=1)
    said = wait_until_processed(
        cast("VectorTarget", index),
        replace(LAST, server_date=date),
        {VectorId("a"): digest_vector(WRITTEN)},
        RULES,
        Runtime(clock=VirtualClock(), progress=Silence()),
    )

    assert said.startswith("the watermark did not advance")


@pytest.mark.fault("U03")
@pytest.mark.parametrize("flapping", [False, True])
def test_what_never_stays_visible_is_indeterminate(*, flapping: bool) -> None:
    index = SlowIndex(OURS, visible_from=1 if flapping else 10**9, flapping=flapping)
    with pytest.raises(IndeterminateError, match="mutation m1"):
        settle(index)
    assert index.reads == 21


@pytest.mark.fault("R05")
def test_a_deletion_is_settled_when_the_vector_is_gone() -> None:
    with pytest.raises(IndeterminateError):
        settle(SlowIndex(OURS, visible_from=1), expected={VectorId("a"): None})
    said, _ = settle(SlowIndex(OURS, visible_from=10**9), expected={VectorId("a"): None})

    assert "1 vector read back" in said


@pytest.mark.fault("U05")
@pytest.mark.parametrize("vector_count", [None, 0, 1, 10**9])
def test_the_services_count_decides_nothing(vector_count: int | None) -> None:
    """It lags, overshoots and flaps: neither a wrong one delays nor a right one settles."""
    said, clock = settle(SlowIndex(replace(OURS, vector_count=vector_count), visible_from=3))

    assert said.startswith("the watermark passed")
    assert clock.waits == [5] * 3


@pytest.mark.parametrize(
    ("count", "chosen"), [(0, []), (1, [0]), (3, [0, 1, 2]), (4, [0, 2, 3]), (101, [0, 50, 100])]
)
def test_witnesses_are_spread_with_both_ends(count: int, chosen: list[int]) -> None:
    assert list(spread(count, 3)) == chosen
