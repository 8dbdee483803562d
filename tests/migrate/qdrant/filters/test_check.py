"""A filter is taken when each way to read a collection gives it the same meaning, else refused."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import UsageError
from migrate.mapping.value_rules import read_filter
from migrate.qdrant import filters
from migrate.qdrant.filters.check import LEVELS_MAX
from migrate.qdrant.filters.point_filter import PointFilter
from tests.harness.running.target import DIMENSIONS
from tests.harness.running.workbench import changed_point, points
from tests.migrate.qdrant.sources import part
from tests.servers.qdrant_points import StoredCollection

TENANT: dict[str, Any] = {"key": "tenant", "match": {"value": "a"}}
POINT = {"lat": 52.5, "lon": 13.4}
BOX = {"top_left": POINT, "bottom_right": {"lat": 52.4, "lon": 13.5}}
RING = {"points": [POINT, {"lat": 52.6, "lon": 13.4}, {"lat": 52.5, "lon": 13.6}, POINT]}

TAKEN: list[dict[str, Any]] = [
    {"must": [TENANT]},
    {"must": TENANT},
    {"must_not": [{"key": "n", "match": {"any": [1, 2]}}]},
    {"should": [{"key": "n", "match": {"except": ["x"]}}, {"key": "b", "match": {"value": True}}]},
    {"min_should": {"conditions": [TENANT, {"is_null": {"key": "n"}}], "min_count": 1}},
    {"must": [{"should": [TENANT], "must_not": [{"is_empty": {"key": "n"}}]}]},
    {"must": [{"key": "n", "range": {"gte": 1, "lt": 2.5}}]},
    {"must": [{"key": "at", "range": {"gte": "2026-01-01T00:00:00Z"}}]},
    {"must": [{"key": "chunks[].n", "values_count": {"gt": 1}}]},
    {"must": [{"key": "n", "is_empty": True}, {"key": "n", "is_null": False, "match": None}]},
    {"must": [{"nested": {"key": "chunks", "filter": {"must": [TENANT]}}}]},
    {"must": [{"has_id": [1, "0b0e6c1e-5c3e-5a3e-9c5e-2a1b3c4d5e6f"]}, {"has_vector": ""}]},
    {"must": [{"key": "text", "match": {kind: "a b"}} for kind in ("text", "text_any", "phrase")]},
    {"must": [{"key": "text", "match": {kind: "a"}} for kind in ("prefix", "substring")]},
    {"must": [{"key": "at", "geo_bounding_box": BOX}]},
    {"must": [{"key": "at", "geo_radius": {"center": POINT, "radius": 10.0}}]},
    {"must": [{"key": "at", "geo_polygon": {"exterior": RING, "interiors": [RING]}}]},
]

REFUSED: list[tuple[object, str]] = [
    ({"mast": [TENANT]}, "at its top"),
    ({"must": [{"key": "tenant", "mach": {"value": "a"}}]}, r"at must\[0\] .* not no test"),
    ({"must": [TENANT, {**TENANT, "range": {"gt": 1}}]}, r"at must\[1\].* not match and range"),
    ({"must": [{**TENANT, "note": "x"}]}, "note: Extra inputs are not permitted"),
    ({"must": [{"key": "n", "match": {"value": 1.5}}]}, "at must"),
    ({"must": [{"key": "n", "range": {"gte": "soon"}}]}, "at must"),
    ({"must": [{"slice": {"total": 2, "index": 0}}]}, "at must"),
    ({"must": [7]}, "found 7"),
    ({"must": [{}]}, "found {}"),
    ({"should": [{"must": [{"key": "n"}]}]}, r"at should\[0\]\.must\[0\]"),
    ({"must": [{"nested": {"key": "n"}}]}, "expected key and filter"),
    ({"must": [{"nested": {"key": 1, "filter": {}}}]}, "the name of a field"),
    ({"min_should": {"conditions": [TENANT]}}, "expected conditions and min_count"),
    ({"min_should": {"conditions": [TENANT], "min_count": True}}, "a whole number"),
    ({"must": [{"has_id": [2**64]}]}, "found the number 18446744073709551616"),
    ({"must": [{"key": "n", "match": {"value": -(2**63) - 1}}]}, "at most 64 bits"),
    ({}, "expected a filter of Qdrant"),
    ([TENANT], "expected a filter of Qdrant"),
]


@pytest.mark.parametrize("members", TAKEN, ids=json.dumps)
def test_every_condition_reaches_both_protocols_and_the_engine(members: dict[str, Any]) -> None:
    taken = filters.parse_filter(json.dumps(members))

    assert taken.members == members
    assert filters.encode_for_grpc(taken).ByteSize()
    assert "Filter(" in repr(filters.encode_for_engine(taken))


@pytest.mark.fault("M15")
@pytest.mark.parametrize(("members", "where"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_what_is_no_filter_is_refused_with_its_place(members: object, where: str) -> None:
    with pytest.raises(UsageError, match=where) as refused:
        filters.parse_filter(json.dumps(members))

    assert str(refused.value).startswith("source.filter: ")


def within(form: str, times: int) -> str:
    """A filter within others; `form` has its place."""
    text = json.dumps({"must": [TENANT]})
    for _ in range(times):
        text = form.replace("%s", text)
    return text


DEEP = (
    ('{"must":[%s]}', LEVELS_MAX // 2 - 2),
    ('{"must":[{"nested":{"key":"parts[]","filter":%s}}]}', LEVELS_MAX // 4 - 1),
)


@pytest.mark.parametrize("form", DEEP, ids=["clauses", "nested"])
@pytest.mark.parametrize("way", ["rest", "grpc", "folder", "local"])
def test_the_deepest_filter_is_read_in_every_way(
    way: str, form: tuple[str, int], tmp_path: Path
) -> None:
    stored = [changed_point(one, tenant="a") for one in points(2)]
    collection = StoredCollection(points=stored, vectors={"size": DIMENSIONS, "distance": "Dot"})
    deepest = filters.parse_filter(within(*form))
    found = 0 if "nested" in form[0] else len(stored)

    with part(way, collection, tmp_path, deepest) as source:
        assert source.count_points() == found


@pytest.mark.fault("M15")
def test_a_text_that_is_no_json_or_says_one_member_twice_is_refused() -> None:
    for text, said in (
        ("tenant = a", "found no JSON"),
        ('{"must": [], "must": []}', "found the member 'must' twice"),
        ('{"must":' * 5_000 + "[]" + "}" * 5_000, "nested too deeply"),
        (within('{"must":[%s]}', LEVELS_MAX // 2), "more than 90 levels of objects and lists"),
        (within('{"must":[%s]}', 300), "more than 90 levels of objects and lists"),
        ('{"must": [{"key": "n", "range": {"gt": NaN}}]}', "found NaN, which is no JSON"),
        ('{"must": [{"key": "n", "range": {"gt": 1e999}}]}', "found a number that is not finite"),
        (f'{{"must": [{{"has_id": [{"9" * 5_000}]}}]}}', "found a number of 5,000 digits"),
    ):
        with pytest.raises(UsageError, match=said):
            filters.parse_filter(text)


@pytest.mark.fault("M15")
@pytest.mark.parametrize("encode", [filters.encode_for_grpc, filters.encode_for_engine])
def test_a_number_that_one_way_cannot_carry_is_refused_by_it(encode: Any) -> None:
    wanted = PointFilter('{"must":[{"key":"n","match":{"value":99999999999999999999}}]}')

    with pytest.raises(UsageError, match=r"source\.filter is"):
        encode(wanted)


def test_equal_filters_have_one_text() -> None:
    texts = [
        '{"must": [{"key": "tenant", "match": {"value": "Zürich"}}]}',
        '{ "must":\n[{"match": {"value": "Z\\u00fcrich"}, "key": "tenant"}] }',
    ]

    assert len({filters.parse_filter(text) for text in texts}) == 1
    assert "Zürich" in filters.parse_filter(texts[0]).text


def test_a_filter_may_stand_in_the_settings_file_as_a_table_with_times() -> None:
    document = tomllib.loads(
        "[source.filter]\n"
        'must = [{ key = "at", range = { gte = 2026-01-01T00:00:00Z } }, { is_null.key = "n" }]'
    )

    found = read_filter(document["source"]["filter"])

    assert found is not None
    filters.parse_filter(found)
    assert json.loads(found)["must"][0]["range"]["gte"] == "2026-01-01T00:00:00+00:00"
