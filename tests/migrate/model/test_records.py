"""Point ids in the source's own order."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.model.records import UINT64_MAX, UUID_MAX, PointId, PointIdType
from tests.harness.strategies import point_ids


@given(point_ids())
def test_an_id_comes_back_from_its_text_and_from_its_wire_form(point_id: PointId) -> None:
    assert point_id == PointId.from_text(point_id.text, point_id.id_type)
    assert point_id == PointId.parse(point_id.wire)


@given(st.integers(min_value=0, max_value=UUID_MAX))
def test_a_uuid_is_spelt_as_python_spells_it(number: int) -> None:
    assert PointId(1, number).text == str(uuid.UUID(int=number))


@given(st.lists(st.integers(min_value=0, max_value=UINT64_MAX), max_size=8))
def test_a_page_of_integers_is_each_of_them(numbers: list[int]) -> None:
    ids = PointId.from_numbers(numbers)

    assert ids == [PointId.parse(number) for number in numbers]
    assert {type(one) for one in ids} <= {PointId}


@pytest.mark.parametrize("wrong", [-1, UINT64_MAX + 1])
def test_a_page_of_integers_with_one_that_is_no_id_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"point id: {wrong}"):
        PointId.from_numbers([7, wrong, 8])


@given(st.lists(point_ids(), max_size=8))
def test_integers_come_first_then_uuids_each_ascending(ids: list[PointId]) -> None:
    def by_hand(point_id: PointId) -> tuple[bool, int, str]:
        is_uuid = point_id.id_type is PointIdType.UUID
        return is_uuid, 0 if is_uuid else int(point_id.text), point_id.text

    assert sorted(ids, key=by_hand) == sorted(ids)


@given(point_ids(), point_ids())
def test_no_id_lies_between_one_and_its_successor(one: PointId, other: PointId) -> None:
    following = one.successor()

    if following is None:
        assert other <= one
    else:
        assert one < following
        assert not one < other < following


def test_the_successors_at_the_ends() -> None:
    assert PointId(1, 0) == PointId(0, UINT64_MAX).successor()
    assert PointId(1, UUID_MAX).successor() is None
    assert PointId(0, 8) == PointId(0, 7).successor()
    assert PointId(1, 8) == PointId(1, 7).successor()


@pytest.mark.fault("D05")
@pytest.mark.parametrize(
    "spelling",
    [
        "6BA7B810-9DAD-11D1-80B4-00C04FD430C8",
        "6ba7b8109dad11d180b400c04fd430c8",
        "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}",
        uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    ],
)
def test_every_spelling_of_a_uuid_is_one_id(spelling: object) -> None:
    assert PointId.parse(spelling).text == "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


@pytest.mark.parametrize("raw", [True, False, -1, UINT64_MAX + 1, 1.0, None, b"1", "1", "", []])
def test_anything_else_is_no_id(raw: object) -> None:
    with pytest.raises(ValueError, match=r"point id|UUID"):
        PointId.parse(raw)


def test_an_integer_id_stays_an_integer_whatever_its_text_looks_like() -> None:
    assert PointId(0, UINT64_MAX) == PointId.from_text(str(UINT64_MAX), "uint64")
    with pytest.raises(ValueError, match="int"):
        PointId.from_text("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "uint64")
