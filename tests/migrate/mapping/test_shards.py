"""Which of several vector indexes holds a file, and which run judges a point."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.errors import UsageError
from migrate.mapping.kv_entries import encode_file_entry, read_entry_index, read_entry_namespace
from migrate.mapping.payload import Elsewhere, Mapped, Outcome, Quarantined, map_payload
from migrate.mapping.rules import MappingRules
from migrate.mapping.shards import Shards, binding_part, counter_key_of, shard_of
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.records import PointId, VectorId
from migrate.wrangler.bindings import binding_of
from tests.harness.strategies import RULES, mapping_rules, payloads, point_ids

CASES = json.loads(
    (Path(__file__).parents[2] / "conformance" / "shards.json").read_text(encoding="utf-8")
)
FILES = 6_000
names = st.lists(
    st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,12}", fullmatch=True),
    min_size=2,
    max_size=6,
    unique=True,
)
keys = st.text(max_size=30)


def test_the_indexes_are_those_that_every_language_finds() -> None:
    assert CASES["format"] == 1
    for case in CASES["cases"]:
        for key, index in case["keys"]:
            assert shard_of(key, tuple(case["indexes"])) == index
    for counter_key, index, expected in CASES["counters"]:
        assert counter_key_of(counter_key, index) == expected
    for binding, index, expected in CASES["bindings"]:
        assert binding_of(binding, index, of_several=True) == expected
        assert binding_of(binding, index, of_several=False) == binding
    for case in CASES["entries"]:
        rules = replace(RULES, shards=Shards(tuple(case["indexes"])))
        entry = encode_file_entry(
            case["file"], [VectorId("a")], rules, expiration=None, namespace=case["namespace"]
        )
        assert entry.metadata == case["metadata"]
        assert read_entry_index(entry) == case["metadata"]["index"]
        assert read_entry_namespace(entry) == case["namespace"]


@given(names, keys, st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter(
    indexes: list[str], key: str, chance: object
) -> None:
    other = list(indexes)
    chance.shuffle(other)  # type: ignore[attr-defined]

    assert shard_of(key, tuple(other)) == shard_of(key, tuple(indexes))
    assert Shards(tuple(other)) == Shards(tuple(indexes))


@given(names, keys)
def test_a_further_index_takes_files_and_moves_none_between_the_others(
    indexes: list[str], key: str
) -> None:
    *former, _ = indexes

    assert shard_of(key, tuple(indexes)) in {shard_of(key, tuple(former)), indexes[-1]}


@pytest.mark.parametrize("count", [2, 3, 7])
def test_every_index_gets_its_share_of_the_files(count: int) -> None:
    indexes = tuple(f"wiki-{number}" for number in range(count))

    found = Counter(shard_of(f"file-{number}", indexes) for number in range(FILES))

    assert set(found) == set(indexes)
    assert all(0.9 < files * count / FILES < 1.1 for files in found.values()), found


@given(point_ids(), payloads(), mapping_rules(), names)
def test_exactly_one_run_judges_a_point_and_as_a_run_into_one_index_would(
    point_id: PointId, payload: dict[str, object], rules: MappingRules, indexes: list[str]
) -> None:
    text = encode_canonical_json(payload)
    alone = map_payload(point_id, text, rules)

    outcomes: dict[str, Outcome] = {
        own: map_payload(point_id, text, replace(rules, shards=Shards(tuple(indexes), own)))
        for own in indexes
    }

    (judged,) = [own for own, one in outcomes.items() if not isinstance(one, Elsewhere)]
    assert outcomes.pop(judged) == alone
    assert set(outcomes.values()) == {Elsewhere(judged)}
    for_all = replace(rules, shards=Shards(tuple(indexes)))
    assert map_payload(point_id, text, for_all) == alone
    if isinstance(alone, Mapped):
        key = alone.vector_id if alone.group is None else alone.group
        assert judged == shard_of(key, tuple(indexes))
    else:
        assert isinstance(alone, Quarantined)


def test_rules_read_back_as_they_were_written() -> None:
    rules = replace(RULES, shards=Shards(("b", "a"), "b"))

    record = decode_json(encode_canonical_json(rules.record()))

    assert isinstance(record, dict)
    assert record["shards"] == {"indexes": ["a", "b"], "own": "b"}
    assert MappingRules.from_record(record) == rules
    assert "shards" not in RULES.record()


@pytest.mark.parametrize(
    ("indexes", "own"), [((), None), (("a",), "a"), (("a", "a", "b"), "a"), (("a", "b"), "c")]
)
def test_a_list_that_divides_nothing_is_refused(indexes: tuple[str, ...], own: str | None) -> None:
    with pytest.raises(UsageError, match=r"target\."):
        Shards(indexes, own)


def test_the_counters_of_all_indexes_are_known_by_that_of_one() -> None:
    shards = Shards(("wiki-1", "wiki-10"), "wiki-1")

    assert shards.counter_keys("n:wiki-1") == {"wiki-1": "n:wiki-1", "wiki-10": "n:wiki-10"}
    assert binding_part("wiki-1") == "WIKI_1"
