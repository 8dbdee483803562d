"""Values in target form: checked, and reduced with one rounding."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.payload import Reason
from migrate.mapping.values import ValueRules, map_values, reduce_values
from migrate.model.canonical import encode_canonical_json
from migrate.model.records import DenseColumn, Float32Matrix, Page, PointId
from tests.harness.strategies import matrices

KEEP = ValueRules(
    vector_name="", source_dimensions=6, dimensions=6, reduce="none", metric="euclidean"
)
CUT = replace(KEEP, dimensions=4, reduce="matryoshka", metric="cosine")


def page_of(
    rows: list[list[float]],
    *,
    absent: frozenset[int] = frozenset(),
    irregular: dict[int, object] | None = None,
) -> Page:
    present = np.array([position not in absent for position in range(len(rows))], np.bool_)
    odd = irregular or {}
    return Page(
        ids=tuple(PointId(0, number) for number in range(len(rows))),
        payloads=(b"{}",) * len(rows),
        vectors={"": DenseColumn(np.array(rows, np.float32), present)},
        irregular=tuple(
            encode_canonical_json({"": odd[position]}) if position in odd else None
            for position in range(len(rows))
        ),
    )


def reasons(page: Page, rules: ValueRules) -> dict[int, Reason]:
    return {row: one.reason for row, one in map_values(page, rules).quarantined.items()}


def rounded_once(row: list[float], kept: int) -> list[np.float32]:
    """The reference: exact sums and a root of 60 digits, then one rounding to float32."""
    exact = [Fraction(value) for value in row[:kept]]
    square = sum((value * value for value in exact), Fraction(0))
    scale = 10**120
    root = Fraction(math.isqrt(square.numerator * scale // square.denominator), 10**60)
    return [nearest_float32(value / root) for value in exact]


def nearest_float32(value: Fraction) -> np.float32:
    guess = np.float32(float(value))
    near = (np.nextafter(guess, np.float32(-2)), guess, np.nextafter(guess, np.float32(2)))
    return min(near, key=lambda one: abs(Fraction(float(one)) - value))


def test_the_reduction_rounds_once() -> None:
    generator = np.random.default_rng(5)
    rows = generator.standard_normal((200, 6)).astype(np.float32)
    reduced = reduce_values(rows, CUT)

    expected = np.array([rounded_once(list(map(float, row)), 4) for row in rows], np.float32)
    assert expected.tobytes() == reduced.tobytes()


@given(st.integers(0, 2**32 - 1), st.sampled_from([32, 768, 1536]))
def test_the_reduction_does_not_depend_on_its_neighbours(seed: int, dimensions: int) -> None:
    """One row alone, or in a page, or in other memory order: the same bits."""
    rules = replace(CUT, source_dimensions=3072, dimensions=dimensions)
    rows = np.random.default_rng(seed).standard_normal((3, 3072)).astype(np.float32)
    together = reduce_values(rows, rules)
    across = reduce_values(np.asfortranarray(rows), rules)
    alone = [reduce_values(rows[at : at + 1].copy(), rules) for at in range(3)]

    assert np.concatenate(alone).tobytes() == together.tobytes()
    assert across.tobytes() == together.tobytes()


@given(matrices(3, 6))
def test_reduced_values_have_unit_length_and_the_same_direction(rows: Float32Matrix) -> None:
    reduced = reduce_values(rows, CUT)

    assert reduced.shape == (3, 4)
    assert np.float32 == reduced.dtype
    for row, unit in zip(rows.astype(np.float64), reduced, strict=True):
        kept = row[:4]
        norm = math.sqrt(math.fsum(float(value) ** 2 for value in kept))
        if norm == 0:
            assert not unit.any()
        else:
            assert math.hypot(*map(float, unit)) == pytest.approx(1, abs=1e-6)
            assert np.allclose(kept / norm, unit, atol=1e-6)


@pytest.mark.fault("S09")
@given(matrices(2, 6))
def test_without_reduction_every_bit_stays(rows: Float32Matrix) -> None:
    assert rows.tobytes() == reduce_values(rows, KEEP).tobytes()


@pytest.mark.fault("D02")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_behind(value: float) -> None:
    page = page_of([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, value]])

    for rules in (KEEP, CUT):
        found = map_values(page, rules)
        assert reasons(page, rules) == {1: Reason.NON_FINITE}
        assert np.isfinite(found.values).all()


@pytest.mark.fault("D03")
def test_zero_vectors_stay_behind_where_length_matters() -> None:
    zero_head = [0.0, -0.0, 0.0, 0.0, 5.0, 6.0]
    page = page_of([[0.0] * 6, zero_head, [1.0] * 6])

    assert reasons(page, KEEP) == {}
    assert reasons(page, replace(KEEP, metric="cosine")) == {0: Reason.ZERO_VECTOR}
    assert reasons(page, CUT) == {0: Reason.ZERO_VECTOR, 1: Reason.ZERO_VECTOR}
    assert reasons(page, replace(CUT, metric="euclidean")) == {
        0: Reason.ZERO_VECTOR,
        1: Reason.ZERO_VECTOR,
    }


@pytest.mark.fault("D01", "D02")
def test_missing_and_misshapen_vectors_stay_behind() -> None:
    page = page_of(
        [[0.0] * 6] * 4,
        absent=frozenset({0, 1, 2}),
        irregular={1: [1.5, 2.5], 2: [1, 2, 3, 4, 5, None]},
    )

    for rules in (KEEP, CUT):
        assert {row: why for row, why in reasons(page, rules).items() if row != 3} == {
            0: Reason.VECTOR_MISSING,
            1: Reason.DIM_MISMATCH,
            2: Reason.NON_FINITE,
        }


@pytest.mark.fault("D02")
def test_the_ends_of_float32_do_not_overflow() -> None:
    largest = float(np.finfo(np.float32).max)
    smallest = float(np.finfo(np.float32).smallest_subnormal)
    reduced = reduce_values(
        np.array([[largest] * 6, [smallest] * 6, [largest, smallest, 0, 0, 0, 0]], np.float32), CUT
    )

    assert reduced.tolist() == [[0.5] * 4, [0.5] * 4, [1, 0, 0, 0]]


def test_an_empty_page_maps_to_nothing() -> None:
    page = Page(
        ids=(),
        payloads=(),
        vectors={"": DenseColumn(np.zeros((0, 6), np.float32), np.zeros(0, np.bool_))},
        irregular=(),
    )

    for rules in (KEEP, CUT):
        assert (0, rules.dimensions) == map_values(page, rules).values.shape
