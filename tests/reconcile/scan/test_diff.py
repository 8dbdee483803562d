"""The differences of two streams, compared with those of plain dictionaries."""

from typing import assert_never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.model.records import PointId, VectorId
from reconcile.diff import Drift, DriftKind, diff_contents, diff_sorted
from tests.harness.strategies import point_ids

digests = st.sampled_from([b"a", b"b"])
streams = st.dictionaries(point_ids() | st.integers(0, 9).map(lambda n: PointId(0, n)), digests)


def by_hand(expected: dict[PointId, bytes], found: dict[PointId, bytes]) -> list[Drift[PointId]]:
    drift = []
    for key in sorted(expected | found):
        if key not in found:
            drift.append(Drift(key, DriftKind.MISSING))
        elif key not in expected:
            drift.append(Drift(key, DriftKind.EXTRA))
        elif expected[key] != found[key]:
            drift.append(Drift(key, DriftKind.MISMATCHED))
    return drift


@pytest.mark.fault("R01", "I6")
@given(streams, streams)
def test_two_streams_differ_as_two_dictionaries_do(
    expected: dict[PointId, bytes], found: dict[PointId, bytes]
) -> None:
    drift = list(diff_sorted(sorted(expected.items()), sorted(found.items())))

    assert drift == by_hand(expected, found)


@pytest.mark.fault("R03")
@given(streams)
def test_equal_streams_give_nothing(stream: dict[PointId, bytes]) -> None:
    both = sorted(stream.items())

    assert list(diff_sorted(both, iter(both))) == []


@pytest.mark.fault("R01")
@given(st.dictionaries(st.integers(0, 99), digests, min_size=1), st.data())
def test_one_planted_difference_is_found_as_exactly_that(
    stream: dict[int, bytes], data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(stream)))
    kind = data.draw(st.sampled_from(["missing", "extra", "mismatched"]).map(DriftKind))
    expected, found = dict(stream), dict(stream)
    match kind:
        case DriftKind.MISSING:
            del found[key]
        case DriftKind.EXTRA:
            del expected[key]
        case DriftKind.MISMATCHED:
            found[key] = b"other"
        case DriftKind.UNREADABLE:
            raise AssertionError
        case _:
            assert_never(kind)

    drift = list(diff_sorted(sorted(expected.items()), sorted(found.items())))
    assert drift == [Drift(key, kind)]


@pytest.mark.fault("R02")
def test_swapped_contents_are_two_mismatches() -> None:
    drift = list(diff_sorted([("a", b"1"), ("b", b"2")], [("a", b"2"), ("b", b"1")]))

    assert drift == [Drift("a", DriftKind.MISMATCHED), Drift("b", DriftKind.MISMATCHED)]


@pytest.mark.parametrize(
    ("expected", "found", "kinds"),
    [
        ([], [], []),
        (["a"], [], ["missing"]),
        ([], ["a"], ["extra"]),
        (["a"], ["b"], ["missing", "extra"]),
        (["b"], ["a"], ["extra", "missing"]),
        (["a", "c"], ["b"], ["missing", "extra", "missing"]),
    ],
)
def test_differences_come_in_the_order_of_the_keys(
    expected: list[str], found: list[str], kinds: list[str]
) -> None:
    drift = list(diff_sorted([(key, b"") for key in expected], [(key, b"") for key in found]))

    assert [one.kind for one in drift] == kinds
    assert [one.key for one in drift] == sorted(expected + found)


@pytest.mark.fault("I6", "R07")
def test_what_could_not_be_read_is_neither_equal_nor_different() -> None:
    ids = [VectorId(name) for name in ("same", "other", "garbled", "withheld")]
    expected = dict.fromkeys(ids, b"1")
    found = {ids[0]: b"1", ids[1]: b"2", ids[2]: None, VectorId("foreign"): b"1"}

    assert diff_contents(expected, found) == {
        "other": DriftKind.MISMATCHED,
        "garbled": DriftKind.UNREADABLE,
        "withheld": DriftKind.UNREADABLE,
    }


def test_the_symbols_are_those_of_rclone() -> None:
    assert "".join(kind.symbol for kind in DriftKind) == "+-*!"
