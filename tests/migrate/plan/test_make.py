"""The plan finds over the whole set what would make the target refuse a vector."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.errors import ExitCode, PreconditionError, QuarantineExceededError
from migrate.mapping.payload import Reason
from migrate.mapping.rules import MappingRules, WriteRules
from migrate.mapping.values import ValueRules
from migrate.model.canonical import encode_canonical_json
from migrate.model.digest import digest_vectors
from migrate.model.pages import take_rows
from migrate.model.records import DenseColumn, Page, PointId, VectorId
from migrate.plan import make
from migrate.plan.make import PlanFindings, check_points
from migrate.plan.rules import PlanRules
from migrate.tables.plan_ids import FileGap, IdTable
from migrate.upload.mapped import read_mapped
from tests.harness.fakes.memory_source import MemorySource, chunk_payloads, page_of, take_and_open
from tests.harness.fakes.silence import Silence
from tests.harness.strategies import HASH, RULES
from tests.harness.tiers import examples

VALUES = ValueRules(
    vector_name="", source_dimensions=4, dimensions=4, reduce="none", metric="cosine"
)


def chunk(file: str, number: int, **more: object) -> dict[str, object]:
    return {"file_id": file, "chunk_index": number, "chunk_hash": HASH, **more}


def pages_of(points: dict[int, dict[str, object]], page_points: int) -> Iterator[Page]:
    page = page_of(points, [PointId(0, number) for number in sorted(points)])
    for start in range(0, len(page), page_points):
        yield take_rows(page, start, start + page_points)


def rules_of(
    mapping: MappingRules,
    *,
    body_bytes: int = 100_000,
    max_quarantine: int | None = None,
    indexes: Mapping[str, str] | None = None,
    counter_key: str = "_vector_count",
) -> PlanRules:
    return PlanRules(
        mapping=mapping,
        writes=WriteRules(
            vectors_per_upload=1_000, body_bytes=body_bytes, counter_key=counter_key, ttl_s=None
        ),
        max_quarantine=max_quarantine,
        metadata_indexes=indexes or {},
    )


def find(
    points: dict[int, dict[str, object]],
    folder: Path,
    *,
    page_points: int = 2,
    mapping: MappingRules = RULES,
    max_quarantine: int | None = None,
    body_bytes: int = 100_000,
    indexes: Mapping[str, str] | None = None,
    counter_key: str = "_vector_count",
) -> PlanFindings:
    with IdTable(folder / "spill") as table:
        return check_points(
            pages_of(points, page_points),
            VALUES,
            rules_of(
                mapping,
                body_bytes=body_bytes,
                max_quarantine=max_quarantine,
                indexes=indexes or {},
                counter_key=counter_key,
            ),
            table,
            Silence(),
            points=len(points),
        )


def reasons(findings: PlanFindings) -> dict[int, Reason]:
    return {point.row: point.outcome.reason for point in findings.quarantined_points}


def test_good_points_all_move(tmp_path: Path) -> None:
    findings = find(chunk_payloads(23), tmp_path)

    assert (findings.points, findings.vectors, findings.files) == (23, 23, 5)
    assert (findings.quarantined, findings.gaps, findings.changes) == ({}, (), {})
    assert findings.metadata_bytes > 0
    assert list(tmp_path.iterdir()) == []
    findings.check_quarantine()


def same_values(number: int) -> int:
    """Ids whose values are equal: 97 and 13 apart."""
    return 1 + number * 97 * 13


@pytest.mark.fault("D05")
@pytest.mark.parametrize("page_points", [1, 2, 1000])
def test_of_identical_points_the_first_moves(tmp_path: Path, page_points: int) -> None:
    points = {same_values(number): chunk("f", 0) for number in range(3)}
    points[same_values(9)] = chunk("f", 1)
    findings = find(points, tmp_path, page_points=page_points)

    assert reasons(findings) == {1: Reason.DUPLICATE, 2: Reason.DUPLICATE}
    assert (findings.vectors, findings.gaps) == (2, ())
    assert [point.point_id.number for point in findings.quarantined_points] == [
        same_values(1),
        same_values(2),
    ]
    assert "first used by row 0" in findings.quarantined_points[0].outcome.detail


@pytest.mark.fault("D05")
@pytest.mark.parametrize("page_points", [1, 2, 1000])
@pytest.mark.parametrize("other", [{"page": 1}, {"chunk_hash": "f" * 64}, {"shift": 1}])
def test_of_different_points_with_one_id_none_moves(
    tmp_path: Path, page_points: int, other: dict[str, object]
) -> None:
    points = {same_values(number): chunk("f", 0) for number in range(2)}
    points[same_values(2)] = {**chunk("f", 0), **other}
    points[same_values(3)] = chunk("f", 1)
    findings = find(points, tmp_path, page_points=page_points)

    assert reasons(findings) == dict.fromkeys(range(3), Reason.ID_CONFLICT)
    assert findings.vectors == 1
    assert findings.gaps == (FileGap("f", 1, 1, 1),)


NUMBERS = [0.0, -0.0, 1.5, 7.038530691851209e-26, 7.038531308148791e-26]
FIELDS = [0, 0.0, -0.0, 1, "0"]


@pytest.mark.fault("D05", "F24")
def test_what_digests_call_equal_is_no_conflict(tmp_path: Path) -> None:
    """One rule for both: the sign of a zero is no difference, in values and in metadata."""
    ones = list(product(NUMBERS, FIELDS))
    pairs = list(product(ones, ones))  # two points each, with one target id
    rows = [(id_, *one) for id_, pair in enumerate(pairs) for one in pair]
    values = np.full((len(rows), 4), 0.5, np.float32)
    values[:, 1] = [number for _, number, _ in rows]
    payloads = [encode_canonical_json(chunk("f", id_, n=field)) for id_, _, field in rows]
    page = Page(
        ids=tuple(PointId(0, row) for row in range(len(rows))),
        payloads=tuple(payloads),
        vectors={"": DenseColumn(values, np.ones(len(rows), np.bool_))},
        irregular=(None,) * len(rows),
    )
    digests = digest_vectors([f"f_{id_}" for id_, _, _ in rows], values, payloads)
    with IdTable(tmp_path / "spill") as table:
        findings = check_points(
            [page],
            VALUES,
            rules_of(
                RULES,
                body_bytes=100_000,
                max_quarantine=len(rows),
                indexes={},
                counter_key="_vector_count",
            ),
            table,
            Silence(),
            points=len(rows),
        )

    found = reasons(findings)
    for id_, ((number, field), (other_number, other_field)) in enumerate(pairs):
        first, second = 2 * id_, 2 * id_ + 1
        equal = digests[first] == digests[second]
        assert equal == (same(number, other_number) and same(field, other_field))
        assert (found.get(first), found.get(second)) == (
            (None, Reason.DUPLICATE) if equal else (Reason.ID_CONFLICT, Reason.ID_CONFLICT)
        )


def same(one: object, other: object) -> bool:
    """As numbers are; the two that text could not tell apart count as one."""
    return one == other or {one, other} == set(NUMBERS[-2:])


@pytest.mark.fault("D05", "I5")
def test_the_table_holds_what_moves_in_the_end_and_nothing_else(tmp_path: Path) -> None:
    points = {same_values(number): chunk("f", 0) for number in range(2)}  # the first moves
    points |= {same_values(2 + n): {**chunk("g", 0), "page": n} for n in range(2)}  # none does
    points |= {same_values(4): {"file_id": "h"}, same_values(5): chunk("h", 3)}
    with IdTable(tmp_path / "spill") as table:
        findings = check_points(
            pages_of(points, 2),
            VALUES,
            rules_of(
                RULES,
                body_bytes=100_000,
                max_quarantine=None,
                indexes={},
                counter_key="_vector_count",
            ),
            table,
            Silence(),
            points=len(points),
        )
        left = [row for some in table.targets() for row in some.to_pylist()]

    assert [(row["row"], row["vector_id"], row["file"], row["position"]) for row in left] == [
        (0, "f_0", "f", 0),
        (5, "h_3", "h", 3),
    ]
    assert findings.vectors == len(left)
    assert len({row["digest"] for row in left}) == len(left)
    assert {len(row["digest"]) for row in left} == {32}


@pytest.mark.fault("D05")
def test_ids_that_only_look_alike_are_two(tmp_path: Path) -> None:
    names = ["a", "A", "\u00e9", "e\u0301"]
    points = {number: chunk(name, 0) for number, name in enumerate(names)}

    assert find(points, tmp_path).vectors == len(names)


@pytest.mark.slow
@pytest.mark.fault("I1", "D05")
@given(
    st.lists(
        st.tuples(st.sampled_from(["f", "g", 5]), st.integers(0, 2), st.integers(0, 1)),
        max_size=12,
    ),
    st.integers(1, 5),
)
@settings(max_examples=examples(15))
def test_each_point_moves_or_stays_for_one_reason_whatever_the_pages(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str | int, int, int]],
    page_points: int,
) -> None:
    points = {
        same_values(row): {**chunk("", number, shift=shift), "file_id": file}
        for row, (file, number, shift) in enumerate(rows)
    }
    findings = find(points, tmp_path_factory.mktemp("plan"), page_points=page_points)
    other = find(points, tmp_path_factory.mktemp("plan"), page_points=1000)

    expected: dict[int, Reason] = {}
    for row, (file, number, shift) in enumerate(rows):
        alike = [at for at, one in enumerate(rows) if one[:2] == (file, number)]
        if file == 5:
            expected[row] = Reason.FIELD_TYPE
        elif {rows[at][2] for at in alike} != {shift}:
            expected[row] = Reason.ID_CONFLICT
        elif row != alike[0]:
            expected[row] = Reason.DUPLICATE
    assert findings == other
    assert reasons(findings) == dict(list(expected.items())[: findings.quarantine_cap + 1])
    assert findings.vectors + sum(findings.quarantined.values()) == findings.points == len(rows)
    assert sum(findings.quarantined.values()) == len(expected)


@pytest.mark.fault("D12")
def test_files_with_gaps_and_repeats_are_named(tmp_path: Path) -> None:
    by_point = MappingRules(
        id_template="{point_id}",
        group_key="file_id",
        order_key="chunk_index",
        hash_key="",
        key_template="file:{file_id}",
        nulls="quarantine",
        truncate_field=None,
    )
    numbers = {"good": [1, 0, 2], "gap": [0, 2], "late": [1, 2], "twice": [0, 1, 1]}
    points = {
        number: chunk(file, position)
        for number, (file, position) in enumerate(
            (file, position) for file, some in numbers.items() for position in some
        )
    }
    findings = find(points, tmp_path, mapping=by_point)

    assert findings.gaps == (
        FileGap("gap", 2, 0, 2),
        FileGap("late", 2, 1, 2),
        FileGap("twice", 3, 0, 1),
    )
    many = {number: chunk(f"f{number:02d}", 1) for number in range(25)}
    assert (
        find(many, tmp_path).files_with_gaps,
        len(find(many, tmp_path).gaps),
    ) == (25, 20)


@pytest.mark.fault("D04")
@pytest.mark.parametrize(("bad", "cap", "allowed"), [(10, None, True), (11, None, False)])
def test_the_quarantine_has_a_cap(
    tmp_path: Path, bad: int, cap: int | None, *, allowed: bool
) -> None:
    points = {**chunk_payloads(50), **{1000 + number: chunk("", 0) for number in range(bad)}}
    findings = find(points, tmp_path, max_quarantine=cap)

    assert findings.quarantined == {"field_range": bad}
    if allowed:
        findings.check_quarantine()
        return
    with pytest.raises(QuarantineExceededError, match=r"11 of 61 .* \(field_range 11\)") as caught:
        findings.check_quarantine()
    assert caught.value.exit_code == ExitCode.QUARANTINED


@pytest.mark.parametrize(("cap", "listed"), [(0, 1), (4, 5), (5, 6), (6, 6), (100, 6)])
def test_the_list_ends_one_after_the_cap_and_the_count_does_not(
    tmp_path: Path, cap: int, listed: int
) -> None:
    findings = find({number: {} for number in range(6)}, tmp_path, max_quarantine=cap)

    assert len(findings.quarantined_points) == listed
    assert findings.quarantined == {"field_missing": 6}
    assert findings.quarantine_cap == cap


@pytest.mark.fault("U10")
def test_long_indexed_text_is_counted(tmp_path: Path) -> None:
    points = {
        1: chunk("f", 0, tag="x" * 64, other=5),
        2: chunk("f", 1, tag="x" * 65),
        3: chunk("f", 2, tag="é" * 33),
        4: chunk("f", 3),
    }
    findings = find(points, tmp_path, indexes={"tag": "string", "other": "string"})

    assert findings.long_indexed == {"tag": 2}


@pytest.mark.fault("P04", "I1")
@pytest.mark.parametrize("collide", ["duplicate", "id_conflict", "kv_value"])
def test_the_figures_of_the_plan_are_of_what_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collide: str
) -> None:
    """Bytes, changes, long texts and wrong hashes of points that are left out are not in them."""
    rules = replace(RULES, nulls="leave_out", hash_of="text")
    odd: dict[str, object] = {"tag": "x" * 65, "gone": None, "text": "not what was hashed"}
    good = {same_values(5): chunk("f", 1, **odd)}
    alone = find(good, tmp_path, mapping=rules, indexes={"tag": "string"})
    points = {**good, same_values(0): chunk("a", 0, **odd)}
    expected = 1
    if collide == "duplicate":
        points[same_values(1)] = points[same_values(0)]
        expected = 2
    elif collide == "id_conflict":
        points[same_values(1)] = {**points[same_values(0)], "page": 5}
    else:
        points = {**good, same_values(0): chunk("a" * 30, 0, **odd)}
        monkeypatch.setattr(make, "KV_VALUE_BYTES_MAX", 20)
    findings = find(points, tmp_path, mapping=rules, indexes={"tag": "string"})

    assert set(findings.quarantined) == {collide}
    assert findings.vectors == expected
    assert findings.metadata_bytes == expected * alone.metadata_bytes
    assert findings.changes == {"null_left_out:gone": expected}
    assert findings.long_indexed == {"tag": expected}
    assert findings.hash_mismatches == expected


@pytest.mark.fault("N17")
def test_a_vector_that_no_upload_holds_stays_behind(tmp_path: Path) -> None:
    points = {1: chunk("f", 0), 2: chunk("f", 1, text="x" * 2_000)}

    assert find(points, tmp_path, body_bytes=3_000).quarantined == {}
    assert reasons(find(points, tmp_path, body_bytes=1_000)) == {1: Reason.UPLOAD_TOO_LARGE}


@pytest.mark.fault("K06")
def test_a_file_too_large_for_its_value_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = {
        **{number: chunk("big", number) for number in range(1, 6)},
        **{10 + number: chunk("ok", number) for number in range(2)},
    }
    exactly = len('["big_1","big_2","big_3","big_4","big_5"]')
    monkeypatch.setattr(make, "KV_VALUE_BYTES_MAX", exactly)
    assert find(points, tmp_path).vectors == 7
    monkeypatch.setattr(make, "KV_VALUE_BYTES_MAX", exactly - 1)
    findings = find(points, tmp_path)

    assert (findings.vectors, findings.files) == (2, 1)
    assert reasons(findings) == dict.fromkeys(range(5), Reason.KV_VALUE)


@pytest.mark.fault("I5")
def test_what_moves_reads_the_same_in_whatever_pieces(tmp_path: Path) -> None:
    points = chunk_payloads(23)
    taken = take_and_open(MemorySource(points), tmp_path)
    excluded = {3, 22}
    whole = list(read_mapped(taken, RULES, VALUES, excluded))
    some = list(read_mapped(taken, RULES, VALUES, excluded, first_row=2, end_row=9))
    single = list(read_mapped(taken, RULES, VALUES, excluded, first_row=5, end_row=6))

    assert [row for rows in whole for row in rows.rows] == [
        row for row in range(23) if row not in excluded
    ]
    assert [row for rows in some for row in rows.rows] == [2, 4, 5, 6, 7, 8]
    (one,) = single
    assert (one.rows, one.ids, one.files, one.positions) == ((5,), ("file-0_1",), ("file-0",), (1,))
    column = page_of(points, [PointId(0, 60)]).vectors[""]
    assert isinstance(column, DenseColumn)
    assert one.values.tolist() == column.values.tolist()
    assert VectorId("file-0_1") in {name for rows in whole for name in rows.ids}


@pytest.mark.fault("F20")
@pytest.mark.parametrize(
    ("template", "counter_key", "collides"),
    [
        ("file:{file_id}", "file:b", "b"),
        ("{file_id}", "b", "b"),
        ("{file_id}:ids", "b:ids", "b"),
        ("file:{file_id}", "file:c", None),  # only points that are left out have this file
        ("file:{file_id}", "file:", None),
        ("file:{file_id}", "_vector_count", None),
        ("xx{file_id}xx", "xxx", None),
    ],
)
def test_a_file_with_the_key_of_the_counter_is_found_over_all_files(
    tmp_path: Path, template: str, counter_key: str, collides: str | None
) -> None:
    points = {0: chunk("a", 0), 1: chunk("b", 0), 2: {**chunk("c", 0), "chunk_hash": "no"}}
    rules = replace(RULES, key_template=template)
    findings = find(points, tmp_path, mapping=rules, counter_key=counter_key)

    assert findings.counter_file == collides
    if collides is None:
        findings.check_counter_key(counter_key)
    else:
        with pytest.raises(PreconditionError, match=r"'b'.*kv\.counter_key"):
            findings.check_counter_key(counter_key)


@pytest.mark.fault("F20")
def test_without_a_file_index_no_file_has_a_key(tmp_path: Path) -> None:
    rules = replace(RULES, group_key="")

    assert find({0: chunk("b", 0)}, tmp_path, mapping=rules, counter_key="b").counter_file is None


@pytest.mark.fault("F03")
def test_the_types_of_every_declared_property_are_counted_over_what_moves(tmp_path: Path) -> None:
    owner = {"owner": {"name": "o"}}
    points = {
        0: chunk("a", 0, page=1, **owner),
        1: chunk("a", 1, page="2", ok=True),
        2: chunk("a", 2, page=2.5, owner="o"),
        3: chunk("a", 3, page=["3"], ok="true"),
        4: chunk("a", 4, page=False, **owner),
        5: {**chunk("a", 5, page="stays"), "chunk_hash": "no"},  # it does not move
    }
    indexes = {"page": "number", "ok": "boolean", "owner.name": "string", "no": "string"}
    findings = find(points, tmp_path, indexes=indexes)

    assert {one.name: one.found for one in findings.property_types} == {
        "page": {"number": 2, "string": 1, "list or object": 1, "boolean": 1},
        "ok": {"boolean": 1, "string": 1, "missing": 3},
        "owner.name": {"string": 2, "missing": 3},
        "no": {"missing": 5},
    }
    assert {one.name: one.declared for one in findings.property_types} == indexes


@pytest.mark.fault("F03")
@pytest.mark.parametrize(
    ("indexes", "chosen", "refused"),
    [
        ({"page": "string"}, False, False),
        ({"page": "number"}, False, True),  # texts where numbers are declared: no filter finds any
        ({"page": "boolean", "file_id": "string"}, True, True),
        ({"mixed": "number"}, True, False),  # some are found: counted, not refused
        ({"none": "string"}, False, False),  # the default index may be of no use
        ({"none": "string"}, True, True),  # a name that was typed has to be in some vector
        ({}, True, False),
    ],
)
def test_an_index_with_which_no_filter_finds_anything_is_refused(
    tmp_path: Path, indexes: dict[str, str], chosen: bool, refused: bool
) -> None:
    points = {number: chunk("a", number, page="7", mixed=(1, "x")[number]) for number in range(2)}
    findings = find(points, tmp_path, indexes=indexes)
    if not refused:
        findings.check_property_types(chosen=chosen)
        return
    with pytest.raises(PreconditionError) as error:
        findings.check_property_types(chosen=chosen)

    assert "string 2" in str(error.value) or "missing 2" in str(error.value)
    assert "target.metadata_indexes" in error.value.remedy


@pytest.mark.fault("F03")
def test_an_empty_collection_says_nothing_of_types(tmp_path: Path) -> None:
    find({}, tmp_path, indexes={"page": "number"}).check_property_types(chosen=True)
