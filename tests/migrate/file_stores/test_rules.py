"""Ids of chunks, and the rules of a file store against each other and against those of a move."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import UsageError
from migrate.file_stores.rules import FileStoreRules
from migrate.mapping.value_rules import truncated_field
from migrate.model.limits import EXACT_INTEGER_MAX
from q2v.settings import Settings
from tests.migrate.file_stores.cases import vector

RULES = FileStoreRules(dimensions=32)


def with_mapping(**changed: str) -> FileStoreRules:
    mapping = replace(RULES.mapping, **changed)  # type: ignore[arg-type]
    return replace(RULES, mapping=mapping)


def test_the_defaults_are_those_of_q2v() -> None:
    settings = Settings()
    mapping, writes = RULES.mapping, RULES.writes

    for name in ("id_template", "group_key", "order_key", "hash_key", "nulls"):
        assert getattr(mapping, name) == getattr(settings.mapping, name)
    assert mapping.truncate_field == truncated_field(settings.mapping.oversize_metadata)
    assert (mapping.hash_of, mapping.hash_mismatch) == (
        settings.mapping.hash_of,
        settings.mapping.hash_mismatch,
    )
    assert mapping.key_template == settings.kv.key_template
    assert (writes.counter_key, writes.ttl_s) == (settings.kv.counter_key, settings.kv.ttl_s)
    assert (writes.vectors_per_upload, writes.body_bytes) == (
        settings.limits.vectors_per_upload,
        settings.limits.body_bytes,
    )


TEMPLATES = [
    "{file_id}_{chunk_index}",
    "{chunk_index}:{file_id}",
    "v1-{file_id}.x1{chunk_index}~",
    "{chunk_index}0_0{file_id}9",
]


@pytest.mark.parametrize("template", TEMPLATES)
@given(
    file_id=st.text(
        st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("_0123456789.:x~")),
        min_size=1,
        max_size=10,
    ),
    chunk_index=st.integers(0, EXACT_INTEGER_MAX),
)
def test_an_id_gives_back_its_file_and_chunk(template: str, file_id: str, chunk_index: int) -> None:
    rules = with_mapping(id_template=template)

    assert rules.parse_vector_id(rules.generate_vector_id(file_id, chunk_index)) == (
        file_id,
        chunk_index,
    )


@pytest.mark.parametrize("template", TEMPLATES)
@given(text=st.text(st.sampled_from("_0123456789.:xav-~"), max_size=12))
def test_a_text_that_parses_is_the_id_of_what_it_parses_to(template: str, text: str) -> None:
    """So no two texts stand for one chunk."""
    rules = with_mapping(id_template=template)
    chunk = rules.parse_vector_id(text)

    assert chunk is None or rules.generate_vector_id(*chunk) == text


@pytest.mark.parametrize(
    "template",
    [
        "{point_id}",
        "{file_id}",
        "{chunk_index}",
        "{file_id}{chunk_index}",
        "{file_id}0{chunk_index}",
        "{file_id}_{chunk_index}_{file_id}",
        "{file_id}_{file_path}_{chunk_index}",
        "chunk",
    ],
)
def test_a_template_whose_ids_do_not_give_back_file_and_chunk_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="id template"):
        with_mapping(id_template=template)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"group_key": ""}, "id template"),
        ({"order_key": ""}, "id template"),
        ({"key_template": "files"}, "kv.key_template"),
        ({"order_key": "file_id"}, "mapping.order_key"),
    ],
)
def test_rules_that_cannot_work_together_are_refused(changed: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        with_mapping(**changed)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UsageError, match="expected one of cosine, euclidean, dot-product"):
        FileStoreRules(dimensions=32, metric="Cosine")


def test_a_file_that_would_get_the_key_of_the_counter_is_refused() -> None:
    rules = replace(RULES, writes=replace(RULES.writes, counter_key="file:count"))

    with pytest.raises(UsageError, match="the counter has this key"):
        rules.check_vectors([vector("count", 0)])


def test_metadata_is_mapped_as_a_move_maps_it() -> None:
    """Nulls that the mapping leaves out are left out, numbers and texts stay what they are."""
    whole = vector("a", 0)
    given_ = replace(whole, metadata={**whole.metadata, "note": None, "n": 1, "half": 0.5})

    with pytest.raises(UsageError, match="'note' in the metadata: null"):
        RULES.check_vectors([given_])
    (checked,) = with_mapping(nulls="leave_out").check_vectors([given_])
    assert b'"n":1' in checked.metadata
    assert b"note" not in checked.metadata


@pytest.mark.parametrize(
    "values", [["1"] * 32, [True] * 32, [[1.0] * 32], [[1.0], [1.0, 2.0]], 1.0]
)
def test_values_of_another_type_or_shape_are_refused(values: object) -> None:
    bad = replace(vector("a", 0), values=values)  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="vector 'a_0': "):
        RULES.check_vectors([bad])


@pytest.mark.parametrize("value", [object(), {1: "x"}, float("nan"), b"x", (1, 2), 2**53])
def test_metadata_that_would_come_back_as_something_else_is_refused(value: object) -> None:
    whole = vector("a", 0)

    with pytest.raises(UsageError, match="vector 'a_0': "):
        RULES.check_vectors([replace(whole, metadata={**whole.metadata, "odd": value})])
