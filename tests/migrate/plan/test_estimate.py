"""What a migration costs, against arithmetic done by hand."""

import pytest

from migrate.plan.estimate import Estimate, RequestPace, Workload, estimate, is_long_rollback


def of(vectors: int, files: int = 0, *, dimensions: int = 1536) -> Estimate:
    return estimate(
        Workload(
            vectors=vectors,
            files=files,
            dimensions=dimensions,
            metadata_bytes=500 * vectors,
            vectors_per_upload=1000,
            body_bytes=40_000_000,
        ),
        RequestPace(requests_per_5min=900),
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
    # 20 answers of 1,536 values and 500 B take 0.053 s of the line; a request waits 0.3 s.
    fetch_s = 0.3 + 20 * (1536 * 21.3 + 500) * 8 / 1e8
    # 5,000 = 5 budgets and 500: five times five minutes, or all at their own pace.
    assert found.content_minutes == pytest.approx(5_000 * fetch_s / 60, abs=0.01)
    assert found.list_minutes == pytest.approx(100 * 0.3 / 60, abs=0.01)
    others_s = (100 + 5 + 50 + 2) * 0.3
    assert found.reconcile_minutes == pytest.approx((5_000 * fetch_s + others_s) / 60, abs=0.01)
    # Keys are listed twice: what was written since, and the expirations to compare.
    assert found.rollback_requests == 100 + 5 + (6 + 1) + 51 + 6 + 6_000 + 1
    # The mean request takes less than a third of a second: the limiter decides.
    mean_s = (5_000 * fetch_s + (6_170 - 5_000) * 0.3) / 6_170
    assert mean_s > 300 / 900
    assert found.rollback_minutes == pytest.approx(6_170 * mean_s / 60 + 2, abs=0.01)
    line_s = found.upload_bytes * 8 / 1e8
    assert found.upload_minutes == pytest.approx((line_s + 102 * 0.3) / 60 + 2, abs=0.01)
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


def test_narrow_vectors_are_read_back_as_the_limiter_lets_them() -> None:
    """5,000 reads of 32 dimensions: five times a whole budget in five minutes, then 500 reads.

    A request counts until five minutes after its answer, so a budget is back one read later.
    """
    found = of(100_000, dimensions=32)

    fetch_s = 0.3 + 20 * (32 * 21.3 + 500) * 8 / 1e8
    assert found.content_minutes == pytest.approx(
        (5 * (300 + fetch_s) + 500 * fetch_s) / 60, abs=0.01
    )


def test_several_in_flight_share_the_line_and_not_the_waiting() -> None:
    def with_in_flight(count: int) -> Estimate:
        return estimate(
            Workload(
                vectors=10_000,
                files=0,
                dimensions=1536,
                metadata_bytes=0,
                vectors_per_upload=1000,
                body_bytes=40_000_000,
            ),
            RequestPace(
                requests_per_5min=1200,
                request_s=3.0,
                uploads_in_flight=count,
                reads_in_flight=count,
            ),
        )

    upload_line_s = with_in_flight(1).upload_bytes * 8 / 1e8
    content_line_s = 10_000 * 1536 * 21.3 * 8 / 1e8
    for count, contents_s in ((1, 1_500 + content_line_s), (4, (1_500 + content_line_s) / 4)):
        found = with_in_flight(count)
        uploads_s = max(upload_line_s, (10 * 3 + upload_line_s) / count)
        assert found.content_minutes == pytest.approx(contents_s / 60, abs=0.01)
        assert found.upload_minutes == pytest.approx((uploads_s + 3) / 60 + 2, abs=0.01)


@pytest.mark.fault("B04")
def test_a_rollback_beyond_four_hours_is_called_long() -> None:
    """At a third of a second and a little more per request, 61 requests per 1,000 vectors."""
    assert not is_long_rollback(of(675_000).rollback_minutes)
    assert is_long_rollback(of(690_000).rollback_minutes)
    assert not is_long_rollback(240.0)


def test_a_rollback_compares_with_as_many_reads_in_flight_as_a_reconcile() -> None:
    """6,170 requests of 1,536 dimensions: one by one slower than the limiter, eight at once not."""
    load = Workload(
        vectors=100_000,
        files=5_000,
        dimensions=1536,
        metadata_bytes=50_000_000,
        vectors_per_upload=1000,
        body_bytes=40_000_000,
    )

    found = estimate(load, RequestPace(requests_per_5min=900, request_s=0.3, reads_in_flight=8))

    # Six whole budgets, each back after the answer to its first request, then 770 requests.
    assert found.rollback_requests == 6 * 900 + 770
    line_s = (100_000 * 1536 * 21.3 + 50_000_000) * 8 / 1e8
    mean_s = (line_s + 1_170 * 0.3) / 6_170
    answer_s = (8 * line_s + 1_170 * 0.3) / 6_170
    expected_s = 6 * (300 + answer_s) + 770 * mean_s
    assert found.rollback_minutes == pytest.approx(expected_s / 60 + 2, abs=0.01)


def test_the_line_is_that_of_the_pace() -> None:
    def over(line_mbit_per_s: float) -> Estimate:
        load = Workload(
            vectors=1_000_000,
            files=0,
            dimensions=1536,
            metadata_bytes=0,
            vectors_per_upload=2_500,
            body_bytes=40_000_000,
        )
        pace = RequestPace(
            requests_per_5min=900, uploads_in_flight=2, line_mbit_per_s=line_mbit_per_s
        )
        return estimate(load, pace)

    slow, fast = over(100), over(400)

    # Held by the line both times; the last request writes the counter.
    assert (slow.upload_minutes - 2) / (fast.upload_minutes - 2) == pytest.approx(4, rel=0.01)
