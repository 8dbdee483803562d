"""Pages are cut without losing or mixing rows."""

from hypothesis import given
from hypothesis import strategies as st

from migrate.model.digest import digest_points
from migrate.model.pages import take_before, take_rows
from migrate.model.records import Page, PointId
from tests.harness.strategies import pages, point_ids


@given(pages(), st.integers(0, 7), st.integers(0, 7))
def test_rows_keep_everything_that_is_theirs(page: Page, start: int, end: int) -> None:
    cut = take_rows(page, start, end)

    assert page.ids[start:end] == cut.ids
    assert digest_points(page)[start:end] == digest_points(cut)


@given(pages(), st.none() | point_ids())
def test_the_rows_before_an_id(page: Page, stop: PointId | None) -> None:
    cut = take_before(page, stop)

    assert [one for one in page.ids if stop is None or one < stop] == list(cut.ids)
