"""Counts add up to the same plan wherever pages and parts are cut, in whatever order they come."""

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.mapping.rules import WriteRules
from migrate.mapping.shards import Shards
from migrate.mapping.transforms.rules import Rename, ShardKeyField, ToText
from migrate.mapping.values import ValueRules
from migrate.model.pages import take_positions
from migrate.model.records import Page, PointId, encode_shard_key
from migrate.plan.census.counts import PointCounts
from migrate.plan.census.line_sizes import LINE_EVERY
from migrate.plan.make import PlanFindings, check_whole_set, point_rules
from migrate.plan.rules import PlanRules
from migrate.tables.plan_ids import IdTable
from tests.harness.fakes.memory_source import page_of
from tests.harness.strategies import HASH, RULES
from tests.harness.tiers import examples

VALUES = ValueRules(
    vector_name="", source_dimensions=4, dimensions=3, reduce="matryoshka", metric="cosine"
)
WRITES = WriteRules(vectors_per_upload=9, body_bytes=10**6, counter_key="_count", ttl_s=None)
PLAN_RULES = PlanRules(
    mapping=replace(
        RULES,
        transforms=(ToText((("n",),), ()), Rename(("old",), "new"), ShardKeyField("tenant")),
        shards=Shards(("first", "second"), own="first"),
        namespace="{space}",
    ),
    writes=WRITES,
    max_quarantine=2,
    metadata_indexes={"n": "string", "space": "string"},
    digests_rows=True,
)


def test_the_points_are_what_this_test_needs(tmp_path: Path) -> None:
    """Some move, some are of the other index, some stay, and every rule has examples."""
    findings, targets = whole(page(EVERY_KIND), tmp_path)

    assert findings.vectors == targets.num_rows > 3
    assert sum(findings.elsewhere.values()) > 3
    assert findings.quarantined.keys() == {
        "duplicate",
        "field_missing",
        "file_in_namespaces",
        "id_conflict",
    }
    assert [len(rule.examples) for rule in findings.transforms] == [3, 3, 3]
    assert findings.shard_keys == 2
    assert findings.line_bytes is not None


Point = tuple[int, int]  # what kind of point, and a shift of its values
# Some of them twice, and some of these with other values.
EVERY_KIND = [(kind, shift) for shift in (0, 0, 1) for kind in range(0, 64, 1 + 4 * shift)]


def payload(kind: int, shift: int) -> dict[str, object]:
    """Of 64 kinds: chunks of sixteen files; every ninth has no chunk number."""
    fields: dict[str, object] = {
        "file_id": f"file-{kind % 16}",
        "chunk_index": kind // 16,
        "chunk_hash": HASH,
        "space": f"of {kind % 32}" if kind % 16 < 8 else "of all",
        "n": kind,
        "shift": shift,
    }
    if kind % 3:
        fields["old"] = "x" * kind
    if kind % 9 == 8:
        del fields["chunk_index"]
    return fields


def page(points: Sequence[Point]) -> Page:
    """Points whose values differ by their shift alone."""
    payloads = {97 * 13 * number: payload(*point) for number, point in enumerate(points)}
    found = page_of(payloads, [PointId(0, number) for number in payloads])
    keys = tuple(encode_shard_key(("one", 2)[number % 2]) for number in range(len(points)))
    return replace(found, shard_keys=keys)


def whole(page: Page, folder: Path) -> tuple[PlanFindings, pa.Table]:
    """The plan of a page at once."""
    return add_up(page, [[range(len(page))]], folder)


def add_up(
    page: Page, parts: Sequence[Sequence[Sequence[int]]], folder: Path
) -> tuple[PlanFindings, pa.Table]:
    """The plan of parts that are mapped by themselves, each page by page, and come back pickled."""
    mapping = point_rules(PLAN_RULES, VALUES, len(page))
    total = PointCounts(mapping)
    with IdTable(folder / "spill") as table:
        for part in parts:
            counts = PointCounts(mapping)
            tables = [counts.add_page(rows, take_positions(page, rows)) for rows in part]
            back, tables = pickle.loads(pickle.dumps((counts, tables)))  # noqa: S301 - our own
            total.merge(back)
            for rows in tables:
                table.add_table(rows)
        findings = check_whole_set(total, PLAN_RULES, table, listed_max=mapping.listed_max)
        found = [*table.targets()]
        return findings, pa.concat_tables(found) if found else pa.table({})


@st.composite
def cuts(draw: st.DrawFn, rows: int) -> list[list[list[int]]]:
    """Parts of pages of rows: every row in one page, ascending there, in no order beyond it."""
    places = draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=rows, max_size=rows)
    )
    parts: dict[int, dict[int, list[int]]] = {}
    for row, (part, at) in enumerate(places):
        parts.setdefault(part, {}).setdefault(at, []).append(row)
    shuffled = draw(st.permutations(sorted(parts)))
    return [[pages for _, pages in sorted(parts[part].items())] for part in shuffled]


@pytest.mark.slow
@pytest.mark.fault("I1", "D05")
@given(
    st.lists(st.tuples(st.integers(0, 63), st.integers(0, 1)), max_size=40).flatmap(
        lambda points: st.tuples(st.just(points), cuts(len(points)))
    )
)
@settings(max_examples=examples(30))
def test_a_plan_is_the_same_wherever_pages_and_parts_are_cut(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[list[Point], list[list[list[int]]]],
) -> None:
    points, parts = drawn
    folder = tmp_path_factory.mktemp("plan")
    expected, rows = whole(page(points), folder)
    findings, other_rows = add_up(page(points), parts, folder)

    assert findings == expected
    assert other_rows.equals(rows)


def test_lines_of_a_large_set_are_measured_at_the_same_rows() -> None:
    points = [(row % 8, row % 97) for row in range(3 * LINE_EVERY)]
    whole_page = page(points)
    rules = replace(PLAN_RULES, mapping=RULES)
    one = PointCounts(point_rules(rules, VALUES, len(points)))
    two = PointCounts(point_rules(rules, VALUES, len(points)))
    rows = range(1, len(points))  # row 0 is not among them
    one.add_page(rows, take_positions(whole_page, rows))
    for start in reversed(range(1, len(points), 7)):
        some = range(start, min(start + 7, len(points)))
        two.add_page(some, take_positions(whole_page, some))

    assert one.lines == two.lines
    assert (one.lines.lines, one.lines.first_row) == (2, 1)
    mean = one.lines.mean()
    assert mean is not None
    assert mean == (one.lines.bytes + one.lines.first_bytes) / 3 == two.lines.mean()
