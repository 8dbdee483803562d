"""Row numbers of a difference: the parent's rows with the changes applied, in id order."""

from hypothesis import given
from hypothesis import strategies as st

from migrate.model.records import PointId
from migrate.snapshot.chain.changes import Change, ChangeKind, RowMap

ID_MAX = 40


@st.composite
def _parent_and_whole(draw: st.DrawFn) -> tuple[list[int], dict[int, bool]]:
    """The parent's ids in order, and of each id of the whole whether it was written anew."""
    parent = sorted(draw(st.sets(st.integers(0, ID_MAX))))
    whole = draw(st.dictionaries(st.integers(0, ID_MAX), st.booleans()))
    return parent, {number: whole[number] or number not in parent for number in sorted(whole)}


def _changes(parent: list[int], whole: dict[int, bool]) -> list[Change]:
    found = []
    for number in sorted({*parent, *whole}):
        row = sum(known < number for known in parent)
        point_id, former = PointId(0, number), bytes(32)
        if number not in whole:
            found.append(Change(point_id, ChangeKind.DELETED, row, former))
        elif number not in parent:
            found.append(Change(point_id, ChangeKind.ADDED, row, None))
        elif whole[number]:
            found.append(Change(point_id, ChangeKind.CHANGED, row, former))
    return found


@given(_parent_and_whole())
def test_each_row_of_the_whole_lies_where_its_point_lies(
    sides: tuple[list[int], dict[int, bool]],
) -> None:
    parent, whole = sides
    own = [number for number, is_own in whole.items() if is_own]
    found = RowMap(_changes(parent, whole), parent_points=len(parent))

    places = [
        (own if stretch.is_own else parent)[stretch.origin_row + at]
        for stretch in found.stretches(0, found.points)
        for at in range(stretch.rows)
    ]

    assert places == list(whole)
    assert (found.points, found.own_rows) == (len(whole), len(own))
    assert [list(whole)[row] for row in found.rows_of_own()] == own


@given(_parent_and_whole(), st.data())
def test_a_range_of_rows_is_that_part_of_all_rows(
    sides: tuple[list[int], dict[int, bool]], data: st.DataObject
) -> None:
    parent, whole = sides
    found = RowMap(_changes(parent, whole), parent_points=len(parent))
    first = data.draw(st.integers(0, found.points))
    end = data.draw(st.integers(first, found.points))

    def rows(first_row: int, end_row: int) -> list[tuple[bool, int]]:
        return [
            (stretch.is_own, stretch.origin_row + at)
            for stretch in found.stretches(first_row, end_row)
            for at in range(stretch.rows)
        ]

    assert rows(first, end) == rows(0, found.points)[first:end]


@given(_parent_and_whole())
def test_the_parents_rows_from_one_on_begin_at_the_first_that_is_left(
    sides: tuple[list[int], dict[int, bool]],
) -> None:
    parent, whole = sides
    found = RowMap(_changes(parent, whole), parent_points=len(parent))

    for row in range(len(parent) + 1):
        left = [
            at for at, number in enumerate(whole) if number in parent[row:] and not whole[number]
        ]
        assert found.row_of_parent(row) == (left[0] if left else found.points)
