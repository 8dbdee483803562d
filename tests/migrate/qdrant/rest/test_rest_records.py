"""A payload that names a key twice: found at any depth, kept as it came, never mistaken."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.irregular import encode_irregular, irregular_vectors, payload_is_irregular
from migrate.model.records import Page, VectorKind, VectorSpec
from migrate.qdrant.rest.records import decode_points
from tests.harness.strategies import json_objects, json_values, texts

SPEC = VectorSpec(
    name="", kind=VectorKind.DENSE, dimensions=2, distance="Cosine", datatype="float32"
)


class Twice(dict[str, object]):
    """An object that is written with its pairs, repeated keys and all."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs

    @override
    def items(self) -> list[tuple[str, object]]:  # type: ignore[override]  # json.dumps asks for it
        return self.pairs


def decode(payload: str, vector: str = "[1,2]") -> Page:
    point = f'{{"id": 5, "payload": {payload}, "vector": {vector}}}'
    return decode_points(f'{{"result": {{"points": [{point}]}}}}'.encode(), [SPEC])


@pytest.mark.fault("D11")
@given(json_objects(), st.booleans())
def test_no_payload_without_a_repeated_key_is_taken_for_one(
    payload: dict[str, object], ascii_only: bool
) -> None:
    text = json.dumps(payload, ensure_ascii=ascii_only)
    page = decode(text.encode("utf-8", "backslashreplace").decode())

    assert page.irregular == (None,)


@pytest.mark.fault("D11")
@given(json_objects(), texts(), json_values(), json_values(), st.lists(texts(), max_size=3))
def test_a_repeated_key_is_found_at_any_depth_and_kept_as_it_came(
    rest: dict[str, object], key: str, first: object, second: object, path: list[str]
) -> None:
    """Also where the fast parser gives up: lone surrogates, integers beyond 64 bits."""
    payload: object = Twice([*rest.items(), (key, first), (key, second)])
    for name in path:
        payload = {name: [payload]}
    assert isinstance(payload, dict)
    (irregular,) = decode(json.dumps(payload)).irregular

    assert irregular is not None
    assert payload_is_irregular(irregular)
    parts = decode_json(irregular)
    assert isinstance(parts, list)
    assert parts[0] == {}
    kept = json.loads(parts[1], object_pairs_hook=Pairs)
    for name in reversed(path):
        ((found, inside),) = kept
        assert found == name
        kept = inside[0]
    values = [encode_canonical_json(_plain(one)) for name, one in kept if name == key]
    assert values[-2:] == list(map(encode_canonical_json, (first, second)))


class Pairs(list[tuple[str, object]]):
    """The pairs of an object, in their order."""


def _plain(value: object) -> object:
    if isinstance(value, Pairs):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.fault("D11")
@pytest.mark.parametrize("text", ['{"a":":x"}', '{"a":"\\":","b":":"}', '{"a":{"a":1}}', "{}"])
def test_text_that_looks_like_the_end_of_a_key_is_none(text: str) -> None:
    assert decode(text).irregular == (None,)


@pytest.mark.fault("D11", "D06")
def test_vectors_of_another_shape_are_kept_beside_the_payload() -> None:
    page = decode('{"a": 1, "a": 2}', "[1, null]")
    alone = decode('{"a": 1}', "[1, null]")

    assert page.payloads == (encode_canonical_json({"a": 2}),)
    assert page.irregular == (b'[{"":[1,null]},"{\\"a\\":1,\\"a\\":2}"]',)
    assert irregular_vectors(page.irregular[0]) == alone.irregular[0] == b'{"":[1,null]}'


@pytest.mark.parametrize("vectors", [{}, {"": [1]}])
def test_what_is_regular_has_no_text(vectors: dict[str, object]) -> None:
    text = encode_irregular(vectors, None)

    assert (text is None) == (not vectors)
    assert irregular_vectors(text) == text
    assert irregular_vectors(encode_irregular(vectors, "{}")) == text


@pytest.mark.fault("F23", "F09")
def test_an_answer_that_cannot_be_read_beside_a_long_integer_is_explained_in_our_words() -> None:
    """Python's own words advise a function of Python, which no operator can call."""
    with pytest.raises(ValueError, match="an integer of more than 4300 digits") as caught:
        decode('{"a":' + "1" * 4400 + ',"b":NaN}')

    assert "sys." not in str(caught.value)
