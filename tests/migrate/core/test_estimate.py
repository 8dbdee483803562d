"""What a migration costs, against arithmetic done by hand."""

import pytest

from migrate.core.estimate import Estimate, estimate, is_long_rollback


def of(vectors: int, files: int = 0, *, dimensions: int = 1536) -> Estimate:
    return estimate(
        vectors=vectors,
        files=files,
        dimensions=dimensions,
        metadata_bytes=500 * vectors,
        vectors_per_upload=1000,
        body_bytes=40_000_000,
        requests_per_5min=900,
    )


@pytest.mark.fault("P04")
def test_one_hundred_thousand_vectors_by_hand() -> None:
    found = of(100_000, 5_000)

    assert pytest.approx(found.upload_bytes, abs=1) == 100_000 * (1536 * 12.51 + 40) + 50_000_000
    assert (
        found.upload_requests,
        found.list_requests,
        found.content_requests,
        found.kv_requests,
    ) == (100, 100, 5_000, 2)
    assert found.rollback_requests == 5_000 + 1_000 + 2
    assert found.rollback_minutes == pytest.approx(6_002 / 180 + 2, abs=0.01)
    assert found.reconcile_minutes == pytest.approx((100 + 5_000 + 5 + 50) / 180, abs=0.01)
    assert found.upload_minutes == pytest.approx(found.upload_bytes * 8 / 1e8 / 60 + 2, abs=0.01)
    assert found.window_minutes == found.upload_minutes + found.reconcile_minutes
    assert found.stored_dimensions == 153_600_000
    assert found.usd_per_month == 0.07
    assert not found.fits_free_plan


@pytest.mark.fault("P05")
def test_nothing_costs_nearly_nothing() -> None:
    found = of(0)

    assert (
        found.upload_bytes,
        found.upload_requests,
        found.list_requests,
        found.content_requests,
        found.kv_requests,
    ) == (0, 0, 1, 0, 1)
    assert found.usd_per_month == 0.0


@pytest.mark.fault("P06")
@pytest.mark.parametrize(("vectors", "uploads"), [(1, 1), (999, 1), (1000, 1), (1001, 2)])
def test_both_sides_of_an_upload(vectors: int, uploads: int) -> None:
    assert uploads == of(vectors).upload_requests


def test_wide_vectors_are_cut_by_bytes() -> None:
    """A thousand vectors of 3,200 dimensions are more than 40 MB of text."""
    wide, narrow = of(100_000, dimensions=3_200), of(100_000, dimensions=32)

    assert -(-wide.upload_bytes // 40_000_000) == wide.upload_requests
    assert 100 == narrow.upload_requests < wide.upload_requests


def test_both_sides_of_the_free_plan() -> None:
    assert of(100, dimensions=50_000).fits_free_plan
    assert not of(101, dimensions=50_000).fits_free_plan


def test_kv_writes_beyond_the_included_ones_cost() -> None:
    assert of(0, 999_999).usd_per_month == 0.0
    assert of(0, 1_999_999).usd_per_month == 5.0


@pytest.mark.fault("B04")
def test_a_rollback_beyond_four_hours_is_called_long() -> None:
    """Four hours at 180 requests a minute, settling aside: 714,000 vectors at 60.5 per 1,000."""
    assert not is_long_rollback(of(713_000).rollback_minutes)
    assert is_long_rollback(of(715_000).rollback_minutes)
    assert not is_long_rollback(240.0)
