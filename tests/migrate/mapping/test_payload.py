"""What a payload becomes, and every reason for which it is left out."""

import hashlib
import json
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given

from migrate.mapping.ids import hash_long_id
from migrate.mapping.payload import (
    Change,
    Mapped,
    Quarantined,
    Reason,
    encode_kv_key,
    group_value,
    map_again,
    map_payload,
    read_group,
)
from migrate.mapping.rules import MappingRules
from migrate.mapping.value_rules import template_fields
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.records import PointId
from tests.harness.strategies import HASH, RULES, json_objects, mapping_rules, payloads, point_ids

POINT = PointId(0, 7)
GOOD: dict[str, object] = {"file_id": "file-1", "chunk_index": 3, "chunk_hash": HASH}
BY_POINT = replace(RULES, id_template="{point_id}", group_key="", order_key="", hash_key="")
BY_NAME = replace(BY_POINT, id_template="{name}")
BY_FILE = replace(BY_POINT, group_key="file_id")


def map_fields(fields: dict[str, object], rules: MappingRules = RULES) -> Mapped | Quarantined:
    found = map_payload(POINT, encode_canonical_json(fields), rules)
    assert isinstance(found, Mapped | Quarantined)
    return found


def mapped(fields: dict[str, object], rules: MappingRules = RULES) -> Mapped:
    outcome = map_fields(fields, rules)
    assert isinstance(outcome, Mapped), outcome
    return outcome


def reason(fields: dict[str, object], rules: MappingRules = RULES) -> tuple[Reason, str]:
    outcome = map_fields(fields, rules)
    assert isinstance(outcome, Quarantined), outcome
    return outcome.reason, outcome.field


def test_a_good_payload_maps_to_id_file_order_and_the_same_bytes() -> None:
    outcome = mapped({**GOOD, "text": "é"})

    assert outcome == Mapped(
        vector_id=outcome.vector_id,
        group="file-1",
        order=3,
        metadata=encode_canonical_json({**GOOD, "text": "é"}),
    )
    assert outcome.vector_id == "file-1_3"


def test_without_group_order_and_hash_nothing_is_required() -> None:
    outcome = mapped({}, BY_POINT)

    assert (
        outcome.vector_id,
        outcome.group,
        outcome.order,
        outcome.metadata,
        outcome.namespace,
    ) == ("7", None, 0, b"{}", None)


@pytest.mark.fault("D04")
@pytest.mark.parametrize("field", ["file_id", "chunk_index", "chunk_hash"])
def test_a_required_field_that_is_missing_or_null(field: str) -> None:
    without = {key: value for key, value in GOOD.items() if key != field}

    assert (Reason.FIELD_MISSING, field) == reason(without)
    assert (Reason.FIELD_MISSING, field) == reason({**GOOD, field: None})


@pytest.mark.fault("D04")
@pytest.mark.parametrize("value", [1, 1.5, True, [], ["a"], {}])
@pytest.mark.parametrize("field", ["file_id", "chunk_hash"])
def test_a_text_field_of_another_type(field: str, value: object) -> None:
    assert (Reason.FIELD_TYPE, field) == reason({**GOOD, field: value})


@pytest.mark.fault("D04")
@pytest.mark.parametrize("value", ["1", 1.0, True, False, [1], {}, "", 2.0**60])
def test_a_chunk_number_that_is_no_integer(value: object) -> None:
    assert reason({**GOOD, "chunk_index": value}) == (Reason.FIELD_TYPE, "chunk_index")


@pytest.mark.fault("D04")
def test_the_range_of_a_chunk_number() -> None:
    for number in (0, 1, 2**53 - 1):
        assert number == mapped({**GOOD, "chunk_index": number}).order
    for number in (-1, 2**53, 2**53 + 1, 2**63, 2**64, 10**4000):
        assert reason({**GOOD, "chunk_index": number}) == (Reason.FIELD_RANGE, "chunk_index")


@pytest.mark.fault("D04")
@pytest.mark.parametrize("value", ["", "a" * 63, "a" * 65, "g" * 64, "é" * 64, " " + "a" * 63])
def test_a_hash_that_is_no_sha256_in_hex(value: str) -> None:
    assert reason({**GOOD, "chunk_hash": value}) == (Reason.FIELD_RANGE, "chunk_hash")
    assert mapped({**GOOD, "chunk_hash": HASH.upper()}).group == "file-1"


@pytest.mark.fault("D04")
def test_an_empty_file_id() -> None:
    assert reason({**GOOD, "file_id": ""}) == (Reason.FIELD_RANGE, "file_id")


@pytest.mark.fault("D06")
@pytest.mark.parametrize("text", ["a" * 64, "é" * 32, "🙂" * 16])
def test_an_id_of_64_bytes_passes_and_one_more_character_does_not(text: str) -> None:
    assert text == mapped({"name": text}, BY_NAME).vector_id
    assert reason({"name": text + text[0]}, BY_NAME) == (Reason.ID_TOO_LONG, "id")


@pytest.mark.fault("D06")
def test_an_empty_id_is_refused() -> None:
    assert reason({"name": ""}, BY_NAME) == (Reason.ID_TOO_LONG, "id")


@pytest.mark.fault("D04")
def test_the_parts_of_an_id_are_text_or_integers() -> None:
    assert mapped({"name": -5}, BY_NAME).vector_id == "-5"
    for value in (True, 1.0, ["a"], {"a": "b"}):
        assert reason({"name": value}, BY_NAME) == (Reason.FIELD_TYPE, "name")
    assert reason({}, BY_NAME) == (Reason.FIELD_MISSING, "name")


def test_braces_in_a_value_are_not_taken_for_a_field() -> None:
    assert mapped({"name": "{other}", "other": "x"}, BY_NAME).vector_id == "{other}"
    assert encode_kv_key("{file_id}", RULES) == "file:{file_id}"
    assert template_fields(RULES.id_template) == ("file_id", "chunk_index")


@pytest.mark.fault("D07")
@pytest.mark.parametrize("unit", ["a", "é", "🙂", '"'])
def test_metadata_of_10240_bytes_passes_and_one_more_does_not(unit: str) -> None:
    size = len(encode_canonical_json(unit)) - 2
    room = 10_240 - len(b'{"pad":"","text":""}')
    fields: dict[str, object] = {"text": unit * (room // size), "pad": "x" * (room % size)}

    assert len(mapped(fields, BY_POINT).metadata) == 10_240
    more = {**fields, "pad": f"{fields['pad']}x"}
    assert reason(more, BY_POINT) == (Reason.METADATA_TOO_LARGE, "")


@pytest.mark.fault("K05")
def test_a_kv_key_of_512_bytes_passes_and_one_more_does_not() -> None:
    name = "é" * 253 + "x"  # "file:" and 507 bytes

    assert name == mapped({"file_id": name}, BY_FILE).group
    assert reason({"file_id": name + "x"}, BY_FILE) == (Reason.KV_KEY, "kv_key")


@pytest.mark.fault("K05")
@pytest.mark.parametrize("name", [".", "..", "a b", "a\nb", "a\x00", "a\u2028b", "\u202ea", "\t"])
def test_kv_keys_that_no_path_or_list_can_carry(name: str) -> None:
    rules = replace(BY_FILE, key_template="{file_id}")

    assert reason({"file_id": name}, rules) == (Reason.KV_KEY, "kv_key")


@pytest.mark.fault("K05")
@pytest.mark.parametrize("name", ["...", "a/b", "100%", "a?b#c+d", "é", "🙂", "../../etc/passwd"])
def test_kv_keys_that_only_need_care(name: str) -> None:
    assert name == mapped({"file_id": name}, BY_FILE).group


@pytest.mark.fault("D08")
@pytest.mark.parametrize("key", ["", ".", "a.b", "a.", '"', 'a"b', "$", "$a"])
def test_keys_that_the_target_refuses(key: str) -> None:
    assert (Reason.BAD_KEY, key) == reason({key: 1}, BY_POINT)
    assert (Reason.BAD_KEY, f"outer.{key}") == reason({"outer": {key: 1}}, BY_POINT)


@pytest.mark.fault("D08")
@pytest.mark.parametrize("key", ["a$", "a b", "é", "\n", "'", "_", "-"])
def test_keys_that_only_look_odd(key: str) -> None:
    fields: dict[str, object] = {key: 1, "outer": {key: 1}}

    assert mapped(fields, BY_POINT).metadata == encode_canonical_json(fields)


@pytest.mark.fault("D09")
@pytest.mark.parametrize(
    "value",
    [
        "text",
        "",
        True,
        0,
        -0.0,
        1.5,
        1e300,
        2**53 - 1,
        -(2**53) + 1,
        [],
        ["a", ""],
        {},
        {"a": 1, "b": "x", "c": True, "d": ["y"], "e": 0.5},
    ],
)
def test_values_that_metadata_can_hold(value: object) -> None:
    assert encode_canonical_json({"a": value}) == mapped({"a": value}, BY_POINT).metadata


@pytest.mark.fault("D09")
@pytest.mark.parametrize(
    ("value", "field"),
    [
        (2**53, "a"),
        (-(2**53), "a"),
        (2**53 + 1, "a"),
        (2**64 - 1, "a"),
        (2**64, "a"),
        (10**4000, "a"),
        ([1], "a"),
        (["x", 1], "a"),
        (["x", None], "a"),
        ([["x"]], "a"),
        ([{}], "a"),
        ({"b": {}}, "a.b"),
        ({"b": {"c": 1}}, "a.b"),
        ({"b": None}, "a.b"),
        ({"b": [1]}, "a.b"),
        ({"b": 2**53}, "a.b"),
    ],
)
def test_values_that_metadata_cannot_hold(value: object, field: str) -> None:
    for rules in (BY_POINT, replace(BY_POINT, nulls="leave_out")):
        assert (Reason.UNREPRESENTABLE, field) == reason({"a": value}, rules)


@pytest.mark.fault("D09")
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b'"x"',
        b"{",
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000,
        b'{"a":"\xff"}',
    ],
)
def test_payloads_that_are_no_json_object(payload: bytes) -> None:
    outcome = map_payload(POINT, payload, BY_POINT)

    assert isinstance(outcome, Quarantined)
    assert (outcome.reason, outcome.field) == (Reason.UNREPRESENTABLE, "")


@pytest.mark.fault("D09")
def test_a_null_stays_behind_or_is_left_out_by_rule() -> None:
    fields: dict[str, object] = {"a": None, "b": 1, "c": None}
    outcome = mapped(fields, replace(BY_POINT, nulls="leave_out"))

    assert reason(fields, BY_POINT) == (Reason.UNREPRESENTABLE, "a")
    assert outcome.metadata == b'{"b":1}'
    assert outcome.changes == ((Change.NULL_LEFT_OUT, "a"), (Change.NULL_LEFT_OUT, "c"))


def detail(fields: dict[str, object], rules: MappingRules = BY_POINT) -> str:
    outcome = map_fields(fields, rules)
    assert isinstance(outcome, Quarantined), outcome
    return outcome.detail


@pytest.mark.fault("D09", "F10")
@pytest.mark.parametrize("nulls", ["quarantine", "leave_out"])
def test_a_null_says_how_deep_the_rule_for_nulls_reaches(
    nulls: Literal["quarantine", "leave_out"],
) -> None:
    rules = replace(BY_POINT, nulls=nulls)

    for inner in ({"b": None}, ["x", None]):
        assert detail({"a": inner}, rules).endswith("null, which mapping.nulls does not reach") or (
            detail({"a": inner}, rules)
            == "null inside an object, which mapping.nulls does not reach"
        )
    assert detail({"a": None}) == 'null; mapping.nulls = "leave_out" leaves the field out'


@pytest.mark.fault("D04", "F10")
@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (3.0, "whole number in decimal form (as 3.0), an integer was expected"),
        (-0.0, "whole number in decimal form (as 3.0), an integer was expected"),
        (1e300, "whole number in decimal form (as 3.0), an integer was expected"),
        (3.5, "number with a fraction, an integer was expected"),
    ],
)
def test_a_whole_number_is_not_called_a_fraction(number: float, shown: str) -> None:
    assert detail({**GOOD, "chunk_index": number}, RULES) == shown
    assert shown.partition(",")[0] in detail({"a": [number]})


@pytest.mark.fault("D10")
@pytest.mark.parametrize("text", ["\x00", "\n", "\u2028", "\u202e", "🙂", "\x1b[31m", "\x7f"])
def test_odd_text_is_kept_exactly(text: str) -> None:
    metadata = mapped({"a": text, text: "b"}, BY_POINT).metadata

    assert {"a": text, text: "b"} == json.loads(metadata)
    assert b"\n" not in metadata


@pytest.mark.fault("D10")
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"a": "x\ud800"}, "a"),
        ({"a": ["ok", "\udfff"]}, "a"),
        ({"a": {"b": "\ud800"}}, "a.b"),
        ({"\ud800": 1}, "\\ud800"),
        ({"\ud800": None}, "\\ud800"),
        ({"a": {"\ud800": 1}}, "a.\\ud800"),
    ],
)
def test_lone_surrogates_cannot_be_sent(fields: dict[str, object], field: str) -> None:
    assert (Reason.INVALID_UNICODE, field) == reason(fields, BY_POINT)


@pytest.mark.fault("D10")
def test_lone_surrogates_in_ids_and_files() -> None:
    assert reason({**GOOD, "file_id": "\ud800"}) == (Reason.INVALID_UNICODE, "file_id")
    assert reason({**GOOD, "chunk_hash": "\ud800" * 64}) == (Reason.FIELD_RANGE, "chunk_hash")


@pytest.mark.fault("D07")
@pytest.mark.parametrize("unit", ["a", "é", "🙂", '"', "a\n"])
def test_truncation_keeps_the_longest_prefix_that_fits_and_says_so(unit: str) -> None:
    rules = replace(BY_POINT, truncate_field="text")
    text = unit * 11_000
    outcome = mapped({"text": text, "page": 1}, rules)

    kept = json.loads(outcome.metadata)
    size = len(kept["text"])
    assert {"text": text[:size], "page": 1} == kept
    longer = encode_canonical_json({"text": text[: size + 1], "page": 1})
    assert len(outcome.metadata) <= 10_240 < len(longer)
    assert outcome.changes == ((Change.TRUNCATED, "text"),)


@pytest.mark.fault("D07")
def test_truncation_touches_nothing_that_fits() -> None:
    rules = replace(BY_POINT, truncate_field="text")
    fits: dict[str, object] = {"text": "x" * (10_240 - len(b'{"text":""}'))}

    assert mapped(fits, rules).changes == ()
    assert encode_canonical_json(fits) == mapped(fits, rules).metadata


@pytest.mark.fault("D07")
@pytest.mark.parametrize(
    "fields",
    [
        {"other": "x" * 11_000},
        {"other": "x" * 11_000, "text": 5},
        {"other": "x" * 11_000, "text": "short"},
    ],
)
def test_truncation_that_cannot_help_leaves_the_point_behind(fields: dict[str, object]) -> None:
    rules = replace(BY_POINT, truncate_field="text")

    assert reason(fields, rules) == (Reason.METADATA_TOO_LARGE, "")


@pytest.mark.fault("X13")
def test_the_detail_shows_the_shape_and_never_the_content() -> None:
    for fields in (
        {**GOOD, "chunk_index": "TOPSECRET"},
        {**GOOD, "chunk_hash": "TOPSECRET"},
        {**GOOD, "file_id": ["TOPSECRET"]},
        {**GOOD, "text": ["TOPSECRET", 1]},
        {**GOOD, "text": "TOPSECRET\ud800"},
        {**GOOD, "text": "TOPSECRET" * 2000},
        {**GOOD, "file_id": "TOPSECRET" * 10},
    ):
        outcome = map_fields(fields)
        assert isinstance(outcome, Quarantined)
        assert "TOPSECRET" not in outcome.detail + outcome.field


@pytest.mark.fault("D04", "D06", "D07", "D08", "D09", "D10")
@given(point_ids(), payloads() | json_objects(), mapping_rules())
def test_every_payload_maps_exactly_or_stays_behind_with_one_reason(
    point_id: PointId, fields: dict[str, object], rules: MappingRules
) -> None:
    """A mapped one decodes back to the payload, minus the declared changes."""
    outcome = map_payload(point_id, encode_canonical_json(fields), rules)

    match outcome:
        case Quarantined():
            assert f"{outcome.field} {outcome.detail}".encode()
        case Mapped():
            assert 1 <= len(outcome.vector_id.encode()) <= 64
            assert len(outcome.metadata) <= 10_240
            assert undo(outcome, fields) == encode_canonical_json(fields)


def undo(outcome: Mapped, fields: dict[str, object]) -> bytes:
    """The payload again, from the metadata and what the declared changes took away."""
    kept = decode_json(outcome.metadata)
    assert isinstance(kept, dict)
    for change, field in outcome.changes:
        if change is Change.TRUNCATED:
            assert str(fields[field]).startswith(kept[field])
        kept[field] = fields[field]
    return encode_canonical_json(kept)


def test_the_first_failing_check_gives_the_reason() -> None:
    """Each payload has all the faults of the ones after it, and is refused for its first."""
    large: dict[str, object] = {**GOOD, "text": "x" * 11_000}
    long_key = {**large, "file_id": "f" * 600}
    faults = [
        {**long_key, "a.b": 1, "chunk_hash": "?", "chunk_index": -1},
        {**long_key, "a.b": 1, "chunk_hash": "?"},
        {**long_key, "a.b": 1},
        long_key,
        large,
    ]
    reasons = [reason(fields)[0] for fields in faults]

    assert reasons == [
        Reason.FIELD_RANGE,
        Reason.FIELD_RANGE,
        Reason.BAD_KEY,
        Reason.ID_TOO_LONG,
        Reason.METADATA_TOO_LARGE,
    ]
    assert all(len(one) >= len(other) for one, other in pairwise(faults))


TEXT_HASH = hashlib.sha256("Maß".encode()).hexdigest()
CHECKED = replace(RULES, hash_of="text")


@pytest.mark.fault("D11")
@pytest.mark.parametrize(
    ("text", "hash_", "differs"),
    [
        ("Maß", TEXT_HASH, False),
        ("Maß", TEXT_HASH.upper(), False),
        ("Mass", TEXT_HASH, True),
        (5, TEXT_HASH, True),
        (None, TEXT_HASH, True),
        ("", hashlib.sha256(b"").hexdigest(), False),
    ],
)
def test_a_hash_that_is_not_its_texts_is_told_or_stays_behind(
    text: object, hash_: str, *, differs: bool
) -> None:
    """As the plan's option says; unless it is asked for, nothing is checked."""
    fields = {**GOOD, "chunk_hash": hash_, "text": text}
    rules = replace(CHECKED, nulls="leave_out")
    assert mapped(fields, rules).hash_differs == differs
    assert not mapped(fields, replace(rules, hash_of="")).hash_differs

    outcome = map_fields(fields, replace(rules, hash_mismatch="quarantine"))
    if differs:
        assert isinstance(outcome, Quarantined)
        assert (outcome.reason, outcome.field) == (Reason.HASH_MISMATCH, "chunk_hash")
        assert "Mass" not in outcome.detail
    else:
        assert outcome == mapped(fields, rules)


@pytest.mark.fault("D11", "D10")
def test_a_lone_surrogate_is_told_as_such_and_not_as_a_wrong_hash() -> None:
    fields = {**GOOD, "text": "\ud800"}

    assert reason(fields, CHECKED) == (Reason.INVALID_UNICODE, "text")


@pytest.mark.fault("I8")
@given(point_ids(), payloads() | json_objects(), mapping_rules())
def test_what_was_let_pass_maps_again_to_the_same(
    point_id: PointId, fields: dict[str, object], rules: MappingRules
) -> None:
    """Whatever the upload makes of a payload is what the plan has made of it."""
    payload = encode_canonical_json(fields)
    outcome = map_payload(point_id, payload, rules)
    if isinstance(outcome, Mapped):
        again = map_again(point_id, payload, rules)
        assert again == (
            outcome.vector_id,
            outcome.group,
            outcome.order,
            outcome.metadata,
            outcome.namespace,
        )


@pytest.mark.parametrize("nulls", ["quarantine", "leave_out"])
@pytest.mark.parametrize("text", ["x", "null", "x" * 10_300])
def test_nulls_and_large_texts_map_again_to_the_same(
    nulls: Literal["quarantine", "leave_out"], text: str
) -> None:
    rules = replace(RULES, nulls=nulls, truncate_field="text")
    for note in (None, "here"):
        payload = encode_canonical_json({**GOOD, "text": text, "note": note})
        outcome = map_payload(PointId(0, 1), payload, rules)
        if isinstance(outcome, Mapped):
            again = map_again(PointId(0, 1), payload, rules)
            assert again == (
                outcome.vector_id,
                outcome.group,
                outcome.order,
                outcome.metadata,
                outcome.namespace,
            )


NESTED = replace(
    RULES,
    id_template="{metadata.source}-{metadata.start}",
    group_key="metadata.source",
    order_key="metadata.start",
    hash_key="",
    key_template="file:{metadata.source}",
)


def test_fields_are_found_by_their_path() -> None:
    fields: dict[str, object] = {"page_content": "x", "metadata": {"source": "a.pdf", "start": 12}}

    outcome = mapped(fields, NESTED)

    assert (outcome.vector_id, outcome.group, outcome.order) == ("a.pdf-12", "a.pdf", 12)
    assert outcome.metadata == encode_canonical_json(fields)
    assert encode_kv_key("a.pdf", NESTED) == "file:a.pdf"
    assert map_again(POINT, encode_canonical_json(fields), NESTED) == (
        outcome.vector_id,
        outcome.group,
        outcome.order,
        outcome.metadata,
        outcome.namespace,
    )


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({"start": 1}, (Reason.FIELD_MISSING, "metadata.source")),
        ({"source": "a"}, (Reason.FIELD_MISSING, "metadata.start")),
        ({"source": "a", "start": "1"}, (Reason.FIELD_TYPE, "metadata.start")),
        ({"source": ["a"], "start": 1}, (Reason.FIELD_TYPE, "metadata.source")),
        ("a", (Reason.FIELD_MISSING, "metadata.source")),
    ],
)
def test_a_field_that_is_wrong_is_named_by_its_path(
    metadata: object, found: tuple[Reason, str]
) -> None:
    assert reason({"metadata": metadata}, NESTED) == found


BY_NUMBER = replace(RULES, group_type="integer")


def test_an_integer_names_a_file_when_the_rules_say_so() -> None:
    fields = {**GOOD, "file_id": 2**53 - 1}

    outcome = mapped(fields, BY_NUMBER)

    assert (outcome.group, outcome.vector_id) == ("9007199254740991", "9007199254740991_3")
    assert group_value("9007199254740991", BY_NUMBER) == 2**53 - 1
    assert map_again(POINT, encode_canonical_json(fields), BY_NUMBER)[1] == outcome.group


@pytest.mark.parametrize("value", ["7", True, 7.0, [7], -1])
def test_another_value_names_no_file_then(value: object) -> None:
    assert reason({**GOOD, "file_id": value}, BY_NUMBER)[1] == "file_id"
    assert read_group({"file_id": value}, BY_NUMBER) is None


def test_the_refusal_of_an_integer_names_the_setting_that_takes_it() -> None:
    outcome = map_fields({**GOOD, "file_id": 7})

    assert isinstance(outcome, Quarantined)
    assert outcome.detail == 'integer, text was expected, mapping.group_type = "integer" takes it'


HASHED = replace(RULES, id_template="{file_id}#{chunk_index}", long_id_field="vector_id")


@pytest.mark.fault("D06")
def test_a_long_id_is_replaced_and_kept_whole_in_a_field() -> None:
    fields = {**GOOD, "file_id": "a/" * 40}

    outcome = mapped(fields, HASHED)

    assert outcome.vector_id == hash_long_id(f"{'a/' * 40}#3")
    assert outcome.metadata == encode_canonical_json({**fields, "vector_id": f"{'a/' * 40}#3"})
    assert outcome.changes == ((Change.ID_HASHED, "vector_id"),)
    assert map_again(POINT, encode_canonical_json(fields), HASHED)[0] == outcome.vector_id
    assert reason(fields, replace(HASHED, long_id_field=None)) == (Reason.ID_TOO_LONG, "id")


@pytest.mark.fault("D06")
def test_an_id_that_fits_is_left_as_it_is() -> None:
    assert mapped(GOOD, HASHED) == mapped(GOOD, replace(HASHED, long_id_field=None))


@pytest.mark.fault("D06", "M08")
def test_a_payload_with_the_field_of_the_whole_id_is_left_out() -> None:
    fields = {**GOOD, "file_id": "a/" * 40, "vector_id": "mine"}

    assert reason(fields, HASHED) == (Reason.FIELD_TAKEN, "vector_id")
    assert isinstance(mapped({**GOOD, "vector_id": "mine"}, HASHED), Mapped)
