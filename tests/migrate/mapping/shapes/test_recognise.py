"""A shape is recognised by the fields that its writer puts into every point."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.mapping.shapes.known import SHAPES
from migrate.mapping.shapes.recognise import SamplePoint, recognise
from migrate.model.records import PointId
from tests.harness.strategies import json_values
from tests.migrate.mapping.shapes.written import WRITERS, sample, sample_of


@pytest.mark.fault("M30")
@pytest.mark.parametrize("name", WRITERS)
def test_what_a_writer_wrote_has_its_shape_and_no_other(name: str) -> None:
    found = recognise(sample_of(name))

    assert found.shape is SHAPES[name]
    assert found.counts == {name: 9}


@pytest.mark.fault("M30")
def test_the_table_names_every_shape_once_and_only_plain_is_never_recognised() -> None:
    assert [name for name, shape in SHAPES.items() if not shape.marks] == ["plain"]
    assert set(WRITERS) == set(SHAPES) - {"plain"}


@pytest.mark.fault("M30")
@pytest.mark.parametrize(
    "payload",
    [
        {"page_content": "a", "metadata": "no object"},
        {"page_content": 7, "metadata": {}},
        {"file_id": "a", "chunk_index": True, "chunk_hash": "b"},
        {"file_id": "", "chunk_index": 0, "chunk_hash": "b"},
        {"id": "a", "content": "a", "meta": {}},
        {"document": "a", "source": "b"},
        {},
    ],
    ids=str,
)
def test_a_payload_without_one_of_the_marks_has_no_shape(payload: dict[str, Any]) -> None:
    assert recognise(sample(payload)).shape is None


def test_a_text_without_metadata_is_langchains_too() -> None:
    """`add_texts` without metadata writes a null."""
    assert recognise(sample({"page_content": "a", "metadata": None})).shape is SHAPES["langchain"]


@pytest.mark.fault("M31")
@pytest.mark.parametrize(("others", "name"), [(1, "dify"), (2, None)])
def test_a_shape_is_that_of_nine_points_in_ten(others: int, name: str | None) -> None:
    points = sample_of("dify", 10 - others) + sample_of("seed", others)

    found = recognise(points)

    assert found.shape is (None if name is None else SHAPES[name])
    assert found.counts == {"dify": 10 - others, "seed": others}


def test_no_points_have_no_shape() -> None:
    assert recognise([]).shape is None


def test_the_fields_at_the_top_are_counted() -> None:
    found = recognise(sample({"a": 1, "b": 2}, {"b": None}))

    assert found.fields == {"b": 2, "a": 1}


@pytest.mark.slow
@given(st.lists(st.binary(max_size=20) | st.dictionaries(st.text(), json_values())))
def test_any_payload_can_be_looked_at(payloads: list[Any]) -> None:
    """Also one that is no JSON, or no object."""
    points = [
        SamplePoint(PointId.parse(0), one) if isinstance(one, bytes) else sample(one)[0]
        for one in payloads
    ]

    found = recognise(points)

    assert found.points == len(payloads)
    assert sum(found.counts.values()) <= len(payloads)
