"""What is left to send: every row leaves once, comes back when refused, and no batch spans two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.run.pending import ROWS_END, PendingRows, RowRange, UploadSizes, share_out


def test_a_round_starts_with_all_rows_and_ends_behind_the_last_batch() -> None:
    pending = PendingRows()
    assert pending.ranges == [RowRange(0, ROWS_END)]
    pending.take(0, 10)

    assert pending.ranges == [RowRange(10, ROWS_END)]


def test_what_lies_before_and_behind_a_batch_stays_pending() -> None:
    """Several workers cut their batches from shares of their own."""
    pending = PendingRows()
    pending.take(20, 30)
    pending.take(0, 10)

    assert pending.ranges == [RowRange(10, 20), RowRange(30, ROWS_END)]


@pytest.mark.fault("N16")
def test_halves_of_a_refused_batch_come_first_and_go_whole() -> None:
    pending = PendingRows()
    pending.take(0, 10)
    pending.put_back(0, 4, 10)
    first, second = RowRange(0, 4, whole=True), RowRange(4, 10, whole=True)
    assert pending.ranges == [first, second, RowRange(10, ROWS_END)]
    pending.take(0, 3)  # row 3 is left out: nothing of this half is left

    assert pending.ranges == [second, RowRange(10, ROWS_END)]


@pytest.mark.fault("I3")
@pytest.mark.parametrize(("first", "end"), [(0, 5), (9, 12), (5, 11), (12, 12), (13, 12)])
def test_rows_that_are_not_pending_as_one_range_are_refused(first: int, end: int) -> None:
    """Sent before, across two halves, or none at all."""
    pending = PendingRows()
    pending.take(0, 10)
    pending.put_back(0, 5, 10)
    pending.take(0, 5)

    with pytest.raises(ValueError, match="not pending"):
        pending.take(first, end)


@pytest.mark.parametrize("middle", [2, 7, 1, 8])
def test_a_middle_that_parts_nothing_is_refused(middle: int) -> None:
    with pytest.raises(ValueError, match="does not split"):
        PendingRows().put_back(2, middle, 7)


@pytest.mark.fault("I1", "N16")
@given(st.integers(1, 60), st.integers(1, 16), st.data())
def test_any_refusals_leave_each_row_sent_once_or_refused_once(
    rows: int, batch: int, data: st.DataObject
) -> None:
    pending = PendingRows()
    done: list[int] = []
    while pending.ranges and pending.ranges[0].first < rows:
        at = pending.ranges[0]
        end = min(at.end, rows) if at.whole else min(at.first + batch, rows)
        pending.take(at.first, end)
        if data.draw(st.booleans()) and end - at.first > 1:
            pending.put_back(at.first, (at.first + end) // 2, end)
        else:
            done += range(at.first, end)

    assert done == list(range(rows))


def ranges_of(lengths: list[tuple[int, bool]]) -> list[RowRange]:
    """Ranges one after the other with a row between them; some of them halves."""
    found, first = [], 0
    for length, whole in lengths:
        found.append(RowRange(first, first + length, whole=whole))
        first += length + 1
    return found


@pytest.mark.fault("I1", "I3")
@given(
    st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=6),
    st.integers(1, 5),
    st.lists(st.integers(1, 200), unique=True).map(sorted),
    st.integers(0, 200),
)
def test_shares_hold_every_pending_row_once_in_order(
    lengths: list[tuple[int, bool]], workers: int, starts: list[int], rows: int
) -> None:
    ranges = ranges_of(lengths)
    shares = share_out(ranges, rows=rows, workers=workers, starts=starts)

    given = [one for share in shares for one in share]
    pending = [row for one in ranges for row in range(one.first, min(one.end, rows))]
    assert pending == [row for one in given for row in range(one.first, one.end)]
    assert len(shares) <= workers
    uncut = {RowRange(one.first, min(one.end, rows), whole=one.whole) for one in ranges}
    assert all(one in uncut for one in given if one.whole)
    cuts = {one.end for one in given} - {one.end for one in uncut}
    assert cuts <= set(starts)


@pytest.mark.parametrize(
    ("workers", "ends"), [(1, [1_000]), (2, [500, 1_000]), (3, [300, 700, 1_000])]
)
def test_shares_are_even_to_the_size_of_a_part(workers: int, ends: list[int]) -> None:
    shares = share_out(
        [RowRange(0, ROWS_END)], rows=1_000, workers=workers, starts=range(0, 1_000, 100)
    )

    assert [share[-1].end for share in shares] == ends


def test_sizes_stay_as_planned_until_a_413_to_several_vectors() -> None:
    sizes = UploadSizes()
    sizes.note_taken(100)
    sizes.note_refused(1_000, 5, too_large=False)
    sizes.note_refused(1_000, 1, too_large=True)

    assert sizes.wanted is None


@pytest.mark.fault("N17")
@pytest.mark.parametrize(("taken", "wanted"), [(0, 400), (399, 400), (401, 401), (5_000, 5_000)])
def test_a_413_halves_the_size_and_what_was_taken_is_the_least(taken: int, wanted: int) -> None:
    sizes = UploadSizes()
    for too_large in (1_000, 800, 900):
        sizes.note_refused(too_large, 2, too_large=True)
    sizes.note_taken(taken)

    assert sizes.wanted == wanted
