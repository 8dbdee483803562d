"""How many points a page is asked to hold."""

from hypothesis import given
from hypothesis import strategies as st

from migrate.model.records import VectorKind, VectorSpec
from migrate.qdrant.paging import PAGE_BYTES, PageSize, estimate_point_bytes


def spec(kind: VectorKind, dimensions: int | None) -> VectorSpec:
    return VectorSpec(name="", kind=kind, dimensions=dimensions, distance=None, datatype="float32")


def test_the_first_page_fits_the_dimensions() -> None:
    dense = estimate_point_bytes([spec(VectorKind.DENSE, 3072)], value_bytes=4)

    assert 250 < PageSize(point_bytes=dense).points(1_000_000) < 350


def test_a_wish_is_never_exceeded() -> None:
    assert PageSize(point_bytes=1).points(7) == 7


def test_pages_follow_the_size_of_the_answers() -> None:
    size = PageSize(point_bytes=1000)

    size.learn(1000, 1000 * 100_000)

    assert size.points(10_000) == PAGE_BYTES // 100_000


def test_what_was_refused_is_never_asked_for_again() -> None:
    size = PageSize(point_bytes=1000)
    size.refuse(100)

    for _ in range(50):
        size.learn(50, 50)

    assert size.points(10_000) == 50


def test_what_was_late_is_approached_again_slowly() -> None:
    size = PageSize(point_bytes=1000)
    size.halve(100)
    assert size.points(10_000) == 50

    size.learn(50, 50_000)

    assert size.points(10_000) == 56


@given(
    st.lists(
        st.tuples(st.sampled_from(["learn", "halve", "refuse"]), st.integers(0, 10**9)), max_size=50
    )
)
def test_a_page_always_asks_for_something(steps: list[tuple[str, int]]) -> None:
    size = PageSize(point_bytes=3000)
    for step, number in steps:
        asked = size.points(1000)
        assert 1 <= asked <= 1000
        match step:
            case "learn":
                size.learn(asked, number)
            case "halve":
                size.halve(asked)
            case _:
                size.refuse(asked)
